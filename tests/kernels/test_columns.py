import numpy as np
import pytest
from serval_kernels import scaling

SPECIAL = np.array(
    [0.0, -0.0, np.nan, np.inf, -np.inf, 1e-45, -1e-45, 3.4e38, -3.4e38, 1.1754944e-38, 1.0, 16777217.0], np.float32
)


def scaled(rows, offset, scale):
    out = np.full(rows.size, 7.0, np.float32)
    scaling.scale(rows.reshape(-1), scaling.tile(offset), scaling.tile(scale), out)
    return out.reshape(rows.shape)


@pytest.mark.parametrize("columns", [1, 3, 30, 1023, 1024, 1025, 3000])
@pytest.mark.parametrize("count", [0, 1, 34, 35, 500])
def test_every_column_has_its_own_offset_and_scale(columns, count):
    random = np.random.default_rng(columns * 1000 + count)
    rows, offset, scale = (
        random.normal(size=shape).astype(np.float32) for shape in ((count, columns), columns, columns)
    )
    np.testing.assert_array_equal(scaled(rows, offset, scale), (rows - offset) * scale)


@pytest.mark.filterwarnings("ignore:invalid value", "ignore:overflow")
def test_special_values_come_out_as_float32_arithmetic_has_them():
    rows = np.repeat(SPECIAL, SPECIAL.size**2).reshape(-1, 1)
    for offset in SPECIAL:
        for scale in SPECIAL:
            found = scaled(rows, offset[None], scale[None])
            np.testing.assert_array_equal(found, (rows - offset) * scale)
            np.testing.assert_array_equal(
                np.signbit(found[found == 0]), np.signbit(((rows - offset) * scale)[found == 0])
            )


def test_received_rows_that_cannot_be_written_are_taken():
    rows = np.frombuffer(np.arange(6, dtype=np.float32).tobytes(), np.float32).reshape(2, 3)
    one = np.ones(3, np.float32)
    np.testing.assert_array_equal(scaled(rows, one, 2 * one), [[-2, 0, 2], [4, 6, 8]])


def test_what_was_not_compiled_for_is_refused():
    columns, out = scaling.tile(np.ones(2, np.float32)), np.zeros(4, np.float32)
    for rows in (np.zeros(4), np.zeros((2, 2), np.float32), np.zeros(8, np.float32)[::2]):
        with pytest.raises(TypeError):
            scaling.scale(rows, columns, columns, out)
