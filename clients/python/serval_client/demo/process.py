"""A server for the demonstration: a process of its own on a free port, with a folder of its own."""

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# The first start ever compiles the kernels.
START_SECONDS = 120
STOP_SECONDS = 30

_ENDING = (signal.SIGTERM, signal.SIGINT)


class ServerFailedError(Exception):
    """The server did not start."""


def serval_command() -> str:
    """Return the path of the `serval` command of this environment."""
    return str(Path(sys.executable).with_name("serval"))


@contextmanager
def running(data: Path) -> Iterator[str]:
    """Start `serval serve` on `data` and yield HOST:PORT; end it by its process id."""
    process = None
    with (data / "server.log").open("w") as log:
        try:
            # A signal whose handler raises between fork and Popen's return leaves a server that nobody knows.
            with _held(_ENDING):
                process = subprocess.Popen(
                    [serval_command(), "serve", "--data", str(data), "--listen", "127.0.0.1:0"],
                    stdout=subprocess.PIPE,
                    stderr=log,
                    text=True,
                )
            yield _address(process, data)
        finally:
            if process is not None:
                _end(process)


def _end(process: "subprocess.Popen[str]") -> None:
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@contextmanager
def _held(signals: tuple[signal.Signals, ...]) -> Iterator[None]:
    """Let their handlers run at the end of the block, not in it; in the main thread, which alone runs handlers.

    They are not blocked: a process that is started in the block would inherit that.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    before = {number: signal.signal(number, lambda number, _: came.append(number)) for number in signals}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for held_back in came:
            signal.raise_signal(held_back)


def _address(process: "subprocess.Popen[str]", data: Path) -> str:
    assert process.stdout is not None
    for line in process.stdout:
        _, found, rest = line.partition("serving on ")
        if found:
            return rest.split()[0]
    text = (data / "server.log").read_text()[-2000:]
    raise ServerFailedError(f"serval serve ended with code {process.wait(START_SECONDS)}:\n{text}")
