import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from scipy import special, stats
from serval_kernels.drift import energy, two_sample
from serval_kernels.drift.binning import count_bins, quantile_edges
from serval_kernels.drift.sorting import sort_present

# The first example may wait for the compiler.
COMPILES = settings(deadline=None)

TIED = st.integers(-3, 3).map(float)
ELEMENTS = st.floats(allow_infinity=False) | TIED | st.sampled_from([5e-324, 1e-310, 1.7e308, -1.7e308])
SAMPLES = npst.arrays(np.float64, npst.array_shapes(max_dims=1, max_side=25), elements=ELEMENTS)

SINGLES = npst.arrays(
    np.float32,
    npst.array_shapes(max_dims=1, max_side=25),
    elements=st.floats(allow_infinity=False, width=32) | TIED | st.sampled_from([2.0**-149, -(2.0**-149), 2.0**127]),
)


def pairs():
    rng = np.random.default_rng(0)
    normal = rng.normal(size=3000)
    yield normal, rng.normal(0.1, 1, 1000)
    yield normal.astype(np.float32), rng.normal(size=2000).astype(np.float32)
    yield rng.integers(0, 4, 500).astype(float), rng.integers(0, 5, 700).astype(float)
    yield np.full(40, 2.0), np.full(30, 2.0)
    yield np.full(40, 2.0), np.full(30, 3.0)
    yield normal * 1e-310, normal[:1000] * 1.1e-310
    yield normal * 1e300, rng.normal(size=100) * 1e300
    yield rng.lognormal(0, 3, 2000), rng.lognormal(0.2, 3, 1500)


PAIRS = list(pairs())


def naive_steps(x, y):
    """Yield (F - G, width up to the next value) at each distinct value, as fractions."""
    x, y = ([Fraction(v) for v in sample.tolist() if not math.isnan(v)] for sample in (x, y))
    points = sorted({*x, *y})
    for point, following in zip(points, [*points[1:], points[-1]], strict=True):
        share_x, share_y = (Fraction(sum(v <= point for v in sample), len(sample)) for sample in (x, y))
        yield abs(share_x - share_y), following - point


@pytest.mark.slow
@COMPILES
@given(SAMPLES, SAMPLES)
def test_distances_equal_exact_arithmetic(x, y):
    assume(not np.isnan(x).all() and not np.isnan(y).all())
    steps = list(naive_steps(x, y))
    assert two_sample.ks_statistic(x, y) == pytest.approx(float(max(gap for gap, _ in steps)), rel=1e-14)
    exact = sum(gap * width for gap, width in steps)
    largest = Fraction(np.finfo(float).max)
    # Next to the largest number, rounding decides between it and infinity.
    assume(not largest * Fraction(1 - 1e-9) < exact < largest * Fraction(1 + 1e-9))
    area = float(exact) if exact < largest else math.inf
    # A denormal area has fewer digits.
    assert two_sample.wasserstein(x, y) == pytest.approx(area, rel=1e-9, abs=1e-322)


@pytest.mark.parametrize(("x", "y"), PAIRS)
def test_distances_equal_scipy(x, y):
    expected = stats.ks_2samp(x, y, method="asymp")
    assert two_sample.ks_statistic(x, y) == pytest.approx(expected.statistic, rel=1e-9, abs=1e-15)
    assert two_sample.wasserstein(x, y) == pytest.approx(stats.wasserstein_distance(x, y), rel=1e-9, abs=1e-322)
    assert two_sample.ks_p_value(expected.statistic, len(x), len(y)) == pytest.approx(expected.pvalue, abs=3e-4)


def test_missing_values_take_no_part_and_nothing_gives_nan():
    x, y = np.array([3.0, np.nan, 1.0]), np.array([np.nan, 1.0, 2.0])
    assert two_sample.ks_statistic(x, y) == 0.5
    assert two_sample.wasserstein(x, y) == 0.5
    for empty in (np.empty(0), np.array([np.nan])):
        assert math.isnan(two_sample.ks_statistic(x, empty))
        assert math.isnan(two_sample.wasserstein(empty, y))
    assert math.isnan(two_sample.ks_p_value(math.nan, 3, 3))
    assert math.isnan(two_sample.ks_p_value(0.5, 0, 3))


@pytest.mark.parametrize(
    "measure", [two_sample.ks_statistic, two_sample.wasserstein, energy.energy_distance, energy.cramer_von_mises]
)
def test_the_sample_that_cannot_be_measured_is_named(measure):
    x = np.ones(3)
    for dtype, dimensions in ((int, (3,)), (float, (3, 1))):
        wrong = np.ones(dimensions, dtype)
        with pytest.raises((TypeError, ValueError), match=r"^x: "):
            measure(wrong, x)
        with pytest.raises((TypeError, ValueError), match=r"^y: "):
            measure(x, wrong)


def test_infinities_are_values():
    x, y = np.array([-np.inf, 0.0, 1.0, np.inf]), np.array([-np.inf, 0.0, 2.0, np.inf])
    assert two_sample.ks_statistic(x, y) == 0.25
    assert two_sample.wasserstein(x, y) == 0.25
    assert two_sample.wasserstein(x, np.array([0.0, 1.0])) == np.inf


def test_distances_do_not_see_order_and_ks_no_monotone_change():
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=400), rng.normal(0.3, 2, 300)
    distance = two_sample.ks_statistic(x, y)
    assert two_sample.ks_statistic(rng.permutation(x), rng.permutation(y)) == distance
    assert two_sample.ks_statistic(np.exp(x), np.exp(y)) == distance
    assert two_sample.ks_statistic(y, x) == distance


def test_kolmogorov_equals_scipy_over_both_series():
    z = np.concatenate([[-1, 0], np.linspace(0.001, 8, 4001), [1e3]])
    np.testing.assert_allclose([two_sample.kolmogorov_tail(v) for v in z], special.kolmogorov(z), rtol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize(("effective", "tolerance"), [(15, 1e-3), (30, 1e-3), (100, 2e-4), (1000, 3e-5), (5000, 3e-5)])
def test_p_value_keeps_its_stated_distance_from_scipy(effective, tolerance):
    distances = np.linspace(0, min(1, 3 / effective**0.5), 300)
    expected = stats.kstwo.sf(distances, effective)
    found = np.array([two_sample.ks_p_value(d, 2 * effective, 2 * effective) for d in distances])
    np.testing.assert_allclose(found, expected, atol=tolerance, rtol=0)
    # Far out, where the difference is relative, it errs towards no alarm.
    assert (found >= 0.9 * expected).all()


@pytest.mark.slow
@COMPILES
@given(SINGLES, SINGLES, st.integers(2, 12))
def test_binned_ks_is_below_the_exact_by_at_most_its_error(x, y, bins):
    assume(not np.isnan(x).all() and not np.isnan(y).all())
    edges = quantile_edges(x, bins)
    binned = two_sample.ks_binned(edges, count_bins(x, edges), count_bins(y, edges))
    exact = two_sample.ks_statistic(x, y)
    assert binned.statistic <= exact + 1e-15
    assert exact <= binned.statistic + binned.error + 1e-15


WHOLE = st.lists(st.integers(0, 300).map(lambda i: 1.7e9 + i) | st.integers(-3, 3).map(float), min_size=1, max_size=60)


@pytest.mark.slow
@COMPILES
@given(WHOLE.map(np.array), WHOLE.map(np.array), st.integers(2, 12))
def test_the_error_is_true_of_whole_numbers_that_float32_does_not_part(x, y, bins):
    edges = quantile_edges(x, bins, exact=True)
    binned = two_sample.ks_binned(edges, count_bins(x, edges), count_bins(y, edges), exact=True)
    assert binned.statistic <= two_sample.ks_statistic(x, y) + 1e-15
    assert two_sample.ks_statistic(x, y) <= binned.statistic + binned.error + 1e-15


def test_binned_ks_is_exact_where_each_value_has_a_bin():
    x, y = np.random.default_rng(0).normal(size=(2, 100))
    edges = quantile_edges(x, 256)
    binned = two_sample.ks_binned(edges, count_bins(x, edges), count_bins(y, edges))
    assert binned.statistic == two_sample.ks_statistic(x, y)


@pytest.mark.parametrize("times", [2**31, 10**10, 10**15])
def test_binned_ks_of_counts_whose_products_pass_64_bits(times):
    edges, old, new = np.arange(3.0), np.array([30, 40, 50, 7]), np.array([33, 37, 49, 8])
    wanted = two_sample.ks_binned(edges, old, new)
    assert two_sample.ks_binned(edges, old * times, new * times) == pytest.approx(wanted, rel=1e-12)


def binned_wasserstein(x, y, bins=256):
    edges = quantile_edges(x, bins)
    return two_sample.wasserstein_binned(
        edges, count_bins(x, edges), count_bins(y, edges), (x.min(), x.max(), y.min(), y.max())
    )


@pytest.mark.parametrize("shift", [0.0, 0.3, 5.0, -100.0])
def test_binned_wasserstein_comes_near_the_exact(shift):
    x, y = np.random.default_rng(1).normal(size=(2, 5000))
    y = y + shift
    exact = two_sample.wasserstein(x, y)
    assert binned_wasserstein(x, y) == pytest.approx(exact, rel=0.15, abs=0.02)


def test_binned_wasserstein_is_exact_for_even_bins_and_for_points():
    # One bin each, [0, 2] against [1, 5]: the area between two ramps is 2.
    one = np.array([10])
    assert two_sample.wasserstein_binned(np.empty(0), one, one, (0.0, 2.0, 1.0, 5.0)) == pytest.approx(2.0)
    assert binned_wasserstein(np.full(9, 3.0), np.full(7, 5.0)) == pytest.approx(2.0)
    assert binned_wasserstein(np.full(9, 3.0), np.full(7, 3.0)) == pytest.approx(0.0, abs=1e-6)
    two_points = np.array([0.0, 10.0] * 20)
    assert binned_wasserstein(two_points, np.array([0.0, 10.0, 10.0, 10.0])) == pytest.approx(2.5)


def test_binned_forms_of_nothing_are_nan_and_other_bins_are_named():
    none, some = np.zeros(2, np.int64), np.array([1, 1])
    edge = np.array([0.0])
    assert all(math.isnan(v) for v in two_sample.ks_binned(edge, none, some))
    assert math.isnan(two_sample.wasserstein_binned(edge, none, some, (0.0, 0.0, -1.0, 1.0)))
    with pytest.raises(ValueError, match="3 and 2 bins with 1 edges"):
        two_sample.ks_binned(edge, np.zeros(3, np.int64), some)


def test_p_values_of_like_samples_are_uniform():
    rng = np.random.default_rng(7)
    p_values = []
    for _ in range(600):
        x, y = np.sort(rng.normal(size=300)), np.sort(rng.normal(size=200))
        p_values.append(two_sample.ks_p_value(two_sample.ks_sorted(x, y), 300, 200))
    assert stats.kstest(p_values, "uniform").pvalue > 1e-3
    assert np.mean(np.array(p_values) < 0.05) < 0.08


def test_sorted_forms_equal_the_unsorted():
    x, y = PAIRS[0]
    assert two_sample.ks_sorted(sort_present(x), sort_present(y)) == two_sample.ks_statistic(x, y)
