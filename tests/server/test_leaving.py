"""A server that is told to stop ends, whatever is going on in the background."""

import os
import signal
import subprocess
import sys
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


@pytest.mark.slow
@pytest.mark.parametrize("program", [PROGRAM, BUSY], ids=["what it closes", "a thread that it waits for at its end"])
def test_a_stop_does_not_wait_for_the_background_for_ever(tmp_path: Path, program: str) -> None:
    command = [sys.executable, "-c", program, tmp_path]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        assert server.stdout.readline() == "ready\n"
        os.kill(server.pid, signal.SIGTERM)
        _, said = server.communicate(timeout=PATIENCE)
    assert server.returncode == 0
    assert "did not end" in said
