"""Tests on counts: two samples over categories, and two shares.

Rules. p values are asymptotic, of no difference, two-sided. A test that has nothing to compare gives p = 1.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from serval_kernels.compile import kernel

Counts = npt.NDArray[np.int64]

EXPECTED_LEAST = 5.0  # Cochran's rule: the chi-square limit holds for expected counts from here on

_PRODUCT_MOST = 2.0**62  # of counts, within int64
_EPSILON = 2.0**-53
_TINY = 1e-300
_TERMS = 100_000


class ChiSquare(NamedTuple):
    """A chi-square statistic with its degrees of freedom and p value."""

    statistic: float
    freedom: int
    p_value: float


def chi_square(reference: Counts, current: Counts, rest: tuple[int, int] = (0, 0)) -> ChiSquare:
    """Test whether two samples have the same shares of categories (Pearson, 1911), by the 2 x K table.

    Categories whose expected count in either sample is below 5 are taken together with `rest`, the (reference,
    current) counts of what was never told apart; if that is still below 5, the smallest category joins it. Fewer than
    two groups left, or an empty sample: statistic 0, freedom 0, p 1. Counts are int64 of one length (else ValueError).
    """
    return _tested(reference, current, rest, _pearson)


def g_test(reference: Counts, current: Counts, rest: tuple[int, int] = (0, 0)) -> ChiSquare:
    """Test as `chi_square`, with the same pooling, by the likelihood ratio (Wilks, 1938): 2 sum O ln(O / E)."""
    return _tested(reference, current, rest, _likelihood_ratio)


def _tested(
    reference: Counts, current: Counts, rest: tuple[int, int], statistic_of: Callable[[Counts, int, int], float]
) -> ChiSquare:
    if len(reference) != len(current):
        raise ValueError(f"counts: {len(reference)} and {len(current)} categories; wanted the same")
    n, m = int(reference.sum()) + rest[0], int(current.sum()) + rest[1]
    if n == 0 or m == 0:
        return ChiSquare(0.0, 0, 1.0)
    table = _pooled(np.stack([reference, current]), rest, n, m)
    freedom = table.shape[1] - 1
    if freedom < 1:
        return ChiSquare(0.0, 0, 1.0)
    statistic = statistic_of(table, n, m)
    return ChiSquare(statistic, freedom, chi_square_tail(statistic, freedom))


def _pooled(table: Counts, rest: tuple[int, int], n: int, m: int) -> Counts:
    """Return the table, int64[2, groups], with its rare categories in one group."""
    least_total = EXPECTED_LEAST * (n + m) / min(n, m)
    table = table[:, np.argsort(-table.sum(axis=0), kind="stable")]
    kept = int((table.sum(axis=0) >= least_total).sum())
    pool = table[:, kept:].sum(axis=1) + np.array(rest, np.int64)
    while kept and 0 < pool.sum() < least_total:
        kept -= 1
        pool = pool + table[:, kept]
    groups = table[:, :kept]
    return np.column_stack([groups, pool]) if pool.sum() else groups


@kernel
def _pearson(table: Counts, n: int, m: int) -> float:
    """Return sum (observed - expected)^2 / expected of a 2 x K table with row sums n and m.

    With d the reference's observed less expected count, the column adds d^2 / e1 + d^2 / e2.
    """
    total = 0.0
    whole = float(n) * m < _PRODUCT_MOST  # else counts are so large that a difference of floats has digits to spare
    for k in range(table.shape[1]):
        column = table[0, k] + table[1, k]
        expected = column * (n / (n + m))
        other = column * (m / (n + m))
        difference = (table[0, k] * m - table[1, k] * n) / (n + m) if whole else table[0, k] - expected
        total += difference * difference * (1.0 / expected + 1.0 / other)
    return total


@kernel
def _likelihood_ratio(table: Counts, n: int, m: int) -> float:
    """Return 2 sum O ln(O / E) of a 2 x K table with row sums n and m; an empty field adds 0."""
    total = 0.0
    for k in range(table.shape[1]):
        column = table[0, k] + table[1, k]
        for row, size in ((0, n), (1, m)):
            if table[row, k] > 0:
                total += table[row, k] * math.log(table[row, k] / column * ((n + m) / size))
    return max(2.0 * total, 0.0)


@kernel
def chi_square_tail(statistic: float, freedom: int) -> float:
    """Return P(X > statistic) of the chi-square distribution: Q(freedom / 2, statistic / 2)."""
    return gamma_tail(freedom / 2.0, statistic / 2.0)


@kernel
def gamma_tail(a: float, x: float) -> float:
    """Return the upper regularized incomplete gamma function Q(a, x); 1 for x <= 0, NaN for a <= 0 or NaN.

    A series for P below a + 1, Lentz's continued fraction above (Press et al., Numerical Recipes, 6.2); relative
    error below 1e-10 for a up to 500.
    """
    if not (a > 0.0) or x != x:
        return np.nan
    if x <= 0.0:
        return 1.0
    if np.isinf(x):
        return 0.0
    front = math.exp(a * math.log(x) - x - math.lgamma(a))
    return 1.0 - front * _gamma_series(a, x) if x < a + 1.0 else front * _gamma_fraction(a, x)


@kernel
def _gamma_series(a: float, x: float) -> float:
    """Return sum x^k / (a (a + 1) ... (a + k))."""
    term = total = 1.0 / a
    for k in range(1, _TERMS):
        term *= x / (a + k)
        total += term
        if term < total * _EPSILON:
            break
    return total


@kernel
def _gamma_fraction(a: float, x: float) -> float:
    """Return 1/(x + 1 - a - 1 (1 - a)/(x + 3 - a - ...)) by the modified Lentz algorithm."""
    b = x + 1.0 - a
    c = 1.0 / _TINY
    d = 1.0 / b
    value = d
    for k in range(1, _TERMS):
        factor = -k * (k - a)
        b += 2.0
        d = factor * d + b
        d = 1.0 / (d if abs(d) > _TINY else _TINY)
        c = b + factor / c
        c = c if abs(c) > _TINY else _TINY
        value *= d * c
        if abs(d * c - 1.0) < 4 * _EPSILON:
            break
    return value


@kernel
def share_p_value(hits_a: int, rows_a: int, hits_b: int, rows_b: int) -> float:
    """Return the p value of equal shares hits_a/rows_a and hits_b/rows_b by the pooled two-proportion z test.

    z = (a - b) / sqrt(s (1 - s) (1/n + 1/m)), p = erfc(|z| / sqrt(2)). 1 where a sample is empty, or where all or none
    of the rows of both are hits.
    """
    if rows_a <= 0 or rows_b <= 0:
        return 1.0
    share = (hits_a + hits_b) / (rows_a + rows_b)
    if share <= 0.0 or share >= 1.0:
        return 1.0
    spread = math.sqrt(share * (1.0 - share) * (1.0 / rows_a + 1.0 / rows_b))
    return math.erfc(abs(hits_a / rows_a - hits_b / rows_b) / spread / math.sqrt(2.0))
