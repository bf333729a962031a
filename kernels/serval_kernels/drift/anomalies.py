"""Rows that the baseline would not have: out of range, unseen category, far from the middle.

Rules. One column at a time, any stride, in place; an answer for each row. NaN is missing, which is no anomaly of value:
its flags are 0 and its score is NaN. Nothing known of the column (bounds NaN, no spread) makes no anomaly.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from serval_kernels.compile import kernel
from serval_kernels.drift.shift import median
from serval_kernels.drift.sorting import Floats, check_floats

Flags = npt.NDArray[np.uint8]
Reals = npt.NDArray[np.float64]

NORMAL = 1.482602218505602  # 1 / quantile(3/4) of the normal distribution: makes the MAD a standard deviation there


def out_of_range(x: Floats, low: float, high: float) -> Flags:
    """Return 1 for each value below `low` or above `high`: uint8[n]. Raises as `sorting.check_floats`."""
    check_floats(x)
    flags = np.empty(x.size, np.uint8)
    _outside(x, low, high, flags)
    return flags


def unseen(x: npt.NDArray[Any], known: npt.NDArray[Any]) -> Flags:
    """Return 1 for each value that is not among `known`, numbers or codes, sorted and of the dtype of `x`: uint8[n].

    ValueError for another dtype.
    """
    if x.dtype != known.dtype or x.ndim != 1:
        raise ValueError(f"known: {known.dtype}, x: {x.dtype} of {x.ndim} dimensions; wanted one dtype, 1 dimension")
    flags = np.empty(x.size, np.uint8)
    _absent(x, known, flags)
    return flags


def spread(x: Floats) -> tuple[float, float]:
    """Return the median and the median distance from it (MAD) of the finite values: a baseline for `robust_scores`."""
    center, finite = median(x), x[np.isfinite(x)].astype(np.float64)
    with np.errstate(over="ignore"):
        distances = np.abs(finite - center)
    if np.isinf(distances).any():  # of halves they are finite
        return center, 2.0 * median(np.abs(finite / 2 - center / 2))
    return center, median(distances)


def robust_scores(x: Floats, center: float, mad: float) -> Reals:
    """Return |x - center| / (1.4826 mad) for each value: float64[n] (Iglewicz and Hoaglin, 1993, who flag above 3.5).

    Without spread (mad 0) the score is 0 at the center and inf elsewhere.
    """
    check_floats(x)
    scores = np.empty(x.size)
    _distances(x, center, mad, scores)
    return scores


@kernel
def _score(value: float, center: float, mad: float) -> float:
    """Return one value's |x - center| / (1.4826 mad), 0 at the center whatever the mad."""
    if value == center:
        return 0.0
    distance = abs(value - center)
    if np.isinf(distance) and np.isfinite(value):
        return abs(value / 2.0 - center / 2.0) / mad / NORMAL * 2.0
    return distance / mad / NORMAL


@kernel
def _outside(x: Floats, low: float, high: float, flags: Flags) -> None:
    for i in range(x.size):
        flags[i] = (x[i] < low) | (x[i] > high)


@kernel
def _absent(x: Any, known: Any, flags: Flags) -> None:
    for i in range(x.size):
        place = np.searchsorted(known, x[i])
        flags[i] = x[i] == x[i] and (place == known.size or known[place] != x[i])


@kernel
def _distances(x: Floats, center: float, mad: float, scores: Reals) -> None:
    for i in range(x.size):
        scores[i] = _score(np.float64(x[i]), center, mad)
