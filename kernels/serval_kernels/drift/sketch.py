"""Sketches: what many rows looked like, column by column, in a size that does not grow with them, and adds up.

Rules. A sketch holds columns of numbers, all in the same three arrays: counts between fixed edges, how many values were
finite, missing (NaN) and infinite, and mean, M2, minimum and maximum of the finite ones. Bin i counts
edges[i-1] < x <= edges[i] as in `binning`; -inf and +inf fall into the outer bins, NaN into none. Counts, and so
`merge` of counts, are exact; moments are associative up to rounding. Where no edges are known, `LOG_LINEAR` ones serve.

For these a bin is a value's exponent and the first bits of its fraction. Any other is found in two steps: an affine map
of the value, or of its bits, to a cell of a grid says which edges lie below for sure, and as many halvings as the
fullest cell needs look at the others. The map need only be monotone for that to be exact, which rounding leaves it;
`new_plan` takes the one of both that needs fewer halvings.

Rows are taken in by tiles that the first-level cache holds. Of a tile, the finite values of a column are laid side by
side, and each loop over them does one thing, most of them in vector registers: two thirds of the time of one loop that
does all, and less where values are missing.
"""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numba
import numpy as np
import numpy.typing as npt

from serval_kernels.compile import inlined, kernel, kernel_for, reduction
from serval_kernels.drift.moments import Moments

Floats = npt.NDArray[np.floating[Any]]
Edges = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]
Bins = npt.NDArray[np.uint16]

SUB_BINS: Final = 8  # of a log-linear octave: a value is known to an eighth of its size
_OCTAVES: Final = 32  # to either side of 1
_BINS_PER_SIGN: Final = 2 * _OCTAVES * SUB_BINS
# Of a float64 (IEEE 754): its bits without the sign; what is left of them when all but exponent and sub-bin are shifted
# out; and that of the smallest edge above zero.
_MAGNITUDE: Final = (1 << 63) - 1
_SHIFT: Final = 52 - (SUB_BINS.bit_length() - 1)
_SMALLEST: Final = (1023 - _OCTAVES) * SUB_BINS
_CELLS: Final = 1024
_TILE_ROWS: Final = 256
_HUGE: Final = np.finfo(np.float64).max

BY_VALUE, BY_BITS, BY_EXPONENT = range(3)
FINITE, MISSING, INFINITE = range(3)
MEAN, M2, MINIMUM, MAXIMUM = range(4)


def _log_linear() -> Edges:
    scales = 2.0 ** np.arange(-_OCTAVES, _OCTAVES)
    positive = (scales[:, None] * (1.0 + np.arange(SUB_BINS) / SUB_BINS)).reshape(-1)
    return np.concatenate([-positive[::-1], positive])


# From -1.9 * 2**31 to 1.9 * 2**31, each octave in eight; what is smaller than 2**-32 is one bin.
LOG_LINEAR: Final = _log_linear()


class Plan(NamedTuple):
    """How the values of d columns find their bins. Never changed."""

    edges: Edges  # [d, most edges, and then some]; +inf behind the last
    grid: npt.NDArray[np.uint16]  # [d, cells]: how many edges lie below the cell
    map: Edges  # [d, 2]: cell = (x - map[0]) * map[1]
    steps: Counts  # [d, 2]: halvings, and what x stands for: BY_VALUE, BY_BITS, or no search at all: BY_EXPONENT
    sizes: Counts  # [d]: edges


class Sketch(NamedTuple):
    """What d columns looked like. The columns' number of rows is the sum of their tally."""

    counts: Counts  # [d, most bins]
    tally: Counts  # [d, 3]: FINITE, MISSING, INFINITE
    moments: Edges  # [d, 4]: MEAN, M2 (sum of squared deviations), MINIMUM, MAXIMUM; of finite values


def new_plan(edges: Sequence[Edges]) -> Plan:
    """Return the plan of columns with these edges: finite, strictly rising float64, at most 65,534, or none at all.

    Raises ValueError for others.
    """
    for column, of_column in enumerate(edges):
        if not (np.isfinite(of_column).all() and (of_column[1:] > of_column[:-1]).all() and len(of_column) < 65535):
            raise ValueError(f"edges of column {column}: wanted at most 65,534 finite, strictly rising numbers")
    d, most = len(edges), max(map(len, edges), default=0)
    width = 2 * (1 << most.bit_length())  # halvings look this far behind the last edge
    plan = Plan(
        np.full((d, width), np.inf),
        np.zeros((d, _CELLS), np.uint16),
        np.zeros((d, 2)),
        np.zeros((d, 2), np.int64),
        np.array([len(of_column) for of_column in edges], np.int64),
    )
    for column, of_column in enumerate(edges):
        plan.edges[column, : len(of_column)] = of_column
        _lay_grid(plan, column, of_column + 0.0)  # the bits of -0 would lie below those of 0, which is no less
    return plan


def _lay_grid(plan: Plan, column: int, edges: Edges) -> None:
    """Fill in the map, the grid and the number of halvings of a column."""
    if np.array_equal(edges, LOG_LINEAR):
        plan.steps[column] = 0, BY_EXPONENT
        return
    best = 1 << 16
    for by_bits in (BY_VALUE, BY_BITS):
        places = np.array([_coordinate(edge, by_bits) for edge in edges]) if len(edges) else np.zeros(1)
        with np.errstate(over="ignore"):
            span = places[-1] - places[0]
            low, scale = (float(places[0]), float((_CELLS - 1) / span)) if span > 0 else (0.0, 0.0)
        if not (np.isfinite(scale) and np.isfinite(span)):
            continue  # the edges lie too near, or too far apart
        cells = np.array([_cell(place, low, scale) for place in places[: len(edges)]], np.int64)
        within = np.bincount(cells, minlength=_CELLS)
        if within.max() < best:
            best = within.max()
            plan.map[column] = low, scale
            plan.steps[column] = int(best).bit_length(), by_bits
            plan.grid[column] = np.cumsum(within) - within


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
    LOG_LINEAR edges within an eighth of its size. NaN where nothing was counted.
    """
    total = counts.sum()
    if not total:
        return np.full(len(shares), np.nan)
    bounds = np.clip(np.concatenate([[ends[0]], edges, [ends[1]]]), *ends)
    found: Edges = np.interp(np.asarray(shares) * total, np.concatenate([[0], np.cumsum(counts)]), bounds)
    return found


@kernel
def _coordinate(value: float, by_bits: int) -> float:
    """Return the value, or its float32 bits as a number of the same order."""
    if by_bits:
        bits = np.float32(value).view(np.int32)
        return float(bits ^ ((bits >> 31) & 0x7FFFFFFF))
    return value


@kernel
def _cell(coordinate: float, low: float, scale: float) -> Any:
    """Return the cell of a finite coordinate: monotone in it, whatever is rounded."""
    return np.uint64(np.int32(max(0.0, min((coordinate - low) * scale, _CELLS - 1.0))))


@kernel
def _step(value: float, edges: Edges, base: Any, halving: Any) -> Any:
    """Return `base`, moved on by 2**halving if all edges up to there lie below `value`.

    A shift of the comparison, as LLVM makes of a choice a branch, which is mispredicted half of the time.
    """
    one = np.uint64(1)
    return base + (np.uint64(edges[base + (one << halving) - one] < value) << halving)


@inlined
def _lay_finite(values: Floats, finite: Edges) -> int:
    """Lay the finite values side by side, and return how many there are."""
    count = 0
    for i in range(values.size):
        x = np.float64(values[i])
        finite[count] = x
        count += int(abs(x) <= _HUGE)
    return count


@inlined
def _log_linear_bins(values: Edges, bins: Bins) -> None:
    """Find the bins of finite values between LOG_LINEAR edges, of which each belongs to the bin below it."""
    bits = values.view(np.int64)
    for i in range(values.size):
        above = np.int64(values[i] > 0.0)
        sub_bin = np.int64(np.uint64((bits[i] & _MAGNITUDE) - above) >> np.uint64(_SHIFT))
        place = max(np.int64(0), min(sub_bin - (_SMALLEST - 1), np.int64(_BINS_PER_SIGN)))
        bins[i] = np.uint16(_BINS_PER_SIGN + (place if above else -place))


@inlined
def _cells(values: Edges, places: Edges, by_bits: int, cells: Bins) -> None:
    """Find the cells of finite values: the bins of what lies in them begin with `grid`."""
    low, scale = places[0], places[1]
    if by_bits:
        for i in range(values.size):
            cells[i] = np.uint16(_cell(_coordinate(values[i], 1), low, scale))
    else:
        for i in range(values.size):
            cells[i] = np.uint16(_cell(values[i], low, scale))


@inlined
def _search(values: Edges, edges: Edges, grid: Any, halvings: Any, bins: Bins) -> None:
    """Find the bins of values whose cells are in `bins`. Two halvings, which are enough for most, are written out."""
    zero, one, two = np.uint64(0), np.uint64(1), np.uint64(2)
    for i in range(values.size):
        x, base, halving = values[i], np.uint64(grid[bins[i]]), halvings
        while halving > two:
            halving -= one
            base = _step(x, edges, base, halving)
        bins[i] = np.uint16(_step(x, edges, _step(x, edges, base, one), zero))


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
    """Return the least and the greatest of finite values. Whole numbers are compared in vector registers."""
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
    number = _lay_finite(values, room)
    if number < values.size:
        for i in range(values.size):
            if not abs(np.float64(values[i])) <= _HUGE:
                _count_other(np.float64(values[i]), edges, counts, tally)
    if number == 0:
        return
    finite, bins = room[:number], bins[:number]
    if steps[1] == BY_EXPONENT:
        _log_linear_bins(finite, bins)
    else:
        _cells(finite, places, steps[1], bins)
        _search(finite, edges, grid, np.uint64(steps[0]), bins)
    _count(bins, counts)
    least, most = _extremes(finite)
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
