"""The vectors of a table of stamps nearest to a query, of versions that are there and pass.

What a version is lies in the table of versions, so a filter is no condition on these rows. Where few versions pass,
theirs are compared. Else the nearest are taken, and as many more again as it takes until enough of them pass.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from serval_kernels.similarity.cosine import scores

from serval_registry.embedding import Vector
from serval_registry.filters import Where, all_of, maybe_all_of
from serval_registry.held import HELD_ROWS
from serval_registry.lance import col, lit
from serval_registry.model import Version
from serval_registry.predicates import Conditions
from serval_registry.recent import Recent
from serval_registry.search import FILTERED_PROBES, SearchPath, cosine_of
from serval_registry.spaces.living import Living, Stamp, stamp, stamp_of, stamped
from serval_registry.tables import INDEX_ROWS_MIN, NPROBES, Table, Vectors
from serval_registry.training import Indexed, look

# How many more candidates are asked for where too few of them pass.
_WIDENED = 4

_STAMP = ("name", "version", "created")
EVERY = col("version") > lit(0)


class Ranked(NamedTuple):
    """Versions with the cosine of their vector to the query, most similar first; the rest as in `SearchResult`."""

    hits: list[tuple[Version, float]]
    path: SearchPath = SearchPath.EXACT
    indexed_rows: int = 0
    recall: float = 1.0


class _Held(NamedTuple):
    stamps: list[Stamp]
    vectors: Vectors


class Keyed:
    """The vectors of one table; called from any thread."""

    def __init__(self, table: Table, living: Living, read: Callable[[str], bytes | None], threshold: int) -> None:
        self.table = table
        self._living = living
        self._read = read
        self._threshold = max(threshold, INDEX_ROWS_MIN)
        self._sizes: Recent[int, Indexed] = Recent(2)
        self._kept: Recent[int, _Held] = Recent(1)

    def nearest(
        self,
        vector: Vector,
        conditions: Conditions,
        count: int,
        *,
        without: Stamp | None = None,
        where: Where | None = None,
    ) -> Ranked:
        """Return the `count` versions of largest cosine; `where` is a condition on the rows of this table."""
        size = self._size()
        few = self._living.narrow(conditions)
        if few is not None or (size.rows < min(HELD_ROWS, self._threshold) and where is None):
            held = self._all() if few is None else self._rows_of(few, where, size.rows)
            return Ranked(self._first(held, vector, conditions, count, without), indexed_rows=size.indexed)
        return self._widening(vector, conditions, count, size, without, where)

    def vectors(self, versions: Sequence[Version]) -> list[Vector | None]:
        """Return the vector of each version, None where it has none here."""
        held = self._rows_of([stamp(version) for version in versions], None, self._size().rows)
        places = {each: place for place, each in enumerate(held.stamps)}
        found = (places.get(stamp(version)) for version in versions)
        return [None if place is None else held.vectors[place] for place in found]

    def _first(
        self, held: _Held, vector: Vector, conditions: Conditions, count: int, without: Stamp | None
    ) -> list[tuple[Version, float]]:
        """Return the best that pass, looking them up a few at a time."""
        if not held.stamps:
            return []
        cosines = scores(vector, held.vectors)
        ranked = [(held.stamps[place], float(cosines[place])) for place in np.argsort(-cosines, kind="stable").tolist()]
        return self._living.first([pair for pair in ranked if pair[0] != without], conditions, count)

    def _widening(
        self,
        vector: Vector,
        conditions: Conditions,
        count: int,
        size: Indexed,
        without: Stamp | None,
        where: Where | None,
    ) -> Ranked:
        indexed = size.indexed > 0 and size.rows >= self._threshold
        probes = (NPROBES if where is None else FILTERED_PROBES) if indexed else 0
        asked = count + count // 4 + 1
        while True:
            near = self.table.nearest_rows(vector, where, asked, _STAMP, probes=probes)
            pairs = [(stamp_of(row), cosine_of(distance)) for row, distance in near]
            hits = self._living.first([pair for pair in pairs if pair[0] != without], conditions, count)
            if len(hits) >= count or (not probes and len(near) < asked):
                path = SearchPath.IVF_PQ if probes else SearchPath.EXACT
                return Ranked(hits, path, size.indexed, size.recall if probes else 1.0)
            if len(near) < asked:  # no more in the partitions visited
                probes = 0
            else:
                asked *= _WIDENED

    def _rows_of(self, stamps: Sequence[Stamp], where: Where | None, rows: int) -> _Held:
        if rows < HELD_ROWS and where is None:
            held = self._all()
        elif stamps:
            held = self._load(all_of(stamped(stamps), where))
        else:
            return _Held([], np.empty((0, self.table.width), np.float32))
        wanted = set(stamps)
        places = [place for place, each in enumerate(held.stamps) if each in wanted]
        return _Held([held.stamps[place] for place in places], held.vectors[places])

    def _all(self) -> _Held:
        return self._kept.get(self.table.commit(), lambda: self._load(None))

    def _load(self, where: Where | None) -> _Held:
        _, rows, vectors = self.table.vectors(maybe_all_of(where) or EVERY, _STAMP, self.table.count())
        return _Held([stamp_of(row) for row in rows], vectors)

    def _size(self) -> Indexed:
        return self._sizes.get(self.table.commit(), lambda: look(self._read, self.table))
