"""`serval demo` ends with all that it has started."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from serval_client.cli import main
from serval_client.demo import process

SERVAL = Path(sys.executable).with_name("serval")
PATIENCE = 120.0


def children_of(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []


@pytest.mark.slow
def test_a_demo_that_is_ended_leaves_no_server_and_no_folder(tmp_path):
    """A time limit of a build (`timeout 60 serval demo`) ends it by SIGTERM."""
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen([SERVAL, "demo"], env=environment, stdout=subprocess.DEVNULL, start_new_session=True) as demo:
        limit = time.monotonic() + PATIENCE
        while not list(tmp_path.glob("serval-demo-*/server.log")) or not children_of(demo.pid):
            assert time.monotonic() < limit
            assert demo.poll() is None
            time.sleep(0.05)
        started = children_of(demo.pid)
        demo.terminate()
        assert demo.wait(PATIENCE) == 128 + signal.SIGTERM
    assert not [pid for pid in started if Path(f"/proc/{pid}").exists()]
    assert not list(tmp_path.glob("serval-demo-*"))


@pytest.mark.slow
def test_a_signal_amid_the_start_of_the_server_ends_it_too(tmp_path, monkeypatch):
    """Between fork and the return of Popen nobody knows the process yet."""
    started = []

    def start_amid_a_signal(*args, **kwargs):
        started.append(popen(*args, **kwargs))
        signal.raise_signal(signal.SIGTERM)
        return started[0]

    def end(number, _frame):
        raise SystemExit(128 + number)

    popen = subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", start_amid_a_signal)
    before = signal.signal(signal.SIGTERM, end)
    try:
        with pytest.raises(SystemExit), process.running(tmp_path):
            pytest.fail("the signal was lost")
        assert signal.getsignal(signal.SIGTERM) is end
    finally:
        signal.signal(signal.SIGTERM, before)
    try:
        assert started[0].poll() is not None
    finally:
        started[0].kill()
        started[0].wait()
        started[0].stdout.close()


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "inf"])
def test_a_load_has_a_length(capsys, seconds):
    assert main(["demo", f"--seconds={seconds}"]) == 1
    assert "--seconds: got" in capsys.readouterr().err
