"""What is done to each value by its column before a model has it, as ONNX's Imputer and Scaler do it.

Rules. Missing values are filled in; `(x - offset) * scale` is in float32 and in this order, so that the bits are those
of ONNX Runtime. Source: Imputer and Scaler of ai.onnx.ml, version 1. ONNX Runtime divides for each value to find its
column; here what a column has is laid out for many rows, so that values and columns go side by side through vector
registers. Compiled at import for mutable and read-only rows, since this stands on the way of every prediction.
"""

from typing import Final

import numba
import numpy as np
import numpy.typing as npt

from serval_kernels.compile import kernel_for

_TILE: Final = 1024  # values in one go at least; more than one row may be needed for them

Values = npt.NDArray[np.float32]

_SINGLES = numba.types.Array(numba.float32, 1, "C")
_ROWS = [numba.types.Array(numba.float32, 1, "C", readonly=readonly) for readonly in (False, True)]


def tile(columns: Values) -> Values:
    """Return one value a column, (columns,) float32 and not empty, laid out for many rows, as the kernels take it."""
    return np.tile(columns, -(-_TILE // columns.size))


@kernel_for(*(numba.void(rows, _SINGLES, _SINGLES) for rows in _ROWS))
def fill(x: Values, values: Values, out: Values) -> None:
    """Write each value into `out`, and that of its column in the place of NaN.

    x: rows one after the other, float32, one-dimensional and contiguous, as is `out`, of the same size; it may be `x`.
    values: see `tile`. Anything else than these dtypes is a TypeError; sizes are the caller's to check.
    """
    size = values.size
    for start in range(0, x.size, size):
        rows, filled = x[start : start + size], out[start : start + size]
        for i in range(rows.size):
            filled[i] = rows[i] if rows[i] == rows[i] else values[i]


@kernel_for(*(numba.void(rows, _SINGLES, _SINGLES, _SINGLES) for rows in _ROWS))
def scale(x: Values, offsets: Values, scales: Values, out: Values) -> None:
    """Write `(x - offset) * scale` of each value into `out`.

    x: rows one after the other, float32, one-dimensional and contiguous, as is `out`, of the same size; it may be `x`.
    offsets, scales: see `tile`; both of the same size. Anything else than these dtypes is a TypeError; sizes are the
    caller's to check.
    """
    size = offsets.size
    for start in range(0, x.size, size):
        rows, scaled = x[start : start + size], out[start : start + size]
        for i in range(rows.size):
            scaled[i] = (rows[i] - offsets[i]) * scales[i]
