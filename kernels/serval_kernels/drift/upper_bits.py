"""Counting float32 values between edges by a table over their upper 19 bits: sign, exponent and ten of the fraction.

Rules. A cell is all floats with the same upper bits, a thousandth of their size wide. The order of cells is that of
their numbers, negative ones turned round. An edge is the largest float32 at or below it, +0 for -0: a value lies above
the one where it lies above the other. So the bin of a cell is sure unless an edge lies in it: such cells are open, and
their values are searched for. Above the cells of the infinities, which are open, are only NaN, which are not counted.

Who calls sees to it that few values lie in open cells: columns whose values differ by less than a thousandth of their
size are no good here.
"""

from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from serval_kernels.compile import kernel_for
from serval_kernels.drift.pieces import pieces

Singles = npt.NDArray[np.float32]
Edges = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]

EDGES_MOST = 253
VALUES_LEAST = 1 << 17  # fewer do not pay for the making of the table

_SHIFT = 13
_CELLS = 1 << (32 - _SHIFT)
_HALF = _CELLS // 2
_INFINITE = 0x7F80_0000 >> _SHIFT
_OPEN, _MISSING = 255, 254
_TRIED = 1024  # values, of which at most one in _RARE may lie in an open cell
_RARE = 32

_TABLE = numba.types.Array(numba.uint8, 1, "C")
_BITS = numba.types.Array(numba.uint32, 1, "C", readonly=True)


def count(x: Singles, edges: Edges) -> Counts | None:
    """Return the counts of values between rising edges, int64[len(edges) + 1]; None where it does not pay.

    Of any stride. There are 1 to 253 edges. Bin i counts edges[i-1] < x <= edges[i]; NaN is not counted.
    """
    table = np.empty(_CELLS, np.uint8)
    _fill(_cells_of(edges), table)
    tried = np.ascontiguousarray(x[:: max(1, x.size // _TRIED)]).view(np.uint32)
    if np.count_nonzero(table[tried >> np.uint32(_SHIFT)] == _OPEN) * _RARE > tried.size:
        return None
    counts = np.zeros(len(edges) + 1, np.int64)
    for piece in pieces(x):
        _count(piece, piece.view(np.uint32), edges, table, counts)
    return counts


def _cells_of(edges: Edges) -> npt.NDArray[np.int64]:
    """Return the cells of edges, numbered in the order of their values."""
    with np.errstate(over="ignore"):
        below = edges.astype(np.float32)
        lower = np.nextafter(below, np.float32(-np.inf))
    below = np.where(below > edges, lower, below) + np.float32(0)
    bits = below.view(np.int32).astype(np.int64)
    return np.where(bits >= 0, bits + (1 << 31), (1 << 31) - 1 - (bits & 0x7FFF_FFFF)) >> _SHIFT


@kernel_for(numba.void(numba.types.Array(numba.int64, 1, "C"), _TABLE))
def _fill(cells: Counts, table: Any) -> None:
    """Write the bin of each cell, at the place of its upper bits."""
    start = 0
    for place in range(cells.size + 1):
        stop = max(cells[place] + 1 if place < cells.size else _CELLS, start)
        if start < _HALF:
            table[_CELLS - min(stop, _HALF) : _CELLS - start] = np.uint8(place)
        if stop > _HALF:
            table[max(start - _HALF, 0) : stop - _HALF] = np.uint8(place)
        start = stop
    for cell in cells:
        table[cell - _HALF if cell >= _HALF else _CELLS - 1 - cell] = _OPEN
    for sign in (0, _HALF):
        table[sign + _INFINITE] = _OPEN
        table[sign + _INFINITE + 1 : sign + _HALF] = np.uint8(_MISSING)


@kernel_for(
    numba.void(
        numba.types.Array(numba.float32, 1, "C", readonly=True),
        _BITS,
        numba.types.Array(numba.float64, 1, "C", readonly=True),
        _TABLE,
        numba.types.Array(numba.int64, 1, "C"),
    )
)
def _count(x: Singles, bits: Any, edges: Edges, table: Any, counts: Counts) -> None:
    """Add each value to its bin. Four tables in turn: a counter that is met again at once must else wait."""
    shift = np.uint32(_SHIFT)
    found = np.zeros((4, 256), np.uint32)
    first, second, third, fourth = found[0], found[1], found[2], found[3]
    whole = bits.size // 4 * 4
    for i in range(0, whole, 4):
        a, b = table[bits[i] >> shift], table[bits[i + 1] >> shift]
        c, d = table[bits[i + 2] >> shift], table[bits[i + 3] >> shift]
        first[a] += np.uint32(1)
        second[b] += np.uint32(1)
        third[c] += np.uint32(1)
        fourth[d] += np.uint32(1)
        if (a == _OPEN) | (b == _OPEN) | (c == _OPEN) | (d == _OPEN):
            for k in range(i, i + 4):
                if table[bits[k] >> shift] == _OPEN and x[k] == x[k]:
                    counts[np.searchsorted(edges, np.float64(x[k]))] += 1
    for place in range(counts.size):
        counts[place] += np.int64(first[place]) + second[place] + third[place] + fourth[place]
    for k in range(whole, bits.size):
        if x[k] == x[k]:
            counts[np.searchsorted(edges, np.float64(x[k]))] += 1
