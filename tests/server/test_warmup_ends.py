"""`serval warmup` that is interrupted, or loses a process, ends in order."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

PATIENCE = 60.0
PROGRAM = """
import sys, time
from functools import partial
from serval_client.cli import main
from serval_server import warmup

warmup.STEPS = (warmup.Step("slow", partial(time.sleep, 600)),) * 2
sys.exit(main(["warmup"]))
"""


def descendants(pid: int) -> list[int]:
    """Return the processes that run steps: those that multiprocessing has spawned."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return [int(child) for child in children if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()]
    except FileNotFoundError:
        return []


@pytest.mark.slow
@pytest.mark.parametrize(("later", "kill", "code"), [(0.0, False, 130), (2.0, False, 130), (2.0, True, 1)])
def test_it_ends_at_once_and_says_why(later: float, kill: bool, code: int) -> None:
    command = [sys.executable, "-c", PROGRAM]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, start_new_session=True, **pipes) as warming:
        try:
            assert warming.stdout.readline().startswith("2 parts in")
            limit = time.monotonic() + PATIENCE
            while not (started := descendants(warming.pid)):
                assert time.monotonic() < limit
                time.sleep(0.01)
            time.sleep(later)  # at once they import still; then they are at it
            if kill:
                os.kill(started[0], signal.SIGKILL)
            else:
                os.killpg(warming.pid, signal.SIGINT)
            _, said = warming.communicate(timeout=PATIENCE)
        finally:
            warming.kill()
    assert warming.returncode == code
    assert "Traceback" not in said
    assert ("was killed" in said) is kill
    assert not descendants(warming.pid)
