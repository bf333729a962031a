"""Missing values.

Rules. NaN, of any sign and payload, is missing; infinities are not. Compiled at import for mutable and read-only
arrays (numpy views of received bytes are read-only), since this stands on the way of every prediction.
"""

import numba
import numpy as np
import numpy.typing as npt

from serval_kernels.compile import kernel_for

_BLOCK = 512

_SIGNATURES = [
    numba.int64(numba.types.Array(dtype, 1, "C", readonly=readonly))
    for dtype in (numba.float32, numba.float64)
    for readonly in (False, True)
]


@kernel_for(*_SIGNATURES)
def first_nan(x: npt.NDArray[np.float32] | npt.NDArray[np.float64]) -> int:
    """Return the index of the first NaN in `x`, or -1.

    `x` is one-dimensional, contiguous, float32 or float64; anything else is a TypeError. Empty: -1.
    """
    start = 0
    while start < x.size:
        stop = min(start + _BLOCK, x.size)
        # A whole block without an exit compiles to vector compares.
        found = False
        for i in range(start, stop):
            found |= x[i] != x[i]
        if found:
            for i in range(start, stop):
                if x[i] != x[i]:
                    return i
        start = stop
    return -1
