import numpy as np
import pytest
from serval_kernels.missing import first_nan


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("size", [1, 30, 511, 512, 513, 5000])
def test_finds_the_first_nan_wherever_it_is(dtype, size):
    for place in {0, size // 2, size - 1}:
        x = np.zeros(size, dtype)
        x[place:] = -np.nan
        assert first_nan(x) == place


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_infinities_extremes_and_nothing_are_not_missing(dtype):
    limits = np.finfo(dtype)
    x = np.array([0.0, -0.0, np.inf, -np.inf, limits.max, limits.min, limits.smallest_subnormal], dtype)
    assert first_nan(x) == -1
    assert first_nan(x[:0]) == -1


def test_nan_of_any_payload_is_missing_in_received_bytes():
    quiet, signalling, negative = 0x7FC00001, 0x7F800001, 0xFFC00000
    for bits in (quiet, signalling, negative):
        received = np.frombuffer(np.array([0, bits], np.uint32).tobytes(), np.float32)
        assert not received.flags.writeable
        assert first_nan(received) == 1


def test_what_was_not_compiled_for_is_refused():
    for x in (np.zeros(4, np.int64), np.zeros((2, 2), np.float32), np.zeros(8, np.float32)[::2]):
        with pytest.raises(TypeError):
            first_nan(x)
