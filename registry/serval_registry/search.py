"""The nearest versions by the cosine of their vectors: exactly while they are few, by an IVF_PQ index once many."""

import math
from collections.abc import Collection, Mapping
from enum import StrEnum
from typing import NamedTuple

from lancedb import col, lit
from lancedb.expr import Expr

from serval_registry.embedding import Tokens, Vector, describe, overlap
from serval_registry.errors import InvalidArgument
from serval_registry.filters import alive, all_of, staged, tagged
from serval_registry.model import Ref, Stage, Version
from serval_registry.tables import INDEX_ROWS_MIN, Table
from serval_registry.versions import from_row

K_MAX = 1000

# LanceDB's own advice is that an index is seldom needed below 100,000 rows; at 20,000 comparing all takes some 10 ms.
INDEX_THRESHOLD = 20_000

# Of how many candidates, found by their vectors, each hit of a search by words is chosen.
CANDIDATES_PER_HIT = 10

# Where a version's vector comes from: computed here, or sent by the caller, who alone knows what its space means.
DEFAULT_VECTOR, USER_VECTOR = "default", "user"


class SearchPath(StrEnum):
    """How the answer was found."""

    EXACT = "exact"
    IVF_PQ = "ivf_pq"


class Hit(NamedTuple):
    """A version and its cosine similarity, -1 to 1."""

    version: Version
    similarity: float


class SearchResult(NamedTuple):
    """Most similar first; `indexed_rows` counts deleted versions too, and is 0 where there is no index."""

    hits: list[Hit]
    path: SearchPath
    indexed_rows: int


class Wanted(NamedTuple):
    """What is searched for: a direction, the space it is meant in (None: any), a version to leave out, the words."""

    vector: Vector
    source: str | None = None
    without: Ref | None = None
    words: Tokens | None = None


def search(
    table: Table, wanted: Wanted, *, stages: Collection[Stage], tags: Mapping[str, str], k: int, index_threshold: int
) -> SearchResult:
    """Return the k nearest versions that pass the filters; see Registry.search."""
    if not 1 <= k <= K_MAX:
        raise InvalidArgument(f"k: {k}; wanted 1 to {K_MAX}")
    indexed = table.indexed_rows()
    by_index = indexed > 0 and table.count() >= max(index_threshold, INDEX_ROWS_MIN)
    where = all_of(alive(), staged(stages), tagged(tags), _source(wanted.source))
    found = table.nearest(wanted.vector, where, _candidates(wanted, k), by_index=by_index)
    hits = [Hit(from_row(row), min(1.0, max(-1.0, 1.0 - distance))) for row, distance in found]
    hits = [hit for hit in hits if hit.version.ref != wanted.without]
    if wanted.words is not None:
        hits = _ranked(hits, wanted.words)
    return SearchResult(hits[:k], SearchPath.IVF_PQ if by_index else SearchPath.EXACT, indexed)


def partitions(rows: int) -> int:
    """Return how many partitions suit so many rows: about their square root, a power of two.

    >>> [partitions(rows) for rows in (256, 20_000, 1_000_000)]
    [16, 128, 1024]
    """
    return int(2 ** round(math.log2(rows) / 2))


def _candidates(wanted: Wanted, k: int) -> int:
    if wanted.words is not None:
        return max(k, min(CANDIDATES_PER_HIT * k, K_MAX))
    return k + (wanted.without is not None)


def _ranked(hits: list[Hit], words: Tokens) -> list[Hit]:
    """Rank by the words themselves: few words match weakly, and weak matches drown in the error of the vectors."""
    exact = [Hit(version, min(1.0, overlap(words, describe(version, version.signature)))) for version, _ in hits]
    return sorted(exact, key=lambda hit: -hit.similarity)


def _source(source: str | None) -> Expr | None:
    return None if source is None else col("vector_source") == lit(source)
