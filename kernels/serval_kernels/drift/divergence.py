"""Divergences between two histograms over the same bins.

Rules. Arguments are counts, int64 of the same length (else ValueError), reference first; p and q are their shares.
An empty histogram has no shares: NaN. PSI and KL, which divide by a share, add one half to every count before (the
Jeffreys prior) and take shares of that, so an empty bin makes no jump and no infinity; the others take counts as they
are. Logarithms are natural, but for JS, whose base is 2.
"""

import math

import numpy as np
import numpy.typing as npt

from serval_kernels.compile import kernel

Counts = npt.NDArray[np.int64]

_JEFFREYS = 0.5


@kernel
def psi_term(p: float, q: float) -> float:
    """Return one bin's (q - p) ln(q / p)."""
    return (q - p) * math.log(q / p)


@kernel
def kl_term(p: float, q: float) -> float:
    """Return one bin's p ln(p / q)."""
    return p * math.log(p / q)


@kernel
def js_term(p: float, q: float) -> float:
    """Return one bin's (p log2(p / m) + q log2(q / m)) / 2, where m = (p + q) / 2; a share of 0 adds 0."""
    middle = (p + q) / 2
    term = 0.0
    if p > 0:
        term += p * math.log2(p / middle)
    if q > 0:
        term += q * math.log2(q / middle)
    return term / 2


@kernel
def hellinger_term(p: float, q: float) -> float:
    """Return one bin's (sqrt(p) - sqrt(q))^2 / 2."""
    return (math.sqrt(p) - math.sqrt(q)) ** 2 / 2


@kernel
def variation_term(p: float, q: float) -> float:
    """Return one bin's |p - q| / 2."""
    return abs(p - q) / 2


@kernel
def _total(counts: Counts, other: Counts, added: float) -> float:
    """Return the sum of counts with `added` in each bin; NaN for an empty histogram."""
    if counts.size != other.size:
        raise ValueError("counts: two histograms of different length; wanted the same bins")
    total = counts.sum()
    return total + added * counts.size if total > 0 else np.nan


@kernel
def psi(reference: Counts, current: Counts) -> float:
    """Return the population stability index, sum (q - p) ln(q / p), 0 or more; symmetric."""
    n, m = _total(reference, current, _JEFFREYS), _total(current, reference, _JEFFREYS)
    total = 0.0 * (n + m)
    for i in range(reference.size):
        total += psi_term((reference[i] + _JEFFREYS) / n, (current[i] + _JEFFREYS) / m)
    return total


@kernel
def kl_divergence(reference: Counts, current: Counts) -> float:
    """Return KL(reference || current), sum p ln(p / q), 0 or more (Kullback and Leibler, 1951)."""
    n, m = _total(reference, current, _JEFFREYS), _total(current, reference, _JEFFREYS)
    total = 0.0 * (n + m)
    for i in range(reference.size):
        total += kl_term((reference[i] + _JEFFREYS) / n, (current[i] + _JEFFREYS) / m)
    return max(total, 0.0) if total == total else total


@kernel
def js_distance(reference: Counts, current: Counts) -> float:
    """Return the Jensen-Shannon distance, the root of the divergence (Endres and Schindelin, 2003), 0 to 1."""
    n, m = _total(reference, current, 0.0), _total(current, reference, 0.0)
    total = 0.0 * (n + m)
    for i in range(reference.size):
        total += js_term(reference[i] / n, current[i] / m)
    return math.sqrt(min(max(total, 0.0), 1.0)) if total == total else total


@kernel
def hellinger(reference: Counts, current: Counts) -> float:
    """Return the Hellinger distance, sqrt(sum (sqrt(p) - sqrt(q))^2 / 2), 0 to 1."""
    n, m = _total(reference, current, 0.0), _total(current, reference, 0.0)
    total = 0.0 * (n + m)
    for i in range(reference.size):
        total += hellinger_term(reference[i] / n, current[i] / m)
    return math.sqrt(min(total, 1.0)) if total == total else total


@kernel
def total_variation(reference: Counts, current: Counts) -> float:
    """Return the total variation distance, sum |p - q| / 2, 0 to 1: the largest difference of any event's share."""
    n, m = _total(reference, current, 0.0), _total(current, reference, 0.0)
    total = 0.0 * (n + m)
    for i in range(reference.size):
        total += variation_term(reference[i] / n, current[i] / m)
    return min(total, 1.0) if total == total else total


@kernel
def l_infinity(reference: Counts, current: Counts) -> float:
    """Return the largest difference of shares, max |p - q|, 0 to 1."""
    n, m = _total(reference, current, 0.0), _total(current, reference, 0.0)
    largest = 0.0 * (n + m)
    for i in range(reference.size):
        largest = max(largest, 2 * variation_term(reference[i] / n, current[i] / m))
    return largest
