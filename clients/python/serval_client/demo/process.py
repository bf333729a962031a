"""A server for the demonstration: a process of its own on a free port, with a folder of its own."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# The first start ever compiles the kernels.
START_SECONDS = 120
STOP_SECONDS = 30


class ServerFailedError(Exception):
    """The server did not start."""


def serval_command() -> str:
    """Return the path of the `serval` command of this environment."""
    return str(Path(sys.executable).with_name("serval"))


@contextmanager
def running(data: Path) -> Iterator[str]:
    """Start `serval serve` on `data` and yield HOST:PORT; end it by its process id."""
    with (data / "server.log").open("w") as log:
        process = subprocess.Popen(
            [serval_command(), "serve", "--data", str(data), "--listen", "127.0.0.1:0"],
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
        try:
            yield _address(process, data)
        finally:
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _address(process: "subprocess.Popen[str]", data: Path) -> str:
    assert process.stdout is not None
    for line in process.stdout:
        _, found, rest = line.partition("serving on ")
        if found:
            return rest.split()[0]
    text = (data / "server.log").read_text()[-2000:]
    raise ServerFailedError(f"serval serve ended with code {process.wait(START_SECONDS)}:\n{text}")
