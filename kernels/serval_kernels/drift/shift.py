"""Shifts of mean and variance.

Rules. Effects come with the p value of no shift, two-sided. Moments are of finite values and divide by n; a sample of
fewer than two values has no effect (NaN) and p = 1. Current less reference: a positive shift is upwards.
"""

import math
from typing import NamedTuple

import numpy as np

from serval_kernels.compile import kernel
from serval_kernels.drift.moments import Moments, moments
from serval_kernels.drift.sorting import Floats, sort_present

_TINY = 1e-300
_TERMS = 10_000


class Shift(NamedTuple):
    """An effect and the p value of none."""

    effect: float
    p_value: float


def mean_shift(reference: Moments, current: Moments) -> Shift:
    """Return the difference of means in pooled standard deviations (Cohen's d) and Welch's p value (1947).

    t = (b - a) / sqrt(v_a / n + v_b / m) with unbiased variances, degrees of freedom by Satterthwaite. Two constants:
    0 and p 1 where they are equal, else an infinite effect and p 0.
    """
    n, m = reference.finite, current.finite
    if n < 2 or m < 2:
        return Shift(math.nan, 1.0)
    difference = current.mean - reference.mean
    pooled = math.sqrt((reference.m2 + current.m2) / (n + m - 2))
    if pooled == 0.0:
        return Shift(math.copysign(math.inf, difference), 0.0) if difference else Shift(0.0, 1.0)
    a, b = reference.m2 / (n - 1) / n, current.m2 / (m - 1) / m
    if not math.isfinite(a + b):
        return Shift(difference / pooled, math.nan)
    share_a, share_b = a / (a + b), b / (a + b)
    freedom = 1.0 / (share_a * share_a / (n - 1) + share_b * share_b / (m - 1))
    return Shift(difference / pooled, t_tail(difference / math.sqrt(a + b), freedom))


def variance_shift(reference: Floats, current: Floats) -> Shift:
    """Return ln(variance of current / of reference) and the p value of Brown and Forsythe (1974).

    The test compares the mean distances from the medians, and so holds for tails of any weight, as
    scipy.stats.levene(center="median"). NaN is missing; infinities take no part. Of a constant, ln 0.
    """
    a, b = moments(reference), moments(current)
    n, m = a.finite, b.finite
    if n < 2 or m < 2:
        return Shift(math.nan, 1.0)
    va, vb = a.m2 / (n - 1), b.m2 / (m - 1)
    if va == 0.0 or vb == 0.0:
        effect = 0.0 if va == vb else math.inf if va == 0.0 else -math.inf
    else:
        effect = math.log(vb) - math.log(va)
    c, d = moments(_distances(reference)), moments(_distances(current))
    within = (c.m2 + d.m2) / (n + m - 2) * (1 / n + 1 / m)
    difference = d.mean - c.mean
    if not within > 0.0:
        return Shift(effect, 0.0 if difference else 1.0)
    return Shift(effect, t_tail(difference / math.sqrt(within), n + m - 2.0))


def median(x: Floats) -> float:
    """Return the median of the finite values, the middle of two where they are even in number; NaN for none."""
    ordered = sort_present(x)
    ordered = ordered[np.isfinite(ordered)]
    if not ordered.size:
        return math.nan
    return float(ordered[(ordered.size - 1) // 2]) / 2 + float(ordered[ordered.size // 2]) / 2


def _distances(x: Floats) -> Floats:
    finite = x[np.isfinite(x)].astype(np.float64)
    return np.abs(finite - median(x))


@kernel
def t_tail(t: float, freedom: float) -> float:
    """Return P(|T| > |t|) of Student's distribution: I_x(freedom / 2, 1 / 2) at x = freedom / (freedom + t^2)."""
    if t != t or not freedom > 0.0:
        return np.nan
    if np.isinf(t):
        return 0.0
    return beta_share(freedom / 2.0, 0.5, freedom / (freedom + t * t), t * t / (freedom + t * t))


@kernel
def beta_share(a: float, b: float, x: float, rest: float) -> float:
    """Return the regularized incomplete beta function I_x(a, b), `rest` being 1 - x, to about 1e-10 relative.

    The continued fraction on the side where it converges quickly (Press et al., Numerical Recipes, 6.4).
    """
    if x <= 0.0 or rest <= 0.0:
        return 0.0 if x <= 0.0 else 1.0
    front = math.exp(
        math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log1p(-rest) + b * math.log(rest)
        if rest < 0.5
        else math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    )
    if x < (a + 1.0) / (a + b + 2.0):
        return front * _beta_fraction(a, b, x) / a
    return 1.0 - front * _beta_fraction(b, a, rest) / b


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
