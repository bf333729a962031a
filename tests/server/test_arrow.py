"""Arrow streams into columns: what a model takes, and what is only looked at."""

import contextlib
import datetime
import decimal
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
from serval_protos.v1 import common_pb2
from serval_registry.errors import InvalidArgument, TooLarge
from serval_registry.model import DataType, Feature, FeatureKind, Signature, TensorSpec
from serval_server.codec import arrow
from serval_server.codec.arrow_sizes import unpacked_octets
from serval_server.codec.columns import Columns

MOMENT = datetime.datetime(2026, 1, 2, 3, tzinfo=datetime.UTC)
FLAGS = pa.array([True, None, False])
TIMES = pa.array([MOMENT, None, MOMENT], pa.timestamp("ms", "UTC"))
MONEY = pa.array([decimal.Decimal("1.25"), None, decimal.Decimal("-3")], pa.decimal128(12, 2))
LISTS = pa.array([[1], None, []])


ROOM = 1 << 20


def stream(**columns):
    return written([pa.table(columns)])


def written(tables, **options):
    """Return tables of one schema in a stream, written with options."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, tables[0].schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        for table in tables:
            writer.write_table(table)
    return sink.getvalue().to_pybytes()


@pytest.fixture
def little_room(monkeypatch):
    monkeypatch.setattr(arrow, "UNPACKED_MAX", ROOM)


@pytest.fixture
def nothing_unpacked(monkeypatch):
    """Of a stream there is its schema, and no batch can be had."""

    @contextlib.contextmanager
    def only_schema(source):
        yield SimpleNamespace(schema=open_stream(source).schema)

    open_stream = pa.ipc.open_stream
    monkeypatch.setattr(pa.ipc, "open_stream", only_schema)


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


@pytest.mark.parametrize("compression", [None, "lz4", "zstd"])
@pytest.mark.parametrize("version", [pa.ipc.MetadataVersion.V4, pa.ipc.MetadataVersion.V5])
def test_what_a_stream_unpacks_to_is_told_before(compression, version):
    count = 20_000
    table = pa.table(
        {
            "number": pa.array(np.arange(count) % 7, pa.float32()),
            "some": pa.array([1, None] * (count // 2), pa.int16()),
            "text": pa.array(["red", "green"] * (count // 2)),
            "noise": pa.array(np.random.default_rng(0).random(count)),
        }
    )
    content = written([table, table], compression=compression, metadata_version=version)
    octets = unpacked_octets(content, table.schema)
    assert octets == pytest.approx(2 * table.nbytes, abs=1000)  # buffers are padded, and offsets have one more


def test_columns_of_next_to_nothing_count_as_what_becomes_of_them():
    codes = pa.array([0] * 1000, pa.int8())
    for column, least in (
        (pa.nulls(1000), 8000),
        (pa.array([True] * 1000), 1000),
        (pa.DictionaryArray.from_arrays(codes, pa.array([1.5])), 8000),
        (pa.DictionaryArray.from_arrays(codes, pa.nulls(1)), 8000),
    ):
        content = stream(x=column)
        assert least <= unpacked_octets(content, pa.schema({"x": column.type})) <= least + 1500


def test_a_dictionary_that_grows_counts_each_time():
    words = [f"word {number}" for number in range(50)]
    tables = [pa.table({"x": pa.array(words[: place + 1]).dictionary_encode()}) for place in range(len(words))]
    content = written(tables, emit_dictionary_deltas=True)
    octets = unpacked_octets(content, tables[0].schema)
    assert octets >= sum(len(word) for place in range(len(words)) for word in words[: place + 1])
    assert arrow.read_table(content, "rows")["x"].tolist() == [
        word for place in range(len(words)) for word in words[: place + 1]
    ]


@pytest.mark.usefixtures("little_room", "nothing_unpacked")
@pytest.mark.parametrize("read", [arrow.read_table, arrow.read_sample])
@pytest.mark.parametrize(
    "content",
    [
        stream(x=pa.nulls(ROOM)),
        stream(x=pa.array([True] * (8 * ROOM // 6))),
        stream(x=pa.DictionaryArray.from_arrays(pa.array(np.zeros(ROOM, np.int8)), pa.array([1.5]))),
        written([pa.table({"x": np.zeros(ROOM, np.float32)})], compression="zstd"),
        written([pa.table({"x": np.zeros(ROOM, np.float32)})], compression="lz4"),
        written([pa.table({"x": pa.array(["x" * 4 * ROOM]).dictionary_encode()})], compression="zstd"),
    ],
    ids=["nulls", "flags", "dictionary", "zstd", "lz4", "dictionary in zstd"],
)
def test_more_than_a_message_beyond_what_came_is_refused_and_not_unpacked(read, content):
    with pytest.raises(
        TooLarge, match=rf"^rows: {len(content)} bytes unpack to \d+; wanted at most {len(content) + ROOM}"
    ):
        read(content, "rows")


@pytest.mark.usefixtures("little_room")
def test_what_is_no_larger_than_it_claims_is_taken_whatever_its_size():
    numbers = np.random.default_rng(0).random(ROOM)
    np.testing.assert_array_equal(arrow.read_table(stream(x=numbers), "rows")["x"], numbers)
    packed = written([pa.table({"x": np.zeros(ROOM // 16)})], compression="zstd")
    np.testing.assert_array_equal(arrow.read_table(packed, "rows")["x"], np.zeros(ROOM // 16))


@pytest.mark.usefixtures("little_room", "nothing_unpacked")
def test_columns_that_are_not_wanted_are_told_before_anything_is_unpacked():
    model = Columns(
        "m@1",
        [Feature("a", FeatureKind.NUMERIC, "X", 0)],
        Signature((TensorSpec("X", DataType.FP32, (-1, 1)),), (), {}),
    )
    rows = common_pb2.Rows(arrow_ipc=stream(b=pa.nulls(ROOM)))
    for read in (model.from_rows, model.table):
        with pytest.raises(
            InvalidArgument, match=r"^rows.arrow_ipc: features of m@1 do not match: missing 'a'; unknown"
        ):
            read(rows, "rows")
    rows = common_pb2.Rows(arrow_ipc=stream(a=pa.nulls(ROOM)))
    for read in (model.from_rows, model.table):
        with pytest.raises(TooLarge, match=r"^rows.arrow_ipc: .* unpack to "):
            read(rows, "rows")


def test_a_text_of_a_dictionary_is_one_object_in_every_row():
    text, codes = "x" * ROOM, pa.array([0, 1, 0, None] * 1000, pa.int8())
    column = pa.DictionaryArray.from_arrays(codes, pa.array([text, None]))
    for table in (
        arrow.read_table(written([pa.table({"x": column, "y": column})] * 2), "rows"),
        arrow.read_sample(stream(x=column), "sample").columns,
    ):
        for array in table.values():
            assert array[:4].tolist() == [text, None, text, None]
            assert len(set(map(id, array))) == 2


def test_texts_and_flags_of_many_pieces_and_chunks():
    texts = [None if number % 5 == 0 else str(number) for number in range(10_000)]
    flags = [(True, False, None)[number % 3] for number in range(10_000)]
    for kind in (pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.uint16(), pa.string())):
        whole = pa.table({"text": pa.array(texts, pa.string()).cast(kind), "flag": flags})
        content = written([whole.slice(0, 1), whole.slice(1, 6000), whole.slice(6001)])
        columns = arrow.read_sample(content, "sample").columns
        assert columns["text"].tolist() == texts
        assert columns["flag"].tolist() == flags


@pytest.mark.usefixtures("little_room")
def test_texts_that_show_the_same_octets_count_each():
    text = pa.array(["x" * 10_000], pa.string_view())
    views = pa.py_buffer(text.buffers()[1].to_pybytes()[:16] * 1000)
    content = stream(x=pa.Array.from_buffers(pa.string_view(), 1000, [None, views, *text.buffers()[2:]]))
    for read in (arrow.read_table, arrow.read_sample):
        with pytest.raises(TooLarge, match=r"rows: texts by view unpack to \d+ bytes and more; wanted at most \d+"):
            read(content, "rows")


def test_a_name_that_is_no_text_is_no_stream():
    content = stream(name=[1]).replace(b"name", b"\xffame")
    for read in (arrow.read_table, arrow.read_sample, arrow.column_names):
        with pytest.raises(InvalidArgument, match=r"rows: \d+ bytes are not a whole Arrow IPC stream"):
            read(content, "rows")
