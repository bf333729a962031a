import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon
from scipy.stats import entropy
from serval_kernels.drift import divergence

# The first example may wait for the compiler.
COMPILES = settings(deadline=None)

EVERY = [
    divergence.psi, divergence.kl_divergence, divergence.js_distance, divergence.hellinger, divergence.total_variation,
    divergence.l_infinity,
]  # fmt: skip

# Of one length, neither of them empty.
HISTOGRAMS = st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 10**6)), min_size=1, max_size=30).map(
    lambda rows: np.array([*rows, (1, 1)]).T.copy()
)


@pytest.mark.slow
@COMPILES
@given(HISTOGRAMS)
def test_values_equal_scipy_and_the_formula(counts):
    reference, current = counts
    p, q = reference / reference.sum(), current / current.sum()
    smooth_p, smooth_q = ((c + 0.5) / (c + 0.5).sum() for c in counts)
    approx = {"rel": 1e-9, "abs": 1e-14}
    assert divergence.kl_divergence(reference, current) == pytest.approx(entropy(smooth_p, smooth_q), **approx)
    assert divergence.psi(reference, current) == pytest.approx(
        entropy(smooth_p, smooth_q) + entropy(smooth_q, smooth_p), **approx
    )
    # The root makes 1e-16 in the divergence 1e-8 in the distance.
    expected = np.nan_to_num(jensenshannon(p, q, base=2))
    assert divergence.js_distance(reference, current) ** 2 == pytest.approx(expected**2, rel=1e-9, abs=1e-15)
    assert divergence.hellinger(reference, current) ** 2 == pytest.approx(1 - np.sqrt(p * q).sum(), rel=1e-9, abs=1e-14)
    assert divergence.total_variation(reference, current) == pytest.approx(np.abs(p - q).sum() / 2, **approx)
    assert divergence.l_infinity(reference, current) == pytest.approx(np.abs(p - q).max(), **approx)


@COMPILES
@given(HISTOGRAMS)
def test_like_histograms_are_at_distance_nothing(counts):
    for measure in EVERY:
        assert measure(counts[0], counts[0] * 1) == 0.0


def test_histograms_with_nothing_in_common_are_at_distance_one():
    a, b = np.array([5, 3, 0]), np.array([0, 0, 9])
    for measure in (divergence.js_distance, divergence.hellinger, divergence.total_variation):
        assert measure(a, b) == pytest.approx(1.0)
    assert math.isfinite(divergence.psi(a, b))
    assert math.isfinite(divergence.kl_divergence(a, b))


@pytest.mark.parametrize("measure", EVERY)
def test_nothing_counted_gives_nan_and_other_bins_are_refused(measure):
    assert math.isnan(measure(np.zeros(3, np.int64), np.ones(3, np.int64)))
    assert math.isnan(measure(np.empty(0, np.int64), np.empty(0, np.int64)))
    with pytest.raises(ValueError, match="different length"):
        measure(np.ones(3, np.int64), np.ones(2, np.int64))


def test_psi_is_symmetric_and_known():
    a, b = np.array([10, 20, 70]), np.array([30, 30, 40])
    p, q = (a + 0.5) / 101.5, (b + 0.5) / 101.5
    assert divergence.psi(a, b) == pytest.approx(sum((q - p) * np.log(q / p)), rel=1e-12)
    assert divergence.psi(a, b) == pytest.approx(divergence.psi(b, a), rel=1e-12)
