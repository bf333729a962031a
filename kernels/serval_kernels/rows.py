"""Rows of several arrays behind those that are there already, by the arrays' addresses.

Rules. A table says where rows go: `table[0, FILLED]` is how many are there, `table[0, ROOM]` how many there may be, and
each further row which source it is, the address of the target, and the octets of a row. To append is a single step to
other threads of Python, so that many may append to a table, and one closes it by leaving no room, without a lock. So
what calls `lay` keeps the GIL.

Who checks what. How many rows there is room for is checked here, once before they are copied; the addresses are not,
nor that a source holds `skip` + `count` rows. The caller keeps the arrays meanwhile.
"""

from typing import Any, Final

import numba
import numpy as np
import numpy.typing as npt

from serval_kernels.compile import entry_for, inlined
from serval_kernels.wire.handle import view_of

Table = npt.NDArray[np.int64]

FILLED, ROOM = 0, 1
_SOURCE, _TARGET, _OCTETS = range(3)

_octets: Final[Any] = view_of(np.dtype(np.uint8))


def new_table(arrays: list[npt.NDArray[Any]], places: list[int], room: int) -> Table:
    """Return the table of targets, C-contiguous [room, ...] each, whose sources stand at these places."""
    targets = [(place, array.ctypes.data, array.strides[0]) for place, array in zip(places, arrays, strict=True)]
    return np.array([(0, room, 0), *targets], np.int64)


NO_ROOM: Final = new_table([], [], 0)


@inlined
def lay(sources: Table, table: Table, skip: int, count: int) -> int:
    """Do what `append` does, in an entry of another module."""
    filled = table[0, FILLED]
    rows = max(0, min(count, table[0, ROOM] - filled))
    for i in range(1, table.shape[0]):
        size = table[i, _OCTETS]
        source = _octets(sources[table[i, _SOURCE]] + skip * size, rows * size, 1)
        target = _octets(table[i, _TARGET] + filled * size, rows * size, 1)
        for k in range(rows * size):
            target[k] = source[k]
    table[0, FILLED] = filled + rows
    return rows  # type: ignore[no-any-return]


@entry_for(
    numba.int64(
        numba.types.Array(numba.int64, 1, "C"),
        numba.types.Array(numba.int64, 2, "C"),
        numba.int64,
        numba.int64,
    )
)
def append(sources: Table, table: Table, skip: int, count: int) -> int:
    """Copy `count` rows behind `skip` of each source, or as many as there is room for; return how many.

    sources: addresses. To take slices of three arrays in Python takes ten times as long.
    """
    return lay(sources, table, skip, count)
