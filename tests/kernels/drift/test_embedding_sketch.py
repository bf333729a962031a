"""Sketches of embeddings held against slow and obvious ones."""

import math
import tracemalloc
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from serval_kernels.drift.embedding_sketch import mean_cosine, merge, new_sketch, sketch
from serval_kernels.similarity import embeddings

WIDTH = 3
DENORMAL, HUGE = 5e-324, 1.7e308


def naive(rows):
    """Return how many rows are finite, missing, infinite and zero, their mean and their norms, all in exact numbers."""
    kept, missing, infinite = [], 0, 0
    for row in rows.astype(np.float64).tolist():
        if any(math.isnan(x) for x in row):
            missing += 1
        elif any(math.isinf(x) for x in row) or math.isinf(math.hypot(*row)):
            infinite += 1
        else:
            kept.append(row)
    sums = [sum(map(Fraction, column)) for column in zip(*kept, strict=True)] if kept else [Fraction(0)] * WIDTH
    mean = [float(total / max(len(kept), 1)) for total in sums]
    zeros = sum(not any(row) for row in kept)
    return (len(kept), missing, infinite, zeros), mean, [math.hypot(*row) for row in kept]


def tables(dtype):
    elements = st.one_of(
        st.floats(width=np.dtype(dtype).itemsize * 8),
        st.sampled_from([0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan]),
        st.floats(-10, 10, width=32),
    )
    return hnp.arrays(dtype, st.tuples(st.integers(0, 20), st.just(WIDTH)), elements=elements)


def counts(found):
    return found.norms.finite, found.norms.missing, found.norms.infinite, found.zeros


@settings(deadline=None, max_examples=80)
@given(st.one_of(tables(np.float32), tables(np.float64)))
def test_a_sketch_is_what_the_naive_one_is(rows):
    found, (numbers, mean, norms) = sketch(rows), naive(rows)
    assert counts(found) == numbers
    assert found.rows == len(rows)
    scale = max(norms, default=0.0)
    assert found.mean == pytest.approx(mean, rel=1e-12, abs=max(1e-14 * scale, DENORMAL))
    if norms:
        assert found.norms.minimum == pytest.approx(min(norms), rel=1e-14, abs=DENORMAL)
        assert found.norms.maximum == pytest.approx(max(norms), rel=1e-14, abs=DENORMAL)
        mean_norm = float(sum(map(Fraction, norms)) / len(norms))
        assert found.norms.mean == pytest.approx(mean_norm, rel=1e-12, abs=DENORMAL)


@settings(deadline=None, max_examples=60)
@given(st.one_of(tables(np.float32), tables(np.float64)), st.integers(0, 20), st.integers(0, 20))
def test_parts_add_up_in_any_order(rows, first, second):
    whole = sketch(rows)
    first, second = sorted((first, second))
    a, b, c = (sketch(part) for part in (rows[:first], rows[first:second], rows[second:]))
    scale = whole.norms.maximum if whole.norms.finite else 0.0
    for total in (merge(merge(a, b), c), merge(a, merge(b, c)), merge(merge(c, a), b)):
        assert counts(total) == counts(whole)
        assert (total.norms.minimum, total.norms.maximum) == (whole.norms.minimum, whole.norms.maximum)
        assert total.mean == pytest.approx(whole.mean, rel=1e-12, abs=max(1e-14 * scale, 10 * DENORMAL))
        assert total.norms.mean == pytest.approx(whole.norms.mean, rel=1e-12, abs=max(1e-14 * scale, 10 * DENORMAL))
    assert repr(merge(new_sketch(WIDTH), whole)) == repr(merge(whole, new_sketch(WIDTH)))


@pytest.mark.parametrize(
    ("value", "dtype"), [(0.1, np.float32), (DENORMAL, np.float64), (1e-200, np.float64), (HUGE, np.float64)]
)
def test_many_equal_vectors_have_their_own_mean_and_norm(value, dtype):
    rows = np.zeros((5000, WIDTH), dtype)
    rows[:, 1] = value
    found = merge(sketch(rows), sketch(rows[:7]))
    value = float(dtype(value))
    assert found.mean == pytest.approx([0.0, value, 0.0], rel=1e-12)
    assert (found.norms.minimum, found.norms.maximum) == (value, value)
    assert found.concentration == pytest.approx(1.0)
    assert mean_cosine(found, sketch(-rows)) == pytest.approx(-1.0)


def test_the_cosine_of_means_is_that_of_the_rows():
    rng = np.random.default_rng(3)
    before, now = rng.normal(0.2, 1, (300, 16)), rng.normal(0.1, 1, (200, 16)).astype(np.float32)
    now[5, 2] = np.nan
    parts = merge(sketch(now[:80]), sketch(now[80:]))
    assert mean_cosine(sketch(before), parts) == pytest.approx(embeddings.mean_cosine(before, now), abs=1e-12)
    assert sketch(before[::2, ::3]).mean == pytest.approx(before[::2, ::3].mean(axis=0), rel=1e-12)


@pytest.mark.parametrize("order", ["half", "columns", "backwards"])
def test_views_are_sketched_by_parts_and_not_copied(order):
    whole = np.random.default_rng(4).normal(size=(80_000, 64))
    whole[::50, 2], whole[7::50] = np.nan, 0.0
    views = {"half": whole[:, ::2], "columns": np.asfortranarray(whole), "backwards": whole[::-1, ::-1]}
    view, expected = views[order], sketch(np.ascontiguousarray(views[order]))
    tracemalloc.start()
    found = sketch(view)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < view.nbytes / 2
    assert (found.norms, found.zeros) == (expected.norms, expected.zeros)
    assert found.mean == pytest.approx(expected.mean, rel=1e-12)
    assert found.norms.missing == 1600


def test_zero_vectors_count_and_point_nowhere():
    zeros, ones = sketch(np.zeros((4, WIDTH))), sketch(np.ones((4, WIDTH)))
    assert (zeros.zeros, zeros.norms.finite, zeros.norms.maximum) == (4, 4, 0.0)
    assert mean_cosine(zeros, ones) == mean_cosine(zeros, zeros) == 0.0
    assert math.isnan(zeros.concentration)
    half = merge(zeros, ones)
    assert half.mean.tolist() == [0.5] * WIDTH
    assert mean_cosine(half, ones) == pytest.approx(1.0)
    opposite = merge(ones, sketch(-np.ones((4, WIDTH))))
    assert opposite.concentration == 0.0
    assert math.isnan(mean_cosine(new_sketch(WIDTH), ones))


def test_shapes_and_types_are_named():
    with pytest.raises(ValueError, match=r"rows: shape \(3,\)"):
        sketch(np.zeros(3))
    with pytest.raises(TypeError, match="rows: int64; wanted float32"):
        sketch(np.zeros((3, 2), np.int64))
    with pytest.raises(ValueError, match="of 2 and 3 numbers"):
        merge(new_sketch(2), new_sketch(3))
    with pytest.raises(ValueError, match="current: width 3"):
        mean_cosine(new_sketch(2), new_sketch(3))
