"""Two samples: how far their distribution functions lie apart.

Rules. NaN is missing and takes no part; a sample with nothing else gives NaN. Infinities are values. Statistics are
of distribution functions F (first) and G (second), right-continuous steps of 1/n and 1/m. The exact forms walk two
sorted samples, the binned forms see only counts in shared bins edges[i-1] < x <= edges[i].
"""

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from serval_kernels.compile import kernel
from serval_kernels.drift.sorting import Floats, sort_present

Edges = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]


class BinnedDistance(NamedTuple):
    """A distance from counts, and by how much at most it may be too small."""

    statistic: float
    error: float


def ks_statistic(x: Floats, y: Floats) -> float:
    """Return the Kolmogorov-Smirnov distance, max |F - G|, 0 to 1, of two samples in any order; NaN when one is empty.

    Raises as `sorting.sort` does.
    """
    return ks_sorted(sort_present(x), sort_present(y))


def wasserstein(x: Floats, y: Floats) -> float:
    """Return Wasserstein-1, the area between F and G, in the units of the samples; NaN when one is empty.

    Equals the integral of |F - G| (Vallender, 1974). An infinite value that moved a share of the whole gives inf.
    """
    return wasserstein_sorted(sort_present(x), sort_present(y))


@kernel
def ks_sorted(x: Floats, y: Floats) -> float:
    """Return max |F - G| of two samples sorted by rising value and without NaN.

    The walk counts in whole numbers, n m (F - G), so the result is rounded once. Tied values are one step.
    """
    n, m = x.size, y.size
    if n == 0 or m == 0:
        return np.nan
    i = j = gap = largest = 0
    last = min(x[0], y[0])
    while i < n and j < m:
        a, b = x[i], y[j]
        value = min(a, b)
        # Only a finished group of ties is a point of the curve.
        if value != last:
            largest = max(largest, abs(gap))
        last = value
        gap += m * (a <= b) - n * (b <= a)
        i += a <= b
        j += b <= a
    while i < n and x[i] == last:
        gap += m
        i += 1
    while j < m and y[j] == last:
        gap -= n
        j += 1
    return max(largest, abs(gap)) / n / m


@kernel
def wasserstein_sorted(x: Floats, y: Floats) -> float:
    """Return the area between F and G of two samples sorted by rising value and without NaN."""
    n, m = x.size, y.size
    if n == 0 or m == 0:
        return np.nan
    i = j = gap = 0
    area = 0.0
    last = np.float64(min(x[0], y[0]))
    while i < n or j < m:
        a = np.float64(x[i]) if i < n else np.inf
        b = np.float64(y[j]) if j < m else np.inf
        value = min(a, b)
        if value != last and gap != 0:
            area += _strip(abs(gap) / n / m, last, value)
        last = value
        step_x, step_y = i < n and a <= b, j < m and b <= a
        gap += m * step_x - n * step_y
        i += step_x
        j += step_y
    return area


@kernel
def _strip(height: float, left: float, right: float) -> float:
    """Return height (right - left); the difference of two finite numbers may overflow where the product does not."""
    width = right - left
    if np.isinf(width) and np.isfinite(left) and np.isfinite(right):
        return height * right - height * left
    return height * width


@kernel
def kolmogorov_tail(z: float) -> float:
    """Return P(K > z) of Kolmogorov's distribution, to about 1e-15; 1 for z <= 0.

    Two series (Marsaglia, Tsang and Wang, 2003), each where it needs at most five terms:
    2 sum (-1)^(k-1) exp(-2 k^2 z^2), and 1 - sqrt(2 pi)/z sum exp(-(2k-1)^2 pi^2 / (8 z^2)).
    """
    if z <= 0.04:
        return 1.0
    total = 0.0
    if z < 1.0:
        for k in range(1, 6):
            total += math.exp(-(((2 * k - 1) * math.pi / z) ** 2) / 8)
        return 1.0 - math.sqrt(2 * math.pi) / z * total
    for k in range(1, 6):
        total += (1.0 if k % 2 else -1.0) * math.exp(-2.0 * (k * z) ** 2)
    return 2.0 * total


@kernel
def ks_p_value(statistic: float, n: int, m: int) -> float:
    """Return the p value of no difference for a two-sample KS distance of samples of `n` and `m` values.

    Kolmogorov's limit at the effective size e = n m / (n + m), with the correction of Vrbik ("Small-Sample
    Corrections to Kolmogorov-Smirnov Test Statistic", 2018): z = d sqrt(e), taken at z + 1/(6 sqrt(e)) + (z - 1)/(4 e).
    Ties make it too large, never too small. NaN for a NaN distance or an empty sample.
    """
    if math.isnan(statistic) or n <= 0 or m <= 0:
        return np.nan
    size = n / (n + m) * m
    z = statistic * math.sqrt(size)
    return kolmogorov_tail(z + 1.0 / (6.0 * math.sqrt(size)) + (z - 1.0) / (4.0 * size))
