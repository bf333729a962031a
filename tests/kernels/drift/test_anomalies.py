import math

import numpy as np
import pytest
from serval_kernels.drift import anomalies


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_flags_and_scores_equal_numpy_on_strided_columns(dtype):
    table = np.random.default_rng(0).normal(size=(500, 3)).astype(dtype)
    table[3, 1], table[4, 1] = np.nan, np.inf
    x = table[:, 1]
    np.testing.assert_array_equal(anomalies.out_of_range(x, -1.0, 0.5), (x < -1.0) | (x > 0.5))
    center, mad = anomalies.spread(x)
    finite = x[np.isfinite(x)].astype(float)
    assert center == pytest.approx(np.median(finite))
    assert mad == pytest.approx(np.median(np.abs(finite - np.median(finite))))
    expected = np.abs(x.astype(float) - center) / (1.482602218505602 * mad)
    np.testing.assert_allclose(anomalies.robust_scores(x, center, mad), expected, rtol=1e-12)


def test_unseen_categories():
    x = np.array([3, 1, 7, 3, 9])
    assert anomalies.unseen(x, np.array([1, 3, 5])).tolist() == [0, 0, 1, 0, 1]
    assert anomalies.unseen(x, np.empty(0, np.int64)).tolist() == [1] * 5
    assert anomalies.unseen(np.array([np.nan, 1.0]), np.array([2.0])).tolist() == [0, 1]
    with pytest.raises(ValueError, match="int32"):
        anomalies.unseen(x, np.array([1], np.int32))


def test_nothing_known_or_no_spread():
    x = np.array([1.0, 2.0, np.nan])
    assert anomalies.out_of_range(x, math.nan, math.nan).tolist() == [0, 0, 0]
    scores = anomalies.robust_scores(x, 1.0, 0.0)
    assert scores[:2].tolist() == [0.0, math.inf]
    assert math.isnan(scores[2])
    assert all(math.isnan(value) for value in anomalies.spread(x[2:]))


def test_distances_and_deviations_beyond_the_largest_number():
    x = np.array([1e308, -1.7e308, 0.0, np.inf])
    expected = np.array([1 / 1.5, 1.7 / 1.5, 0.0, np.inf]) / anomalies.NORMAL
    np.testing.assert_allclose(anomalies.robust_scores(x, 0.0, 1.5e308), expected, rtol=1e-15)
    assert anomalies.robust_scores(x[1:2], 1.7e308, 1e308)[0] == pytest.approx(3.4 / anomalies.NORMAL, rel=1e-15)
    center, mad = anomalies.spread(np.array([-1.7e308, 1.7e308, 1.6e308, -1.6e308, 1.5e308]))
    assert (center, mad) == (1.5e308, pytest.approx(0.2e308, rel=1e-9))
