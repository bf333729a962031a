"""A lock in an object: whoever has written its name into it holds it, for as long as it goes on writing.

The object is only ever written on condition that it is as it was read, so of several that want it one gets it. A
holder writes a new token five times in LEASE seconds. One that has died writes none: whoever sees the same token for
LEASE seconds by its own clock takes the lock over, so that clocks need not agree. A holder that was stopped for longer
than that, and goes on, finds its lease run out and refuses to write; only one that is stopped *between* that look and
the write after it, for LEASE seconds, writes without the lock.
"""

import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress

from obstore import exceptions
from obstore.store import S3Store

from serval_registry.errors import Unavailable
from serval_registry.faults import Outage
from serval_registry.locks import PATIENCE, TicketLock, held

# Seconds without a sign of life after which a holder is taken for dead.
LEASE = 10.0

# A holder shows that it lives so often in that time, and stops writing so much of it before others may begin.
_SIGNS = 5
_MARGIN = 0.2

_POLL_FIRST, _POLL_LONGEST = 0.02, 0.25
_FREE = b"free"


class Lease:
    """A lock over all processes, in one object; not to be taken twice by one."""

    def __init__(self, store: S3Store, key: str, *, seconds: float | None = None, outage: Outage | None = None) -> None:
        self._store = store
        self._outage = outage or Outage("the object store")
        self._key = key
        self._seconds = LEASE if seconds is None else seconds
        self._owner = uuid.uuid4().hex
        self._guard = threading.Lock()
        self._held = False  # from acquire to release, even where it was lost meanwhile
        self._etag: str | None = None  # of what this process has written; None: the lock is another's, or nobody's
        self._renewed = 0.0
        # Kept from one acquire to the next: whoever asks once and does not wait must see a dead holder as well.
        self._sight = threading.Lock()
        self._seen: tuple[str, float] | None = None  # the tag seen last, and when it was seen first
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None

    def acquire(self, deadline: float) -> bool:
        """Return whether it was granted before `deadline`, a time.monotonic()."""
        pause = _POLL_FIRST
        while True:
            content, etag = self._look()
            if (content == _FREE or self._unchanged(etag) > self._seconds) and self._take(etag):
                self._held = True
                self._keep_alive()
                return True
            if time.monotonic() >= deadline:
                return False
            time.sleep(pause)
            pause = min(pause * 1.5, _POLL_LONGEST)

    def release(self) -> None:
        """Let it go; where it was lost meanwhile, it is another's already."""
        with self._guard:
            self._held = False
            etag, self._etag = self._etag, None
            if etag is not None:
                # What was written under it is written; where this cannot be, the lease runs out.
                with suppress(Unavailable):
                    self._write(_FREE, etag)

    def check(self) -> None:
        """Unavailable where the lock was held and may be another's now."""
        late = time.monotonic() - self._renewed > self._seconds * (1 - _MARGIN)
        if self._held and (self._etag is None or late):
            raise Unavailable(f"registry: the lease on {self._key} has run out; nothing was done")

    def close(self) -> None:
        """Give it up for good."""
        self._closed.set()
        if self._thread is not None:
            self._thread.join()

    def _look(self) -> tuple[bytes, str]:
        with reaching(self._outage):
            try:
                found = self._store.get(self._key)
            except FileNotFoundError:
                return _FREE, ""
            return bytes(found.bytes()), str(found.meta["e_tag"])

    def _unchanged(self, etag: str) -> float:
        """Return for how many seconds this tag has been the one that was seen."""
        with self._sight:
            now = time.monotonic()
            if self._seen is None or self._seen[0] != etag:
                self._seen = etag, now
            return now - self._seen[1]

    def _take(self, etag: str) -> bool:
        with self._guard:
            return self._renew(etag)

    def _renew(self, etag: str) -> bool:
        began = time.monotonic()
        # Never the same twice, so that what others see changes; and so that an old tag does not fit a new state.
        written = self._write(f"{self._owner} {uuid.uuid4().hex}".encode(), etag)
        self._etag = written
        self._renewed = began
        return written is not None

    def _write(self, content: bytes, etag: str) -> str | None:
        """Write on condition that the object is as it was with this tag, or is missing; None where it is not."""
        with reaching(self._outage):
            try:
                put = self._store.put(self._key, content, mode={"e_tag": etag} if etag else "create")
            except (exceptions.AlreadyExistsError, exceptions.PreconditionError):
                return None
        return str(put["e_tag"])

    def _keep_alive(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name=f"lease {self._key}", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        while not self._closed.wait(self._seconds / _SIGNS):
            with self._guard:
                if self._etag is None:
                    continue
                try:
                    self._renew(self._etag)
                except Unavailable:
                    continue  # tried again; `check` stops the writer where that goes on for too long


class LeaseLock:
    """The writer's lock: of threads in the order of asking, and of processes by a lease."""

    def __init__(self, lease: Lease, *, patience: float = PATIENCE) -> None:
        self._lease = lease
        self._patience = patience
        self._threads = TicketLock()

    def held(self) -> AbstractContextManager[None]:
        """Hold the lock; Unavailable when it cannot be had in time, with nothing done."""
        return held(self._threads, self._patience, self._lease.acquire, self._lease.release)

    def check(self) -> None:
        """Unavailable where the lock was held and may be another's now."""
        self._lease.check()

    def close(self) -> None:
        """End the renewing."""
        self._lease.close()


@contextmanager
def reaching(outage: Outage) -> Iterator[None]:
    """Turn the store's errors into one that a caller may see."""
    try:
        yield
        outage.answered()
    except exceptions.BaseError as error:
        outage.failed(error)
        raise Unavailable(
            f"registry: the object store failed with {type(error).__name__}; the server's log has the rest"
        ) from error
