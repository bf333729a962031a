"""Cosine similarity.

Rules. cos(a, b) = a.b / (|a| |b|), in float64 whatever the dtype, clipped to -1..1. A zero vector is like nothing: its
cosine is 0, also with itself. A NaN or an infinity in either vector gives NaN, and NaN is never among the best.
Sums may be taken in any order (`reduction`): 1e-12 of difference at most, and vector registers.
"""

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from serval_kernels.compile import inlined_reduction, kernel, reduction

Vector = npt.NDArray[np.floating[Any]]
Scores = npt.NDArray[np.float64]
Places = npt.NDArray[np.int64]

_LEAST_SQUARE = 1e-20  # of float32: its products are far from the smallest numbers, where digits are lost
_ROWS = 64  # of a block: 96 kB at 384 numbers of float32, within the second-level cache
_SMALL, _LARGE = 1e-280, 1e280  # a sum of squares outside of these may have lost digits


@kernel
def cosine(a: Vector, b: Vector) -> float:
    """Return the cosine of two vectors of one length (else ValueError), float32 or float64."""
    if a.size != b.size:
        raise ValueError("b: its length is not that of a; wanted the same")
    return _cosine(a, b)


def scores(query: Vector, rows: Vector) -> Scores:
    """Return the cosine of `query` [width] with each row of `rows` [n, width] (else ValueError): float64[n]."""
    _check(query, rows)
    result = np.empty(len(rows), np.float64)
    _score(query, rows, result)
    return result


def top_k(query: Vector, rows: Vector, k: int) -> tuple[Places, Scores]:
    """Return the places and cosines of the `k` rows most like `query`, best first, ties by place, in one pass.

    `query` [width], `rows` [n, width] (else ValueError). Fewer than k come back where fewer rows have a cosine. Rows of
    float32 are first weighed in float32; only those that might be among the best then get their cosine.
    """
    _check(query, rows)
    if k < 0:
        raise ValueError(f"k: {k}; wanted 0 or more")
    size = min(k, len(rows))
    places, best = np.empty(size, np.int64), np.empty(size, np.float64)
    if not size:
        return places, best
    unit = np.empty(query.size, np.float32)
    if rows.dtype == np.float32 and rows.flags.c_contiguous and _scale(query, unit):
        found = _select_weighed(query, unit, rows, places, best)
    else:
        found = _select(query, rows, places, best)
    return places[:found], best[:found]


def _check(query: Vector, rows: Vector) -> None:
    if query.ndim != 1 or rows.ndim != 2 or rows.shape[1] != query.shape[0]:
        raise ValueError(f"rows: shape {rows.shape} for a query of shape {query.shape}; wanted [n, width] and [width]")


@reduction
def _sums(a: Vector, b: Vector) -> tuple[float, float, float]:
    """Return a.b, a.a and b.b."""
    dot = aa = bb = 0.0
    for i in range(a.size):
        x, y = np.float64(a[i]), np.float64(b[i])
        dot += x * y
        aa += x * x
        bb += y * y
    return dot, aa, bb


@kernel
def _cosine(a: Vector, b: Vector) -> float:
    dot, aa, bb = _sums(a, b)
    if not (_SMALL < aa < _LARGE and _SMALL < bb < _LARGE):
        return _cosine_scaled(a, b)
    return min(max(dot / math.sqrt(aa) / math.sqrt(bb), -1.0), 1.0)


@kernel
def _cosine_scaled(a: Vector, b: Vector) -> float:
    """Return the cosine of vectors whose squares overflow or vanish, by first dividing each by its largest number."""
    largest_a = largest_b = 0.0
    for i in range(a.size):
        if not (np.isfinite(a[i]) and np.isfinite(b[i])):
            return np.nan
        largest_a = max(largest_a, abs(np.float64(a[i])))
        largest_b = max(largest_b, abs(np.float64(b[i])))
    if largest_a == 0.0 or largest_b == 0.0:
        return 0.0
    dot = aa = bb = 0.0
    for i in range(a.size):
        x, y = np.float64(a[i]) / largest_a, np.float64(b[i]) / largest_b
        dot += x * y
        aa += x * x
        bb += y * y
    return min(max(dot / math.sqrt(aa) / math.sqrt(bb), -1.0), 1.0)


@kernel
def _score(query: Vector, rows: Vector, result: Scores) -> None:
    for row in range(rows.shape[0]):
        result[row] = _cosine(query, rows[row])


@kernel
def _scale(query: Vector, unit: npt.NDArray[np.float32]) -> bool:
    """Write a vector at length 1; False where it has none, or a number is not finite."""
    largest = 0.0
    for i in range(query.size):
        if not np.isfinite(query[i]):
            return False
        largest = max(largest, abs(np.float64(query[i])))
    if largest == 0.0:
        return False
    square = 0.0
    for i in range(query.size):
        square += (np.float64(query[i]) / largest) ** 2
    length = math.sqrt(square)
    for i in range(query.size):
        unit[i] = np.float64(query[i]) / largest / length
    return True


@kernel
def _select(query: Vector, rows: Vector, places: Places, best: Scores) -> int:
    """Keep the best rows seen so far in falling order; return how many there are."""
    found = 0
    for row in range(rows.shape[0]):
        found = _insert(_cosine(query, rows[row]), row, places, best, found)
    return found


@inlined_reduction
def _weigh(unit: Vector, row: Vector) -> tuple[np.float32, np.float32]:
    """Return the product of a unit vector with another, and that one's square, in their own precision."""
    product = square = np.float32(0)
    for i in range(unit.size):
        product += unit[i] * row[i]
        square += row[i] * row[i]
    return product, square


@kernel
def _select_weighed(query: Vector, unit: Vector, rows: Vector, places: Places, best: Scores) -> int:
    """Do as `_select`, and reckon exactly only what float32 cannot rule out.

    One row after the other: read as several streams, a quarter of the rows apart, memory is up to a tenth faster in a
    quiet minute, and half as slow again beside a neighbour.
    """
    found = 0
    # Of a sum of `size` products in float32, in any order, relative to the product of the norms; twice, to be safe.
    error = 2.0 * (unit.size + 8) * 2.0**-24
    least = -np.inf
    for row in range(rows.shape[0]):
        product, square = _weigh(unit, rows[row])
        # Squares that overflow, vanish or are NaN tell nothing.
        told = _LEAST_SQUARE < square < np.inf
        if not told or np.float64(product) >= least * math.sqrt(np.float64(square)):
            found = _insert(_cosine(query, rows[row]), row, places, best, found)
            least = best[-1] - error if found == best.size else -np.inf
    return found


@kernel
def _insert(score: float, row: int, places: Places, best: Scores, found: int) -> int:
    """Put a row where it belongs among the best, in falling order, ties by place; return how many there are."""
    if math.isnan(score):
        return found
    full = found == best.size
    if full and (score < best[-1] or (score == best[-1] and row > places[-1])):
        return found
    at = found - 1 if full else found
    while at > 0 and (best[at - 1] < score or (best[at - 1] == score and places[at - 1] > row)):
        best[at], places[at] = best[at - 1], places[at - 1]
        at -= 1
    best[at], places[at] = score, row
    return min(found + 1, best.size)


def pairwise(queries: Vector, rows: Vector) -> Scores:
    """Return the cosine of each of `queries` [m, width] with each of `rows` [n, width]: float64[m, n].

    ValueError for other shapes. By blocks of rows, each of which is used for all queries while it is near; no norm is
    computed twice.
    """
    if queries.ndim != 2 or rows.ndim != 2 or queries.shape[1] != rows.shape[1]:
        raise ValueError(
            f"rows: shape {rows.shape} for queries of shape {queries.shape}; wanted [n, width], [m, width]"
        )
    result = np.empty((len(queries), len(rows)), np.float64)
    _pairwise(queries, rows, result)
    return result


@reduction
def _dot(a: Vector, b: Vector) -> float:
    total = 0.0
    for i in range(a.size):
        total += np.float64(a[i]) * np.float64(b[i])
    return total


@kernel
def _pairwise(queries: Vector, rows: Vector, result: Scores) -> None:
    of_queries, of_rows = np.empty(queries.shape[0]), np.empty(rows.shape[0])
    for i in range(queries.shape[0]):
        of_queries[i] = _dot(queries[i], queries[i])
    for i in range(rows.shape[0]):
        of_rows[i] = _dot(rows[i], rows[i])
    for start in range(0, rows.shape[0], _ROWS):
        for i in range(queries.shape[0]):
            for row in range(start, min(start + _ROWS, rows.shape[0])):
                if _SMALL < of_queries[i] < _LARGE and _SMALL < of_rows[row] < _LARGE:
                    cosine = _dot(queries[i], rows[row]) / math.sqrt(of_queries[i]) / math.sqrt(of_rows[row])
                    result[i, row] = min(max(cosine, -1.0), 1.0)
                else:
                    result[i, row] = _cosine_scaled(queries[i], rows[row])
