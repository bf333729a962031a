"""Two samples: distances that weigh the whole curve between their distribution functions F and G.

Rules. NaN is missing; a sample with nothing else gives NaN. Both sort their samples. Neither sees units differently:
the energy distance is in roots of them, the Cramér-von Mises statistic has none, as it looks at ranks alone.
"""

import math
from typing import NamedTuple

from serval_kernels.compile import kernel
from serval_kernels.drift.sorting import Floats, sort_present
from serval_kernels.drift.walks import energy_sorted, squared_gaps

_LEAST = 0.003  # below it the limit's distribution function is less than 1e-16
_MOST = 151.0  # above it its tail, of the order of exp(-pi^2 x / 2), is less than the smallest float


class CramerVonMises(NamedTuple):
    """The statistic T and the p value of no difference."""

    statistic: float
    p_value: float


def energy_distance(x: Floats, y: Floats) -> float:
    """Return sqrt(2 integral (F - G)^2), as scipy.stats.energy_distance; raises as `sorting.sort`."""
    return energy_sorted(sort_present(x), sort_present(y, "y"))


def cramer_von_mises(x: Floats, y: Floats) -> CramerVonMises:
    """Test whether two samples come from one distribution (Anderson, 1962); raises as `sorting.sort`.

    T = n m / N^2 times the sum of (F - G)^2 over all N = n + m values, of tied values the mean over all the orders
    that they may have. The p value is that of the limit after T is brought to the limit's mean and variance. Ties
    leave the mean of T as it is and its tail lighter: p is right, or too large where few values have most of the rows.

    Without ties within 1e-7, absolute, of scipy.stats.cramervonmises_2samp(method="asymptotic"), which ends its series
    there, up to T = 150; beyond, where p is 0, SciPy has up to 0.02. With ties SciPy puts mid-ranks into the formula
    for values that all differ, whose T then grows with the samples where n is not m: p near 0 without any difference.
    """
    x, y = sort_present(x), sort_present(y, "y")
    n, m = x.size, y.size
    if n == 0 or m == 0:
        return CramerVonMises(math.nan, math.nan)
    total, product = n + m, n * m
    statistic = squared_gaps(x, y) / product / total**2
    mean = (1 + 1 / total) / 6
    variance = (total + 1) * (4 * product * total - 3 * (n * n + m * m) - 2 * product) / (180 * total**2 * product)
    if variance <= 0.0:
        return CramerVonMises(statistic, 1.0)
    limit = 1 / 6 + (statistic - mean) / math.sqrt(45 * variance)
    return CramerVonMises(statistic, cramer_tail(limit))


@kernel
def cramer_tail(x: float) -> float:
    """Return P(W > x) of the limit of Cramér and von Mises (Csörgő and Faraway, 1996, 1.3), to about 1e-12.

    1 - 1 / (pi sqrt(x)) sum (-1)^k binom(-1/2, k) sqrt(4k + 1) exp(-q) K_1/4(q), q = (4k + 1)^2 / (16 x).
    """
    if x < _LEAST:
        return 1.0
    if x > _MOST:
        return 0.0
    total = 0.0
    for k in range(1000):
        y = 4.0 * k + 1.0
        q = y * y / (16.0 * x)
        weight = math.exp(math.lgamma(k + 0.5) - math.lgamma(k + 1.0)) / (math.pi**1.5 * math.sqrt(x))
        term = weight * math.sqrt(y) * _bessel_quarter(q)
        total += term
        if term < 1e-17 * total:
            break
    return max(0.0, 1.0 - total)


@kernel
def _bessel_quarter(q: float) -> float:
    """Return exp(-q) K_1/4(q), the integral of exp(-q (1 + cosh t)) cosh(t / 4) over t >= 0, by the trapezoidal rule.

    For such an integrand the rule's error falls faster than any power of the step.
    """
    step = 1.0 / 32.0
    total = 0.5 * math.exp(-2.0 * q)
    for k in range(1, 100_000):
        t = k * step
        exponent = -q * (1.0 + math.cosh(t))
        term = math.exp(exponent) * math.cosh(t / 4.0)
        total += term
        if exponent < -745.0 or term < 1e-18 * total:
            break
    return total * step
