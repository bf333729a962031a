"""Cells: a partition of the floats in their order, fine where a sample lies, found from a float's bits alone.

Rules. With mag the bits of |x|, the cell of x is top + sign(x) min(max(mag - floor, 0) >> shift, top): 2 top + 1
cells, rising with x. Between the middle cell, of all that is small, and the outer two, of all that is large, the
values of a cell lie evenly in their bits: floor is a multiple of 2^shift, and 2^shift no more than an exponent, so no
cell holds two exponents. A NaN has no cell; those who count tell that there is one.

Counting into cells costs a tenth of sorting, and tells where two samples can differ most: only there must they be
sorted. Inside, every number keeps the width of the bits, for the sake of vector registers (numba widens sums to 64).
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from serval_kernels.compile import inlined, kernel
from serval_kernels.drift.sorting import Floats, check_floats

Bits = npt.NDArray[np.signedinteger[Any]]
Counts = npt.NDArray[np.int64]
Counters = npt.NDArray[np.uint32]
Reals = npt.NDArray[np.float64]
Flags = npt.NDArray[np.uint8]

_SAMPLE = 1024
_BLOCK = 512
_LEAST = 1 << 8
MOST = 1 << 15  # cells: of these the counters of those that are met often stay near, and few cells are left open


class Cells(NamedTuple):
    """A partition. Numbers of the bits' dtype, int32 for float32 and int64 for float64."""

    floor: Any
    shift: Any
    top: Any  # the number of the middle cell
    mask: Any  # all bits but the sign


def present(x: Floats) -> Floats:
    """Return the values of `x` without NaN, contiguous: `x` itself where it is that already.

    A strided view is gathered once: it is read three times, and each time would cost as much as gathering it.
    Raises TypeError unless float32 or float64, ValueError unless one-dimensional.
    """
    check_floats(x)
    x = np.ascontiguousarray(x)
    bits = bits_of(x)
    return x if _largest_magnitude(bits, _mask(bits)) <= _infinity(bits) else x[x == x]


def partition(*samples: Floats, most: int = MOST, each: int = 16) -> Cells:
    """Choose cells for contiguous samples of one dtype, none empty, after a look at some values of each.

    There are about `most`, or fewer, so that about `each` values share one.
    """
    size = max(sample.size for sample in samples)
    some = np.concatenate([sample[:: max(1, sample.size // _SAMPLE)] for sample in samples])
    magnitudes = np.abs(some[some == some])
    magnitudes.sort()
    bits = bits_of(magnitudes if magnitudes.size else np.zeros(1, some.dtype))
    integer = bits.dtype.type
    # What lies beyond shares a cell; the cell of the largest finite numbers must have a finite width.
    small = int(bits[bits.size // 128])
    large = min(int(bits[-1 - bits.size // 1024]), _infinity(bits) // 255 * 253)
    wanted = min(max(size // each, _LEAST), most) // 2
    # No coarser than an exponent.
    shift = min((max(large - small, 0) // wanted).bit_length(), np.finfo(some.dtype).nmant)
    floor = min(small, large) >> shift << shift
    top = max((large - floor >> shift) + 1, 1)
    return Cells(integer(floor), integer(shift), integer(top), _mask(bits))


def bits_of(x: Floats) -> Bits:
    """Return the bits of contiguous floats as signed numbers."""
    return x.view(np.int32 if x.dtype == np.float32 else np.int64)


def magnitudes(cells: Cells) -> Reals:
    """Return where the cells of positive numbers begin, float64[top + 1]: 0 for the middle cell, then those above."""
    starts = np.arange(int(cells.top) + 1, dtype=type(cells.floor)) << cells.shift
    starts += cells.floor
    values: Reals = starts.view(np.float32 if starts.dtype == np.int32 else np.float64).astype(np.float64)
    values[0] = 0.0
    return values


def count(x: Floats, cells: Cells) -> Counters | None:
    """Return how many values of `x`, contiguous, lie in each cell: uint32[2 top + 1]; None where there is a NaN."""
    bits = bits_of(x)
    counts, largest = _count(bits, cells)
    return counts if largest <= _infinity(bits) else None


def count_and_place(x: Floats, cells: Cells) -> tuple[Counters | None, Reals]:
    """Return `count`, and for each cell the sum of its values' places: 0 at its lower end, 1 at its upper."""
    bits = bits_of(x)
    counts, places, largest = _count_and_place(bits, cells)
    return counts if largest <= _infinity(bits) else None, places


def count_sorted(x: Floats, cells: Cells) -> Counters:
    """Return `count` for sorted values."""
    return _count_sorted(bits_of(x), cells)


def select(x: Floats, cells: Cells, wanted: Flags, number: int) -> Floats:
    """Return, in their order, the `number` values of `x` whose cell is flagged, 1 in uint8[2 top + 1]."""
    found = np.empty(number + _BLOCK, x.dtype)
    _select(x, bits_of(x), cells, wanted, found)
    return found[:number]


def select_range(x: Floats, number: int, bounds: Floats) -> Floats:
    """Return, in their order, the `number` values of `x` in [bounds[0], bounds[1]); NaN is no upper bound."""
    found = np.empty(number + _BLOCK, x.dtype)
    _select_range(x, bounds, found)
    return found[:number]


def lowest(cells: Cells, chosen: Counts) -> Floats:
    """Return the lowest value of each chosen cell, in the samples' dtype: -inf for the first, NaN past the last."""
    top, shift, floor, mask = (int(part) for part in (cells.top, cells.shift, cells.floor, cells.mask))
    bits = np.empty(len(chosen), type(cells.floor))
    for place, cell in enumerate(chosen.tolist()):
        steps = cell - top
        if steps > 0:
            bits[place] = floor + (steps << shift) if steps <= top else mask
        else:
            bits[place] = (floor + ((1 - steps) << shift) - 1 if steps > -top else _infinity(bits)) - mask - 1
    return bits.view(np.float32 if bits.dtype == np.int32 else np.float64)


def _infinity(bits: Bits) -> int:
    """Return the bits of inf, above which are those of NaN."""
    return 0x7F80_0000 if bits.dtype == np.int32 else 0x7FF0_0000_0000_0000


def _mask(bits: Bits) -> Any:
    """Return all bits but the sign, as a number of the bits' dtype."""
    return bits.dtype.type(np.iinfo(bits.dtype).max)


@inlined
def cell_of(bits: Any, cells: Cells, like: Bits) -> Any:
    """Return the cell of a float given by its bits; `like`, an array of such, tells their dtype."""
    sign = like.dtype.type(-1 if bits < 0 else 0)
    steps = like.dtype.type((bits & cells.mask) - cells.floor)
    # A shift that cannot exceed the width is made in that width.
    shift = like.dtype.type(cells.shift & (like.itemsize * 8 - 1))
    steps = like.dtype.type((steps if steps > 0 else like.dtype.type(0)) >> shift)
    steps = steps if steps < cells.top else cells.top
    return like.dtype.type(like.dtype.type(steps ^ sign) - sign + cells.top)


@inlined
def _larger(bits: Bits, mask: Any, largest: Any) -> Any:
    """Return the largest magnitude of a block, or `largest`."""
    for i in range(bits.size):
        magnitude = bits.dtype.type(bits[i] & mask)
        largest = magnitude if magnitude > largest else largest
    return largest


@kernel
def _largest_magnitude(bits: Bits, mask: Any) -> int:
    return int(_larger(bits, mask, bits.dtype.type(0)))


@inlined
def _cells_of(bits: Bits, cells: Cells, found: Counters) -> None:
    """Write the cells of a block.

    Apart from what is done with them, and from 0 on, this runs in vector registers: where a block begins at `start`,
    LLVM does not see that what it reads lies side by side.
    """
    for i in range(bits.size):
        found[i] = np.uint32(cell_of(bits[i], cells, bits))


@kernel
def _count(bits: Bits, cells: Cells) -> tuple[Counters, int]:
    """Return the counts and the largest magnitude."""
    counts = np.zeros(2 * cells.top + 1, np.uint32)
    found = np.empty(_BLOCK, np.uint32)
    largest = bits.dtype.type(0)
    whole = bits.size // _BLOCK * _BLOCK
    for start in range(0, whole, _BLOCK):
        block = bits[start : start + _BLOCK]
        _cells_of(block, cells, found)
        largest = _larger(block, cells.mask, largest)
        for i in range(_BLOCK):
            counts[found[i]] += np.uint32(1)
    for i in range(whole, bits.size):
        counts[cell_of(bits[i], cells, bits)] += np.uint32(1)
    largest = _larger(bits[whole:], cells.mask, largest)
    return counts, int(largest)


@kernel
def _count_and_place(bits: Bits, cells: Cells) -> tuple[Counters, Reals, int]:
    counts, places = np.zeros(2 * cells.top + 1, np.uint32), np.zeros(2 * cells.top + 1)
    found, inside = np.empty(_BLOCK, np.uint32), np.empty(_BLOCK)
    low, unit = (bits.dtype.type(1) << cells.shift) - 1, 1.0 / (1 << cells.shift)
    largest = bits.dtype.type(0)
    for start in range(0, bits.size, _BLOCK):
        block = bits[start : start + _BLOCK]
        _cells_of(block, cells, found)
        largest = _larger(block, cells.mask, largest)
        for i in range(block.size):
            place = np.float64(bits.dtype.type((block[i] & cells.mask) - cells.floor & low)) * unit
            inside[i] = 1.0 - place if block[i] < 0 else place
        for i in range(block.size):
            counts[found[i]] += np.uint32(1)
            places[found[i]] += inside[i]
    return counts, places, int(largest)


@kernel
def _count_sorted(bits: Bits, cells: Cells) -> Counters:
    # The last of a cell writes how many there are up to it: adding one by one would wait for each writing.
    counts = np.zeros(2 * cells.top + 1, np.uint32)
    for i in range(bits.size):
        counts[cell_of(bits[i], cells, bits)] = np.uint32(i + 1)
    before = np.uint32(0)
    for cell in range(counts.size):
        upto = max(counts[cell], before)
        counts[cell], before = upto - before, upto
    return counts


@kernel
def _select(x: Floats, bits: Bits, cells: Cells, wanted: Flags, out: Floats) -> None:
    found = np.empty(_BLOCK, np.uint32)
    place = np.uint64(0)
    for start in range(0, bits.size, _BLOCK):
        block = bits[start : start + _BLOCK]
        _cells_of(block, cells, found)
        # Each is written, and the next over it unless it was wanted: no branch to mispredict.
        for i in range(block.size):
            out[place] = x[start + i]
            place += np.uint64(wanted[found[i]])


@kernel
def _select_range(x: Floats, bounds: Floats, out: Floats) -> None:
    marks = np.zeros(_BLOCK, np.uint8)
    words = marks.view(np.uint64)
    low, high = bounds[0], bounds[1]
    place = np.uint64(0)
    whole = x.size // _BLOCK * _BLOCK
    for start in range(0, whole, _BLOCK):
        block = x[start : start + _BLOCK]
        for i in range(_BLOCK):
            marks[i] = (block[i] >= low) ^ (block[i] >= high)
        # Few are wanted: eight marks at a time are found empty.
        for word in range(_BLOCK // 8):
            if words[word] != np.uint64(0):
                for i in range(8 * word, 8 * word + 8):
                    out[place] = block[i]
                    place += np.uint64(marks[i])
    for i in range(whole, x.size):
        if x[i] >= low and not x[i] >= high:
            out[place] = x[i]
            place += np.uint64(1)
