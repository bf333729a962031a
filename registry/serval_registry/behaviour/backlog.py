"""Which versions have not been looked at: those above a place that is noted once what was written for them is on disk.

A place is a revision and, of the rows that share it, a name and a version. What a crash or a stop has left undone is
above it. However many rows are, and whether or not they share a revision, a few thousand keys of them are in memory.
"""

import json
from collections import deque
from typing import NamedTuple

from serval_registry.filters import Where, after, all_of
from serval_registry.lance import Expr, col, lit
from serval_registry.spaces.living import Stamp, stamp_of
from serval_registry.storage import Storage
from serval_registry.tables import Row, Table

DOCUMENT = "behaviour.json"

# Keys read at once, 1 MiB: finding the first of a million rows takes longer than running some models.
AHEAD = 4096

# Above every name.
_ALL = "~"

_COLUMNS = ["revision", "name", "version", "created", "deleted"]
_ORDER = {"revision": True, "name": True, "version": True}


class Place(NamedTuple):
    """Everything up to here has been looked at; of a revision alone: all rows that have it."""

    revision: int
    name: str = _ALL
    version: int = 0


class Step(NamedTuple):
    """A row of the backlog: its place, and the version that it is of, None where that is deleted."""

    place: Place
    owner: Stamp | None


class Backlog:
    """The rows of `versions` above the place noted, in order; called by one thread at a time, but for `peek`."""

    def __init__(self, versions: Table, storage: Storage) -> None:
        self._versions = versions
        self._storage = storage
        self._ahead: deque[Step] = deque()
        self._passed: Place | None = None  # what comes before the first of `_ahead`

    def looked(self) -> Place:
        """Return the place up to which every version has been looked at."""
        try:
            return Place(**json.loads(self._storage.read(DOCUMENT) or b"{}"))
        except (ValueError, TypeError):
            return Place(0)

    def note(self, place: Place) -> None:
        """Note that place."""
        self._storage.write(DOCUMENT, json.dumps(place._asdict()).encode())

    def above(self) -> Where:
        """Return the condition on rows of versions that have not been looked at."""
        return _above(self.looked())

    def take(self, limit: int) -> list[Step]:
        """Return the next rows; the same again until a later place is noted."""
        looked = self.looked()
        while self._ahead and self._passed != looked:  # another process has been here, or this one has gone on
            self._passed = self._ahead.popleft().place
        if not self._ahead:
            self._ahead.extend(self.peek(looked, AHEAD))
            self._passed = looked
        return [self._ahead[place] for place in range(min(limit, len(self._ahead)))]

    def peek(self, looked: Place, limit: int) -> list[Step]:
        """Return rows after a place, in order."""
        above = _above(looked)
        newest = self._versions.select(above, ["revision"], order={"revision": False}, limit=1)
        if not newest:
            return []
        last, until = newest[0]["revision"], looked.revision
        rows: list[Row] = []
        # A window over revisions, as to sort a million rows for the first of them takes longer than to look at these.
        while not rows:
            until = min(last, until + max(limit, 2 * (until - looked.revision)))
            rows = self._versions.select(
                all_of(above, col("revision") <= lit(until)), _COLUMNS, order=_ORDER, limit=limit
            )
            if until == last:
                break
        return [_step(row) for row in rows]


def _above(place: Place) -> Where:
    later = col("revision") > lit(place.revision)
    if place.name == _ALL:
        return later
    # The revision alone as well: LanceDB's index answers that part.
    shared: Expr = (col("revision") == lit(place.revision)) & after(place.name, place.version)
    return all_of(col("revision") >= lit(place.revision), later | shared)


def _step(row: Row) -> Step:
    place = Place(row["revision"], row["name"], row["version"])
    return Step(place, None if row["deleted"] else stamp_of(row))
