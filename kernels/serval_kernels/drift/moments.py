"""Moments of a column, and their sum over parts.

Rules. NaN is missing, +-inf is counted apart; every moment is of the finite values. Nothing finite: mean and m2 are 0,
minimum is inf and maximum -inf, which makes such a part the neutral element of `merge`.
"""

import math
from typing import Any, NamedTuple

import numba
import numpy as np

from serval_kernels.compile import kernel, kernel_for
from serval_kernels.drift.sorting import Floats, check_floats


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
    if b.finite:
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
def _finite_moments(x: Floats, pivot: float) -> tuple[int, float, float]:
    """Return number, mean and m2 of the finite values, reckoned from `pivot` so that a large offset costs no digits."""
    finite = 0
    mean = m2 = 0.0
    for i in range(x.size):
        if np.isfinite(x[i]):
            finite += 1
            mean, m2 = _welford(finite, mean, m2, np.float64(x[i]) - pivot)
    return finite, pivot + mean, m2


@kernel
def _first_finite(x: Floats) -> float:
    for i in range(x.size):
        if np.isfinite(x[i]):
            return float(x[i])
    return 0.0


@kernel_for(*_SIGNATURES)
def _moments(x: Floats) -> Any:
    """Return the fields of `Moments`, in order."""
    missing = 0
    minimum, maximum = np.inf, -np.inf
    for i in range(x.size):
        value = np.float64(x[i])
        missing += value != value
        if np.isfinite(value):
            minimum, maximum = min(minimum, value), max(maximum, value)
    finite, mean, m2 = _finite_moments(x, _first_finite(x))
    # Only the difference of huge numbers of both signs overflows.
    if not np.isfinite(mean):
        finite, mean, m2 = _finite_moments(x, 0.0)
    return finite, missing, x.size - finite - missing, mean, m2, minimum, maximum
