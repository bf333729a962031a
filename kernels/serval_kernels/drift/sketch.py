"""Sketches: what many rows looked like, column by column, in a size that does not grow with them, and adds up.

Rules. A sketch holds columns of numbers, all in the same three arrays: counts between fixed edges, how many values were
finite, missing (NaN) and infinite, and mean, M2, minimum and maximum of the finite ones. Bin i counts
edges[i-1] < x <= edges[i] as in `binning`; -inf and +inf fall into the outer bins, NaN into none. Counts, and so
`merge` of counts, are exact; moments are associative up to rounding. Where no edges are known, `LOG_LINEAR` ones serve.
How values find their bins is the subject of `plan`.

Rows are taken in by tiles that the first-level cache holds, and the next is asked for meanwhile: rows that were left a
while ago are in no cache. Of a tile, columns are laid side by side, by squares where rows of float32 are contiguous.
Each loop over a column's finite values does one thing, most of them in vector registers: two thirds of the time of one
loop that does all, and less where values are missing.

Who checks what. Squares are read without the arrays' bounds: `_lay` reads none that goes on behind the last row.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import numba
import numpy as np
import numpy.typing as npt

from serval_kernels.ahead import ask_for
from serval_kernels.compile import inlined, kernel_for, reduction
from serval_kernels.drift.moments import Moments
from serval_kernels.drift.plan import LOG_LINEAR as LOG_LINEAR
from serval_kernels.drift.plan import Bins, Counts, Edges, Floats, find_bins
from serval_kernels.drift.plan import Plan as Plan
from serval_kernels.drift.plan import new_plan as new_plan
from serval_kernels.registers import WIDTH, transpose

Bits = npt.NDArray[np.signedinteger[Any]]

_TILE_ROWS: Final = 256
_AHEAD_OCTETS: Final = 256  # from row to row, at most, where a tile is asked for ahead
_HUGE: Final = np.finfo(np.float64).max
_LARGEST: Final = (np.iinfo(np.int32).max, np.iinfo(np.int64).max)
# What the bits of floats are seen as, for the sake of its dtype.
_BITS: Final[Mapping[np.dtype[Any], Bits]] = {
    np.dtype(np.float32): np.empty(0, np.int32),
    np.dtype(np.float64): np.empty(0, np.int64),
}

FINITE, MISSING, INFINITE = range(3)
MEAN, M2, MINIMUM, MAXIMUM = range(4)


class Sketch(NamedTuple):
    """What d columns looked like. The columns' number of rows is the sum of their tally."""

    counts: Counts  # [d, most bins]
    tally: Counts  # [d, 3]: FINITE, MISSING, INFINITE
    moments: Edges  # [d, 4]: MEAN, M2 (sum of squared deviations), MINIMUM, MAXIMUM; of finite values


class _Room(NamedTuple):
    """What some columns of a tile are brought into, and for one: the least and the greatest value, and the bins.

    `bits` and `end_bits` are the values and the ends, seen as signed whole numbers.
    """

    values: Floats  # [WIDTH, rows of a tile]
    bits: Bits
    ends: Floats
    end_bits: Bits
    bins: Bins


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
    _observe(rows, _BITS[rows.dtype], first, *plan, *sketch)


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
def _lay(rows: Floats, first: int, count: int, column: int, room: Floats) -> None:
    """Lay the values of up to WIDTH columns, from `column` on, side by side; what lies behind them is overwritten.

    Squares are read whole, as long as that stays within the rows: beyond a row's end the next begins.
    """
    laid, width, stride = 0, rows.shape[1], rows.strides[0] // rows.itemsize
    is_whole = rows.strides[1] == rows.itemsize and stride * rows.itemsize == rows.strides[0] > 0
    if rows.itemsize == 4 and is_whole and width - column >= WIDTH // 2:
        within = (rows.shape[0] - 1) * stride + width - WIDTH - column
        while laid + WIDTH <= count and (first + laid + WIDTH - 1) * stride <= within:
            transpose(rows, (first + laid) * stride + column, stride, room, laid, room.shape[1])
            laid += WIDTH
    for k in range(min(WIDTH, width - column)):
        _copy(rows[first + laid : first + count, column + k], room[k, laid:])


@inlined
def _copy(values: Floats, room: Floats) -> None:
    for i in range(values.size):
        room[i] = values[i]


@inlined
def _close_ranks(values: Floats) -> int:
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
def _sums(values: Floats, pivot: float) -> tuple[float, float]:
    """Return the sums of the differences from a pivot and of their squares. Any order of them is as good."""
    total = squares = 0.0
    for i in range(values.size):
        delta = np.float64(values[i]) - pivot
        total += delta
        squares += delta * delta
    return total, squares


@inlined
def _turned(bits: Any, like: Bits) -> Any:
    """Return the bits of a float as a number of the same order, and such a number as bits again.

    `like`, an array of such bits, tells their dtype: numba widens what comes of two.
    """
    sign = like.dtype.type(bits >> like.dtype.type(like.itemsize * 8 - 1))
    return like.dtype.type(bits ^ (sign & like.dtype.type(_LARGEST[0] if like.itemsize == 4 else _LARGEST[1])))


@inlined
def _extremes(bits: Bits, found: Bits) -> None:
    """Find the least and the greatest of some floats, both finite only where all are. There is one at least.

    Whole numbers are compared in vector registers; in their order NaN lies beyond infinity.
    """
    least = most = _turned(bits[0], bits)
    for i in range(bits.size):
        number = _turned(bits[i], bits)
        least = number if number < least else least
        most = number if number > most else most
    found[0], found[1] = _turned(least, bits), _turned(most, bits)


@inlined
def _observe_column(finite: Floats, bits: Bits, plan: Plan, c: int, sketch: Sketch, room: _Room) -> None:
    """Take in a column of a tile, its values and the same as whole numbers.

    Sums are of differences from the mean so far, which costs no digits.
    """
    tally, moments, ends = sketch.tally[c], sketch.moments[c], room.ends
    _extremes(bits, room.end_bits)
    if not (abs(ends[0]) <= _HUGE and abs(ends[1]) <= _HUGE):
        for i in range(finite.size):
            if not abs(finite[i]) <= _HUGE:
                _count_other(finite[i], plan.edges[c], sketch.counts[c], tally)
        finite = finite[: _close_ranks(finite)]
        if finite.size == 0:
            return
        bits = bits[: finite.size]
        _extremes(bits, room.end_bits)
    bins = room.bins[: finite.size]
    find_bins(finite, bits, plan, c, bins)
    _count(bins, sketch.counts[c])
    moments[MINIMUM], moments[MAXIMUM] = min(moments[MINIMUM], ends[0]), max(moments[MAXIMUM], ends[1])
    pivot = moments[MEAN] if tally[FINITE] else np.float64(finite[0])
    total, squares = _sums(finite, pivot)
    _add_sums(finite, pivot, total, squares, tally, moments)


@inlined
def _add_sums(values: Floats, pivot: float, total: float, squares: float, tally: Counts, moments: Edges) -> None:
    """Add what sums of differences from a pivot say of finite values, and their number."""
    count = values.size
    mean, m2 = pivot + total / count, max(squares - total / count * total, 0.0)
    if not abs(squares) <= _HUGE:  # differences of huge numbers overflow
        mean, m2 = 0.0, np.inf
        for i in range(values.size):
            mean += np.float64(values[i]) / count
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


@inlined
def _take_in(rows: Floats, first: int, plan: Plan, sketch: Sketch, room: _Room) -> None:
    """Take rows in, tile by tile, and each column by column.

    With each column some rows of the next tile are asked for, where both fit into the caches beside each other.
    """
    width = rows.shape[1]
    for start in range(0, rows.shape[0], _TILE_ROWS):
        count = min(_TILE_ROWS, rows.shape[0] - start)
        after = rows[start + _TILE_ROWS : start + 2 * _TILE_ROWS]
        share = _TILE_ROWS // width + 1 if rows.strides[0] <= _AHEAD_OCTETS else 0
        for column in range(width):
            k = column % WIDTH
            if k == 0:
                _lay(rows, start, count, column, room.values)
            ask_for(after[column * share : (column + 1) * share])
            _observe_column(room.values[k, :count], room.bits[k, :count], plan, first + column, sketch, room)


_MATRIX = numba.types.Array(numba.float64, 2, "C")
_WHOLE = numba.types.Array(numba.int64, 2, "C")


@kernel_for(
    *(
        numba.void(
            numba.types.Array(dtype, 2, "A", readonly=True),
            numba.types.Array(bits, 1, "C"),
            numba.int64,
            _MATRIX,
            numba.types.Array(numba.uint16, 2, "C"),
            _MATRIX,
            _WHOLE,
            numba.types.Array(numba.int64, 1, "C"),
            numba.types.Array(numba.float32, 2, "C"),
            _WHOLE,
            _WHOLE,
            _MATRIX,
        )
        for dtype, bits in ((numba.float32, numba.int32), (numba.float64, numba.int64))
    )
)
def _observe(
    rows: Floats,
    like: Bits,
    first: int,
    edges: Edges,
    grid: Any,
    maps: Edges,
    steps: Counts,
    sizes: Counts,
    runs: Any,
    counts: Counts,
    tally: Counts,
    moments: Edges,
) -> None:
    """Make room for a tile, and take the rows in."""
    values, ends = np.empty((WIDTH, _TILE_ROWS), rows.dtype), np.empty(2, rows.dtype)
    room = _Room(values, values.view(like.dtype), ends, ends.view(like.dtype), np.empty(_TILE_ROWS, np.uint16))
    _take_in(rows, first, Plan(edges, grid, maps, steps, sizes, runs), Sketch(counts, tally, moments), room)


@kernel_for(numba.void(_WHOLE, _MATRIX, _WHOLE, _MATRIX))
def _merge_moments(tally: Counts, moments: Edges, other_tally: Counts, other: Edges) -> None:
    """Add the moments of other parts, before the tallies are added up."""
    for c in range(tally.shape[0]):
        if other_tally[c, FINITE]:
            _join(moments[c], tally[c, FINITE], other[c, MEAN], other[c, M2], other_tally[c, FINITE])
        moments[c, MINIMUM] = min(moments[c, MINIMUM], other[c, MINIMUM])
        moments[c, MAXIMUM] = max(moments[c, MAXIMUM], other[c, MAXIMUM])
