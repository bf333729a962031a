"""The number of a table's newest commit, asked for at every read.

In a folder every commit adds a file to the table's `_versions`, which changes that folder's time: two microseconds to
see, against a quarter of a millisecond for LanceDB's own answer. A time that is younger than the file system's clock is
fine may stand for two commits, so the number is asked for until the time is old enough to be trusted.
"""

import os
import time
from collections.abc import Callable

# The kernel stamps files with the time of its last tick, at most 10 ms; twice that, to be sure.
_TICK_NS = 20_000_000


class Commits:
    """The commits of one table; `ask` says what the newest is, at any price."""

    def __init__(self, uri: str, ask: Callable[[], int]) -> None:
        self._folder = None if "://" in uri else os.path.join(uri, "_versions")
        self._ask = ask
        self._known: tuple[int, int] | None = None  # the folder's time, the number

    def newest(self) -> int:
        """Return the number."""
        if self._folder is None:
            return self._ask()
        try:
            changed = os.stat(self._folder).st_mtime_ns
        except FileNotFoundError:
            return self._ask()
        known = self._known
        if known is not None and known[0] == changed:
            return known[1]
        before = time.time_ns()
        number = self._ask()
        if before - changed > _TICK_NS:
            self._known = (changed, number)
        return number
