import logging
import os
import re
import subprocess
import sys

import numpy as np
import pytest
from serval_kernels import compile as compiled
from serval_kernels import missing
from serval_registry import baseline
from serval_registry.model import Feature, FeatureKind
from serval_server import warmup
from serval_server.monitor.compare import compare_tables, compare_with_baseline


def run(*arguments, **environment):
    return subprocess.run(
        [sys.executable, "-m", "serval_server.warmup_cli", *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
        timeout=800,
    ).stdout.splitlines()


def test_after_it_serving_compiles_nothing():
    warmup.serving()
    before = compiled.counts()
    received = np.frombuffer(np.arange(300, dtype=np.float32).tobytes(), np.float32).reshape(100, 3)
    table = {
        "a": received[:, 1],
        "b": np.arange(100.0),
        "c": np.array(["x", "y"] * 50, np.object_),
        "d": np.arange(100) < 3,
    }
    kinds = (FeatureKind.NUMERIC, FeatureKind.NUMERIC, FeatureKind.TEXT, FeatureKind.FLAG)
    features = [Feature(name, kind, "x") for name, kind in zip(table, kinds, strict=True)]
    compare_with_baseline(table, baseline.compute(table, features))
    compare_tables(table, {**table, "b": received[:, 1].astype(np.float64)}, features)
    for dtype in (np.float32, np.float64):
        missing.first_nan(np.frombuffer(received.astype(dtype).tobytes(), dtype))
    assert compiled.counts() == before


@pytest.mark.slow
def test_a_second_time_has_nothing_to_do(caplog):
    warmup.serving()
    with caplog.at_level(logging.INFO, logger=warmup.__name__):
        found = warmup.serving()
    assert (found.compiled, found.loaded) == (0, 0)
    assert [record.message for record in caplog.records][1:] == [f"kernels ready: {found}"]


def test_a_step_that_compiles_is_logged_and_counted(monkeypatch, caplog):
    @compiled.kernel
    def fresh(x):
        return x + 1

    monkeypatch.setattr(missing, "fresh", fresh, raising=False)
    monkeypatch.setattr(warmup, "SERVING", (warmup.Step("fresh ones", lambda: fresh(1)), warmup.SERVING[0]))
    with caplog.at_level(logging.INFO, logger=warmup.__name__):
        found = warmup.serving()
    assert found.compiled == 1
    assert re.fullmatch(r"kernels 1/2, fresh ones: 1 compiled, 0 loaded in \d+\.\d s", caplog.records[1].message)


def test_the_progress_is_there_before_the_kernels():
    code = "import sys, serval_server.warmup_cli; print([name for name in sys.modules if 'kernels' in name])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert found.stdout.strip() == "[]"


def test_help_tells_how_an_image_gets_it():
    told = "\n".join(run("--help"))
    assert "RUN serval warmup" in told
    assert "SERVAL_CACHE_DIR" in told


def assert_is_of_every_step(lines):
    assert re.fullmatch(r"\d parts in [1-3] processes; .*", lines[0])
    assert [line.split("/")[0] for line in lines[1:-1]] == [str(number + 1) for number in range(len(warmup.STEPS))]
    assert {line[5:].split("  ")[0].strip() for line in lines[1:-1]} == {step.name for step in warmup.STEPS}


@pytest.mark.slow
def test_the_command_finds_what_was_compiled():
    run()
    lines = run()
    assert_is_of_every_step(lines)
    assert re.fullmatch(r"nothing to compile: [1-9]\d+ loaded in [\d.]+ s, kept in .*", lines[-1])


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(not os.environ.get("SERVAL_COLD"), reason="compiles everything: SERVAL_COLD=1 asks for it")
def test_the_command_compiles_once(tmp_path):
    first = run(SERVAL_CACHE_DIR=str(tmp_path))
    second = run(SERVAL_CACHE_DIR=str(tmp_path))
    for lines in (first, second):
        assert_is_of_every_step(lines)
    assert re.fullmatch(rf"ready: [1-9]\d+ compiled, \d+ loaded in [\d.]+ s, kept in {tmp_path}/kernels", first[-1])
    assert re.fullmatch(rf"nothing to compile: [1-9]\d+ loaded in [\d.]+ s, kept in {tmp_path}/kernels", second[-1])
