"""The conditions as they are run, at a real `serval serve`: a fraction of a second each, and few connections."""

import json
import os

import numpy as np
import pytest
from onnxruntime import InferenceSession
from serval_benchmarks import conditions, lab, slow_model
from serval_benchmarks.__main__ import main as everything
from serval_benchmarks.errors import BenchmarkError
from serval_benchmarks.load import Tally
from serval_benchmarks.servers import Cores, pinned, serving
from serval_tries import once_of_some

BRIEF = ("--rounds", "1", "--seconds", "0.4", "--warmup", "0.2", "--connections", "80", "--starts", "1")
BRIEFER = ("--calls-before", "2000", "--calls", "2000", "--idle-seconds", "0.5", "--idle-connections", "20")

WANTED = {
    "slow-beside-fast": {"p99, beside over alone", "the slow model meanwhile, calls", "alone, p50"},
    "connections": {
        "calls, 64 calling + 16 idle over 4 connections",
        "calls, 64 calling, one call each, + 16 idle over 4 connections",
        "4 calling + 76 idle, calls",
        "exchanges, plain TCP over 64 connections, over calls, 4 connections",
    },
    "memory": {"growth"},
    "start": {"until the first answer"},
    "idle": {"with 0 idle connections", "with 20 idle connections"},
    "transports": {"vectorized, 1 in flight, p50", "grpcio, 64 in flight, p99"},
    "monitoring": {"calls, on over off, vectorized", "CPU a call, on over off, grpcio"},
}


@pytest.mark.slow
# The others are measured alike, and take longer
@pytest.mark.parametrize("name", ["connections", "idle", "monitoring"])
def test_measures_what_it_says(name, tmp_path, capsys):
    cores = os.sched_getaffinity(0)
    path = tmp_path / "found.json"

    def measure():
        assert conditions.main([name, *BRIEF, *BRIEFER, "--json", str(path)]) in (0, conditions.NOT_MET)

    once_of_some(measure)
    assert os.sched_getaffinity(0) == cores
    printed = capsys.readouterr()
    assert f"== {name}: " in printed.out
    assert f"s  {name}: " in printed.err
    (found,) = json.loads(path.read_text())["conditions"]
    assert not found["failed"]
    measures = {measure["what"]: measure["median"] for measure in found["measures"]}
    assert WANTED[name] <= set(measures)
    assert all(value > 0 for what, value in measures.items() if what != "growth" and name != "idle")


def test_workers_want_three_cores(tmp_path):
    where = lab.Lab(tmp_path, lab.Settings(), frozenset({0, 1}), lambda _line: None)
    assert "want three cores, and there are 2" in conditions.workers(where).skipped


def test_cores_are_shared_only_where_there_are_too_few():
    assert Cores.of(frozenset({3, 5, 7})) == Cores(frozenset({3}), frozenset({5}))
    assert Cores.of(frozenset({3, 5, 7}), 2) == Cores(frozenset({3, 5}), frozenset({7}))
    assert Cores.of(frozenset({3})) == Cores(frozenset({3}), frozenset({3}))
    assert Cores.of(frozenset({3})).describe() == "server and client share core 3"


def test_a_load_with_failed_calls_is_no_sample():
    tally = Tally()
    with pytest.raises(BenchmarkError, match="no call was answered"):
        lab.answered(tally)
    tally.latency.record(1)
    assert lab.answered(tally) is tally
    tally.failed("UNAVAILABLE", "gone", 3)
    with pytest.raises(BenchmarkError, match="3 calls failed with UNAVAILABLE, first: gone"):
        lab.answered(tally)


def test_a_client_that_used_its_core_up_is_named():
    samples = {"few": [lab.Sample(1.0, 1.0, 1.0, 0.5)], "many": [lab.Sample(1.0, 1.0, 1.0, 0.97)]}
    (said,) = lab.client_limits(samples)
    assert said.startswith("many: the client took 97% of its core")


@pytest.mark.slow
def test_a_server_that_does_not_start_says_why(tmp_path):
    cores = frozenset(os.sched_getaffinity(0))
    said = pytest.raises(BenchmarkError, match=r"ended with code 2:(.|\n)*--threads")
    with said, serving(tmp_path, cores, ("--threads", "none")):
        pass


def test_a_thread_is_pinned_for_a_while():
    before = os.sched_getaffinity(0)
    with pinned(frozenset({min(before)})):
        assert os.sched_getaffinity(0) == {min(before)}
    assert os.sched_getaffinity(0) == before


@pytest.mark.slow
def test_the_slow_model_takes_as_long_as_asked_for_any_number_of_rows():
    model, took = slow_model.build(0.005)
    assert 0.002 < took < 0.012
    rows = np.random.default_rng(0).standard_normal((64, slow_model.WIDTH)).astype(np.float32)
    (sums,) = InferenceSession(model, providers=["CPUExecutionProvider"]).run(None, {"X": rows})
    np.testing.assert_allclose(sums, rows.sum(axis=1), atol=1e-4)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("nothing",), "'nothing': wanted one of slow-beside-fast, connections"),
        (("--rounds", "0"), "--rounds 0: wanted a number above 0"),
        (("--connections", "64"), "--connections 64: wanted more than the 64 that call"),
        (("--json", "/nowhere/found.json"), "there is no folder /nowhere"),
    ],
)
def test_refuses_what_makes_no_sense(options, said, capsys):
    with pytest.raises(SystemExit, match="2"):
        conditions.main(options)
    assert said in capsys.readouterr().err


def test_help_names_every_condition_and_its_question(capsys):
    with pytest.raises(SystemExit, match="0"):
        conditions.main(["--help"])
    shown = capsys.readouterr().out
    for name, condition in conditions.CONDITIONS.items():
        assert f"  {name} " in shown
        assert condition.__doc__ in shown
    assert "(default: 20,000,000)" in shown


def test_the_package_passes_options_on_to_its_parts(tmp_path, capsys):
    assert everything(["charts", "--peers", str(tmp_path / "none.jsonl"), "--output", str(tmp_path / "out.svg")]) == 2
    assert "none.jsonl: No such file" in capsys.readouterr().err
    assert everything(["nothing"]) == 2
    assert (
        "'nothing': wanted nothing, or one of kernels, registry, conditions, charts, drift" in capsys.readouterr().err
    )
