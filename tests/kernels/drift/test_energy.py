import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from scipy import stats
from serval_kernels.drift.energy import cramer_tail, cramer_von_mises, energy_distance
from serval_kernels.drift.ks_exact import ks_exact_p_value

COMPILES = settings(deadline=None)
ELEMENTS = st.floats(-1e6, 1e6) | st.integers(-3, 3).map(float)
SAMPLES = npst.arrays(np.float64, npst.array_shapes(max_dims=1, min_side=2, max_side=20), elements=ELEMENTS)


def naive_energy(x, y):
    """The definition by mean distances, 2 E|X - Y| - E|X - X'| - E|Y - Y'|."""
    between = np.abs(x[:, None] - y).mean()
    return math.sqrt(max(0.0, 2 * between - np.abs(x[:, None] - x).mean() - np.abs(y[:, None] - y).mean()))


def naive_cramer(x, y):
    """n m / (n + m)^2 times the sum of (F - G)^2 over all values."""
    both = np.concatenate([x, y])
    gaps = [((x <= v).mean() - (y <= v).mean()) ** 2 for v in both]
    return len(x) * len(y) / len(both) ** 2 * sum(gaps)


@pytest.mark.slow
@COMPILES
@given(SAMPLES, SAMPLES)
def test_equal_their_definitions(x, y):
    scale = max(np.abs(x).max(), np.abs(y).max())
    assert energy_distance(x, y) ** 2 == pytest.approx(naive_energy(x, y) ** 2, rel=1e-9, abs=1e-12 * scale)
    if np.unique(np.concatenate([x, y])).size == x.size + y.size:
        assert cramer_von_mises(x, y).statistic == pytest.approx(naive_cramer(x, y), rel=1e-9, abs=1e-12)


@pytest.mark.slow
@COMPILES
@given(SAMPLES, SAMPLES)
def test_equal_scipy(x, y):
    assert energy_distance(x, y) == pytest.approx(stats.energy_distance(x, y), rel=1e-9, abs=1e-300)
    expected = stats.cramervonmises_2samp(x, y, method="asymptotic")
    found = cramer_von_mises(x, y)
    assert found.statistic == pytest.approx(expected.statistic, rel=1e-9, abs=1e-12)
    assert found.p_value == pytest.approx(expected.pvalue, abs=1e-7)


def test_missing_nothing_and_far_out():
    x, y = np.array([1.0, np.nan, 3.0], np.float32), np.array([2.0, np.nan])
    assert energy_distance(x, y) == pytest.approx(naive_energy(np.array([1.0, 3.0]), np.array([2.0])))
    assert math.isnan(energy_distance(x, y[1:]))
    assert math.isnan(cramer_von_mises(x[1:2], y).p_value)
    assert cramer_tail(-1.0) == 1.0
    assert cramer_tail(20.0) == pytest.approx(0.0, abs=1e-12)
    assert energy_distance(np.array([1.0, np.inf]), np.array([1.0, 2.0])) == math.inf


def naive_share(h, n, m, i=0, j=0):
    """The number of paths from (i, j) on that are outside somewhere, and of all."""
    if abs(i * m - j * n) >= h:
        return math.comb(n - i + m - j, n - i)
    right = naive_share(h, n, m, i + 1, j) if i < n else 0
    return right + (naive_share(h, n, m, i, j + 1) if j < m else 0)


@pytest.mark.parametrize(("n", "m"), [(1, 1), (3, 3), (4, 6), (7, 5)])
def test_exact_ks_counts_paths(n, m):
    for h in range(n * m + 1):
        expected = naive_share(h, n, m) / math.comb(n + m, n)
        assert ks_exact_p_value(h / n / m, n, m) == pytest.approx(expected, rel=1e-12)


def test_exact_ks_equals_scipy():
    rng = np.random.default_rng(0)
    for n, m in ((5, 9), (40, 40), (200, 150)):
        for shift in (0.0, 0.3, 2.0):
            x, y = rng.normal(size=n), rng.normal(shift, 1, m)
            expected = stats.ks_2samp(x, y, method="exact")
            assert ks_exact_p_value(expected.statistic, n, m) == pytest.approx(expected.pvalue, rel=1e-10)
    assert math.isnan(ks_exact_p_value(math.nan, 3, 3))
    assert math.isnan(ks_exact_p_value(0.5, 0, 3))
