import math

import numpy as np
import pytest
from serval_kernels.similarity.embeddings import mean_cosine, mean_vector, median_width, mmd


def naive_mmd(x, y, width):
    """The unbiased estimate by all pairs (Gretton et al., 2012, 3)."""

    def kernel(a, b):
        return np.exp(-((a[:, None] - b) ** 2).sum(axis=2) / (2 * width**2))

    n, m = len(x), len(y)
    within = (kernel(x, x).sum() - n) / (n * (n - 1)) + (kernel(y, y).sum() - m) / (m * (m - 1))
    return within - 2 * kernel(x, y).mean()


def test_means_leave_out_broken_rows():
    rows = np.array([[1.0, 2.0], [np.nan, 1.0], [3.0, 4.0], [np.inf, 0.0]], np.float32)
    assert mean_vector(rows).tolist() == [2.0, 3.0]
    assert mean_cosine(rows, np.array([[4.0, 6.0]])) == pytest.approx(1.0)
    assert math.isnan(mean_cosine(rows, rows[1:2]))
    huge = np.array([[1e308, 1.0]] * 3 + [[1e308, np.nan]])
    assert mean_vector(huge) == pytest.approx([1e308, 1.0], rel=1e-15)
    assert mean_cosine(np.full((4, 2), 1e308), np.ones((4, 2))) == pytest.approx(1.0)
    assert math.isnan(median_width(rows[:1]))


@pytest.mark.parametrize("shift", [0.0, 0.5])
def test_mmd_comes_near_all_pairs(shift):
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(300, 4)), rng.normal(shift, 1, (200, 4))
    found = mmd(x.astype(np.float32), y, 2.0, features=4000)
    assert found.squared == pytest.approx(naive_mmd(x, y, 2.0), abs=5 * found.frequency_error)


@pytest.mark.parametrize("shift", [0.0, 0.4])
def test_standard_error_is_that_of_many_samples(shift):
    rng = np.random.default_rng(2)
    runs = [mmd(rng.normal(size=(150, 3)), rng.normal(shift, 1, (100, 3)), 2.0, features=32) for _ in range(150)]
    squared, errors = np.array([run.squared for run in runs]), np.array([run.standard_error for run in runs])
    assert np.sqrt((errors**2).mean()) == pytest.approx(squared.std(), rel=0.35)
    if not shift:
        assert abs(squared.mean()) < 4 * squared.std() / math.sqrt(len(runs))


def test_shapes_and_widths_are_named():
    rows = np.ones((3, 2))
    with pytest.raises(ValueError, match=r"rows: shapes \(3, 2\) and \(3, 1\)"):
        mmd(rows, rows[:, :1], 1.0)
    with pytest.raises(ValueError, match="width: nan"):
        mmd(rows, rows, math.nan)
    with pytest.raises(ValueError, match="features: 1; wanted 2 or more"):
        mmd(rows, rows, 1.0, features=1)
    assert math.isnan(mmd(rows, rows[:1], 1.0).squared)
