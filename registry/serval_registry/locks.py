"""One writer at a time, over every thread and every process that has the directory open.

LanceDB has no uniqueness constraint that can be relied on and no compare-and-set over two rows, so "the highest number
plus one" and a promotion stand under this lock. The kernel drops an flock with the process that held it, so a killed
writer leaves nothing to clean up.

Two locks are taken in turn: whoever holds `queue` is next to get `main`, and lets go of `queue` once it has it. A
process that has just released `main` therefore cannot take it again before the one that waited.
"""

import fcntl
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from serval_registry.errors import Unavailable

# A locked section takes some ten milliseconds; whoever waits this long waits for a process that hangs.
PATIENCE = 30.0
_POLL_FIRST, _POLL_LONGEST = 0.0002, 0.004


class TicketLock:
    """A lock of threads that is granted in the order of asking (threading.Lock promises no order)."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._held = False
        self._waiting: deque[threading.Event] = deque()

    def acquire(self, timeout: float) -> bool:
        """Return whether the lock was granted within `timeout` seconds."""
        turn = threading.Event()
        with self._guard:
            if not self._held:
                self._held = True
                return True
            self._waiting.append(turn)
        if turn.wait(timeout):
            return True
        with self._guard:
            if turn.is_set():  # granted between the wait's end and the guard
                return True
            self._waiting.remove(turn)
            return False

    def release(self) -> None:
        """Hand the lock to the thread that has waited longest."""
        with self._guard:
            if self._waiting:
                self._waiting.popleft().set()
            else:
                self._held = False


class FileLock:
    """An flock on one file."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)

    def try_acquire(self) -> bool:
        """Return whether the lock was free and is now held."""
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def acquire(self, deadline: float) -> bool:
        """Return whether the lock was granted before `deadline`, a time.monotonic()."""
        pause = _POLL_FIRST
        while not self.try_acquire():
            # flock has no timeout, and a blocking one could not be given up.
            if time.monotonic() >= deadline:
                return False
            time.sleep(pause)
            pause = min(pause * 1.5, _POLL_LONGEST)
        return True

    def release(self) -> None:
        """Let the lock go."""
        fcntl.flock(self._fd, fcntl.LOCK_UN)

    def close(self) -> None:
        """Let the lock go and close its file."""
        os.close(self._fd)


class WriterLock:
    """The lock of one registry directory."""

    def __init__(self, directory: Path, *, patience: float = PATIENCE) -> None:
        self._patience = patience
        self._threads = TicketLock()
        self._queue = FileLock(directory / "queue.lock")
        self._main = FileLock(directory / "writer.lock")

    def held(self) -> AbstractContextManager[None]:
        """Hold the lock; Unavailable when it cannot be had in time, with nothing done."""
        return held(self._threads, self._patience, self._take, self._main.release)

    def close(self) -> None:
        """Close the files; the lock must not be held."""
        self._queue.close()
        self._main.close()

    def _take(self, deadline: float) -> bool:
        if not self._queue.acquire(deadline):
            return False
        try:
            return self._main.acquire(deadline)
        finally:
            self._queue.release()


@contextmanager
def held(
    threads: TicketLock, patience: float, take: Callable[[float], bool], release: Callable[[], None]
) -> Iterator[None]:
    """Hold a writer's lock: first among this process' threads, then, by `take` until a deadline, among processes.

    Raises Unavailable when it cannot be had within `patience` seconds, with nothing done.
    """
    deadline = time.monotonic() + patience
    if not threads.acquire(patience):
        raise _too_late(patience)
    try:
        if not take(deadline):
            raise _too_late(patience)
        try:
            yield
        finally:
            release()
    finally:
        threads.release()


def _too_late(patience: float) -> Unavailable:
    return Unavailable(f"registry: another writer has held the lock for {patience:g} s; nothing was done")
