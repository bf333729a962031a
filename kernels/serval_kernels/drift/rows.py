"""Copying the rows of several arrays at once, by their addresses.

Who checks what. Nothing is checked here: a target has room for `filled` + `count` rows of the octets that its table
says, a source holds `skip` + `count` of them, and the caller keeps the arrays meanwhile.
"""

import numba
import numpy as np
import numpy.typing as npt

from serval_kernels.compile import kernel_for
from serval_kernels.wire.handle import view_of

Table = npt.NDArray[np.int64]

_octets = view_of(np.dtype(np.uint8))


@kernel_for(
    numba.void(
        numba.types.Array(numba.int64, 1, "C"),
        numba.types.Array(numba.int64, 2, "C"),
        numba.int64,
        numba.int64,
        numba.int64,
    )
)
def copy(sources: Table, targets: Table, skip: int, filled: int, count: int) -> None:
    """Copy `count` rows behind `skip` of each source to behind the `filled` rows of its target.

    sources: addresses. targets, [n, 3]: which source, the address of the target, octets of a row. Taking slices of
    three arrays in Python takes ten times as long.
    """
    for i in range(targets.shape[0]):
        size = targets[i, 2]
        source = _octets(sources[targets[i, 0]] + skip * size, count * size, 1)
        target = _octets(targets[i, 1] + filled * size, count * size, 1)
        for k in range(count * size):
            target[k] = source[k]
