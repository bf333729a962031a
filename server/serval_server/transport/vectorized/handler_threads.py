"""Threads for ordinary handlers, shared by connections: each has a queue of its own, and they take turns.

With one queue for all, who has a thousand calls waiting would have everyone else wait for them; and who has as many
slow calls or open streams as there are threads would have everyone else wait for their end. So a connection gets one
thread more while it has no more than it leaves free: alone half of them, the next one half of the rest (dynamic
thresholds, A. K. Choudhury and E. L. Hahne, IEEE/ACM Transactions on Networking 6(2), 1998).
"""

import threading
from collections import Counter, OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from itertools import count
from typing import TypeAlias

Work: TypeAlias = Callable[[], object]


class HandlerThreads:
    """The threads of an executor, and of those that some handlers bring along. Any thread may use it."""

    def __init__(self, executor: ThreadPoolExecutor) -> None:
        self._default = executor
        with suppress(RuntimeError):  # one that is shut down tells whoever submits
            executor.submit(lambda: None)  # a thread is there before none may be had: what waits for one is done
        self._shared: dict[ThreadPoolExecutor, _Shared] = {}
        self._serials: dict[int, int] = {}  # by connections' numbers, which are used again
        self._next_serial = count()

    def submit(self, connection: int, work: Work, executor: object = None) -> Callable[[], bool]:
        """Have `work` done after what the connection has waiting for the same threads.

        Returns what takes it back, and tells whether it could: not what has a thread already. Raises RuntimeError
        where the executor is shut down.
        """
        threads = executor if isinstance(executor, ThreadPoolExecutor) else self._default
        shared = self._shared.get(threads) or self._shared.setdefault(threads, _Shared(threads))
        serial = self._serials.get(connection)
        if serial is None:
            serial = self._serials.setdefault(connection, next(self._next_serial))
        return partial(shared.withdraw, serial, shared.submit(serial, work))

    def leave(self, connection: int) -> None:
        """Know that a connection is over: what it still has under way is not the next one's of its number."""
        self._serials.pop(connection, None)


class _Shared:
    """One executor's threads, and who has them."""

    def __init__(self, executor: ThreadPoolExecutor) -> None:
        self._executor = executor
        self._free = executor._max_workers
        self._running: Counter[int] = Counter()
        self._waiting: dict[int, OrderedDict[int, Work]] = {}  # in the order of their turns; none is empty
        self._tickets = count()
        self._lock = threading.Lock()

    def submit(self, connection: int, work: Work) -> int:
        """Return a ticket, and not what holds the work, which holds its call."""
        with self._lock:
            ticket = next(self._tickets)
            self._waiting.setdefault(connection, OrderedDict())[ticket] = work
            try:
                self._begin()
            except RuntimeError:
                self._take_out(connection, ticket)
                raise
            return ticket

    def withdraw(self, connection: int, ticket: int) -> bool:
        with self._lock:
            return self._take_out(connection, ticket)

    def _take_out(self, connection: int, ticket: int) -> bool:
        """Have work wait no more; tell whether it did. Called with the lock held."""
        waiting = self._waiting.get(connection)
        if waiting is None or ticket not in waiting:
            return False
        del waiting[ticket]
        if not waiting:
            del self._waiting[connection]
        return True

    def _begin(self) -> None:
        """Give free threads to those whose turn it is. Called with the lock held."""
        while (connection := self._next()) is not None:
            if self._executor._shutdown:
                raise RuntimeError("the executor is shut down")
            waiting = self._waiting.pop(connection)
            _, work = waiting.popitem(last=False)
            if waiting:
                self._waiting[connection] = waiting
            self._free -= 1
            self._running[connection] += 1
            with suppress(RuntimeError):  # no thread can be started for it: one of those that are there takes it
                self._executor.submit(self._run, connection, work)

    def _next(self) -> int | None:
        """Return the first connection that may have a thread. Those that may not have one already, so they are few."""
        if not self._free:
            return None
        return next((number for number in self._waiting if self._running[number] <= self._free), None)

    def _run(self, connection: int, work: Work) -> None:
        try:
            work()
        finally:
            with self._lock, suppress(RuntimeError):
                self._free += 1
                self._running[connection] -= 1
                if not self._running[connection]:
                    del self._running[connection]
                self._begin()
