"""Shifts of mean and variance.

Rules. Effects come with the p value of no shift, two-sided. Moments are of finite values and divide by n; a sample of
fewer than two values has no effect (NaN) and p = 1. Current less reference: a positive shift is upwards. Squares of
very large or small values overflow or vanish; a power of two brings them near 1 without changing a digit.
"""

import math
from typing import NamedTuple

import numpy as np

from serval_kernels.compile import kernel
from serval_kernels.drift.moments import Moments, moments
from serval_kernels.drift.sorting import Floats, check_floats, sort_present

_TINY = 1e-300
_TERMS = 10_000

_LEAST_SQUARES = 1e-280  # a sum of squares below may have lost digits
_LARGE_EXPONENT = 256  # of values between its negative and itself, squares of all differences keep their digits

_MANY = 1e4  # degrees of freedom from which on Student's distribution comes by way of the normal
_LARGE = 10.0  # from here on the error of Stirling's series is below 1e-12


class Shift(NamedTuple):
    """An effect and the p value of none."""

    effect: float
    p_value: float


def mean_shift(reference: Moments, current: Moments) -> Shift:
    """Return the difference of means in pooled standard deviations (Cohen's d) and Welch's p value (1947).

    t = (b - a) / sqrt(v_a / n + v_b / m) with unbiased variances, degrees of freedom by Satterthwaite. Two constants:
    0 and p 1 where they are equal, else an infinite effect and p 0. NaN, both, where the squares in the moments have
    overflowed or vanished: for values all beyond about 1e150 or below 1e-140. There is no spread in them any more;
    `mean_shift_of` has the samples.
    """
    n, m = reference.finite, current.finite
    if n < 2 or m < 2:
        return Shift(math.nan, 1.0)
    difference, squares = current.mean - reference.mean, reference.m2 + current.m2
    if all(sample.minimum == sample.maximum for sample in (reference, current)):
        return Shift(math.copysign(math.inf, difference), 0.0) if difference else Shift(0.0, 1.0)
    if not _LEAST_SQUARES < squares < math.inf:
        return Shift(math.nan, math.nan)
    pooled = math.sqrt(squares / (n + m - 2))
    a, b = reference.m2 / (n - 1) / n, current.m2 / (m - 1) / m
    share_a, share_b = a / (a + b), b / (a + b)
    freedom = 1.0 / (share_a * share_a / (n - 1) + share_b * share_b / (m - 1))
    return Shift(difference / pooled, t_tail(difference / math.sqrt(a + b), freedom))


def mean_shift_of(reference: Floats, current: Floats) -> Shift:
    """Return `mean_shift` of two samples of any magnitude, as both are first `rescaled`.

    NaN only where both spreads are less than 1e-140 of the largest value. Raises as `sorting.check_floats`.
    """
    check_floats(reference, "reference")
    check_floats(current, "current")
    a, b = rescaled(reference, current)
    return mean_shift(moments(a), moments(b))


def variance_shift(reference: Floats, current: Floats) -> Shift:
    """Return ln(variance of current / of reference) and the p value of Brown and Forsythe (1974).

    The test compares the mean distances from the medians, and so holds for tails of any weight, as
    scipy.stats.levene(center="median"). NaN is missing; infinities take no part. Of a constant, ln 0. Of any magnitude:
    samples are first multiplied by a power of two, both by one for the test. Raises as `sorting.check_floats`.
    """
    a, b = _log_variance(reference, "reference"), _log_variance(current, "current")
    reference, current = rescaled(reference, current)
    c, d = moments(_distances(reference)), moments(_distances(current))
    n, m = c.finite, d.finite
    if n < 2 or m < 2:
        return Shift(math.nan, 1.0)
    effect = 0.0 if a == b else b - a
    within = (c.m2 + d.m2) / (n + m - 2) * (1 / n + 1 / m)
    difference = d.mean - c.mean
    if not within > 0.0:
        return Shift(effect, 0.0 if difference else 1.0)
    return Shift(effect, t_tail(difference / math.sqrt(within), n + m - 2.0))


def rescaled(x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """Return both samples times one power of two that brings their largest finite magnitude to 0.5 to 1, in float64.

    As they are where it is between 2^-256 and 2^256, or where no value is finite. Exact, but for what is then so much
    smaller than the largest that it is below 1e-307. Raises as `sorting.check_floats`.
    """
    check_floats(x)
    check_floats(y, "y")
    exponent = _exponent(moments(x), moments(y))
    return (
        (np.ldexp(x.astype(np.float64), -exponent), np.ldexp(y.astype(np.float64), -exponent)) if exponent else (x, y)
    )


def median(x: Floats) -> float:
    """Return the median of the finite values, the middle of two where they are even in number; NaN for none."""
    ordered = sort_present(x)
    ordered = ordered[np.isfinite(ordered)]
    if not ordered.size:
        return math.nan
    low, high = float(ordered[(ordered.size - 1) // 2]), float(ordered[ordered.size // 2])
    # Halves lose the last digit of the smallest numbers, sums overflow for the largest.
    return (low + high) / 2 if math.isfinite(low + high) else low / 2 + high / 2


def deviation(x: Floats) -> float:
    """Return the standard deviation of the finite values, whatever their magnitude, with divisor n; 0 for none.

    Raises as `sorting.check_floats`.
    """
    found, exponent = _near_one(x)
    return math.ldexp(found.deviation, exponent)


def _near_one(x: Floats) -> tuple[Moments, int]:
    """Return the moments of a sample divided by a power of two, so that no squares are lost, and its exponent."""
    found = moments(x)
    exponent = _exponent(found)
    return (moments(np.ldexp(x.astype(np.float64), -exponent)), exponent) if exponent else (found, 0)


def _exponent(*samples: Moments) -> int:
    """Return the exponent of two of the largest finite magnitude where it is far from 1, else 0."""
    ends = [abs(end) for sample in samples if sample.finite for end in (sample.minimum, sample.maximum)]
    exponent = math.frexp(max(ends, default=0.0))[1]
    return exponent if abs(exponent) > _LARGE_EXPONENT else 0


def _log_variance(x: Floats, name: str) -> float:
    """Return ln of the unbiased variance, -inf for a constant; NaN for fewer than two values."""
    check_floats(x, name)
    found, exponent = _near_one(x)
    if found.finite < 2:
        return math.nan
    return math.log(found.m2 / (found.finite - 1)) + 2 * exponent * math.log(2) if found.m2 else -math.inf


def _distances(x: Floats) -> Floats:
    finite = x[np.isfinite(x)].astype(np.float64)
    return np.abs(finite - median(x))


@kernel
def t_tail(t: float, freedom: float) -> float:
    """Return P(|T| > |t|) of Student's distribution, to about 1e-10 relative.

    I_x(freedom / 2, 1 / 2) at x = freedom / (freedom + t^2); from 10,000 degrees of freedom on by way of the normal.
    """
    if t != t or not freedom > 0.0:
        return np.nan
    if np.isinf(t):
        return 0.0
    if freedom >= _MANY:
        return math.erfc(_normal_of(t, freedom) / math.sqrt(2.0))
    return beta_share(freedom / 2.0, 0.5, freedom / (freedom + t * t), t * t / (freedom + t * t))


@kernel
def _normal_of(t: float, freedom: float) -> float:
    """Return the normal deviate of the same tail as |t| (Hill, "Student's t-distribution", algorithm 395, 1970)."""
    a = freedom - 0.5
    square = a * math.log1p(t * t / freedom)
    if square > 1600.0:  # the tail is less than the smallest float; what follows would overflow
        return np.inf
    z, b = math.sqrt(square), 48.0 * a * a
    further = ((4.0 * square + 33.0) * square + 240.0) * square + 855.0
    return z + z * (square + 3.0) / b - z * further / (10.0 * b * (b + 0.8 * square * square + 100.0))


@kernel
def beta_share(a: float, b: float, x: float, rest: float) -> float:
    """Return the regularized incomplete beta function I_x(a, b), `rest` being 1 - x.

    The continued fraction on the side where it converges quickly (Press et al., Numerical Recipes, 6.4). To about 1e-10
    relative for b = 1/2 and a up to 50,000; beyond, x near 1 has too few digits: 1e-8 at 5e7.
    """
    if x <= 0.0 or rest <= 0.0:
        return 0.0 if x <= 0.0 else 1.0
    log_x = math.log1p(-rest) if rest < 0.5 else math.log(x)
    log_rest = math.log(rest) if rest < 0.5 else math.log1p(-x)
    front = math.exp(a * log_x + b * log_rest - _log_beta(a, b))
    if x < (a + 1.0) / (a + b + 2.0):
        return front * _beta_fraction(a, b, x) / a
    return 1.0 - front * _beta_fraction(b, a, rest) / b


@kernel
def _log_beta(a: float, b: float) -> float:
    """Return ln B(a, b), without the difference of two large logarithms where one of both numbers is large."""
    small, large = min(a, b), max(a, b)
    if large < _LARGE:
        return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)
    growth = (large - 0.5) * math.log1p(small / large) + small * math.log(large + small) - small
    return math.lgamma(small) - growth - _stirling(large + small) + _stirling(large)


@kernel
def _stirling(x: float) -> float:
    """Return ln Gamma(x) less (x - 1/2) ln x - x + ln(2 pi) / 2, by four terms of Stirling's series."""
    square = x * x
    return (1.0 / 12.0 - (1.0 / 360.0 - (1.0 / 1260.0 - 1.0 / (1680.0 * square)) / square) / square) / x


@kernel
def _beta_fraction(a: float, b: float, x: float) -> float:
    """Return the continued fraction of I_x(a, b) by the modified Lentz algorithm."""
    c = 1.0
    d = 1.0 - (a + b) * x / (a + 1.0)
    d = 1.0 / (d if abs(d) > _TINY else _TINY)
    value = d
    for k in range(1, _TERMS):
        even = k * (b - k) * x / ((a + 2 * k - 1.0) * (a + 2 * k))
        odd = -(a + k) * (a + b + k) * x / ((a + 2 * k) * (a + 2 * k + 1.0))
        for factor in (even, odd):
            d = 1.0 + factor * d
            c = 1.0 + factor / c
            d = 1.0 / (d if abs(d) > _TINY else _TINY)
            c = c if abs(c) > _TINY else _TINY
            value *= d * c
        if abs(d * c - 1.0) < 1e-15:
            break
    return value
