# Every target works alone on a bare checkout: it makes .venv where it is missing. `make help` lists them.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
DATA ?= serval-data
# One more than there are cores, as tests wait for servers; a file's tests stay together, as they share what was set up.
CORES := $(shell getconf _NPROCESSORS_ONLN)
PARALLEL ?= -n $(shell echo $$(($(CORES) < 4 ? $(CORES) + 1 : 4))) --dist loadfile
SESSIONS ?= 1000000
TRIALS ?= 5000
SEED ?= $(shell date +%j)

# The tests start hundreds of processes: what one has compiled to bytecode the next is to find.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help demo test test-fast bounds fuzz storm soak lint format bench bench-registry bench-drift protos serve warmup docs clean

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("serval needs Python 3.11 or later, this is " + sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	@echo "making $(VENV) (once, some minutes of downloads)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

demo: $(READY) ## register, serve, promote, search and watch real models; exits 0 when every check holds
	@$(BIN)/serval warmup
	@$(BIN)/serval demo

test: $(READY) ## all tests
	@$(BIN)/serval warmup
	@$(BIN)/python -m pytest $(PARALLEL)

test-fast: $(READY) ## the tests that take no time, on the default transport alone
	@$(BIN)/serval warmup
	@$(BIN)/python -m pytest $(PARALLEL) -m 'not slow' -k 'not grpcio'

bounds: $(READY) ## the engine's tests with every index held against its array; compiles everything once more
	@NUMBA_BOUNDSCHECK=1 $(BIN)/serval warmup
	@SERVAL_BOUNDS=1 $(BIN)/python -m pytest tests/kernels/wire/test_bounds.py --timeout 0

fuzz: $(READY) ## throw SESSIONS (1000000) broken sessions of each kind, a dozen frames each, at the transport; for nights
	@SERVAL_FUZZ_SESSIONS=$(SESSIONS) SERVAL_FUZZ_SEED=$(SEED) $(BIN)/python -m pytest tests/transport/test_fuzz.py -m slow --timeout 0

storm: $(READY) ## eight writers of one name, killed 100 times at random, over a folder and over a bucket
	@SERVAL_LONG=1 SERVAL_STORM_KILLS=100 $(BIN)/python -m pytest tests/registry/test_storm.py -s --timeout 0

soak: $(READY) ## 10000 registrations and stage changes, and what they leave on disk
	@SERVAL_SOAK_WRITES=10000 $(BIN)/python -m pytest tests/registry/test_soak.py -s --timeout 0

lint: $(READY) ## ruff, mypy in strict mode, and the direction of imports
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache

format: $(READY) ## ruff's formatting and its safe fixes
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

bench: $(READY) ## kernels against their references, and a load test of a server started for it
	@$(BIN)/python -m serval_benchmarks

bench-registry: $(READY) ## the registry at 1,000 and at 1,000,000 versions; half an hour, some gigabytes in /tmp
	@$(BIN)/python -m serval_benchmarks registry --hnsw
bench-drift: $(READY) ## how far drift verdicts can be trusted: TRIALS (5000) windows a size, STREAM=a .csv in time order, PEERS=a python
	@$(BIN)/python -m serval_benchmarks drift --trials $(TRIALS) $(if $(STREAM),--data $(STREAM)) $(if $(PEERS),--peers $(PEERS)) --json drift-quality.json --plots docs

protos: $(READY) ## generate the stubs from the .proto files
	@$(BIN)/python protos/generate.py

warmup: $(READY) ## compile the kernels, so that the first start is as quick as any
	@$(BIN)/serval warmup

docs: $(READY) ## the tables that commands make
	@$(BIN)/python -m serval_client.export.table --output docs/export.md

serve: $(READY) ## serve the registry in DATA (serval-data)
	@$(BIN)/serval serve --data $(DATA)

clean: ## remove what the targets made
	@rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
