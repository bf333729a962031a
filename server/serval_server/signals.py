"""What ends a server: SIGTERM, Ctrl-C and a terminal that closes drain it, a second Ctrl-C does not wait for that.

And what does not end the processes that a command has others' work done in: Ctrl-C, which a terminal sends to all.
"""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from multiprocessing import resource_tracker
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


@contextlib.contextmanager
def holding_interrupts() -> Iterator[None]:
    """Hear Ctrl-C afterwards, as KeyboardInterrupt; processes that are started meanwhile never hear it.

    Only the main thread may call it.
    """
    resource_tracker.ensure_running()  # its start, which a first process else is, would take the mask away
    heard: list[int] = []
    handler = signal.signal(signal.SIGINT, lambda number, _: heard.append(number))  # other threads may be told, too
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        signal.signal(signal.SIGINT, handler)
    if heard:
        raise KeyboardInterrupt
