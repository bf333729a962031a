"""Drift of embeddings: two sets of vectors, float32 or float64 [rows, width].

Rules. A row that holds a NaN or an infinity is missing. Fewer rows than a statistic needs give NaN. The cosine of means
is blind to spread and to shifts that cancel; the maximum mean discrepancy sees any difference its kernel resolves.
"""

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from serval_kernels.compile import kernel
from serval_kernels.similarity.cosine import Scores, Vector, cosine

FEATURES = 256
_ROWS = 4096  # at a time, so that what is computed of them stays small


class Discrepancy(NamedTuple):
    """The squared maximum mean discrepancy of two samples, and how far it may be off."""

    squared: float  # unbiased: about 0, also below, where both are alike
    standard_error: float  # from sample to sample, the frequencies being what they are
    frequency_error: float  # from one drawing of frequencies to another


def mean_vector(rows: Vector) -> Scores:
    """Return the mean of the rows without NaN and infinities: float64[width]; NaN where there is none."""
    total = np.zeros(rows.shape[1])
    count = _add_rows(rows, total, 1.0)
    if not count:
        return np.full(rows.shape[1], np.nan)
    if not np.isfinite(total).all():  # the sum of huge numbers; that of their shares cannot overflow
        total = np.zeros(rows.shape[1])
        _add_rows(rows, total, 1.0 / count)
        return total
    return total / count


def mean_cosine(reference: Vector, current: Vector) -> float:
    """Return the cosine of both means: 1 for no drift, NaN where a side has no row."""
    return float(cosine(mean_vector(reference), mean_vector(current)))


def median_width(rows: Vector, pairs: int = 1000, seed: int = 0) -> float:
    """Return the median distance of `pairs` random pairs of rows, a usual width for a Gaussian kernel; NaN for none."""
    rows = _finite(rows)
    if len(rows) < 2:
        return math.nan
    places = np.random.default_rng(seed).integers(0, len(rows), (2, pairs))
    places = places[:, places[0] != places[1]]
    return float(np.median(np.linalg.norm(rows[places[0]].astype(np.float64) - rows[places[1]], axis=1)))


def mmd(reference: Vector, current: Vector, width: float, features: int = FEATURES, seed: int = 0) -> Discrepancy:
    """Return the squared maximum mean discrepancy for the kernel exp(-|a - b|^2 / (2 width^2)).

    By random Fourier features (Rahimi and Recht, 2007) of `features` frequencies from N(0, 1 / width^2), drawn from
    `seed`: z(a) = (cos(w a), sin(w a)) / sqrt(features), MMD^2 = |mean z - mean z'|^2 (Gretton et al., 2012), less what
    the spread of the samples adds to it. Linear in rows. With S = C/n + C'/m, C the covariance of z, the standard error
    is the root of 4 d'S d + 2 tr(S S), d the true difference: the first for samples that differ, the second for all;
    tr(C C') is estimated from disjoint pairs of rows. ValueError for shapes that differ, a width not positive, or fewer
    than 2 features.
    """
    if reference.ndim != 2 or current.ndim != 2 or reference.shape[1] != current.shape[1]:
        raise ValueError(f"rows: shapes {reference.shape} and {current.shape}; wanted [n, width] and [m, width]")
    if not width > 0.0 or not math.isfinite(width):
        raise ValueError(f"width: {width}; wanted a positive number")
    if features < 2:
        raise ValueError(f"features: {features}; wanted 2 or more")
    samples = _finite(reference), _finite(current)
    n, m = len(samples[0]), len(samples[1])
    if n < 2 or m < 2:
        return Discrepancy(math.nan, math.nan, math.nan)
    frequencies = np.random.default_rng(seed).normal(0.0, 1.0 / width, (reference.shape[1], features))
    centered, other_centered = (_features(sample, frequencies) for sample in samples)
    mean, other_mean = centered.mean(axis=0), other_centered.mean(axis=0)
    centered -= mean  # in place: these are the largest arrays by far
    other_centered -= other_mean
    difference = mean - other_mean
    spread = _squares(centered) / (n * (n - 1)) + _squares(other_centered) / (m * (m - 1))
    each = (difference**2 - spread).reshape(2, features).sum(axis=0) * features
    moved = 4 * ((centered @ difference).var() / n + (other_centered @ difference).var() / m)
    # d is off by its own error, which adds tr(S S) to d'S d.
    still = 2 * (_pairs(centered, centered) / n**2 + _pairs(other_centered, other_centered) / m**2)
    still += 4 * _pairs(centered, other_centered) / (n * m)
    return Discrepancy(
        float(each.mean()), math.sqrt(max(moved - still, still)), float(each.std(ddof=1) / math.sqrt(features))
    )


def _features(rows: Vector, frequencies: Scores) -> Scores:
    """Return z of each row: float64[rows, 2 features]."""
    count = frequencies.shape[1]
    result = np.empty((len(rows), 2 * count))
    for start in range(0, len(rows), _ROWS):
        angles = rows[start : start + _ROWS].astype(np.float64) @ frequencies
        np.cos(angles, out=result[start : start + _ROWS, :count])
        np.sin(angles, out=result[start : start + _ROWS, count:])
    result /= math.sqrt(count)
    return result


def _squares(a: Scores) -> Scores:
    """Return the sum of squares of each column."""
    return np.asarray(np.einsum("ij,ij->j", a, a))


def _pairs(a: Scores, b: Scores) -> float:
    """Return the mean of (a_i b_j)^2 over disjoint pairs of independent rows: tr(A B) of their covariances."""
    if a is b:
        half = len(a) // 2
        a, b = a[:half], a[half : 2 * half]
    size = min(len(a), len(b))
    return float((np.einsum("ij,ij->i", a[:size], b[:size]) ** 2).mean())


def _finite(rows: Vector) -> Vector:
    whole: npt.NDArray[np.bool_] = np.asarray(np.isfinite(rows).all(axis=1))
    return rows if whole.all() else rows[whole]


@kernel
def _add_rows(rows: Vector, total: Scores, share: float) -> int:
    """Add the rows without NaN and infinities, each number times `share`; return how many there are."""
    count = 0
    for row in range(rows.shape[0]):
        finite = True
        for i in range(rows.shape[1]):
            finite &= np.isfinite(rows[row, i])
        if finite:
            count += 1
            for i in range(rows.shape[1]):
                total[i] += np.float64(rows[row, i]) * share
    return count
