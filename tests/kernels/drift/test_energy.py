import itertools
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
    """n m / (n + m)^2 times the sum of (F - G)^2 over all values, the mean over every order of the tied."""
    both = np.concatenate([x, y])
    from_x = np.arange(both.size) < len(x)
    orders = [
        order for order in map(list, itertools.permutations(range(both.size))) if (np.diff(both[order]) >= 0).all()
    ]
    sums = [(np.cumsum(np.where(from_x[order], 1 / len(x), -1 / len(y))) ** 2).sum() for order in orders]
    return len(x) * len(y) / both.size**2 * np.mean(sums)


@pytest.mark.slow
@COMPILES
@given(SAMPLES, SAMPLES)
def test_energy_equals_its_definition_and_scipy(x, y):
    scale = max(np.abs(x).max(), np.abs(y).max())
    assert energy_distance(x, y) ** 2 == pytest.approx(naive_energy(x, y) ** 2, rel=1e-9, abs=1e-12 * scale)
    assert energy_distance(x, y) == pytest.approx(stats.energy_distance(x, y), rel=1e-9, abs=1e-300)


@pytest.mark.parametrize(
    ("x", "y"),
    [
        ([1.0, 5, 3], [2.0, 4, 0, 7]),
        ([1.0, 1, 2], [1.0, 2, 2, 3]),
        ([0.0, 0, 0, 4], [0.0, 9]),
        ([2.0, 2], [2.0, 2, 2]),
        ([1.0], [1.0]),
    ],
)
def test_cramer_equals_its_definition(x, y):
    x, y = np.array(x), np.array(y)
    expected = naive_cramer(x, y)
    assert cramer_von_mises(x, y).statistic == pytest.approx(expected, rel=1e-12)
    assert cramer_von_mises(-y, -x).statistic == pytest.approx(expected, rel=1e-12)


# Of distinct values: SciPy's formula takes mid-ranks for ranks, which is another statistic where values are tied.
@pytest.mark.slow
@COMPILES
@given(npst.arrays(np.float64, st.integers(4, 40), elements=ELEMENTS, unique=True), st.data())
def test_cramer_equals_scipy_without_ties(both, data):
    x, y = np.split(both, [data.draw(st.integers(2, both.size - 2))])
    expected = stats.cramervonmises_2samp(x, y, method="asymptotic")
    found = cramer_von_mises(x, y)
    assert found.statistic == pytest.approx(expected.statistic, rel=1e-9, abs=1e-12)
    assert found.p_value == pytest.approx(expected.pvalue, abs=1e-7)


@pytest.mark.parametrize(
    "draw",
    [
        lambda rng, size: rng.integers(0, 5, size),
        lambda rng, size: rng.random(size) < 0.5,
        lambda rng, size: np.where(rng.random(size) < 0.5, 0.0, rng.random(size)),
        lambda rng, size: rng.normal(size=size).round(1),
        lambda rng, size: rng.normal(size=size),
    ],
    ids=["five values", "a coin", "half zeros", "rounded", "no ties"],
)
def test_samples_of_one_distribution_seldom_differ(draw):
    rng = np.random.default_rng(1)
    sizes = ((2000, 500), (60, 900), (300, 300))
    p_values = [
        cramer_von_mises(draw(rng, n).astype(float), draw(rng, m).astype(float)).p_value
        for _ in range(400)
        for n, m in sizes
    ]
    # More than 20 of 1,200 at 0.01 come once in 200 times, more than 77 at 0.05 once in 100.
    assert np.count_nonzero(np.array(p_values) < 0.01) <= 20
    assert np.count_nonzero(np.array(p_values) < 0.05) <= 77


def test_a_shift_among_ties_is_found():
    rng = np.random.default_rng(2)
    x, y = rng.integers(0, 5, 2000), rng.choice(5, 500, p=[0.36, 0.16, 0.16, 0.16, 0.16])
    assert cramer_von_mises(x.astype(float), y.astype(float)).p_value < 1e-4


def test_missing_nothing_and_far_out():
    x, y = np.array([1.0, np.nan, 3.0], np.float32), np.array([2.0, np.nan])
    assert energy_distance(x, y) == pytest.approx(naive_energy(np.array([1.0, 3.0]), np.array([2.0])))
    assert math.isnan(energy_distance(x, y[1:]))
    assert math.isnan(cramer_von_mises(x[1:2], y).p_value)
    assert cramer_tail(-1.0) == 1.0
    assert cramer_tail(20.0) == pytest.approx(0.0, abs=1e-12)
    assert [cramer_tail(x) for x in (151.5, 1e6, 1e8, math.inf)] == [0.0] * 4
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
