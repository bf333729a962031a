"""Likeness in a space of callers: the cosine of vectors there."""

from collections.abc import Sequence

from serval_kernels.similarity.cosine import cosine

from serval_registry.embedding import Vector
from serval_registry.model import Version
from serval_registry.predicates import Conditions
from serval_registry.ranking.part import Found, Said
from serval_registry.spaces.keyed import Keyed
from serval_registry.spaces.living import Stamp


class Embedded:
    """A search of one space; versions without a vector there are not found by it."""

    def __init__(self, name: str, keyed: Keyed, vector: Vector, without: Stamp | None) -> None:
        self.name = name
        self.without = without
        self._keyed = keyed
        self._vector = vector

    def nearest(self, conditions: Conditions, count: int) -> Found:
        """Return the versions of largest cosine."""
        found = self._keyed.nearest(self._vector, conditions, count, without=self.without)
        hits = [(version, Said(similarity)) for version, similarity in found.hits]
        return Found(hits, found.path, found.indexed_rows, found.recall)

    def of(self, versions: Sequence[Version]) -> list[Said | None]:
        """Return the cosine of each."""
        vectors = self._keyed.vectors(versions)
        return [None if vector is None else Said(float(cosine(self._vector, vector))) for vector in vectors]
