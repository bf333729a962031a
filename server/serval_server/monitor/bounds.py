"""How far an effect that was seen may lie from the effect that is: bounds for any sizes, over counts in fixed bins.

Rules. The null hypothesis is always "the effect is at most the tolerance", not "there is none". Counts are int64
[..., bins], the reference's first; sizes and results broadcast over what stands before the bins. e = n m / (n + m) is
the effective size of n reference and m current values. Natural logarithms.

Numbers: D = max |F_n - G_m| is off the true distance by at most c, but for a share 2 exp(-2 e c^2) of samples. That is
Massart's constant ("The tight constant in the Dvoretzky-Kiefer-Wolfowitz inequality", 1990) at the effective size. It
holds for F = G (Wei and Dudley, "Two-sample Dvoretzky-Kiefer-Wolfowitz inequalities", 2012), and for F != G in the
limit: with w = e/n, v = e/m, H = w F + v G, the limit of (F_n - F) - (G_m - G) has a covariance smaller than that of a
Brownian bridge at H over sqrt(e) by w v (F - G)(x) (F - G)(y) / e, which is positive semidefinite; so by Anderson's
inequality (1955) its maximum exceeds c no more often. Bins see no more than D.

Categories: V = sum |p - q| / 2 is off the true total variation by at most E[N] + c, but for a share exp(-2 e c^2): the
noise N = sum |(p - P) - (q - Q)| / 2 changes by at most 1/n or 1/m with one row (McDiarmid, 1989). E[N] is at most half
the sum of the standard deviations of p - q, estimated from the counts; since E|x| is 0.8 standard deviations of a
normal x, the estimate errs to the safe side. Rare categories are taken together before, so that this is no estimate of
noise from single rows.

Shares: with L the smallest of n kl(p, P) + m kl(q, Q) over |P - Q| <= tolerance, p = 2 exp(-L) (Chernoff, 1952).
"""

import math
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.integer[Any]]

NUMERIC_SIDES = 2.0
CATEGORY_SIDES = 1.0
EXPECTED_LEAST = 5.0
_DEVIATIONS = 3.0

_NORMAL = NormalDist()
_SEARCH_STEPS = 34  # to 6e-11 of the range, where the sum is flat


class Variation(NamedTuple):
    """A total variation with what chance is expected to make of it, and what rare categories may hide."""

    distance: Floats
    noise: Floats
    hidden: Floats


def effective_size(reference: Any, current: Any) -> Floats:
    """Return n m / (n + m); 0 where one is 0."""
    n, m = np.asarray(reference, np.float64), np.asarray(current, np.float64)
    return np.asarray(n * m / np.maximum(n + m, 1.0))


def exceeds_p_value(
    effect: Any, tolerance: float, reference: Any, current: Any, *, noise: Any = 0.0, sides: Any = NUMERIC_SIDES
) -> Floats:
    """Return the p value of "the true effect is at most the tolerance": min(1, sides exp(-2 e (effect - noise - t)^2)).

    1 where the effect does not stand out at all, or a sample is empty. `sides`: 2 for KS distances, 1 for total
    variations, see the module.
    """
    gap = np.maximum(np.nan_to_num(np.asarray(effect, np.float64)) - noise - tolerance, 0.0)
    return np.asarray(np.minimum(sides * np.exp(-2.0 * effective_size(reference, current) * gap * gap), 1.0))


def margin(level: Any, reference: Any, current: Any, *, sides: Any = NUMERIC_SIDES) -> Floats:
    """Return the half width c of the bound that fails for at most the share `level` of samples; inf for no sample."""
    size = effective_size(reference, current)
    with np.errstate(divide="ignore"):
        return np.where(size > 0, np.sqrt(np.log(sides / np.asarray(level)) / 2.0 / size), np.inf)


def distribution(counts: Counts) -> Floats:
    """Return the empirical distribution function at the bins' upper edges, float64[..., bins]; 0 of no counts."""
    return np.asarray(counts.cumsum(axis=-1) / np.maximum(counts.sum(axis=-1, keepdims=True), 1))


def ks_distance(f: Floats, g: Floats) -> Floats:
    """Return the largest |F - G|, float64[...], of two distribution functions at the same edges."""
    gap = g - f
    return np.asarray(np.abs(gap, out=gap).max(axis=-1))


def normal_scores(f: Floats) -> Floats:
    """Return the normal score of each bin, float64[..., bins], by a distribution function at the bins' upper edges.

    It is the mean of the normal's quantile function over the bin's stretch of F (van der Waerden, 1952): rising, and 0
    in the mean over F. A bin that the reference left empty has the quantile of its point of F, which is taken to lie at
    least half of the smallest other bin inside.
    """
    below = _before(f)
    width = f - below
    quantiles = _normal_quantiles(np.concatenate([np.zeros_like(f[..., :1]), f], axis=-1))
    heights = np.where(np.isinf(quantiles), 0.0, np.exp(-(quantiles**2) / 2.0) / math.sqrt(2.0 * math.pi))
    with np.errstate(divide="ignore", invalid="ignore"):
        scores = (heights[..., :-1] - heights[..., 1:]) / width
    least = np.where(width > 0.0, width, 1.0).min(axis=-1, keepdims=True) / 2.0
    points = _normal_quantiles(np.clip(f, least, 1.0 - least))
    return np.asarray(np.where(width > 0.0, scores, points))


def square_scores(f: Floats) -> Floats:
    """Return the mean of (2 u - 1)^2 - 1/3 over each bin's stretch of F, float64[..., bins] (Mood, 1954).

    0 in the mean over F; large for bins that lie far out, on either side. A bin that the reference left empty is a
    point of F.
    """
    below = _before(f)
    width = f - below
    with np.errstate(divide="ignore", invalid="ignore"):
        scores = ((2.0 * f - 1.0) ** 3 - (2.0 * below - 1.0) ** 3) / (6.0 * width)
    return np.asarray(np.where(width > 0.0, scores, (2.0 * f - 1.0) ** 2) - 1.0 / 3.0)


def score_shift(scores: Floats, g: Floats) -> Floats:
    """Return |mean score|, float64[...], of values distributed by G; it is 0 where G is what the scores are of."""
    return np.asarray(np.abs(np.einsum("...i,...i->...", g - _before(g), np.broadcast_to(scores, g.shape))))


def normal_p_value(shift: Any, reference: Any, current: Any) -> Floats:
    """Return the p value of no difference for a shift of normal scores, 2 exp(-shift^2 / 2 s^2), s^2 = 1/n + 1/m.

    A bin's score is an expectation given the bin, so by Jensen's inequality a score has no larger moment generating
    function than a standard normal, and the normal's own tail bound holds for a known F. That F is the reference's own
    is held against simulations, from 30 values on: so small p values come at most 0.4 times as often as they say.
    """
    return _tail(shift, reference, current, 1.0)


def square_p_value(shift: Any, reference: Any, current: Any) -> Floats:
    """Return the p value of no difference for a shift of square scores: as for normal ones, s^2 = (1/n + 1/m) / 10.

    (2 U - 1)^2 of a uniform U has the beta distribution of 1/2 and 1, whose variance proxy is 1/10 at most (Marchal and
    Arbel, "On the sub-Gaussianity of the beta and Dirichlet distributions", 2017). That F is the reference's own shows
    in the shift's variance by terms of 1/(n m), less than what the proxy is above the variance, 4/45.
    """
    return _tail(shift, reference, current, 0.1)


def _tail(shift: Any, reference: Any, current: Any, proxy: float) -> Floats:
    n, m = np.asarray(reference, np.float64), np.asarray(current, np.float64)
    with np.errstate(divide="ignore"):
        variance = proxy * (1.0 / n + 1.0 / m)
    return np.minimum(2.0 * np.exp(-(np.asarray(shift) ** 2) / 2.0 / variance), 1.0)


def _before(f: Floats) -> Floats:
    """Return what a distribution function is at the lower edges of its bins."""
    return np.concatenate([np.zeros_like(f[..., :1]), f[..., :-1]], axis=-1)


def _normal_quantiles(shares: Floats) -> Floats:
    """Return the standard normal's quantiles, infinite at 0 and 1."""
    inner = np.clip(shares, np.nextafter(0.0, 1.0), np.nextafter(1.0, 0.0))
    quantiles = np.vectorize(_NORMAL.inv_cdf, otypes=[np.float64])(inner)
    return np.where(shares <= 0.0, -np.inf, np.where(shares >= 1.0, np.inf, quantiles))


def variation(reference: Counts, current: Counts, rest: tuple[Any, Any] = (0, 0)) -> Variation:
    """Return the total variation of two samples over their categories, the rare taken together with `rest`.

    `rest` holds the counts of what is never told apart: where the categories are those that the reference showed, that
    includes whatever it did not show, since a reference says nothing of how often the unseen come. A category is rare
    when fewer than 5 are expected in either sample. Zeros where a side is empty.
    """
    outside = tuple(np.asarray(side)[..., None] for side in rest)
    reference, current = np.broadcast_arrays(*_with_rest(reference, current, outside))
    p, q = _shares(reference), _shares(current)
    n, m = (side.sum(axis=-1, keepdims=True) for side in (reference, current))
    with np.errstate(divide="ignore", invalid="ignore"):
        deviation = np.sqrt(p * (1.0 - p) / n + q * (1.0 - q) / m)
    some = _both(reference.sum(axis=-1), current.sum(axis=-1))
    parts = (
        np.abs(p - q).sum(axis=-1) / 2.0,
        deviation.sum(axis=-1) / 2.0,
        np.minimum(p[..., -1], q[..., -1]),
    )
    return Variation(*(np.where(some, part, 0.0) for part in parts))


def selection(listed: Counts, rows: int) -> float:
    """Return by how much the categories that a sample of `rows` lists may seem more frequent than they are.

    Where only the most frequent are listed, those near the least were chosen for having come often: of so many as lie
    within three deviations of it each is taken to have come three deviations too often. `listed`: int64[categories].
    """
    least = listed.min(initial=rows)
    near = np.count_nonzero(listed <= least + _DEVIATIONS * math.sqrt(least))
    return min(near * _DEVIATIONS * math.sqrt(least) / max(rows, 1), 1.0)


def shares_p_value(hits: Any, rows: Any, current_hits: Any, current_rows: Any, tolerance: float) -> Floats:
    """Return the p value of "two shares differ by at most the tolerance", 2 exp(-L); 1 where a sample is empty."""
    a, n, b, m = np.broadcast_arrays(*(np.asarray(x, np.float64) for x in (hits, rows, current_hits, current_rows)))
    p, q = a / np.maximum(n, 1.0), b / np.maximum(m, 1.0)
    # Which side is larger makes no difference, so the smaller share stands first.
    swap = p > q
    p, q, n, m = np.where(swap, q, p), np.where(swap, p, q), np.where(swap, m, n), np.where(swap, n, m)
    if not (q - p > tolerance).any():
        return np.ones(p.shape)
    least = np.where(q - p > tolerance, _least_divergence(p, n, q, m, tolerance), 0.0)
    return np.where(np.minimum(n, m) > 0, np.minimum(2.0 * np.exp(-least), 1.0), 1.0)


def bernoulli_divergence(p: Floats, at: Floats) -> Floats:
    """Return kl(p, at) = p ln(p / at) + (1 - p) ln((1 - p) / (1 - at)) of two shares; 0 ln 0 is 0."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        left = np.where(p > 0, p * np.log(p / at), 0.0)
        right = np.where(p < 1, (1.0 - p) * np.log((1.0 - p) / (1.0 - at)), 0.0)
    return left + right


def _least_divergence(p: Floats, n: Floats, q: Floats, m: Floats, tolerance: float) -> Floats:
    """Return the smallest n kl(p, P) + m kl(q, P + tolerance), by halving the range p to q - tolerance of P.

    It is convex in P; its slope is n (P - p) / (P (1 - P)) and the like for q.
    """
    low, high = p, np.maximum(q - tolerance, p)
    for _ in range(_SEARCH_STEPS):
        at = (low + high) / 2.0
        beside = at + tolerance
        rises = n * (at - p) * beside * (1.0 - beside) > m * (q - beside) * at * (1.0 - at)
        low, high = np.where(rises, low, at), np.where(rises, at, high)
    at = (low + high) / 2.0
    return n * bernoulli_divergence(p, at) + m * bernoulli_divergence(q, np.minimum(at + tolerance, 1.0))


def _with_rest(reference: Counts, current: Counts, rest: tuple[Any, ...]) -> tuple[Counts, Counts]:
    """Return both sides' counts with one bin more, that of the rest and of all rare categories."""
    n, m = (
        side.sum(axis=-1, keepdims=True) + outside for side, outside in zip((reference, current), rest, strict=True)
    )
    least = EXPECTED_LEAST * (n + m) / np.maximum(np.minimum(n, m), 1)
    common = reference + current >= least
    return _moved(reference, common, rest[0]), _moved(current, common, rest[1])


def _moved(counts: Counts, common: npt.NDArray[np.bool_], outside: Any) -> Counts:
    rare = np.where(common, 0, counts).sum(axis=-1, keepdims=True) + outside
    kept = np.where(common, counts, 0)
    return np.concatenate([kept, np.broadcast_to(rare, (*kept.shape[:-1], 1))], axis=-1)


def _shares(counts: Counts) -> Floats:
    return np.asarray(counts / np.maximum(counts.sum(axis=-1, keepdims=True), 1))


def _both(reference: Any, current: Any) -> npt.NDArray[np.bool_]:
    return np.asarray((reference > 0) & (current > 0))
