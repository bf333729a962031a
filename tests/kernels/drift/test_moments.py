import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from serval_kernels.drift.moments import EMPTY, merge, moments

# The first example may wait for the compiler.
COMPILES = settings(deadline=None)

MODERATE = st.floats(-1e100, 1e100) | st.sampled_from([0.0, 5e-324, 1e-310, math.nan, math.inf, -math.inf])
SAMPLES = npst.arrays(np.float64, npst.array_shapes(max_dims=1, max_side=50), elements=MODERATE)


def naive_moments(x):
    finite = [Fraction(value) for value in x.tolist() if math.isfinite(value)]
    mean = sum(finite) / len(finite)
    return float(mean), float(sum((value - mean) ** 2 for value in finite))


def assert_right(result, x):
    finite = x[np.isfinite(x)]
    assert (result.finite, result.missing, result.infinite) == (finite.size, np.isnan(x).sum(), np.isinf(x).sum())
    assert result.minimum == finite.min(initial=np.inf)
    assert result.maximum == finite.max(initial=-np.inf)
    mean, m2 = naive_moments(x) if finite.size else (0.0, 0.0)
    scale = np.abs(finite).max(initial=0.0)
    assert result.mean == pytest.approx(mean, rel=1e-9, abs=max(1e-13 * scale, 1e-321))
    assert result.m2 == pytest.approx(m2, rel=1e-9, abs=max(1e-13 * scale * scale, 1e-320))


@pytest.mark.slow
@COMPILES
@given(SAMPLES)
def test_equals_exact_arithmetic(x):
    assert_right(moments(x), x)


@pytest.mark.slow
@COMPILES
@given(SAMPLES, SAMPLES)
def test_parts_add_up_to_the_whole(x, y):
    assert_right(merge(moments(x), moments(y)), np.concatenate([x, y]))


def test_nothing_is_neutral():
    part = moments(np.array([1.0, 2.0, np.nan]))
    assert moments(np.empty(0, np.float32)) == EMPTY
    assert merge(part, EMPTY) == part
    assert merge(EMPTY, part) == part
    assert (EMPTY.variance, EMPTY.deviation) == (0.0, 0.0)


def test_a_large_offset_costs_no_digits():
    x = 1e9 + np.random.default_rng(0).normal(size=100_000)
    assert moments(x).variance == pytest.approx(np.var(x - 1e9), rel=1e-9)
    halves = merge(moments(x[::2]), moments(x[1::2]))
    assert halves.variance == pytest.approx(np.var(x - 1e9), rel=1e-9)


def test_huge_values_keep_a_finite_mean():
    x = np.array([1.7e308, -1.7e308, 1.0e308])
    assert moments(x).mean == pytest.approx(1.0e308 / 3)
    assert moments(x).m2 == math.inf
    assert merge(moments(x[:1]), moments(x[1:])).mean == pytest.approx(1.0e308 / 3)


def test_nothing_is_neutral_to_huge_values_too():
    part = moments(np.full(3, 1e200))
    assert merge(EMPTY, part) == part == merge(part, EMPTY)
    assert (part.mean, part.m2) == (1e200, 0.0)


def test_float32_views_are_read_in_place_and_summed_in_float64():
    table = np.random.default_rng(0).normal(100, 1, size=(20_000, 3)).astype(np.float32)
    result = moments(table[:, 1])
    assert result.mean == pytest.approx(table[:, 1].astype(float).mean(), rel=1e-12)
    assert result.deviation == pytest.approx(table[:, 1].astype(float).std(), rel=1e-9)


def test_long_columns_with_gaps_equal_numpy_and_a_constant_has_no_variance():
    x = 1e6 + np.random.default_rng(0).normal(size=5000)
    x[::7], x[::11], x[1000:2100] = np.nan, np.inf, np.nan
    assert_right(moments(x), x)
    assert moments(np.full(5000, 0.1)).m2 == 0.0
