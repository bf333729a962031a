import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from serval_kernels.similarity.cosine import cosine, pairwise, scores, top_k

# The first example may wait for the compiler.
COMPILES = settings(deadline=None)

ELEMENTS = st.floats(allow_nan=False, allow_infinity=False) | st.sampled_from([0.0, 5e-324, 1e-310, 1.7e308, 1e200])
SINGLES = st.floats(width=32) | st.sampled_from([0.0, 1.0, 2.0**-140, 2.0**127])
VECTORS = st.integers(1, 12).flatmap(lambda n: npst.arrays(np.float64, (2, n), elements=ELEMENTS))


def naive_cosine(a, b):
    a, b = ([Fraction(v) for v in vector.tolist()] for vector in (a, b))
    dot, aa, bb = (sum(x * y for x, y in zip(u, v, strict=True)) for u, v in ((a, b), (a, a), (b, b)))
    return math.copysign(math.sqrt(dot * dot / (aa * bb)), 1 if dot >= 0 else -1) if aa and bb else 0.0


@COMPILES
@given(VECTORS)
def test_equals_exact_arithmetic(vectors):
    assert cosine(*vectors) == pytest.approx(naive_cosine(*vectors), rel=1e-9, abs=1e-12)
    assert -1.0 <= cosine(*vectors) <= 1.0


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("width", [1, 7, 384, 70_001])
def test_equals_float64_at_any_width(dtype, width):
    a, b = np.random.default_rng(0).normal(size=(2, width)).astype(dtype)
    exact = a.astype(float) @ b.astype(float) / np.linalg.norm(a.astype(float)) / np.linalg.norm(b.astype(float))
    assert cosine(a, b) == pytest.approx(exact, abs=1e-12)


def test_edge_cases_are_as_stated():
    zero, one = np.zeros(3), np.array([1.0, 2.0, 3.0])
    assert cosine(zero, one) == cosine(one, zero) == cosine(zero, zero) == 0.0
    assert cosine(np.empty(0), np.empty(0)) == 0.0
    assert cosine(one * 1e-320, one * 1e300) == pytest.approx(1.0, abs=1e-3)
    for bad in (np.nan, np.inf):
        assert math.isnan(cosine(one, np.array([1.0, bad, 0.0])))
        assert math.isnan(cosine(zero, np.array([1.0, bad, 0.0])))
    with pytest.raises(ValueError, match="length"):
        cosine(one, one[:2])


def test_scores_and_top_k_agree_with_one_by_one():
    rng = np.random.default_rng(2)
    rows = rng.integers(-2, 3, size=(300, 5)).astype(np.float32)
    rows[7], rows[8] = np.nan, 0
    query = np.array([1, 0, 2, -1, 1], np.float32)
    every = scores(query, rows)
    np.testing.assert_array_equal(every, [cosine(query, row) for row in rows])
    order = [place for place in np.argsort(-every, kind="stable").tolist() if place != 7]
    for k in (0, 1, 10, 299, 300, 1000):
        places, best = top_k(query, rows, k)
        assert places.tolist() == order[:k]
        np.testing.assert_array_equal(best, every[order[:k]])


def test_shapes_are_named():
    with pytest.raises(ValueError, match=r"rows: shape \(2, 3\)"):
        top_k(np.ones(4), np.ones((2, 3)), 1)
    with pytest.raises(ValueError, match="k: -1"):
        top_k(np.ones(3), np.ones((2, 3)), -1)
    places, best = top_k(np.ones(3), np.ones((0, 3)), 5)
    assert places.size == best.size == 0


@pytest.mark.slow
@COMPILES
@given(npst.arrays(np.float32, (13, 3), elements=SINGLES))
def test_weighing_in_float32_loses_no_row(rows):
    every = scores(rows[0], rows)
    order = [place for place in np.argsort(-every, kind="stable").tolist() if not math.isnan(every[place])]
    places, best = top_k(rows[0], rows, 4)
    assert places.tolist() == order[:4]
    np.testing.assert_array_equal(best, every[order[:4]])


def test_many_near_ties_are_told_apart_exactly():
    rng = np.random.default_rng(0)
    rows = (np.ones((4003, 48)) + 1e-7 * rng.normal(size=(4003, 48))).astype(np.float32)
    order = np.argsort(-scores(rows[0], rows), kind="stable")
    assert top_k(rows[0], rows, 25)[0].tolist() == order[:25].tolist()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_many_to_many_equals_one_to_many(dtype):
    rng = np.random.default_rng(3)
    rows = rng.normal(size=(150, 9)).astype(dtype)
    rows[4], rows[5], rows[6] = 0, np.nan, 1e-30
    queries = np.asfortranarray(rows[:11])
    expected = [scores(np.ascontiguousarray(query), rows) for query in queries]
    np.testing.assert_allclose(pairwise(queries, rows), expected, rtol=0, atol=1e-12)
    with pytest.raises(ValueError, match="queries"):
        pairwise(queries[:, 1:], rows)
