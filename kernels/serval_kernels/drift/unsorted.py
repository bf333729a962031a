"""Two large samples: exact distances without sorting all of them.

Rules. Samples are contiguous, of one dtype, without NaN and not empty. Each is counted into the same cells; at the
ends of cells F - G is known, and inside one it lies between (before - the second's share) and (before + the first's).
Only cells that this leaves open are sorted. Where that would be most of the sample there is no gain: None, and the
caller sorts. `gap` is n m (F - G), a whole number.
"""

from typing import Any

import numpy as np

from serval_kernels.compile import kernel
from serval_kernels.drift import cells as partitions
from serval_kernels.drift.cells import Cells, Counters, Counts, Flags, Reals
from serval_kernels.drift.sorting import Floats
from serval_kernels.drift.walks import area_between, largest_gap

_FEW = 4096  # values: fewer are sorted at once
_RANGES = 2  # of cells that may hold the largest distance: each costs a comparison of all values
_OPEN_SHARE = 0.5  # of both samples: from there on sorting all is as quick


def ks(x: Floats, y: Floats) -> float:
    """Return max |F - G|."""
    return _largest(x, y, 0, 0, (x.size, y.size)) / x.size / y.size


def _largest(x: Floats, y: Floats, gap: int, known: int, sizes: tuple[int, int]) -> int:
    """Return the largest |gap| of a stretch that begins at `gap`, or `known` if that is larger.

    x and y are the stretch's values, `sizes` how many the whole samples have. Cells that may hold more than the
    largest found at their ends are looked into in the same way, until there are so few values that sorting is quicker.
    """
    if min(x.size, y.size) < _FEW:
        return max(known, largest_gap(np.sort(x), np.sort(y), gap, *sizes))
    cells = partitions.partition(x, y)
    first, second = partitions.count(x, cells), partitions.count(y, cells)
    known, wanted, before = open_to_ks(first, second, gap, known, *sizes)
    for start, stop in _ranges(wanted, first, second):
        inside = int(first[start:stop].sum()), int(second[start:stop].sum())
        if sum(inside) > _OPEN_SHARE * (x.size + y.size):
            return max(known, largest_gap(np.sort(x), np.sort(y), gap, *sizes))
        bounds = partitions.lowest(cells, np.array([start, stop]))
        parts = [partitions.select_range(*each, bounds) for each in ((x, inside[0]), (y, inside[1]))]
        known = _largest(parts[0], parts[1], int(before[start]), known, sizes)
    return known


def area(x: Floats, y: Floats) -> float | None:
    """Return the area between F and G."""
    cells = partitions.partition(x, y)
    (first, places), (second, others) = partitions.count_and_place(x, cells), partitions.count_and_place(y, cells)
    wanted = open_to_area(first, second)
    sorted_parts = sort_open(x, y, cells, wanted, first, second)
    if sorted_parts is None:
        return None
    return area_within(*sorted_parts, first, second, places, others, wanted, partitions.magnitudes(cells))


def sort_open(
    x: Floats, y: Floats, cells: Cells, wanted: Flags, first: Counters, second: Counters
) -> tuple[Floats, Floats] | None:
    """Return the values in flagged cells, sorted; None where they are most of all."""
    sizes = _sizes(x, y, wanted, first, second)
    if sizes is None:
        return None
    chosen = partitions.select(x, cells, wanted, sizes[0]), partitions.select(y, cells, wanted, sizes[1])
    for part in chosen:
        part.sort()
    return chosen


def _sizes(x: Floats, y: Floats, wanted: Flags, first: Counters, second: Counters) -> tuple[int, int] | None:
    """Return how many of each lie in flagged cells; None where they are most of all."""
    sizes = int(first @ wanted), int(second @ wanted)
    return sizes if sum(sizes) <= _OPEN_SHARE * (x.size + y.size) else None


def _ranges(wanted: Flags, first: Counters, second: Counters) -> Counts:
    """Return at most _RANGES stretches [start, stop) of cells that cover the flagged, leaving out the fullest gaps."""
    edges = np.flatnonzero(np.diff(wanted, prepend=0, append=0))
    starts, stops = edges[::2], edges[1::2]
    if starts.size > _RANGES:
        upto = np.concatenate([[0], np.cumsum(first + second, dtype=np.int64)])
        left_out = upto[starts[1:]] - upto[stops[:-1]]
        kept = np.sort(np.argsort(left_out)[1 - _RANGES :])
        starts, stops = starts[np.concatenate([[0], kept + 1])], stops[np.concatenate([kept, [-1]])]
    return np.column_stack([starts, stops])


@kernel
def open_to_ks(first: Counters, second: Counters, gap: int, largest: int, n: int, m: int) -> tuple[int, Flags, Counts]:
    """Return the largest |gap| at the ends of cells, flags for cells that may hold a larger, and the gap before each.

    `gap` is that before the first cell, `largest` what is known already.
    """
    before = np.empty(first.size, np.int64)
    for cell in range(first.size):
        before[cell] = gap
        gap += m * np.int64(first[cell]) - n * np.int64(second[cell])
        largest = max(largest, abs(gap))
    wanted = np.zeros(first.size, np.uint8)
    for cell in range(first.size):
        rise, fall = m * np.int64(first[cell]), n * np.int64(second[cell])
        # Without a fall or a rise the gap goes one way, and is largest at an end.
        wanted[cell] = rise > 0 and fall > 0 and max(before[cell] + rise, fall - before[cell]) > largest
    return largest, wanted, before


@kernel
def ks_within(
    x: Floats, y: Floats, first: Counters, second: Counters, wanted: Flags, largest: int
) -> int:
    """Return the largest |gap|, `largest` or one inside a flagged cell; x and y are the sorted values of those."""
    n, m = _total(first), _total(second)
    gap = i = j = 0
    for cell in range(first.size):
        in_x, in_y = np.int64(first[cell]), np.int64(second[cell])
        if wanted[cell]:
            largest = max(largest, largest_gap(x[i : i + in_x], y[j : j + in_y], gap, n, m))
            i, j = i + in_x, j + in_y
        gap += m * in_x - n * in_y
    return largest


@kernel
def open_to_area(first: Counters, second: Counters) -> Flags:
    """Return flags for the cells inside which F and G may cross, or come so near that a difference would lose digits.

    The middle cell and the outer two, whose values do not lie evenly in their bits, are among them.
    """
    n, m = _total(first), _total(second)
    wanted = np.zeros(first.size, np.uint8)
    gap = 0
    for cell in range(first.size):
        rise, fall = m * np.int64(first[cell]), n * np.int64(second[cell])
        sure = gap >= 2 * fall or gap <= -2 * rise
        wanted[cell] = (rise > 0 or fall > 0) and not sure
        gap += rise - fall
    for cell in (0, first.size // 2, first.size - 1):
        wanted[cell] = 1
    return wanted


@kernel
def area_within(
    x: Floats,
    y: Floats,
    first: Counters,
    second: Counters,
    places: Reals,
    others: Reals,
    wanted: Flags,
    magnitudes: Reals,
) -> float:
    """Add up the cells' areas: by the sorted x and y in flagged cells, by sums of places in all others."""
    n, m = _total(first), _total(second)
    gap = i = j = 0
    area = 0.0
    for cell in range(first.size):
        low, high = _bounds(cell, magnitudes)
        in_x, in_y = np.int64(first[cell]), np.int64(second[cell])
        if wanted[cell]:
            area += area_between(x[i : i + in_x], y[j : j + in_y], gap, n, m, low, high)
            i, j = i + in_x, j + in_y
        elif gap != 0:
            area += abs(_height(gap, in_x - places[cell], in_y - others[cell], n, m)) * (high - low)
        gap += m * in_x - n * in_y
    return area


@kernel
def _height(gap: int, rest_x: float, rest_y: float, n: int, m: int) -> float:
    """Return the mean of F - G over a cell: each value counts from its place to the cell's end."""
    return gap / n / m + rest_x / n - rest_y / m


@kernel
def _bounds(cell: int, magnitudes: Reals) -> Any:
    """Return the ends of a cell; the outer two have no outer end."""
    top = magnitudes.size - 1
    last = cell - top
    high = np.inf if last == top else magnitudes[last + 1] if last >= 0 else -magnitudes[-last]
    low = -np.inf if last == -top else -magnitudes[1 - last] if last <= 0 else magnitudes[last]
    return low, high


@kernel
def _total(counts: Counters) -> int:
    total = 0
    for cell in range(counts.size):
        total += np.int64(counts[cell])
    return total
