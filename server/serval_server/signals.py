"""What ends a server: SIGTERM, Ctrl-C and a terminal that closes drain it, a second Ctrl-C does not wait for that."""

import signal
import threading
from collections.abc import Callable
from types import FrameType

# A second SIGTERM is nothing new: systemd sends one to every process of a service, and a worker's parent another.
IMPATIENT = signal.SIGINT
INTERRUPTED = 130  # the exit code of what a Ctrl-C has ended


def told_to_stop(leave: Callable[[], None]) -> threading.Event:
    """Return what is set when the process is to drain; call `leave` at a SIGINT that comes after that.

    Only the main thread may call it. A SIGHUP that whoever started the process has it ignore (nohup) stays ignored.
    """
    stopping = threading.Event()

    def stop(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        if number == IMPATIENT and stopping.is_set():
            leave()
        stopping.set()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        signal.signal(signal.SIGHUP, stop)
    return stopping
