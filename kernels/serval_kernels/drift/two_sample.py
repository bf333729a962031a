"""Two samples: how far their distribution functions lie apart.

Rules. NaN is missing and takes no part; a sample with nothing else gives NaN. Infinities are values. Statistics are
of distribution functions F (first) and G (second), right-continuous steps of 1/n and 1/m. The exact forms walk two
sorted samples, the binned forms see only counts in shared bins edges[i-1] < x <= edges[i].
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from serval_kernels.compile import kernel
from serval_kernels.drift import unsorted
from serval_kernels.drift.binning import FRACTIONS_END
from serval_kernels.drift.sorting import Floats, check_floats, sort_present
from serval_kernels.drift.walks import ks_sorted as ks_sorted
from serval_kernels.drift.walks import strip
from serval_kernels.drift.walks import wasserstein_sorted as wasserstein_sorted

Edges = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]

# Below, sorting is as quick; above, a cell's counter or the product of both sizes might overflow.
_LEAST_OF_CELLS, _MOST_OF_CELLS = 4096, 1 << 31
_PRODUCT_MOST = 2.0**62  # of counts, within int64


class BinnedDistance(NamedTuple):
    """A distance from counts, and by how much at most it may be too small."""

    statistic: float
    error: float


def ks_statistic(x: Floats, y: Floats) -> float:
    """Return the Kolmogorov-Smirnov distance, max |F - G|, 0 to 1, of two samples in any order; NaN when one is empty.

    Exact. Samples are sorted only where cells of counts leave open where the largest distance lies. A view that is not
    contiguous is gathered once, as its values are read up to three times: no more than that column is copied. Raises as
    `sorting.sort` does.
    """
    return _measured(x, y, unsorted.ks, ks_sorted)


def wasserstein(x: Floats, y: Floats) -> float:
    """Return Wasserstein-1, the area between F and G, in the units of the samples; NaN when one is empty.

    Equals the integral of |F - G| (Vallender, 1974). An infinite value that moved a share of the whole gives inf.
    Where F and G surely do not cross within a cell, the cell's part follows from the sums of its values.
    """
    return _measured(x, y, unsorted.area, wasserstein_sorted)


def _measured(
    x: Floats,
    y: Floats,
    by_cells: Callable[[Floats, Floats], float | None],
    by_sorting: Callable[[Floats, Floats], float],
) -> float:
    """Return a distance in whichever way is quicker for samples of this size."""
    check_floats(x)
    check_floats(y, "y")
    x, y = _alike(np.ascontiguousarray(x), np.ascontiguousarray(y))
    if min(x.size, y.size) >= _LEAST_OF_CELLS and max(x.size, y.size) <= _MOST_OF_CELLS:
        distance = by_cells(x, y)
        if distance is not None:
            return distance
    return by_sorting(sort_present(x), sort_present(y))


def _alike(x: Floats, y: Floats) -> tuple[Floats, Floats]:
    return (x, y) if x.dtype == y.dtype else (x.astype(np.float64), y.astype(np.float64))


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

    Kolmogorov's limit at the effective size e = n m / (n + m), rounded, with the correction of Vrbik ("Small-Sample
    Corrections to Kolmogorov-Smirnov Test Statistic", 2018): z = d sqrt(e), taken at z + 1/(6 sqrt(e)) + (z - 1)/(4 e).
    Within 1e-3 of scipy.stats.ks_2samp(method="asymp"), which takes the exact distribution at e, for e
    from 15 on, 2e-4 from 100 on, 3e-5 from 1000 on. Ties make it too large, never too small. NaN for a NaN distance or
    an empty sample.
    """
    if math.isnan(statistic) or n <= 0 or m <= 0:
        return np.nan
    size = max(np.rint(n / (n + m) * m), 1.0)
    z = statistic * math.sqrt(size)
    return kolmogorov_tail(z + 1.0 / (6.0 * math.sqrt(size)) + (z - 1.0) / (4.0 * size))


@kernel
def _ks_of_counts(edges: Edges, reference: Counts, current: Counts, exact: bool) -> tuple[float, float]:
    """Return the largest |F - G| at the edges, and the largest share that both have inside one bin."""
    n, m = reference.sum(), current.sum()
    if n == 0 or m == 0:
        return np.nan, np.nan
    whole = float(n) * m < _PRODUCT_MOST
    upto = other = 0
    largest = error = 0.0
    for i in range(reference.size):
        upto, other = upto + reference[i], other + current[i]
        largest = max(largest, abs(upto * m - other * n) / n / m if whole else abs(upto / n - other / m))
        if not (0 < i < edges.size and _holds_one(edges[i - 1], edges[i], exact)):
            error = max(error, min(reference[i] / n, current[i] / m))
    return largest, error


@kernel
def _holds_one(left: float, right: float, exact: bool) -> bool:
    """Return whether at most one number lies in (left, right]: a float32, or an `exact` one where that is finer."""
    if exact and max(abs(left), abs(right)) >= FRACTIONS_END:
        return bool(np.nextafter(left, np.inf) == right)
    first = np.float32(left)
    if first <= left:
        first = np.nextafter(first, np.float32(np.inf))
    return bool(np.nextafter(first, np.float32(np.inf)) > right)


def ks_binned(edges: Edges, reference: Counts, current: Counts, *, exact: bool = False) -> BinnedDistance:
    """Return the KS distance seen at the edges: never above the true one, and below it by at most `error`.

    Within a bin F - G grows by at most the reference's share there, and falls to its value at the bin's end by at most
    the current's: so the error is the largest over bins of the smaller of both shares. A bin that holds only one
    number has none: one float32, samples taken to be no finer than that, but for the large numbers of `exact` columns,
    whose edges are those of `quantile_edges` for such. Lengths: len(edges) + 1 counts each, else ValueError. NaN when
    empty.
    """
    _check_counts(edges, reference, current)
    return BinnedDistance(*_ks_of_counts(edges, reference, current, exact))


def wasserstein_binned(
    edges: Edges, reference: Counts, current: Counts, ranges: tuple[float, float, float, float]
) -> float:
    """Return Wasserstein-1 from counts, each bin's values spread evenly over the bin.

    Coarsest for what lies in an outer bin, of which only the ends are known.

    `ranges` is the reference's minimum and maximum, then the current's: they close the outer bins, and shorten a bin
    that reaches past them. NaN when a histogram is empty or a range is not finite; ValueError as in `ks_binned`.
    """
    _check_counts(edges, reference, current)
    if not (reference.sum() and current.sum() and np.isfinite(ranges).all()):
        return math.nan
    return float(_area_of_counts(edges, reference, current, ranges))


def _check_counts(edges: Edges, reference: Counts, current: Counts) -> None:
    if not len(edges) + 1 == len(reference) == len(current):
        raise ValueError(
            f"counts: {len(reference)} and {len(current)} bins with {len(edges)} edges; wanted one bin more than edges"
        )


@kernel
def _area_of_counts(
    edges: Edges, reference: Counts, current: Counts, ranges: tuple[float, float, float, float]
) -> float:
    """Add up the area between F and G over the bins."""
    low, high = min(ranges[0], ranges[2]), max(ranges[1], ranges[3])
    n, m = reference.sum(), current.sum()
    area = 0.0
    f = g = 0.0
    points = np.empty(6)
    for i in range(reference.size):
        left = low if i == 0 else min(max(edges[i - 1], low), high)
        right = high if i == edges.size else min(max(edges[i], low), high)
        a_left, a_right = min(max(ranges[0], left), right), max(min(ranges[1], right), left)
        b_left, b_right = min(max(ranges[2], left), right), max(min(ranges[3], right), left)
        points[:] = (left, right, a_left, a_right, b_left, b_right)
        points.sort()
        share_f, share_g = reference[i] / n, current[i] / m
        for k in range(5):
            start, stop = points[k], points[k + 1]
            if start < stop:
                before = f - g + share_f * _filled(start, start, a_left, a_right)
                before -= share_g * _filled(start, start, b_left, b_right)
                after = f - g + share_f * _filled(stop, start, a_left, a_right)
                after -= share_g * _filled(stop, start, b_left, b_right)
                area += strip(_mean_height(before, after), start, stop)
        f += share_f
        g += share_g
    return area


@kernel
def _filled(x: float, start: float, left: float, right: float) -> float:
    """Return the share of a bin's values up to x, if they lie evenly in [left, right].

    All of them in one place make a step there; `start`, the beginning of the stretch that x belongs to, says on which
    side of the step it lies.
    """
    if left == right:
        return 1.0 if start >= left else 0.0
    if x <= left:
        return 0.0
    return 1.0 if x >= right else (x - left) / (right - left)


@kernel
def _mean_height(before: float, after: float) -> float:
    """Return the mean of |h| along a line from `before` to `after`."""
    if before * after >= 0.0:
        return (abs(before) + abs(after)) / 2.0
    return (before * before + after * after) / 2.0 / (abs(before) + abs(after))
