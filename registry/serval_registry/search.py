"""The nearest versions by the cosine of their vectors.

While they are few they lie in memory, and all are compared. Beyond that LanceDB compares them; beyond the index
threshold an IVF_PQ index chooses candidates, which are ranked by their full vectors. A filter that leaves few rows is
answered by comparing those rows, whatever the size of the rest: an index would have to look for them everywhere.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from serval_kernels.similarity.cosine import top_k

from serval_registry.behaviour.agreement import Agreement
from serval_registry.embedding import Tokens, Vector, describe, overlap
from serval_registry.errors import InvalidArgument
from serval_registry.filters import Where, alive, all_of, sourced, sql
from serval_registry.held import NARROW_ROWS, Held, Snapshot
from serval_registry.mirror.mirror import Mirror
from serval_registry.model import Ref, Version
from serval_registry.predicates import Conditions
from serval_registry.recent import Recent
from serval_registry.tables import INDEX_ROWS_MIN, NPROBES, Near, Table, Vectors
from serval_registry.training import Indexed, look
from serval_registry.versions import from_row

K_MAX = 1000

# LanceDB's own advice is that an index is seldom needed below 100,000 rows; at 20,000 comparing all takes some 10 ms.
INDEX_THRESHOLD = 20_000

# Of how many candidates, found by their vectors, each hit of a search by words is chosen.
CANDIDATES_PER_HIT = 10

# Where a version's vector comes from: computed here, or sent by the caller, who alone knows what its space means.
DEFAULT_VECTOR, USER_VECTOR = "default", "user"

# Of what filters left, and of rows, what was asked for last.
_FILTERS_KEPT = 32
_ROWS_KEPT = 10_000

# Behind a filter the nearest lie farther afield: that many more partitions are visited.
FILTERED_PROBES = 4 * NPROBES


class SearchPath(StrEnum):
    """How the answer was found."""

    EXACT = "exact"
    IVF_PQ = "ivf_pq"
    IVF_SQ8 = "ivf_sq8"


class HitPart(NamedTuple):
    """What one part of a query says of a version: -1 to 1, 0 where it can say nothing; the weights add up to 1."""

    name: str
    similarity: float
    weight: float
    absent: bool = False
    agreement: Agreement | None = None


class Hit(NamedTuple):
    """A version and its similarity, -1 to 1: the cosine of the vectors, or what `parts` say it is made of."""

    version: Version
    similarity: float
    parts: tuple[HitPart, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """What a part has looked at, and what it could not; SearchCoverage of registry.proto says what each field is."""

    part: str
    compared: int
    pending: int = 0
    failed: int = 0
    incomparable: int = 0
    cut: bool = False
    probes: int = 0
    probes_source: str = ""


class SearchResult(NamedTuple):
    """Most similar first.

    `indexed_rows` counts deleted versions too, and is 0 where there is no index; `recall` is that of the index at 10,
    measured when it was trained; 1 where all were compared, NaN where it is not known. `coverage` is of the parts that
    cannot look at every version.
    """

    hits: list[Hit]
    path: SearchPath
    indexed_rows: int
    recall: float = 1.0
    coverage: tuple[Coverage, ...] = ()


class Wanted(NamedTuple):
    """What is searched for: a direction, the space it is meant in (None: any), a version to leave out, the words."""

    vector: Vector
    source: str | None = None
    without: Ref | None = None
    words: Tokens | None = None


class Searcher:
    """Searches of one table; called from any thread."""

    def __init__(self, table: Table, read: Callable[[str], bytes | None], index_threshold: int, mirror: Mirror) -> None:
        self._table = table
        self._mirror = mirror
        self._read = read
        self._threshold = max(index_threshold, INDEX_ROWS_MIN)
        self._held = Held(table, self._threshold - 1)
        self._sizes: Recent[int, Indexed] = Recent(2)
        self._filters: Recent[tuple[int, str], tuple[list[int], Vectors] | None] = Recent(_FILTERS_KEPT)
        # An id never stands for two states of a version: a change writes a new row.
        self._rows: Recent[int, Version] = Recent(_ROWS_KEPT)

    def search(self, wanted: Wanted, conditions: Conditions, k: int) -> SearchResult:
        """Return the k nearest versions that pass; see Registry.search."""
        if not 1 <= k <= K_MAX:
            raise InvalidArgument(f"k: {k}; wanted 1 to {K_MAX}")
        commit = self._table.commit()
        size = self._sizes.get(commit, lambda: look(self._read, self._table))
        count = _candidates(wanted, k)
        held = self._held.at(commit, size.rows)
        if held is not None:
            hits = [
                Hit(version, similarity)
                for version, similarity in held.nearest(wanted.vector, conditions, wanted.source, count)
            ]
            return SearchResult(_chosen(hits, wanted, k), SearchPath.EXACT, size.indexed)
        found = self._mirrored(size, wanted, conditions, count)
        if found is not None:
            return found._replace(hits=_chosen(found.hits, wanted, k))
        return self._asked(commit, size, wanted, conditions, k, count)

    def _asked(
        self, commit: int, size: Indexed, wanted: Wanted, conditions: Conditions, k: int, count: int
    ) -> SearchResult:
        """Return what LanceDB finds."""
        if not conditions.given and size.indexed and size.rows >= self._threshold:
            hits = self._unfiltered(wanted, count)
            if len(hits) >= count:
                return SearchResult(_chosen(hits, wanted, k), SearchPath.IVF_PQ, size.indexed, size.recall)
        near, path = self._nearest(commit, size, wanted, conditions, count)
        versions = self._versions(near)
        if len(versions) < len(near):  # a merge has moved rows meanwhile, and given them new ids
            self._filters.clear()
            near, path = self._nearest(self._table.commit(), size, wanted, conditions, count)
            versions = self._versions(near)
        hits = [Hit(version, cosine_of(distance)) for version, distance in versions]
        recall = size.recall if path is SearchPath.IVF_PQ else 1.0
        return SearchResult(_chosen(hits, wanted, k), path, size.indexed, recall)

    def _mirrored(self, size: Indexed, wanted: Wanted, conditions: Conditions, count: int) -> SearchResult | None:
        """Return what the mirror finds; None where there is none, or LanceDB has to be asked."""
        view = self._mirror.view()
        if view is None:
            return None
        few = view.base.rows < self._threshold
        found = view.nearest(wanted.vector, conditions, wanted.source, count, exact=few)
        if found is None:
            return None
        hits = [Hit(version, cosine) for version, cosine in found.hits]
        if found.exact:
            return SearchResult(hits, SearchPath.EXACT, size.indexed)
        return SearchResult(hits, SearchPath.IVF_SQ8, view.base.rows, self._mirror.recall)

    def held(self) -> Snapshot | None:
        """Return every version, as held in memory; None where they are too many."""
        commit = self._table.commit()
        return self._held.at(commit, self._sizes.get(commit, lambda: look(self._read, self._table)).rows)

    def _unfiltered(self, wanted: Wanted, count: int) -> list[Hit]:
        """Return hits found by the index alone; fewer than `count` where deleted or other ones were nearer.

        Leaving those out beforehand, LanceDB makes a list of all that stay: 60 ms at a million rows, against 4 for the
        nearest themselves.
        """
        near = self._table.nearest(wanted.vector, None, count + count // 4, probes=NPROBES)
        fitting = [
            Hit(version, cosine_of(distance))
            for version, distance in self._versions(near)
            if wanted.source in (None, version.vector_source)
        ]
        return fitting[:count]

    def _nearest(
        self, commit: int, size: Indexed, wanted: Wanted, conditions: Conditions, count: int
    ) -> tuple[list[Near], SearchPath]:
        asked = conditions.where()
        where = all_of(alive(), asked, None if wanted.source is None else sourced(wanted.source))
        narrow = None if asked is None else self._narrow(commit, where)
        if narrow is not None:
            ids, vectors = narrow
            places, cosines = top_k(wanted.vector, vectors, count)
            return [Near(ids[place], 1.0 - cosine) for place, cosine in zip(places, cosines, strict=True)], _EXACT
        if not size.indexed or size.rows < self._threshold:
            return self._table.nearest(wanted.vector, where, count, probes=0), _EXACT
        probes = NPROBES if asked is None else FILTERED_PROBES
        near = self._table.nearest(wanted.vector, where, count, probes=probes)
        if len(near) < count:  # the filter left too few in those partitions
            return self._table.nearest(wanted.vector, where, count, probes=0), _EXACT
        return near, SearchPath.IVF_PQ

    def _narrow(self, commit: int, where: Where) -> tuple[list[int], Vectors] | None:
        """Return the ids and vectors of the rows that pass, None where they are many."""

        def load() -> tuple[list[int], Vectors] | None:
            if len(self._table.select(where, ["version"], limit=NARROW_ROWS + 1)) > NARROW_ROWS:
                return None
            ids, _, vectors = self._table.vectors(where, [], NARROW_ROWS)
            return ids, vectors

        return self._filters.get((commit, sql(where)), load)

    def _versions(self, near: list[Near]) -> list[tuple[Version, float]]:
        missing = [one.id for one in near if self._rows.known(one.id) is None]
        if missing:
            for number, row in self._table.rows(missing):
                if not row["deleted"]:
                    self._rows.put(number, from_row(row))
        found = ((self._rows.known(one.id), one.distance) for one in near)
        return [(version, distance) for version, distance in found if version is not None]


_EXACT = SearchPath.EXACT


def cosine_of(distance: float) -> float:
    """Return the cosine that LanceDB's cosine distance, which rounding may take beyond 0 to 2, stands for."""
    return min(1.0, max(-1.0, 1.0 - distance))


def _candidates(wanted: Wanted, k: int) -> int:
    if wanted.words is not None:
        return max(k, min(CANDIDATES_PER_HIT * k, K_MAX))
    return k + (wanted.without is not None)


def _chosen(hits: list[Hit], wanted: Wanted, k: int) -> list[Hit]:
    if wanted.without is not None:
        hits = [hit for hit in hits if hit.version.ref != wanted.without]
    return (hits if wanted.words is None else _ranked(hits, wanted.words))[:k]


def _ranked(hits: list[Hit], words: Tokens) -> list[Hit]:
    """Rank by the words themselves: few words match weakly, and weak matches drown in the error of the vectors."""
    exact = [
        Hit(hit.version, min(1.0, overlap(words, describe(hit.version, hit.version.signature))), hit.parts)
        for hit in hits
    ]
    return sorted(exact, key=lambda hit: -hit.similarity)
