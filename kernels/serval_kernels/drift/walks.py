"""Walks along two sorted samples: what lies between their distribution functions.

Rules. Samples are sorted by rising value and hold no NaN; infinities are values. F and G are right-continuous steps of
1/n and 1/m. A walk keeps the gap in whole numbers, n m (F - G), so that it never drifts; tied values are one step. The
inner walks begin at a given gap, somewhere on the way: so a stretch can be walked alone.
"""

import math

import numpy as np

from serval_kernels.compile import kernel
from serval_kernels.drift.sorting import Floats


@kernel
def ks_sorted(x: Floats, y: Floats) -> float:
    """Return max |F - G|; NaN when a sample is empty. Rounded once."""
    if x.size == 0 or y.size == 0:
        return np.nan
    return largest_gap(x, y, 0, x.size, y.size) / x.size / y.size


@kernel
def wasserstein_sorted(x: Floats, y: Floats) -> float:
    """Return the area between F and G; NaN when a sample is empty."""
    if x.size == 0 or y.size == 0:
        return np.nan
    return area_between(x, y, 0, x.size, y.size, -np.inf, np.inf)


@kernel
def largest_gap(x: Floats, y: Floats, gap: int, n: int, m: int) -> int:
    """Return the largest n m |F - G| at the values of a stretch before which n m (F - G) is `gap`."""
    i = j = largest = 0
    last = np.nan
    while i < x.size and j < y.size:
        a, b = x[i], y[j]
        value = min(a, b)
        # Only a finished group of ties is a point of the curve.
        if value != last:
            largest = max(largest, abs(gap))
        last = value
        gap += m * (a <= b) - n * (b <= a)
        i += a <= b
        j += b <= a
    while i < x.size and x[i] == last:
        gap += m
        i += 1
    while j < y.size and y[j] == last:
        gap -= n
        j += 1
    # What is left of one sample takes the gap one way: it is farthest here or at the end.
    return max(largest, abs(gap), abs(gap + m * (x.size - i) - n * (y.size - j)))


@kernel
def area_between(x: Floats, y: Floats, gap: int, n: int, m: int, low: float, high: float) -> float:
    """Return the area between F and G from `low` to `high`, where all of x and y lie.

    Before it n m (F - G) is `gap`. A bound may be infinite where nothing lies between F and G there.
    """
    i = j = 0
    area, last = 0.0, low
    while i < x.size or j < y.size:
        a = float(x[i]) if i < x.size else np.inf
        b = float(y[j]) if j < y.size else np.inf
        value = min(a, b)
        if value != last and gap != 0:
            area += strip(abs(gap) / n / m, last, value)
        last = value
        step_x, step_y = i < x.size and a <= b, j < y.size and b <= a
        gap += m * step_x - n * step_y
        i += step_x
        j += step_y
    if gap != 0 and last != high:
        area += strip(abs(gap) / n / m, last, high)
    return area


@kernel
def strip(height: float, left: float, right: float) -> float:
    """Return height (right - left); the difference of two finite numbers may overflow where the product does not."""
    width = right - left
    if np.isinf(width) and np.isfinite(left) and np.isfinite(right):
        return height * right - height * left
    return height * width


@kernel
def energy_sorted(x: Floats, y: Floats) -> float:
    """Return sqrt(2 integral (F - G)^2) (Székely and Rizzo, 2013); NaN when a sample is empty, inf for an inf moved."""
    if x.size == 0 or y.size == 0:
        return np.nan
    n, m = x.size, y.size
    i = j = gap = 0
    area, last = 0.0, -np.inf
    while i < n or j < m:
        a = float(x[i]) if i < n else np.inf
        b = float(y[j]) if j < m else np.inf
        value = min(a, b)
        if value != last and gap != 0:
            area += strip((gap / n / m) ** 2, last, value)
        last = value
        step_x, step_y = i < n and a <= b, j < m and b <= a
        gap += m * step_x - n * step_y
        i += step_x
        j += step_y
    return math.sqrt(2.0) * math.sqrt(area)


@kernel
def rank_deviations(x: Floats, y: Floats) -> float:
    """Return n sum (r_i - i)^2 + m sum (s_j - j)^2, with r and s the mid-ranks of x and y among both together."""
    i = j = 0
    of_x = of_y = 0.0
    while i < x.size or j < y.size:
        value = x[i] if j == y.size or (i < x.size and x[i] <= y[j]) else y[j]
        ties_x = ties_y = 0
        while i + ties_x < x.size and x[i + ties_x] == value:
            ties_x += 1
        while j + ties_y < y.size and y[j + ties_y] == value:
            ties_y += 1
        half = (ties_x + ties_y + 1) / 2
        of_x += _sum_of_squares(j + half, ties_x)
        of_y += _sum_of_squares(i + half, ties_y)
        i += ties_x
        j += ties_y
    return x.size * of_x + y.size * of_y


@kernel
def _sum_of_squares(c: float, count: int) -> float:
    """Return sum (c - k)^2 over k = 1 .. count."""
    return count * c * c - c * count * (count + 1) + count * (count + 1) * (2 * count + 1) / 6
