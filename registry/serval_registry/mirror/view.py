"""A mirror with what was written since, as of one commit. A view never changes; a newer commit has another."""

from bisect import bisect_left
from collections.abc import Mapping
from itertools import islice, takewhile
from typing import NamedTuple

import numpy as np
from serval_kernels.similarity.cosine import scores

from serval_registry.embedding import DIMENSION, Vector
from serval_registry.held import NARROW_ROWS, best
from serval_registry.mirror.base import PROBES, Base, Mask, Numbers
from serval_registry.mirror.filtering import passing
from serval_registry.mirror.texts import Key, decoded
from serval_registry.model import Version
from serval_registry.predicates import Conditions
from serval_registry.recent import Recent
from serval_registry.tables import Row, Vectors
from serval_registry.versions import from_row

# Behind a filter the nearest lie farther afield: that many more partitions are visited.
_FILTERED_PROBES = 4 * PROBES
_FILTERS_KEPT = 16


class Late(NamedTuple):
    """A row written since: its text, its version, None where that is deleted, and the vector."""

    text: str
    version: Version | None
    vector: Vector

    @classmethod
    def of(cls, text: str, vector: Vector) -> "Late":
        """Read a row."""
        row = decoded(text)
        return cls(text, None if row["deleted"] else from_row(row), vector)


class Found(NamedTuple):
    """Versions with the cosines of their vectors, largest first; whether all that pass were compared in full."""

    hits: list[tuple[Version, float]]
    exact: bool


class Passed(NamedTuple):
    """Rows of a mirror that pass a filter: int64 numbers where they are few, else uint8 [rows], 0 for all others.

    Neither: LanceDB has to be asked.
    """

    numbers: Numbers | None = None
    mask: Mask | None = None


class Passing:
    """The filters asked for last, and what passes them of one mirror."""

    def __init__(self, base: Base) -> None:
        self._base = base
        self._known: Recent[tuple[str, str | None], Passed] = Recent(_FILTERS_KEPT)

    def of(self, conditions: Conditions, source: str | None) -> Passed:
        """Return what passes, and has a vector of this source; None: of any."""
        return self._known.get((repr(conditions), source), lambda: self._find(conditions, source))

    def _find(self, conditions: Conditions, source: str | None) -> Passed:
        mask = passing(self._base, conditions, source)
        if mask is None:
            return Passed()
        if np.count_nonzero(mask) <= NARROW_ROWS:
            return Passed(numbers=np.flatnonzero(mask))
        return Passed(mask=mask.view(np.uint8))


class View:
    """The table of versions as of a commit."""

    def __init__(
        self,
        base: Base,
        passing: Passing,
        commit: int,
        revision: int,
        late: Mapping[Key, Late],
        allowed: Mask,
    ) -> None:
        self.base, self.passing = base, passing
        self.commit, self.revision = commit, revision
        self.late = late
        self.allowed = allowed  # uint8 [rows of the base]: 0 for what is deleted or written anew
        self.keys = sorted(late)
        self._late_versions = [one.version for one in late.values() if one.version is not None]
        vectors = [one.vector for one in late.values() if one.version is not None]
        self._late_vectors: Vectors = np.array(vectors, np.float32).reshape(-1, DIMENSION)

    def late_of(self, name: str) -> list[Version]:
        """Return the versions of a name that were written since, by version."""
        keys = takewhile(lambda key: key[0] == name, islice(self.keys, bisect_left(self.keys, (name, 0)), None))
        return [version for key in keys if (version := self.late[key].version) is not None]

    def passing_mask(self, conditions: Conditions) -> Mask | None:
        """Return which rows of the mirror are versions that pass: uint8; None where LanceDB has to be asked."""
        if not conditions.given:
            return self.allowed
        numbers, mask = self.passing.of(conditions, None)
        if numbers is None:
            return None if mask is None else self.allowed & mask
        mask = np.zeros(self.base.rows, np.uint8)
        mask[numbers] = self.allowed[numbers]
        return mask

    def version(self, key: Key) -> Version | None:
        """Return a version; None where there is none, or none any more."""
        found = self._at(key)
        return found.version if isinstance(found, Late) else None if found is None else self.base.version(found)

    def row(self, key: Key) -> Row | None:
        """Return the row of a version; None where there is none, or none any more."""
        found = self._at(key)
        return None if found is None else decoded(found.text if isinstance(found, Late) else self.base.text(found))

    def vector(self, key: Key) -> Vector | None:
        """Return the vector of a version, float32 [DIMENSION]; None where there is none, or none any more."""
        found = self._at(key)
        if isinstance(found, Late):
            return found.vector
        return None if found is None else np.array(self.base.vectors[found])

    def _at(self, key: Key) -> "Late | int | None":
        """Return what was written of a version since, or its number in the mirror; None where it is not there."""
        late = self.late.get(key)
        if late is not None:
            return None if late.version is None else late
        number = self.base.number_of(key)
        return None if number is None or self.base.deleted[number] else number

    def nearest(
        self, vector: Vector, conditions: Conditions, source: str | None, k: int, *, exact: bool
    ) -> Found | None:
        """Return the k nearest that pass; None where LanceDB has to be asked. `exact`: all are compared in full."""
        near = self._of_base(vector, conditions, source, k, exact)
        if near is None:
            return None
        late = best(scores(vector, self._late_vectors), self._late_versions, conditions, source, k)
        hits = [*near.hits, *late]
        return Found(sorted(hits, key=lambda hit: -hit[1])[:k], near.exact)

    def _of_base(self, vector: Vector, conditions: Conditions, source: str | None, k: int, exact: bool) -> Found | None:
        allowed, probes = self.allowed, PROBES
        if source is not None or conditions.given:
            numbers, mask = self.passing.of(conditions, source)
            if numbers is not None:
                return self._compared(vector, numbers[self.allowed[numbers] != 0], k)
            if mask is None:
                return None
            allowed = allowed & mask
            probes = _FILTERED_PROBES
        if exact:
            return self._compared(vector, np.flatnonzero(allowed), k)
        near = self.base.nearest(vector, allowed, k, probes)
        if len(near.numbers) < k:  # too few pass in those partitions
            near = self.base.nearest(vector, allowed, k, self.base.rows)
        return self._found(near.numbers, near.cosines.tolist(), exact=False)

    def _compared(self, vector: Vector, numbers: Numbers, k: int) -> Found:
        near = self.base.ranked(vector, numbers, k)
        return self._found(near.numbers, near.cosines.tolist(), exact=True)

    def _found(self, numbers: Numbers, cosines: list[float], *, exact: bool) -> Found:
        hits = zip(map(self.base.version, numbers.tolist()), cosines, strict=True)
        return Found(list(hits), exact)
