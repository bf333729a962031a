import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special, stats
from serval_kernels.drift.moments import moments
from serval_kernels.drift.shift import deviation, mean_shift, mean_shift_of, median, rescaled, t_tail, variance_shift

COMPILES = settings(deadline=None)


@COMPILES
@given(st.floats(-50, 50), st.floats(1, 1e6))
def test_tail_equals_scipy(t, freedom):
    assert t_tail(t, freedom) == pytest.approx(2 * special.stdtr(freedom, -abs(t)), rel=1e-8, abs=1e-290)


# By 50 digits of the integral; two logarithms of Gamma would leave 8 digits of some.
@pytest.mark.parametrize(
    ("t", "freedom", "expected"),
    [
        (1.8, 2e4, 0.071875701985254338),
        (2.0, 1e7, 0.045500290891842953),
        (0.5, 1e9, 0.61707507756199421),
        (5.0, 1e12, 5.7330314385502459e-7),
    ],
)
def test_tail_keeps_its_digits_at_many_degrees_of_freedom(t, freedom, expected):
    assert t_tail(t, freedom) == pytest.approx(expected, rel=1e-12)
    assert t_tail(-t, freedom) == t_tail(t, freedom)


def test_tail_goes_on_where_the_way_of_computing_changes():
    for t in (0.3, 1.0, 1.8, 6.0, 30.0):
        assert t_tail(t, 1e4 * (1 - 1e-12)) == pytest.approx(t_tail(t, 1e4), rel=1e-10)
    assert t_tail(1e200, 1e6) == 0.0


@pytest.mark.parametrize("exponent", [-1000, -664, 300, 664, 1000])
def test_shifts_do_not_see_a_power_of_two(exponent):
    rng = np.random.default_rng(5)
    x, y = rng.normal(size=100), rng.normal(0.4, 1.3, 80)
    far = np.ldexp(x, exponent), np.ldexp(y, exponent)
    assert variance_shift(*far) == pytest.approx(variance_shift(x, y), rel=1e-13)
    wanted = mean_shift(moments(x), moments(y))
    assert mean_shift_of(*far) == pytest.approx(wanted, rel=1e-13)
    told = mean_shift(*map(moments, far))
    assert told == pytest.approx(wanted, rel=1e-9) if exponent == 300 else np.isnan(told).all()


@pytest.mark.parametrize("exponent", [-1000, -664, -300, 0, 300, 664, 1000])
def test_a_deviation_does_not_see_a_power_of_two(exponent):
    x = np.random.default_rng(5).normal(size=100)
    x[3:5] = np.nan, np.inf
    assert deviation(np.ldexp(x, exponent)) == pytest.approx(np.ldexp(x[np.isfinite(x)].std(), exponent), rel=1e-12)
    assert deviation(x[3:5]) == 0.0


def test_samples_of_magnitudes_far_apart():
    rng = np.random.default_rng(6)
    x, y = rng.normal(size=50) * 1e-200, rng.normal(size=50)
    found = variance_shift(x, y)
    assert found.effect == pytest.approx(variance_shift(x * 1e200, y).effect + 400 * math.log(10), rel=1e-9)
    assert found.p_value < 1e-6
    assert mean_shift(moments(x), moments(y)) == pytest.approx(mean_shift(moments(x * 0), moments(y)), rel=1e-12)
    assert variance_shift(np.full(5, 1e-200), x).effect == math.inf
    assert rescaled(x, np.array([np.nan, np.inf]))[0] is not x
    assert rescaled(x, y)[0] is x


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("n", "m", "shift", "scale"), [(3, 4, 0, 1), (50, 700, 0.3, 1), (4000, 3001, 0.0, 1.2)])
def test_shifts_equal_scipy(dtype, n, m, shift, scale):
    rng = np.random.default_rng(n)
    x, y = rng.normal(size=n).astype(dtype), (rng.normal(size=m) * scale + shift).astype(dtype)
    a, b = x.astype(float), y.astype(float)
    found = mean_shift(moments(x), moments(y))
    pooled = math.sqrt((a.var() * n + b.var() * m) / (n + m - 2))
    assert found.effect == pytest.approx((b.mean() - a.mean()) / pooled, rel=1e-9)
    assert found.p_value == pytest.approx(stats.ttest_ind(a, b, equal_var=False).pvalue, rel=1e-7)
    found = variance_shift(x, y)
    assert found.effect == pytest.approx(math.log(b.var(ddof=1) / a.var(ddof=1)), rel=1e-9, abs=1e-12)
    assert found.p_value == pytest.approx(stats.levene(a, b, center="median").pvalue, rel=1e-7)


def test_edge_cases_are_as_stated():
    constant, other = np.full(5, 2.0), np.full(4, 3.0)
    assert mean_shift_of(constant * 1e-300, other * 1e-300) == (math.inf, 0.0)
    with pytest.raises(TypeError, match="current: dtype int64"):
        mean_shift_of(constant, np.arange(3))
    assert mean_shift(moments(constant), moments(constant)) == (0.0, 1.0)
    assert mean_shift(moments(constant), moments(other)) == (math.inf, 0.0)
    assert mean_shift(moments(other), moments(constant)) == (-math.inf, 0.0)
    assert variance_shift(constant, other) == (0.0, 1.0)
    wide = np.array([0.0, 1.0, 2.0, np.nan, np.inf])
    assert variance_shift(constant, wide).effect == math.inf
    assert variance_shift(wide, constant).effect == -math.inf
    for few in (np.empty(0), np.array([1.0, np.nan])):
        assert math.isnan(mean_shift(moments(few), moments(wide)).effect)
        assert variance_shift(few, wide).p_value == 1.0
    assert median(wide) == 1.0
    assert median(np.array([1.7e308, 1.7e308])) == 1.7e308
    assert [median(np.array([units * 5e-324])) / 5e-324 for units in (1, 2, 3)] == [1, 2, 3]
    assert math.isnan(median(np.array([np.nan])))
