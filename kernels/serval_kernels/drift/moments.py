"""Moments of a column, and their sum over parts.

Rules. NaN is missing, +-inf is counted apart; every moment is of the finite values. Nothing finite: mean and m2 are 0,
minimum is inf and maximum -inf, which makes such a part the neutral element of `merge`.
"""

import math
from typing import Any, NamedTuple

import numba
import numpy as np
import numpy.typing as npt

from serval_kernels.compile import extremes, kernel, kernel_for, reduction
from serval_kernels.drift.sorting import Floats, check_floats

Reals = npt.NDArray[np.float64]

_BLOCK = 1024


class Moments(NamedTuple):
    """Of one column or part of it. m2 is the sum of squared deviations from the mean."""

    finite: int  # how many values the moments are of
    missing: int
    infinite: int
    mean: float
    m2: float
    minimum: float
    maximum: float

    @property
    def variance(self) -> float:
        """Return the variance with divisor n; 0 where nothing is finite."""
        return self.m2 / self.finite if self.finite else 0.0

    @property
    def deviation(self) -> float:
        """Return the standard deviation, the root of `variance`."""
        return math.sqrt(self.variance)


EMPTY = Moments(0, 0, 0, 0.0, 0.0, math.inf, -math.inf)

_SIGNATURES = [(numba.types.Array(dtype, 1, "A", readonly=True),) for dtype in (numba.float32, numba.float64)]


def moments(x: Floats) -> Moments:
    """Return the moments of a one-dimensional float32 or float64 array of any stride (else TypeError, ValueError)."""
    check_floats(x)
    return Moments(*_moments(x))


def merge(a: Moments, b: Moments) -> Moments:
    """Return the moments of both parts together (Chan, Golub and LeVeque, 1979)."""
    finite = a.finite + b.finite
    mean, m2 = a.mean, a.m2
    if not a.finite:
        mean, m2 = b.mean, b.m2
    elif b.finite:
        delta = b.mean - a.mean
        # Two shares of means rather than one step: the difference of huge means may overflow, this cannot.
        wide = math.isinf(delta)
        share = b.finite / finite
        mean = a.mean * (a.finite / finite) + b.mean * share if wide else a.mean + delta * share
        m2 = a.m2 + b.m2 + delta * delta * (a.finite / finite * b.finite)
    return Moments(
        finite,
        a.missing + b.missing,
        a.infinite + b.infinite,
        mean,
        m2,
        min(a.minimum, b.minimum),
        max(a.maximum, b.maximum),
    )


@kernel
def _welford(count: int, mean: float, m2: float, value: float) -> tuple[float, float]:
    """Return mean and m2 with `value` as the `count`-th value (Welford, 1962)."""
    delta = value - mean
    if np.isinf(delta):
        return mean * ((count - 1) / count) + value / count, np.inf
    mean += delta / count
    return mean, m2 + delta * (value - mean)


@kernel
def _welford_moments(x: Floats) -> tuple[int, float, float]:
    """Return number, mean and m2 of the finite values, one by one: for numbers whose sum overflows."""
    finite = 0
    mean = m2 = 0.0
    for i in range(x.size):
        if np.isfinite(x[i]):
            finite += 1
            mean, m2 = _welford(finite, mean, m2, np.float64(x[i]))
    return finite, mean, m2


@reduction
def _sum(values: Reals, size: int) -> float:
    total = 0.0
    for i in range(size):
        total += values[i]
    return total


@reduction
def _squares(values: Reals, size: int, mean: float) -> float:
    """Return the sum of squared deviations."""
    total = 0.0
    for i in range(size):
        total += (values[i] - mean) * (values[i] - mean)
    return total


@extremes
def _range_of(values: Reals, size: int) -> tuple[float, float]:
    """Return minimum and maximum; none is NaN."""
    low, high = np.inf, -np.inf
    for i in range(size):
        low = values[i] if values[i] < low else low
        high = values[i] if values[i] > high else high
    return low, high


@kernel
def _gather(x: Floats, start: int, stop: int, values: Reals) -> tuple[int, int]:
    """Copy the finite values of a block; return how many there are, and how many NaN."""
    finite = missing = 0
    for i in range(start, stop):
        value = np.float64(x[i])
        # Each is written, and the next over it unless it was finite: no branch to mispredict.
        values[finite] = value
        finite += value - value == 0.0
        missing += value != value
    return finite, missing


@kernel_for(*_SIGNATURES)
def _moments(x: Floats) -> Any:
    """Return the fields of `Moments`, in order.

    A block's moments are of two passes over it while it lies in the first-level cache; blocks are put together as by
    `merge`. So a large offset costs no digits, and sums are short.
    """
    values = np.empty(_BLOCK + 1)
    finite = missing = 0
    mean = m2 = 0.0
    minimum, maximum = np.inf, -np.inf
    for start in range(0, x.size, _BLOCK):
        stop = min(start + _BLOCK, x.size)
        size, absent = _gather(x, start, stop, values)
        missing += absent
        if size == 0:
            continue
        low, high = _range_of(values, size)
        minimum, maximum = min(minimum, low), max(maximum, high)
        # From the first value on, so that a constant has exactly no variance.
        pivot = values[0]
        center = pivot + (_sum(values, size) - size * pivot) / size if low != high else pivot
        finite += size
        delta = center - mean
        m2 += _squares(values, size, center) + delta * delta * ((finite - size) / finite * size)
        mean += delta * (size / finite)
    # Only sums, differences or squares of huge numbers overflow.
    if not np.isfinite(mean) or not np.isfinite(m2):
        finite, mean, m2 = _welford_moments(x)
    return finite, missing, x.size - finite - missing, mean, m2, minimum, maximum
