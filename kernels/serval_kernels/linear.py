"""Linear models: the weighted sums of a row's columns, and what is answered for them.

Rules. What a Scaler would do is done first: `(x - offset) * scale`. Sums are float32, column by column in their order
with one rounding each (fused multiplication and addition, where the processor has that), and the intercept comes last;
the logistic function is the rational approximation of MLAS. So the bits are those of ONNX Runtime's Scaler,
LinearClassifier and LinearRegressor (ai.onnx.ml, version 1) of several rows; one row alone it adds up in another order,
and here a row has the same bits with whatever others it comes.
Compiled at import for mutable and read-only rows, since this stands on the way of every prediction.

Who makes the arrays of a `Linear` has checked them: nothing here is checked.
"""

from typing import Any, Final, NamedTuple

import numba
import numpy as np
import numpy.typing as npt

from serval_kernels.compile import fused, inlined, kernel, kernel_for

BLOCK: Final = 64  # rows side by side
_FEW: Final = 8  # rows; fewer are summed up one by one: a block costs the same however few rows it holds

# Of MLAS (ONNX Runtime, mlas/lib/logistic.cpp): 0.5 + x P(x^2) / Q(x^2), within ENDS; highest powers first.
_P: Final = tuple(map(np.float32, (4.37031012579801e-11, 1.15627324459942e-07, 6.08574864600143e-05,
                                   8.51377133304701e-03, 2.48287947061529e-01)))  # fmt: skip
_Q: Final = tuple(map(np.float32, (6.10247389755681e-13, 5.76102136993427e-09, 6.29106785017040e-06,
                                   1.70198817374094e-03, 1.16817656904453e-01, 9.93151921023180e-01)))  # fmt: skip
_END: Final = np.float32(18)

Singles = npt.NDArray[np.float32]
Table = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]


class Linear(NamedTuple):
    """A linear model of rows that are scaled first; an offset of 0 and a scale of 1 leave them as they are."""

    offsets: Singles  # (columns,)
    scales: Singles  # (columns,)
    weights: Table  # (sums, columns)
    intercepts: Singles  # (sums,)


_FLOATS = numba.types.Array(numba.float32, 1, "C")
_ROWS = [numba.types.Array(numba.float32, 1, "C", readonly=readonly) for readonly in (False, True)]
_TABLE = numba.types.Array(numba.float32, 2, "C")
_LINEAR = (_FLOATS, _FLOATS, _TABLE, _FLOATS)
_LONGS = numba.types.Array(numba.int64, 1, "C")


@fused
def _add_products(values: Singles, weight: float, sums: Singles) -> None:
    for j in range(BLOCK):
        sums[j] += values[j] * weight


@fused
def _sum_of(row: Singles, offsets: Singles, scales: Singles, weights: Singles) -> Any:
    total = np.float32(0)
    for k in range(row.size):
        total += (row[k] - offsets[k]) * scales[k] * weights[k]
    return total


@kernel
def _sum_blocks(x: Singles, linear: Any, out: Singles) -> None:
    offsets, scales, weights, intercepts = linear
    size, width = weights.shape
    columns, sums = np.zeros((width, BLOCK), np.float32), np.empty((size, BLOCK), np.float32)
    rows = out.size // size
    for first in range(0, rows, BLOCK):
        count = min(BLOCK, rows - first)
        for k in range(width):
            values, offset, scale = columns[k], offsets[k], scales[k]
            for j in range(count):
                values[j] = (x[(first + j) * width + k] - offset) * scale
        sums[:] = 0
        for n in range(size):
            for k in range(width):
                _add_products(columns[k], weights[n, k], sums[n])
        for j in range(count):
            for n in range(size):
                out[(first + j) * size + n] = sums[n, j] + intercepts[n]


@kernel
def _sum(x: Singles, linear: Any, out: Singles) -> None:
    offsets, scales, weights, intercepts = linear
    size, width = weights.shape
    rows = out.size // size
    if rows >= _FEW:
        _sum_blocks(x, linear, out)
        return
    for r in range(rows):
        row = x[r * width : (r + 1) * width]
        for n in range(size):
            out[r * size + n] = _sum_of(row, offsets, scales, weights[n]) + intercepts[n]


@kernel_for(*(numba.void(rows, *_LINEAR, _FLOATS) for rows in _ROWS))
def sums(x: Singles, offsets: Singles, scales: Singles, weights: Table, intercepts: Singles, out: Singles) -> None:
    """Write the weighted sums of each row into `out`.

    x: rows of as many values as there are columns, float32, one-dimensional and contiguous.
    offsets, scales, weights, intercepts: those of a `Linear`; to hand that over as one takes 2 us.
    out: rows of as many values as there are sums, float32, one-dimensional and contiguous.
    """
    _sum(x, Linear(offsets, scales, weights, intercepts), out)


@fused
def _logistic(values: Singles) -> None:
    """Replace values by their logistic function; a NaN stays one."""
    for i in range(values.size):
        x = values[i]
        x = -_END if x < -_END else x
        x = _END if x > _END else x
        square = x * x
        p = ((_P[0] * square + _P[1]) * square + _P[2]) * square + _P[3]
        p = (p * square + _P[4]) * x
        q = ((_Q[0] * square + _Q[1]) * square + _Q[2]) * square + _Q[3]
        q = (q * square + _Q[4]) * square + _Q[5]
        y = p / q + np.float32(0.5)
        y = np.float32(0) if y < np.float32(0) else y
        values[i] = np.float32(1) if y > np.float32(1) else y


@inlined
def _first_largest(values: Singles) -> int:
    first = 0
    for k in range(1, values.size):
        if values[k] > values[first]:
            first = k
    return first


@kernel_for(*(numba.void(rows, *_LINEAR, numba.boolean, _LONGS, _LONGS, _FLOATS) for rows in _ROWS))
def classify(
    x: Singles,
    offsets: Singles,
    scales: Singles,
    weights: Table,
    intercepts: Singles,
    logistic: bool,
    labels: Labels,
    label: Labels,
    scores: Singles,
) -> None:
    """Write the scores of each row, see `sums`, and the label of the first that is the largest.

    logistic: whether scores are the logistic function of the sums, or these as they are. labels: one a sum, 2 at least.
    """
    _sum(x, Linear(offsets, scales, weights, intercepts), scores)
    size = labels.size
    for r in range(label.size):
        label[r] = labels[_first_largest(scores[r * size : (r + 1) * size])]
    if logistic:
        _logistic(scores)
