"""Two large samples: exact distances without sorting all of them.

Rules. Samples are contiguous, of one dtype, and not empty; a NaN gives None. Both are counted into the same cells: at
the ends of cells F - G is known, and inside one it lies between (before - the second's share) and (before + the
first's). Only cells that this leaves open are sorted. Where that would be most of the sample there is no gain: then
all are sorted, or None is returned for the caller to do so. `gap` is n m (F - G), a whole number.
"""

from typing import Any

import numpy as np

from serval_kernels.compile import kernel
from serval_kernels.drift import cells as partitions
from serval_kernels.drift.cells import Cells, Counters, Counts, Flags, Reals
from serval_kernels.drift.sorting import Floats, sort
from serval_kernels.drift.walks import area_between, largest_gap

_whole: Any = np.int64  # of a counter, so that products and differences are signed

_FEW = 1 << 14  # values: fewer are sorted at once
_RADIX_LEAST = 1 << 11  # values: fewer are sorted sooner by comparisons
_WORTH = 64  # the part of both samples that pays for another pass
_FINE = 1 << 16  # cells, where the usual number leaves too much open
_OPEN_SHARE = 0.5  # of both samples: from there on sorting all is as quick


def ks(x: Floats, y: Floats) -> float | None:
    """Return max |F - G|; None where there is a NaN."""
    largest = _largest(x, y, 0, 0, (x.size, y.size))
    return None if largest is None else largest / x.size / y.size


def _largest(
    x: Floats, y: Floats, gap: int, known: int, sizes: tuple[int, int], most: int = partitions.MOST
) -> int | None:
    """Return the largest |gap| of a stretch that begins at `gap`, or `known` if that is larger; None for a NaN.

    x and y are the stretch's values, `sizes` how many the whole samples have. Cells that may hold more than the
    largest found at their ends are looked into in the same way, until there are so few values that sorting is quicker.
    """
    if min(x.size, y.size) < _FEW:
        return _by_sorting(x, y, gap, known, sizes)
    cells = partitions.partition(x, y, most=most)
    first, second = partitions.count(x, cells), partitions.count(y, cells)
    if first is None or second is None:
        return None
    known, before, ranges = open_to_ks(first, second, gap, known, *sizes)
    bounds = partitions.lowest(cells, ranges)
    for k in range(0, ranges.size, 2):
        start, stop = ranges[k], ranges[k + 1]
        inside = int(first[start:stop].sum()), int(second[start:stop].sum())
        if sum(inside) > _OPEN_SHARE * (x.size + y.size):
            if most < _FINE:
                return _largest(x, y, gap, known, sizes, _FINE)
            return _by_sorting(x, y, gap, known, sizes)
        part_x = partitions.select_range(x, inside[0], bounds[k : k + 2])
        part_y = partitions.select_range(y, inside[1], bounds[k : k + 2])
        known = _largest(part_x, part_y, int(before[start]), known, sizes) or 0
    return known


def _by_sorting(x: Floats, y: Floats, gap: int, known: int, sizes: tuple[int, int]) -> int | None:
    x, y = _sorted(x), _sorted(y)  # NaN goes last
    if any(side.size and np.isnan(side[-1]) for side in (x, y)):
        return None
    return max(known, largest_gap(x, y, gap, *sizes))


def _sorted(x: Floats) -> Floats:
    return sort(x) if x.size >= _RADIX_LEAST else np.sort(x)


def area(x: Floats, y: Floats) -> float | None:
    """Return the area between F and G; None where there is a NaN, or most would have to be sorted."""
    cells = partitions.partition(x, y, most=_FINE)
    (first, places), (second, others) = partitions.count_and_place(x, cells), partitions.count_and_place(y, cells)
    if first is None or second is None:
        return None
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
    return _sorted(chosen[0]), _sorted(chosen[1])


def _sizes(x: Floats, y: Floats, wanted: Flags, first: Counters, second: Counters) -> tuple[int, int] | None:
    """Return how many of each lie in flagged cells; None where they are most of all."""
    sizes = int(first @ wanted), int(second @ wanted)
    return sizes if sum(sizes) <= _OPEN_SHARE * (x.size + y.size) else None


@kernel
def open_to_ks(first: Counters, second: Counters, gap: int, largest: int, n: int, m: int) -> tuple[int, Counts, Counts]:
    """Return the largest |gap| at the ends of cells, the gap before each, and where a larger may be.

    `gap` is that before the first cell, `largest` what is known already. Where: no, one or two stretches of cells,
    [start, stop) and so int64[0, 2 or 4], that leave out the fullest gap between cells that may hold a larger, if that
    holds enough to pay for comparing all values once more.
    """
    before = np.empty(first.size, np.int64)
    for cell in range(first.size):
        before[cell] = gap
        gap += m * _whole(first[cell]) - n * _whole(second[cell])
        largest = max(largest, abs(gap))
    start = stop = left = right = -1
    fullest = held = 0
    for cell in range(first.size):
        rise, fall = m * _whole(first[cell]), n * _whole(second[cell])
        if may_exceed(before[cell], rise, fall, largest):
            if start < 0:
                start = cell
            elif held > fullest:
                fullest, left, right = held, stop, cell
            stop, held = cell + 1, 0
        else:
            held += _whole(first[cell]) + _whole(second[cell])
    ranges = np.array([start, left, right, stop]) if fullest > (n + m) // _WORTH else np.array([start, stop])
    return largest, before, ranges if start >= 0 else ranges[:0]


@kernel
def may_exceed(gap: int, rise: int, fall: int, largest: int) -> bool:
    """Return whether |gap| may exceed `largest` inside a cell that begins at `gap`.

    Without a fall or a rise it goes one way, and is largest at an end.
    """
    return rise > 0 and fall > 0 and max(gap + rise, fall - gap) > largest


@kernel
def ks_within(x: Floats, y: Floats, first: Counters, second: Counters, wanted: Flags, largest: int) -> int:
    """Return the largest |gap|, `largest` or one inside a flagged cell; x and y as in `area_within`."""
    n, m = _total(first), _total(second)
    gap = i = j = 0
    for cell in range(first.size):
        in_x, in_y = _whole(first[cell]), _whole(second[cell])
        if wanted[cell]:
            largest = max(largest, largest_gap(x[i : i + in_x], y[j : j + in_y], gap, n, m))
        gap += m * in_x - n * in_y
        i += in_x if wanted[cell] or x.size == n else 0
        j += in_y if wanted[cell] or y.size == m else 0
    return largest


@kernel
def flag_ks(first: Counters, second: Counters, wanted: Flags) -> int:
    """Flag the cells inside which |gap| may exceed that at the ends of cells, whose largest is returned."""
    n, m = _total(first), _total(second)
    largest = gap = 0
    for cell in range(first.size):
        gap += m * _whole(first[cell]) - n * _whole(second[cell])
        largest = max(largest, abs(gap))
    gap = 0
    for cell in range(first.size):
        rise, fall = m * _whole(first[cell]), n * _whole(second[cell])
        wanted[cell] |= may_exceed(gap, rise, fall, largest)
        gap += rise - fall
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
        rise, fall = m * _whole(first[cell]), n * _whole(second[cell])
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
    """Add up the cells' areas: by sorted values in flagged cells, by sums of places in all others.

    x and y are sorted, each either the values in flagged cells or the whole sample.
    """
    n, m = _total(first), _total(second)
    gap = i = j = 0
    area = 0.0
    for cell in range(first.size):
        low, high = _bounds(cell, magnitudes)
        in_x, in_y = _whole(first[cell]), _whole(second[cell])
        if wanted[cell]:
            area += area_between(x[i : i + in_x], y[j : j + in_y], gap, n, m, low, high)
        elif gap != 0 or in_x or in_y:
            area += abs(_height(gap, in_x - places[cell], in_y - others[cell], n, m)) * (high - low)
        gap += m * in_x - n * in_y
        i += in_x if wanted[cell] or x.size == n else 0
        j += in_y if wanted[cell] or y.size == m else 0
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
        total += _whole(counts[cell])
    return total
