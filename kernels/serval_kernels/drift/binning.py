"""Bins: edges from a sample, and counting values between edges.

Rules. Edges are finite, strictly rising float64; bin i counts edges[i-1] < x <= edges[i], the first bin is open below,
the last above, so there is one bin more than edges. -inf and +inf fall into the outer bins. NaN is not counted.
"""

from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from serval_kernels.compile import kernel, kernel_for
from serval_kernels.drift import upper_bits
from serval_kernels.drift.pieces import pieces
from serval_kernels.drift.sorting import Floats, check_floats, sort_present

Edges = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]

FRACTIONS_END = 2.0**23  # float32 numbers from here on are whole

_BLOCK = 64

_LEAST_OF_GRID = 1 << 14  # values: fewer do not pay for the making of a grid
_CELLS = 1 << 14
_GRID_BLOCK = 512
_TRIED = 1024  # values, of which at most one in _RARE may need a search
_RARE = 16

_GRID_SIGNATURES = [
    numba.void(
        numba.types.Array(dtype, 1, "C", readonly=True),
        numba.types.Array(numba.float64, 1, "C", readonly=True),
        *(dtype, dtype, dtype),
        numba.types.Array(table, 1, "C"),
        numba.types.Array(numba.int64, 1, "C"),
    )
    for dtype in (numba.float32, numba.float64)
    for table in (numba.uint8, numba.uint16)
]

_COUNT_SIGNATURES = [
    numba.void(
        numba.types.Array(dtype, 1, "A", readonly=True),
        numba.types.Array(numba.float64, 1, "C", readonly=True),
        numba.types.Array(numba.int64, 1, "C"),
    )
    for dtype in (numba.float32, numba.float64)
]


def quantile_edges(x: Floats, bins: int, *, exact: bool = False) -> Edges:
    """Return at most `bins` - 1 edges at the k/bins quantiles of the finite values of `x`; none where there are none.

    A quantile is the smallest value v with F(v) >= k/bins (type 1 of Hyndman and Fan, 1996). A value that holds two
    or more quantiles gets a bin to itself, with a second edge just below it: so a repeated value, or a constant, does
    not hide what comes in beside it. An edge lies half-way between float32 numbers where that parts the same values of
    the sample: so a column falls into the same bins whether sample and column are float64 or float32. In columns that
    are `exact`, whole numbers, and others from 2^23 on, have bins that hold nothing else: identifiers, dates and times
    lie nearer to each other than float32 numbers do.

    `x` is one-dimensional float32 or float64 (else TypeError, ValueError); `bins` is at least 2 (else ValueError).
    """
    if bins < 2:
        raise ValueError(f"bins: {bins}; wanted 2 or more")
    ordered = sort_present(x).astype(np.float64)
    first, last = np.searchsorted(ordered, -np.inf, "right"), np.searchsorted(ordered, np.inf, "left")
    return _edges_of(ordered[first:last], bins, exact)


def count_bins(x: Floats, edges: Edges) -> Counts:
    """Count the values of `x` in each bin: int64[len(edges) + 1].

    `x` is a one-dimensional float32 or float64 array of any stride (else TypeError, ValueError).
    """
    check_floats(x)
    counts = np.zeros(len(edges) + 1, np.int64)
    edges = np.ascontiguousarray(edges, np.float64)
    if x.dtype == np.float32 and x.size >= upper_bits.VALUES_LEAST and 1 <= len(edges) <= upper_bits.EDGES_MOST:
        tabled = upper_bits.count(x, edges)
        if tabled is not None:
            return tabled
    grid = _grid(x, edges) if x.size >= _LEAST_OF_GRID and 1 < len(edges) < _CELLS else None
    if grid is None:
        _count(x, edges, counts)
        return counts
    for piece in pieces(x):
        _count_on_grid(piece, edges, *grid, counts)
    return counts


def coarsen(counts: Counts, groups: int) -> Counts:
    """Return the group, 0 to at most `groups` - 1 and rising, of each bin: groups of about the same count.

    A bin goes where the middle of its count lies. Bins are never parted; a group that would stay empty is left out.
    """
    total = max(int(counts.sum()), 1)
    middle = (2 * np.cumsum(counts) - counts) / (2 * total)
    slots = np.minimum((middle * groups).astype(np.int64), groups - 1)
    return np.unique(slots, return_inverse=True)[1].astype(np.int64)


def merge_bins(counts: Counts, group_of: Counts) -> Counts:
    """Add up the counts of bins of the same group, as `coarsen` gave them."""
    merged = np.zeros(int(group_of.max(initial=-1)) + 1, np.int64)
    np.add.at(merged, group_of, counts)
    return merged


@kernel
def _halve(value: float, edges: Edges, base: Any, step: Any) -> Any:
    """Return `base`, moved on by `step` if the edges up to there all lie below `value`: one step of a binary search."""
    return base + step if edges[base + step - np.uint64(1)] < value else base


@kernel
def _padded(edges: Edges) -> Edges:
    """Return the edges followed by inf, up to a power of two above their number."""
    size = 1
    while size <= edges.size:
        size *= 2
    padded = np.full(size, np.inf)
    padded[: edges.size] = edges
    return padded


@kernel_for(*_COUNT_SIGNATURES)
def _count(x: Floats, edges: Edges, counts: Counts) -> None:
    """Add each value of `x` to its bin: the number of edges below it.

    A block of values takes each step of the search together, without branches, so that the steps of one value need
    not wait for another's: ten times as fast as value by value.
    """
    padded = _padded(edges)
    values, bases = np.empty(_BLOCK), np.empty(_BLOCK, np.uint64)
    for start in range(0, x.size, _BLOCK):
        block = x[start : start + _BLOCK]
        for i in range(block.size):
            values[i], bases[i] = block[i], np.uint64(0)
        step = np.uint64(padded.size // 2)
        while step > np.uint64(0):
            for i in range(block.size):
                bases[i] = _halve(values[i], padded, bases[i], step)
            step >>= np.uint64(1)
        for i in range(block.size):
            if values[i] == values[i]:
                counts[bases[i]] += 1


def _grid(x: Floats, edges: Edges) -> tuple[Any, Any, Any, npt.NDArray[Any]] | None:
    """Return low, scale, last and table of even cells over the edges; None where too many values would meet an edge.

    The cell of x is (x - low) scale, cut to 0..last and without its fraction, in the arithmetic of x's dtype: rounding
    keeps the order, and an edge is put where a value equal to it would go, so a cell's bin is sure but for those cells
    where edges lie.
    """
    number = x.dtype.type
    last = _CELLS - 1
    small = np.uint8 if len(edges) < 0xFF else np.uint16
    several = np.iinfo(small).max
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        # The outer edges lie in the second cell and the last but one: what lies beyond them meets none.
        scale = number((last - 2) / (edges[-1] - edges[0]))
        low = number(edges[0] - 1.5 / scale)
        steps = np.clip((edges.astype(x.dtype) - low) * scale, 0, last)
        tried = np.clip((x[:: max(1, x.size // _TRIED)] - low) * scale, 0, last)
    if not np.isfinite([low, scale, *steps]).all():
        return None
    of_edges = steps.astype(np.int64)
    if not of_edges[0]:  # of edges far from 0 and near each other; the first cell is to be free of them, for NaN
        return None
    table = np.searchsorted(of_edges, np.arange(last + 1)).astype(small)
    table[of_edges] = several
    met = table[np.nan_to_num(tried).astype(np.int64)] == several
    return (low, scale, number(last), table) if met.sum() * _RARE <= met.size else None


@kernel_for(*_GRID_SIGNATURES)
def _count_on_grid(x: Floats, edges: Edges, low: Any, scale: Any, last: Any, table: Any, counts: Counts) -> None:
    """Add each value of `x` to its bin, by the cell it lies in, or by a search where the cell leaves it open."""
    cells = np.empty(_GRID_BLOCK, np.uint32)
    whole = x.size // _GRID_BLOCK * _GRID_BLOCK
    several = table.dtype.type(-1)
    missing = np.uint32(0)
    for start in range(0, whole, _GRID_BLOCK):
        block = x[start : start + _GRID_BLOCK]
        for i in range(_GRID_BLOCK):
            step = x.dtype.type((block[i] - low) * scale)
            step = step if step > x.dtype.type(0) else x.dtype.type(0)
            cells[i] = np.uint32(np.int32(step if step < last else last))
        for i in range(_GRID_BLOCK):
            missing += np.uint32(block[i] != block[i])
        for i in range(_GRID_BLOCK):
            place = np.uint64(table[cells[i]])
            if place == np.uint64(several):
                place = np.uint64(np.searchsorted(edges, np.float64(block[i])))
            counts[place] += 1
    counts[0] -= np.int64(missing)  # NaN is not above any edge
    _count(x[whole:], edges, counts)


@kernel
def _edges_of(ordered: Edges, bins: int, exact: bool) -> Edges:
    """Choose the edges for finite sorted values."""
    edges = np.empty(bins, np.float64)
    count = 0
    last = -np.inf
    k = 1
    while k < bins and ordered.size:
        value = ordered[_quantile_place(k, bins, ordered.size)]
        quantiles = 1
        while k + quantiles < bins and ordered[_quantile_place(k + quantiles, bins, ordered.size)] == value:
            quantiles += 1
        k += quantiles
        below, above = _neighbours(ordered, value)
        apart = exact and _is_apart(value)
        lower = float(np.nextafter(value, -np.inf)) if apart else _edge_below(value, below)
        if quantiles > 1 and lower > last:
            edges[count] = last = lower
            count += 1
        edges[count] = last = value if apart else _edge_at(value, above)
        count += 1
    return edges[:count].copy()


@kernel
def _quantile_place(k: int, bins: int, size: int) -> int:
    """Return the place of the k/bins quantile among `size` sorted values: ceil(k size / bins) - 1."""
    return (k * size + bins - 1) // bins - 1


@kernel
def _neighbours(ordered: Edges, value: float) -> tuple[float, float]:
    """Return the next smaller and the next larger value of the sample; -inf and inf where there is none."""
    first, after = np.searchsorted(ordered, value, "left"), np.searchsorted(ordered, value, "right")
    below = ordered[first - 1] if first > 0 else -np.inf
    above = ordered[after] if after < ordered.size else np.inf
    return below, above


@kernel
def _edge_at(value: float, above: float) -> float:
    """Return an edge in [value, above): half-way between float32 numbers, if the float32 of both lie apart there."""
    single = np.float32(value)
    edge = _half_way(single, np.nextafter(single, np.float32(np.inf)))
    return edge if np.isfinite(edge) and value <= edge < above and edge < np.float32(above) else value


@kernel
def _edge_below(value: float, below: float) -> float:
    """Return an edge in [below, value), on the same terms as `_edge_at`; -inf for the lowest number there is."""
    single = np.float32(value)
    edge = _half_way(np.nextafter(single, np.float32(-np.inf)), single)
    good = np.isfinite(edge) and below <= edge < value and np.float32(below) <= edge
    return edge if good else float(np.nextafter(value, -np.inf))


@kernel
def _is_apart(value: float) -> bool:
    """Return whether an exact column's value has a bin that holds nothing else: whole, or too large for float32."""
    return bool(value == np.floor(value) or abs(value) >= FRACTIONS_END)


@kernel
def _half_way(single: Any, following: Any) -> float:
    """Return the middle of two neighbours in float32, in float64 and so exactly."""
    return float(single) * 0.5 + float(following) * 0.5
