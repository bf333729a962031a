import numpy as np
import pytest
from serval_kernels import columns

SPECIAL = np.array(
    [0.0, -0.0, np.nan, np.inf, -np.inf, 1e-45, -1e-45, 3.4e38, -3.4e38, 1.1754944e-38, 1.0, 16777217.0], np.float32
)


def scaled(rows, offset, scale):
    out = np.full(rows.size, 7.0, np.float32)
    columns.scale(rows.reshape(-1), columns.tile(offset), columns.tile(scale), out)
    return out.reshape(rows.shape)


def filled(rows, values):
    out = np.full(rows.size, 7.0, np.float32)
    columns.fill(rows.reshape(-1), columns.tile(values), out)
    return out.reshape(rows.shape)


@pytest.mark.parametrize("width", [1, 3, 30, 1023, 1024, 1025, 3000])
@pytest.mark.parametrize("count", [0, 1, 34, 35, 500])
def test_every_column_has_its_own_numbers(width, count):
    random = np.random.default_rng(width * 1000 + count)
    rows, first, second = (random.normal(size=shape).astype(np.float32) for shape in ((count, width), width, width))
    np.testing.assert_array_equal(scaled(rows, first, second), (rows - first) * second)
    rows[random.random(rows.shape) < 0.3] = np.nan
    np.testing.assert_array_equal(filled(rows, first), np.where(np.isnan(rows), first, rows))


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


def test_what_is_filled_in_takes_the_place_of_nan_alone():
    for value in SPECIAL:
        expected = np.where(np.isnan(SPECIAL), value, SPECIAL)
        found = filled(SPECIAL[:, None], value[None])[:, 0]
        np.testing.assert_array_equal(found, expected)
        np.testing.assert_array_equal(np.signbit(found), np.signbit(expected))


def test_rows_may_be_written_where_they_are_read():
    random = np.random.default_rng(3)
    rows, first, second = (random.normal(size=shape).astype(np.float32) for shape in ((200, 7), 7, 7))
    rows[::3, 2] = np.nan
    expected = scaled(filled(rows, first), first, second)
    values = rows.reshape(-1)
    columns.fill(values, columns.tile(first), values)
    columns.scale(values, columns.tile(first), columns.tile(second), values)
    np.testing.assert_array_equal(rows, expected)


def test_received_rows_that_cannot_be_written_are_taken():
    rows = np.frombuffer(np.arange(6, dtype=np.float32).tobytes(), np.float32).reshape(2, 3)
    one = np.ones(3, np.float32)
    np.testing.assert_array_equal(scaled(rows, one, 2 * one), [[-2, 0, 2], [4, 6, 8]])


def test_what_was_not_compiled_for_is_refused():
    tile, out = columns.tile(np.ones(2, np.float32)), np.zeros(4, np.float32)
    for rows in (np.zeros(4), np.zeros((2, 2), np.float32), np.zeros(8, np.float32)[::2]):
        with pytest.raises(TypeError):
            columns.scale(rows, tile, tile, out)
        with pytest.raises(TypeError):
            columns.fill(rows, tile, out)
