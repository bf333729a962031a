import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra import numpy as npst
from serval_kernels.drift import sorting

# The first example may wait for the compiler.
COMPILES = settings(deadline=None)

SAMPLES = npst.arrays(npst.floating_dtypes(endianness="=", sizes=(32, 64)), npst.array_shapes(max_dims=1))


@pytest.mark.slow
@COMPILES
@given(SAMPLES)
def test_sorts_as_numpy_does(x):
    before = x.tobytes()
    ordered = sorting.sort(x)
    assert ordered.dtype == x.dtype
    np.testing.assert_array_equal(ordered, np.sort(x))
    assert x.tobytes() == before


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_large_strided_and_tied_samples(dtype):
    rng = np.random.default_rng(1)
    for x in (rng.normal(size=50_000), rng.integers(0, 7, 50_000), rng.lognormal(0, 15, 50_000), np.full(9, -3.0)):
        x = x.astype(dtype)
        np.testing.assert_array_equal(sorting.sort(x[::3]), np.sort(x[::3]))


def test_nan_of_either_sign_is_last_and_can_be_left_out():
    x = np.array([np.nan, 1.0, -np.nan, -np.inf, np.inf, -0.0, 0.0])
    np.testing.assert_array_equal(sorting.sort(x), [-np.inf, 0, 0, 1, np.inf, np.nan, np.nan])
    np.testing.assert_array_equal(sorting.sort_present(x), [-np.inf, 0, 0, 1, np.inf])
    assert np.signbit(sorting.sort(x)[1])
    assert sorting.sort_present(np.array([np.nan, np.nan])).size == 0
    assert sorting.sort(np.empty(0, np.float32)).size == 0


def test_other_dtypes_and_shapes_are_named():
    with pytest.raises(TypeError, match="int64; wanted float32 or float64"):
        sorting.sort(np.arange(3))
    with pytest.raises(ValueError, match="2 dimensions; wanted 1"):
        sorting.sort(np.zeros((2, 2)))
