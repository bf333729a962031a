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
def squared_gaps(x: Floats, y: Floats) -> float:
    """Return the sum of (n m (F - G))^2 over all values, at ties the mean of all the orders that they may have.

    Of t tied values p are of x and q of y. In random order, after s of them, the gap has grown by s (m p - n q) / t on
    average, with the variance (n + m)^2 p q s (t - s) / (t^2 (t - 1)) of a draw without replacement. Summed over s.
    """
    n, m = x.size, y.size
    i = j = gap = 0
    total = 0.0
    while i < n or j < m:
        value = x[i] if j == m or (i < n and x[i] <= y[j]) else y[j]
        p = q = 0
        while i + p < n and x[i + p] == value:
            p += 1
        while j + q < m and y[j + q] == value:
            q += 1
        t = p + q
        before, change = float(gap), float(m * p - n * q)
        total += before * before * t + before * change * (t + 1.0)
        total += change * change * (t + 1.0) * (2.0 * t + 1.0) / (6.0 * t)
        total += (n + m) ** 2.0 * p * q * (t + 1.0) / (6.0 * t)
        gap += m * p - n * q
        i += p
        j += q
    return total
