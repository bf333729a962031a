"""Sketches: what many rows looked like, column by column, in a size that does not grow with them, and adds up.

Rules. A sketch holds columns of numbers, all in the same three arrays: counts between fixed edges, how many values were
finite, missing (NaN) and infinite, and mean, M2, minimum and maximum of the finite ones. Bin i counts
edges[i-1] < x <= edges[i] as in `binning`; -inf and +inf fall into the outer bins, NaN into none. Counts, and so
`merge` of counts, are exact; moments are associative up to rounding. Where no edges are known, `LOG_LINEAR` ones serve.
How values find their bins is the subject of `plan`.

Rows are taken in by tiles that the first-level cache holds. Of a tile, the finite values of a column are laid side by
side, and each loop over them does one thing, most of them in vector registers: two thirds of the time of one loop that
does all, and less where values are missing.
"""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numba
import numpy as np
import numpy.typing as npt

from serval_kernels.compile import inlined, kernel_for, reduction
from serval_kernels.drift.moments import Moments
from serval_kernels.drift.plan import LOG_LINEAR as LOG_LINEAR
from serval_kernels.drift.plan import Bins, Counts, Edges, find_bins
from serval_kernels.drift.plan import Plan as Plan
from serval_kernels.drift.plan import new_plan as new_plan

Floats = npt.NDArray[np.floating[Any]]

_TILE_ROWS: Final = 256
_HUGE: Final = np.finfo(np.float64).max

FINITE, MISSING, INFINITE = range(3)
MEAN, M2, MINIMUM, MAXIMUM = range(4)


class Sketch(NamedTuple):
    """What d columns looked like. The columns' number of rows is the sum of their tally."""

    counts: Counts  # [d, most bins]
    tally: Counts  # [d, 3]: FINITE, MISSING, INFINITE
    moments: Edges  # [d, 4]: MEAN, M2 (sum of squared deviations), MINIMUM, MAXIMUM; of finite values


def new_sketch(plan: Plan) -> Sketch:
    """Return a sketch of nothing: the neutral element of `merge`."""
    d = len(plan.sizes)
    sketch = Sketch(
        np.zeros((d, int(plan.sizes.max(initial=0)) + 1), np.int64), np.zeros((d, 3), np.int64), np.zeros((d, 4))
    )
    clear(sketch)
    return sketch


def clear(sketch: Sketch) -> None:
    """Make a sketch one of nothing again."""
    sketch.counts[:] = 0
    sketch.tally[:] = 0
    sketch.moments[:] = 0.0, 0.0, np.inf, -np.inf


def observe(rows: Floats, first: int, plan: Plan, sketch: Sketch) -> None:
    """Take in rows: float32 or float64 [n, w], any strides; their columns are `first` to `first` + w of the sketch.

    Raises TypeError for arrays of another kind and ValueError for columns that the sketch does not have.
    """
    if rows.dtype not in (np.float32, np.float64) or rows.ndim != 2:
        raise TypeError(f"rows: {rows.dtype} of {rows.ndim} dimensions; wanted float32 or float64 of 2")
    if not 0 <= first <= first + rows.shape[1] <= len(plan.sizes):
        raise ValueError(f"rows: columns {first} to {first + rows.shape[1]}; the sketch has {len(plan.sizes)}")
    _observe(rows, first, plan.edges, plan.grid, plan.map, plan.steps, *sketch)


def merge(into: Sketch, part: Sketch) -> None:
    """Add a part to a sketch of the same plan; raises ValueError where their shapes differ."""
    if into.counts.shape != part.counts.shape:
        raise ValueError(f"sketches: counts of shape {into.counts.shape} and {part.counts.shape}; wanted one plan")
    _merge_moments(into.tally, into.moments, part.tally, part.moments)
    into.counts[:] += part.counts
    into.tally[:] += part.tally


def moments_of(sketch: Sketch, column: int) -> Moments:
    """Return the moments of a column."""
    finite, missing, infinite = sketch.tally[column].tolist()
    return Moments(finite, missing, infinite, *sketch.moments[column].tolist())


def quantiles(edges: Edges, counts: Counts, ends: tuple[float, float], shares: Sequence[float]) -> Edges:
    """Return the values below which these shares of the counted values lie, each bin's values spread evenly over it.

    `ends` are the minimum and the maximum: they close the outer bins. The true quantile lies in the same bin, for
    LOG_LINEAR edges within an eighth of its size; infinities count as the ends. NaN where nothing finite was counted.
    """
    total = counts.sum()
    if not total or ends[0] > ends[1]:
        return np.full(len(shares), np.nan)
    bounds = np.clip(np.concatenate([[ends[0]], edges, [ends[1]]]), *ends)
    found: Edges = np.interp(np.asarray(shares) * total, np.concatenate([[0], np.cumsum(counts)]), bounds)
    return found


@inlined
def _lay(values: Floats, room: Edges) -> None:
    """Lay the values of a column side by side."""
    for i in range(values.size):
        room[i] = np.float64(values[i])


@inlined
def _close_ranks(values: Edges) -> int:
    """Move the finite values to the front, and return how many there are."""
    count = 0
    for i in range(values.size):
        x = values[i]
        values[count] = x
        count += int(abs(x) <= _HUGE)
    return count


@inlined
def _count(bins: Bins, counts: Counts) -> None:
    """Count bins, four that are the same at once: a counter that is met again at once must else wait for itself."""
    whole = bins.size // 4 * 4
    for i in range(0, whole, 4):
        a, b, c, d = bins[i], bins[i + 1], bins[i + 2], bins[i + 3]
        if (a == b) & (b == c) & (c == d):
            counts[a] += 4
        else:
            counts[a] += 1
            counts[b] += 1
            counts[c] += 1
            counts[d] += 1
    for i in range(whole, bins.size):
        counts[bins[i]] += 1


@reduction
def _sums(values: Edges, pivot: float) -> tuple[float, float]:
    """Return the sums of the differences from a pivot and of their squares. Any order of them is as good."""
    total = squares = 0.0
    for i in range(values.size):
        delta = values[i] - pivot
        total += delta
        squares += delta * delta
    return total, squares


@inlined
def _turned(bits: Any) -> Any:
    """Return the bits of a float64 as a number of the same order, and such a number as bits again."""
    return bits ^ np.int64(np.uint64(bits >> 63) >> np.uint64(1))


@inlined
def _extremes(values: Edges) -> tuple[float, float]:
    """Return the least and the greatest of some values, both finite only where all are. There is one at least.

    Whole numbers are compared in vector registers; in their order NaN lies beyond infinity.
    """
    bits = values.view(np.int64)
    least = most = _turned(bits[0])
    for i in range(bits.size):
        number = _turned(bits[i])
        least, most = min(least, number), max(most, number)
    return np.int64(_turned(least)).view(np.float64), np.int64(_turned(most)).view(np.float64)


@inlined
def _observe_column(
    values: Floats,
    edges: Edges,
    grid: Any,
    places: Edges,
    steps: Counts,
    counts: Counts,
    tally: Counts,
    moments: Edges,
    room: Edges,
    bins: Bins,
) -> None:
    """Take in a column of a tile. `room` and `bins` have places for its values.

    Sums are of differences from the mean so far, which costs no digits.
    """
    finite = room[: values.size]
    _lay(values, finite)
    least, most = _extremes(finite)
    if not (abs(least) <= _HUGE and abs(most) <= _HUGE):
        for i in range(finite.size):
            if not abs(finite[i]) <= _HUGE:
                _count_other(finite[i], edges, counts, tally)
        finite = finite[: _close_ranks(finite)]
        if finite.size == 0:
            return
        least, most = _extremes(finite)
    bins = bins[: finite.size]
    find_bins(finite, edges, grid, places, steps, bins)
    _count(bins, counts)
    moments[MINIMUM], moments[MAXIMUM] = min(moments[MINIMUM], least), max(moments[MAXIMUM], most)
    pivot = moments[MEAN] if tally[FINITE] else finite[0]
    total, squares = _sums(finite, pivot)
    _add_sums(finite, pivot, total, squares, tally, moments)


@inlined
def _add_sums(values: Edges, pivot: float, total: float, squares: float, tally: Counts, moments: Edges) -> None:
    """Add what sums of differences from a pivot say of finite values, and their number."""
    count = values.size
    mean, m2 = pivot + total / count, max(squares - total / count * total, 0.0)
    if not abs(squares) <= _HUGE:  # differences of huge numbers overflow
        mean, m2 = 0.0, np.inf
        for i in range(values.size):
            mean += values[i] / count
    _join(moments, tally[FINITE], mean, m2, count)
    tally[FINITE] += count


@inlined
def _count_other(x: float, edges: Edges, counts: Counts, tally: Counts) -> None:
    """Count a value that is not finite."""
    if x != x:
        tally[MISSING] += 1
        return
    tally[INFINITE] += 1
    place = 0
    while x > 0.0 and edges[place] < x:
        place += 1
    counts[place] += 1


@inlined
def _join(moments: Edges, before: int, mean: float, m2: float, count: int) -> None:
    """Add mean and M2 of `count` values to those of the `before` there are (Chan, Golub and LeVeque, 1979)."""
    if before == 0:  # huge means: the square below may be infinite, and times nothing it is no number
        moments[MEAN], moments[M2] = mean, m2
        return
    delta = mean - moments[MEAN]
    share = count / (before + count)
    if not abs(delta) <= _HUGE:  # two shares of means rather than one step: that cannot overflow
        moments[MEAN] = moments[MEAN] * (1.0 - share) + mean * share
        moments[M2] = np.inf
        return
    moments[MEAN] += delta * share
    moments[M2] += m2 + delta * delta * share * before


_MATRIX = numba.types.Array(numba.float64, 2, "C")
_WHOLE = numba.types.Array(numba.int64, 2, "C")


@kernel_for(
    *(
        numba.void(
            numba.types.Array(dtype, 2, "A", readonly=True),
            numba.int64,
            _MATRIX,
            numba.types.Array(numba.uint16, 2, "C"),
            _MATRIX,
            _WHOLE,
            _WHOLE,
            _WHOLE,
            _MATRIX,
        )
        for dtype in (numba.float32, numba.float64)
    )
)
def _observe(
    rows: Floats,
    first: int,
    edges: Edges,
    grid: Any,
    maps: Edges,
    steps: Counts,
    counts: Counts,
    tally: Counts,
    moments: Edges,
) -> None:
    """Tile by tile, and each column by column."""
    room, bins = np.empty(_TILE_ROWS), np.empty(_TILE_ROWS, np.uint16)
    for start in range(0, rows.shape[0], _TILE_ROWS):
        tile = rows[start : start + _TILE_ROWS]
        for column in range(rows.shape[1]):
            c = first + column
            _observe_column(
                tile[:, column], edges[c], grid[c], maps[c], steps[c], counts[c], tally[c], moments[c], room, bins
            )


@kernel_for(numba.void(_WHOLE, _MATRIX, _WHOLE, _MATRIX))
def _merge_moments(tally: Counts, moments: Edges, other_tally: Counts, other: Edges) -> None:
    """Add the moments of other parts, before the tallies are added up."""
    for c in range(tally.shape[0]):
        if other_tally[c, FINITE]:
            _join(moments[c], tally[c, FINITE], other[c, MEAN], other[c, M2], other_tally[c, FINITE])
        moments[c, MINIMUM] = min(moments[c, MINIMUM], other[c, MINIMUM])
        moments[c, MAXIMUM] = max(moments[c, MAXIMUM], other[c, MAXIMUM])
