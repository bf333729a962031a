"""Missing values.

Rules. NaN, of any sign and payload, is missing; infinities are not. Compiled at import for mutable and read-only
arrays (numpy views of received bytes are read-only), since this stands on the way of every prediction.
"""

from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from serval_kernels.compile import kernel, kernel_for

_BLOCK = 512
_SINGLE = 4  # octets of a float32

_SIGNATURES = [
    numba.int64(numba.types.Array(dtype, 1, "C", readonly=readonly))
    for dtype in (numba.float32, numba.float64)
    for readonly in (False, True)
]


@kernel
def _first_above(
    bits: npt.NDArray[np.signedinteger[Any]], magnitude: np.signedinteger[Any], most: np.signedinteger[Any]
) -> int:
    """Return the first place where a number without its sign bit lies above `most`, or -1.

    As integers, IEEE 754's NaN lie above infinity.
    """
    for start in range(0, bits.size, _BLOCK):
        block = bits[start : start + _BLOCK]
        # A maximum over a whole block compiles to vector instructions; comparisons of floats do not.
        largest = block[0] & magnitude
        for i in range(block.size):
            largest = max(largest, block[i] & magnitude)
        if largest > most:
            for i in range(block.size):
                if block[i] & magnitude > most:
                    return start + i
    return -1


@kernel_for(*_SIGNATURES)
def first_nan(x: npt.NDArray[np.float32] | npt.NDArray[np.float64]) -> int:
    """Return the index of the first NaN in `x`, or -1.

    `x` is one-dimensional, contiguous, float32 or float64; anything else is a TypeError. Empty: -1.
    """
    if x.itemsize == _SINGLE:
        return _first_above(x.view(np.int32), np.int32(0x7FFFFFFF), np.int32(0x7F800000))
    return _first_above(x.view(np.int64), np.int64(0x7FFFFFFFFFFFFFFF), np.int64(0x7FF0000000000000))
