"""Rows brought to the scale that a model was trained on, as ONNX's Scaler does it.

Rules. `(x - offset) * scale` in float32, in this order, so that the bits are those of ONNX Runtime. Source: Scaler of
ai.onnx.ml, version 1. ONNX Runtime divides for each value to find its column; here offsets and scales are laid out for
many rows, so that values and columns go side by side through vector registers. Compiled at import for mutable and
read-only rows, since this stands on the way of every prediction.
"""

from typing import Final

import numba
import numpy as np
import numpy.typing as npt

from serval_kernels.compile import kernel_for

_TILE: Final = 1024  # values in one go at least; more than one row may be needed for them

Values = npt.NDArray[np.float32]

_SINGLES = numba.types.Array(numba.float32, 1, "C")
_SIGNATURES = [
    numba.void(numba.types.Array(numba.float32, 1, "C", readonly=readonly), _SINGLES, _SINGLES, _SINGLES)
    for readonly in (False, True)
]


def tile(columns: Values) -> Values:
    """Return one value a column, (columns,) float32 and not empty, laid out for many rows, as `scale` takes it."""
    return np.tile(columns, -(-_TILE // columns.size))


@kernel_for(*_SIGNATURES)
def scale(x: Values, offsets: Values, scales: Values, out: Values) -> None:
    """Write `(x - offset) * scale` of each value into `out`.

    x: rows one after the other, float32, one-dimensional and contiguous, as is `out`, of the same size.
    offsets, scales: see `tile`; both of the same size. Anything else than these dtypes is a TypeError; sizes are the
    caller's to check.
    """
    size = offsets.size
    for start in range(0, x.size, size):
        rows, scaled = x[start : start + size], out[start : start + size]
        for i in range(rows.size):
            scaled[i] = (rows[i] - offsets[i]) * scales[i]
