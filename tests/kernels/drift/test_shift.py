import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special, stats
from serval_kernels.drift.moments import moments
from serval_kernels.drift.shift import mean_shift, median, t_tail, variance_shift

COMPILES = settings(deadline=None)


@COMPILES
@given(st.floats(-50, 50), st.floats(1, 1e6))
def test_tail_equals_scipy(t, freedom):
    assert t_tail(t, freedom) == pytest.approx(2 * special.stdtr(freedom, -abs(t)), rel=1e-8, abs=1e-290)


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
    assert math.isnan(median(np.array([np.nan])))
