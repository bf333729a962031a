"""The search of codes against numpy."""

import numpy as np
import pytest
from serval_kernels.similarity.codes import encode, scan

WIDTH = 128


def vectors(rows: int, seed: int) -> np.ndarray:
    found = np.random.default_rng(seed).standard_normal((rows, WIDTH))
    return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)


def coded(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    scales = (np.abs(rows).max(axis=0) / 127).astype(np.float32)
    codes = np.empty(rows.shape, np.int8)
    encode(rows, scales, codes)
    return codes, scales


def test_a_code_is_the_nearest_of_255_steps() -> None:
    rows = vectors(50, seed=1)
    codes, scales = coded(rows)
    np.testing.assert_array_equal(codes, np.round(rows / scales).astype(np.int8))
    assert np.abs(codes).max() == 127
    assert np.abs(codes * scales - rows).max() <= scales.max() / 2 * 1.001


def test_what_lies_beyond_the_steps_is_the_last_of_them() -> None:
    far = np.array([[1e30, -1e30, np.inf, -np.inf, 128, -3e38]], np.float32)
    codes = np.empty(far.shape, np.int8)
    encode(far, np.array([1e-5, 1e-5, 1, 1, 1, 1e-3], np.float32), codes)
    assert codes.tolist() == [[127, -127, 127, -127, 127, -127]]


@pytest.mark.parametrize("wanted", [0, 1, 7, 300])
def test_the_best_of_some_partitions_are_found_in_order(wanted: int) -> None:
    codes, scales = coded(vectors(400, seed=2))
    query = vectors(1, seed=3)[0] * scales
    starts = np.array([0, 100, 100, 250, 400])
    allowed = (np.arange(400) % 3 != 0).astype(np.uint8)
    visited = np.array([3, 1, 0])
    rows, scores = np.empty(wanted, np.int64), np.empty(wanted, np.float32)
    found = scan(query, codes, allowed, starts, visited, rows, scores)
    reach = np.array([row for row in [*range(250, 400), *range(100)] if allowed[row]])
    exact = codes[reach].astype(np.float64) @ query
    assert found == min(wanted, len(reach))
    np.testing.assert_allclose(scores[:found], np.sort(exact)[::-1][:found], atol=1e-5)
    assert set(rows[:found]) <= set(reach)
    assert len(set(rows[:found])) == found


def test_nothing_allowed_is_nothing_found() -> None:
    codes, scales = coded(vectors(10, seed=4))
    rows, scores = np.empty(5, np.int64), np.empty(5, np.float32)
    nothing = np.zeros(10, np.uint8)
    assert scan(scales, codes, nothing, np.array([0, 10]), np.array([0]), rows, scores) == 0
