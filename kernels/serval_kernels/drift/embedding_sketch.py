"""Sketches of embeddings: where many vectors point and how long they are, in the size of one vector; they add up.

Rules. Rows are [n, width]. The moments of their Euclidean norms count them: a row that holds a NaN is missing, one that
holds an infinity, or whose norm is beyond float64, infinite; neither takes part in anything else. A zero vector takes
part as a row of norm 0, and is counted as `zeros` too. Counts, minimum and maximum add up exactly; mean vector, mean
and m2 are associative up to rounding, in float64. A sketch of no rows is the neutral element of `merge`.
"""

import math
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from serval_kernels.compile import kernel
from serval_kernels.drift.moments import EMPTY, Moments, moments
from serval_kernels.drift.moments import merge as merge_moments
from serval_kernels.similarity.cosine import cosine

Rows = npt.NDArray[np.floating[Any]]
Reals = npt.NDArray[np.float64]

_BLOCK: Final = 1024  # rows of a partial sum, which keeps sums short
_NUMBERS: Final = 1 << 19  # of rows that are looked at together, and are near when they are read again
_SMALL, _LARGE = 1e-280, 1e280  # a sum of squares outside of these may have lost digits


class EmbeddingSketch(NamedTuple):
    """What the vectors of one width looked like. `norms.finite` is the number of vectors that the mean is of."""

    mean: Reals  # [width]; 0 where there is none
    norms: Moments
    zeros: int

    @property
    def rows(self) -> int:
        """Return how many rows were looked at, the missing and infinite ones too."""
        return self.norms.finite + self.norms.missing + self.norms.infinite

    @property
    def concentration(self) -> float:
        """Return |mean vector| / mean norm: 1 where all point one way, 0 where they cancel; NaN where no norm is."""
        if not self.norms.finite or self.norms.mean == 0.0:
            return math.nan
        scaled = self.mean / self.norms.mean
        return min(float(np.linalg.norm(scaled)), 1.0)


def new_sketch(width: int) -> EmbeddingSketch:
    """Return a sketch of no vectors."""
    return EmbeddingSketch(np.zeros(width), EMPTY, 0)


def sketch(rows: Rows) -> EmbeddingSketch:
    """Return the sketch of rows: float32 or float64 [n, width] of any stride (else TypeError, ValueError)."""
    if rows.ndim != 2:
        raise ValueError(f"rows: shape {rows.shape}; wanted [n, width]")
    if rows.dtype not in (np.float32, np.float64):
        raise TypeError(f"rows: {rows.dtype}; wanted float32 or float64")
    norms, mean = np.empty(len(rows)), np.zeros(rows.shape[1])
    for part, of_part in _parts(rows, norms):
        _norms(part, of_part)
        _add(part, of_part, 1.0, mean)
    found = moments(norms)
    if not _divide(mean, max(found.finite, 1)):  # the sum of huge numbers; that of their shares cannot overflow
        mean[:] = 0.0
        for part, of_part in _parts(rows, norms):
            _add(part, of_part, 1.0 / found.finite, mean)
    return EmbeddingSketch(mean, found, int((norms == 0.0).sum()))


def merge(a: EmbeddingSketch, b: EmbeddingSketch) -> EmbeddingSketch:
    """Return the sketch of both parts together; ValueError where their widths differ."""
    if a.mean.shape != b.mean.shape:
        raise ValueError(f"sketches: of vectors of {a.mean.size} and {b.mean.size} numbers; wanted one width")
    norms = merge_moments(a.norms, b.norms)
    count = max(norms.finite, 1)
    # Two shares of means rather than a step from one to the other: the difference of huge means may overflow.
    mean = a.mean * (a.norms.finite / count) + b.mean * (b.norms.finite / count)
    return EmbeddingSketch(mean, norms, a.zeros + b.zeros)


def mean_cosine(reference: EmbeddingSketch, current: EmbeddingSketch) -> float:
    """Return the cosine of both mean vectors (`similarity.cosine`): 1 for no drift, 0 where a mean is zero.

    NaN where a side has no vector. ValueError where their widths differ.
    """
    if reference.mean.shape != current.mean.shape:
        raise ValueError(f"current: width {current.mean.size}; wanted that of the reference, {reference.mean.size}")
    if not (reference.norms.finite and current.norms.finite):
        return math.nan
    return float(cosine(reference.mean, current.mean))


def _parts(rows: Rows, norms: Reals) -> Iterator[tuple[Rows, Reals]]:
    """Give some rows after the other, contiguous, with their norms: copies where they are not so already."""
    size = _BLOCK * max(_NUMBERS // _BLOCK // max(rows.shape[1], 1), 1)
    for start in range(0, len(rows), size):
        yield np.ascontiguousarray(rows[start : start + size]), norms[start : start + size]


@kernel
def _norms(rows: Rows, norms: Reals) -> None:
    """Fill in the norm of each row: NaN where it holds one, else infinite where it holds an infinity."""
    for row in range(rows.shape[0]):
        squares = 0.0
        for i in range(rows.shape[1]):
            x = np.float64(rows[row, i])
            squares += x * x
        norms[row] = math.sqrt(squares) if _SMALL < squares < _LARGE else _norm_scaled(rows[row])


@kernel
def _norm_scaled(values: Rows) -> float:
    """Return the norm of a vector whose squares overflow or vanish, by first dividing it by its largest number."""
    largest = 0.0
    for i in range(values.size):
        x = abs(np.float64(values[i]))
        if x != x:
            return np.nan
        largest = max(largest, x)
    if largest == 0.0 or largest == np.inf:
        return largest
    squares = 0.0
    for i in range(values.size):
        x = np.float64(values[i]) / largest
        squares += x * x
    return largest * math.sqrt(squares)


@kernel
def _add(rows: Rows, norms: Reals, share: float, total: Reals) -> None:
    """Add the rows whose norm is finite, each number times `share`, to the total, by sums of blocks."""
    part = np.empty(total.size)
    for start in range(0, rows.shape[0], _BLOCK):
        part[:] = 0.0
        for row in range(start, min(start + _BLOCK, rows.shape[0])):
            if np.isfinite(norms[row]):
                for i in range(part.size):
                    part[i] += rows[row, i] * share
        for i in range(part.size):
            total[i] += part[i]


@kernel
def _divide(total: Reals, count: int) -> bool:
    """Divide a total, all of whose numbers are finite; tell whether they are."""
    for i in range(total.size):
        if not np.isfinite(total[i]):
            return False
    for i in range(total.size):
        total[i] /= count
    return True
