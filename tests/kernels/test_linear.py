"""The kernels of linear models against sums in float64, and the logistic function of SciPy."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit
from serval_kernels import linear

CANARY = 7.5  # behind what is written
EPS = np.finfo(np.float32).eps


def model(random, size, width):
    shapes = (width, width, (size, width), size)
    return linear.Linear(*(random.normal(size=shape).astype(np.float32) for shape in shapes))


def summed(rows, model):
    size = len(model.weights)
    room = np.full(len(rows) * size + 1, CANARY, np.float32)
    linear.sums(rows.reshape(-1), *model, room[:-1])
    assert room[-1] == CANARY
    return room[:-1].reshape(len(rows), size)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 2**32), st.integers(0, 150), st.integers(1, 8), st.integers(1, 70), st.booleans())
def test_sums_are_those_of_float64_but_for_rounding(seed, count, size, width, readonly):
    random = np.random.default_rng(seed)
    given = model(random, size, width)
    rows = random.normal(size=(count, width)).astype(np.float32)
    rows.flags.writeable = not readonly
    offsets, scales, weights, intercepts = (array.astype(np.float64) for array in given)
    exact = (rows - offsets) * scales @ weights.T + intercepts
    bound = (np.abs(rows) + np.abs(offsets)) * np.abs(scales) @ np.abs(weights.T) + np.abs(intercepts)
    assert (np.abs(summed(rows, given) - exact) <= (width + 4) * EPS * bound).all()


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 8), st.integers(1, 40))
def test_a_row_has_the_same_sums_with_whatever_others_it_comes(seed, size, width):
    random = np.random.default_rng(seed)
    given = model(random, size, width)
    rows = random.normal(size=(140, width)).astype(np.float32)
    together = summed(rows, given)
    for first, last in ((0, 1), (139, 140), (3, 10), (5, 13), (60, 70), (1, 66)):
        assert summed(rows[first:last].copy(), given).tobytes() == together[first:last].tobytes()


@pytest.mark.parametrize("count", [1, 7, 8, 65])
def test_what_is_not_finite_stays_in_its_row(count):
    rows = np.ones((count, 4), np.float32)
    rows[count // 2, 2] = np.nan
    found = summed(rows, model(np.random.default_rng(1), 3, 4))
    assert np.isnan(found[count // 2]).all()
    assert np.isfinite(np.delete(found, count // 2, 0)).all()


@pytest.mark.parametrize("logistic", [False, True])
def test_labels_are_of_the_first_largest_sum(logistic):
    random, labels = np.random.default_rng(2), np.array([7, -3, 2**40])
    given = model(random, 3, 5)
    # A tie where the third is the largest
    given.weights[2] = given.weights[0]
    given.intercepts[2] = given.intercepts[0]
    rows = random.normal(size=(100, 5)).astype(np.float32)
    label, scores = np.zeros(100, np.int64), np.zeros((100, 3), np.float32)
    linear.classify(rows.reshape(-1), *given, logistic, labels, label, scores.reshape(-1))
    found = summed(rows, given)
    assert (label == labels[found.argmax(axis=1)]).all()
    assert 2**40 not in label
    wanted = expit(found.astype(np.float64)) if logistic else found
    np.testing.assert_allclose(scores, wanted, rtol=0, atol=2e-7 if logistic else 0)


def test_the_logistic_function_stays_within_its_ends():
    odd = [np.inf, -np.inf, np.nan, 0.0, -0.0, 1e-45]
    sums = np.concatenate([np.linspace(-30, 30, 10_001), odd]).astype(np.float32)
    label, scores = np.zeros(len(sums), np.int64), np.zeros((len(sums), 2), np.float32)
    arrays = [0.0], [1.0], [[1.0], [-1.0]], [0.0, 0.0]
    given = linear.Linear(*(np.array(array, np.float32) for array in arrays))
    linear.classify(sums, *given, True, np.array([0, 1]), label, scores.reshape(-1))
    finite = scores[~np.isnan(sums)]
    assert ((finite >= 0) & (finite <= 1)).all()
    np.testing.assert_allclose(finite[:, 0], expit(sums[~np.isnan(sums)].astype(np.float64)), rtol=0, atol=2e-7)
    assert np.isnan(scores[np.isnan(sums)]).all()
