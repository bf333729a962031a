"""A server that is told to stop, or has failed, ends, whatever is going on in the background."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PATIENCE = 60.0
PROGRAM = """
import sys, threading
from pathlib import Path
from serval_registry.registry import Registry
from serval_server import app
from serval_server.config import Options, Transport

app.BACKGROUND_SECONDS = 0.5
Registry.close = lambda self: threading.Event().wait()
where = {"data": Path(sys.argv[1]), "listen": "127.0.0.1:0", "transport": Transport.GRPCIO}
app.run(Options(**where, grace_seconds=0.1, monitor=False), on_ready=lambda _: print("ready", flush=True))
"""

BUSY = """
import sys, threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from serval_server import app
from serval_server.config import Options, Transport

app.BACKGROUND_SECONDS = 0.5
where = {"data": Path(sys.argv[1]), "listen": "127.0.0.1:0", "transport": Transport.GRPCIO}

def ready(_):
    ThreadPoolExecutor(1).submit(threading.Event().wait)  # a run that does not end
    print("ready", flush=True)

app.run(Options(**where, grace_seconds=0.1, monitor=False), on_ready=ready)
"""

WITHOUT_THREADS = BUSY.replace(
    'print("ready"',
    """
    def start(_):
        raise RuntimeError("can't start new thread")
    threading.Thread.start = start
    print("ready\"""",
)

FAILED = BUSY.replace('print("ready"', """app.App.has_ended = lambda _: True; print("ready\"""")


@pytest.mark.slow
@pytest.mark.parametrize(
    "program",
    [PROGRAM, BUSY, WITHOUT_THREADS],
    ids=["what it closes", "a thread that it waits for at its end", "no thread can be started"],
)
def test_a_stop_does_not_wait_for_the_background_for_ever(tmp_path: Path, program: str) -> None:
    with running(program, tmp_path) as server:
        os.kill(server.pid, signal.SIGTERM)
        _, said = server.communicate(timeout=PATIENCE)
    assert server.returncode == 0
    assert "did not end" in said


@pytest.mark.slow
def test_a_server_whose_transport_has_failed_waits_for_nobody(tmp_path: Path) -> None:
    with running(FAILED, tmp_path) as server:
        _, said = server.communicate(timeout=PATIENCE)
    assert server.returncode == 1
    assert "the transport has ended by itself" in said


@contextlib.contextmanager
def running(program: str, folder: Path) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", program, folder]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            assert server.stdout.readline() == "ready\n"
            yield server
        finally:
            server.kill()
