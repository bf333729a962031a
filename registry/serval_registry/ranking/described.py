"""Likeness of descriptions: by words, by a vector of the built-in space, or by a version's vector there."""

from collections.abc import Callable, Sequence

from serval_kernels.similarity.cosine import cosine

from serval_registry.embedding import Vector, describe, overlap
from serval_registry.filters import alive, all_of
from serval_registry.model import Ref, Version
from serval_registry.predicates import Conditions
from serval_registry.ranking.part import Found, Said
from serval_registry.search import Searcher, Wanted
from serval_registry.spaces.living import Stamp, stamp, stamp_of, stamped
from serval_registry.tables import Table


class Described:
    """A search of the built-in space."""

    def __init__(
        self, name: str, wanted: Wanted, searcher: Searcher, table: Table, find: Callable[[Ref], Version]
    ) -> None:
        self.name = name
        self._wanted = wanted
        self._searcher = searcher
        self._table = table
        self._find = find

    @property
    def without(self) -> Stamp | None:
        """The version whose vector is asked with."""
        return None if self._wanted.without is None else stamp(self._find(self._wanted.without))

    def nearest(self, conditions: Conditions, count: int) -> Found:
        """Search as `Searcher` does."""
        found = self._searcher.search(self._wanted, conditions, count)
        hits = [(hit.version, Said(hit.similarity)) for hit in found.hits]
        return Found(hits, found.path, found.indexed_rows, found.recall)

    def of(self, versions: Sequence[Version]) -> list[Said | None]:
        """Compare words with words, else vectors; nothing is said of vectors from another source than the example's."""
        words = self._wanted.words
        if words is not None:
            return [Said(min(1.0, overlap(words, describe(each, each.signature)))) for each in versions]
        vectors = self._vectors(versions)
        fits = [self._wanted.source in (None, version.vector_source) for version in versions]
        return [
            Said(float(cosine(self._wanted.vector, vectors[stamp(version)])))
            if fit and stamp(version) in vectors
            else None
            for version, fit in zip(versions, fits, strict=True)
        ]

    def _vectors(self, versions: Sequence[Version]) -> dict[Stamp, Vector]:
        if not versions:
            return {}
        where = all_of(alive(), stamped([stamp(version) for version in versions]))
        _, rows, vectors = self._table.vectors(where, ["name", "version", "created"], self._table.count())
        return {stamp_of(row): vector for row, vector in zip(rows, vectors, strict=True)}
