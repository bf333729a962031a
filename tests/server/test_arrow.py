"""Arrow streams into columns: what a model takes, and what is only looked at."""

import datetime
import decimal

import numpy as np
import pyarrow as pa
import pytest
from serval_registry.errors import InvalidArgument
from serval_server.codec import arrow

MOMENT = datetime.datetime(2026, 1, 2, 3, tzinfo=datetime.UTC)
FLAGS = pa.array([True, None, False])
TIMES = pa.array([MOMENT, None, MOMENT], pa.timestamp("ms", "UTC"))
MONEY = pa.array([decimal.Decimal("1.25"), None, decimal.Decimal("-3")], pa.decimal128(12, 2))
LISTS = pa.array([[1], None, []])


def stream(**columns):
    sink = pa.BufferOutputStream()
    table = pa.table(columns)
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()


def test_a_sample_has_every_column_that_can_be_looked_at():
    texts = pa.array(["a", None, "a"]).dictionary_encode()
    content = stream(flag=FLAGS, seen=TIMES, money=MONEY, many=LISTS, text=texts, day=TIMES.cast(pa.date32()))
    columns, foreign = arrow.read_sample(content, "sample")
    assert foreign == {"many": ("list<item: int64>", 3)}
    assert columns["flag"].tolist() == [True, None, False]
    assert columns["seen"].dtype == np.dtype("datetime64[ms]")
    assert np.isnat(columns["seen"]).tolist() == np.isnat(columns["day"]).tolist() == [False, True, False]
    assert columns["seen"][0] == np.datetime64("2026-01-02T03:00")
    np.testing.assert_array_equal(columns["money"], [1.25, np.nan, -3.0])
    assert columns["text"].tolist() == ["a", None, "a"]


def test_whole_numbers_of_a_sample_keep_their_digits():
    ids = [2**53 + 1, None, 2**53]
    ten = decimal.Decimal(10)
    content = stream(
        signed=pa.array(ids),
        unsigned=pa.array([2**64 - 1, None, 0], pa.uint64()),
        decimal=pa.array([decimal.Decimal(2**53 + 1), decimal.Decimal(2**53), None], pa.decimal128(38, 0)),
        full=pa.array([decimal.Decimal(2**53 + 1)] * 3, pa.decimal128(38, 0)),
        wide=pa.array([ten**30, ten**31, None], pa.decimal128(38, 0)),
    )
    columns, foreign = arrow.read_sample(content, "sample")
    assert foreign == {}
    assert columns["signed"].tolist() == ids
    assert columns["unsigned"].tolist() == [2**64 - 1, None, 0]
    assert columns["decimal"].tolist() == [2**53 + 1, 2**53, None]
    assert columns["full"].tolist() == [2**53 + 1] * 3
    np.testing.assert_array_equal(columns["wide"], [1e30, 1e31, np.nan])
    # A model takes numbers as floats, and a missing one as NaN.
    np.testing.assert_array_equal(arrow.read_table(content, "rows")["signed"], [2.0**53, np.nan, 2.0**53])


def test_texts_by_view_are_texts():
    content = stream(x=pa.array(["a", None, "more than twelve octets"], pa.string_view()))
    for table in (arrow.read_sample(content, "sample").columns, arrow.read_table(content, "rows")):
        assert table["x"].tolist() == ["a", None, "more than twelve octets"]


@pytest.mark.parametrize("values", [LISTS, pa.array([{"a": 1}] * 3)])
def test_a_dictionary_of_what_is_not_looked_at_is_foreign(values):
    content = stream(x=pa.DictionaryArray.from_arrays(pa.array([0, 2, None], pa.int8()), values))
    assert arrow.read_sample(content, "sample").foreign["x"].kind.startswith("dictionary<values=")
    with pytest.raises(InvalidArgument, match=r"column 'x' is dictionary<.*wanted numbers, texts or booleans"):
        arrow.read_table(content, "rows")


def test_a_model_takes_decimals_as_numbers():
    np.testing.assert_array_equal(arrow.read_table(stream(money=MONEY), "rows")["money"], [1.25, np.nan, -3.0])


@pytest.mark.parametrize(("column", "told"), [(FLAGS, "has nulls"), (TIMES, "is timestamp"), (LISTS, "is list")])
def test_a_model_takes_nothing_that_would_have_to_be_guessed(column, told):
    with pytest.raises(InvalidArgument, match=f"rows: column 'x' .*{told}"):
        arrow.read_table(stream(x=column), "rows")
