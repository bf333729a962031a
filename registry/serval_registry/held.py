"""A small registry's versions and vectors, held in memory: comparing all of a thousand takes 20 microseconds.

What is held is replaced, never changed, whenever the table has a newer commit, by the rows written since.
"""

import threading
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from serval_kernels.similarity.cosine import Scores, scores, top_k

from serval_registry.embedding import DIMENSION, Vector
from serval_registry.lance import col, lit
from serval_registry.model import Version
from serval_registry.predicates import Conditions
from serval_registry.tables import Table, Vectors
from serval_registry.versions import from_row

# 10 MiB with everything that is said of them.
HELD_ROWS = 5000

# What a filter may leave for it to be compared whole, whatever the size of the rest: 2 MiB of vectors.
NARROW_ROWS = 4000

Key = tuple[str, int]


class Snapshot(NamedTuple):
    """Versions that are not deleted, and their vectors: float32 [versions, DIMENSION]."""

    commit: int
    revision: int
    places: dict[Key, int]
    versions: list[Version]
    vectors: Vectors

    def nearest(
        self, vector: Vector, conditions: Conditions, source: str | None, k: int
    ) -> list[tuple[Version, float]]:
        """Return the k versions of largest cosine that pass, with it."""
        if source is None and not conditions.given:
            places, cosines = top_k(vector, self.vectors, k)
            return [
                (self.versions[place], cosine) for place, cosine in zip(places.tolist(), cosines.tolist(), strict=True)
            ]
        return best(scores(vector, self.vectors), self.versions, conditions, source, k)


def best(
    cosines: Scores, versions: Sequence[Version], conditions: Conditions, source: str | None, k: int
) -> list[tuple[Version, float]]:
    """Return the k versions of largest cosine that pass and whose vector is of a source (None: any), with it."""
    found: list[tuple[Version, float]] = []
    for place in np.argsort(-cosines, kind="stable").tolist():
        version = versions[place]
        if (source is None or version.vector_source == source) and conditions.pass_for(version):
            found.append((version, float(cosines[place])))
            if len(found) == k:
                break
    return found


_EMPTY = Snapshot(0, 0, {}, [], np.empty((0, DIMENSION), np.float32))


class Held:
    """The snapshot of a table, while it is small."""

    def __init__(self, table: Table, most: int) -> None:
        """Take the table, and the number of rows up to which it is held."""
        self._table = table
        self._most = min(most, HELD_ROWS)
        self._refreshing = threading.Lock()
        self._snapshot = _EMPTY

    def at(self, commit: int, rows: int) -> Snapshot | None:
        """Return the table as it was at a commit, when it had so many rows, or later; None where they are too many."""
        if rows > self._most:
            self._snapshot = _EMPTY
            return None
        snapshot = self._snapshot
        if snapshot.commit >= commit:
            return snapshot
        with self._refreshing:
            if self._snapshot.commit < commit:
                self._snapshot = self._renewed(self._snapshot, commit)
            return self._snapshot

    def _renewed(self, old: Snapshot, commit: int) -> Snapshot:
        since = col("revision") > lit(old.revision)
        _, rows, vectors = self._table.vectors(since, self._table.columns, 2 * HELD_ROWS)
        revision = max((row["revision"] for row in rows), default=old.revision)
        changed = {(row["name"], row["version"]) for row in rows}
        kept = [place for key, place in old.places.items() if key not in changed]
        fresh = [place for place, row in enumerate(rows) if not row["deleted"]]
        versions = [old.versions[place] for place in kept] + [from_row(rows[place]) for place in fresh]
        places = {(version.name, version.version): place for place, version in enumerate(versions)}
        return Snapshot(commit, revision, places, versions, np.concatenate([old.vectors[kept], vectors[fresh]]))
