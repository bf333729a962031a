"""Arrow IPC streams into columns by name.

The bytes come from anywhere: they are validated in full before a value is read, since Arrow itself trusts offsets.
Before that, what they claim is held against what is wanted: a few octets may claim any number of rows.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from serval_registry.errors import InvalidArgument, TooLarge
from serval_registry.model import Table

from serval_server.codec.arrow_sizes import is_fixed, unpacked_octets
from serval_server.codec.tensors import pieces
from serval_server.config import DEFAULT_MESSAGE_BYTES
from serval_server.monitor.profile import Foreign

Array = npt.NDArray[np.generic]

COLUMNS_MAX = 10_000
FOREIGN_TEXT_MAX = 200

# How much more a stream may unpack to than came: what is compressed, left out or said once for many rows.
UNPACKED_MAX = DEFAULT_MESSAGE_BYTES

_FLAGS: Array = np.array([False, True, None], np.object_)


def _any_names(_names: Sequence[str]) -> None:
    pass


class Sample(NamedTuple):
    """Columns to look at as they came, and those that cannot be looked at."""

    columns: Table
    foreign: Mapping[str, Foreign]


def read_table(
    data: bytes,
    field: str,
    *,
    check_names: Callable[[Sequence[str]], None] = _any_names,
    missing_flags: bool = False,
) -> Table:
    """Return the columns of an Arrow IPC stream by name, as a model takes them.

    Integers, floats and decimals become float arrays with NaN for null, or integers stay as they are where nothing is
    null; booleans become bool arrays, texts and dictionaries of texts object arrays of str, with None for null. Raises
    InvalidArgument for other types, booleans with nulls, and what is no whole stream, TooLarge for what unpacks to much
    more than came. With `missing_flags`, booleans with nulls are taken too, as object arrays of bool and None.
    `check_names` sees the columns' names before anything is unpacked, and raises.
    """
    table = _read(data, field, check_names)
    texts = _Texts(field, len(data) + UNPACKED_MAX)
    return {name: _of_model(table.column(name), name, field, missing_flags, texts) for name in table.column_names}


def column_names(data: bytes, field: str) -> list[str]:
    """Return the names of the columns of an Arrow IPC stream, whose rows are not looked at; raises as `read_table`."""
    with _opened(data, field) as reader:
        names: list[str] = reader.schema.names
    return names


def read_sample(data: bytes, field: str) -> Sample:
    """Return the columns of an Arrow IPC stream as they came, as `sample_of` does; raises for what is no stream."""
    return sample_of(_read(data, field), field, len(data) + UNPACKED_MAX)


def sample_of(table: pa.Table, field: str, octets_max: float = math.inf) -> Sample:
    """Return the columns of a validated Arrow table as they came: what a model does not take too.

    Besides what `read_table` gives: integers with nulls become masked arrays, as floats have no room for every one, and
    so do decimals without fractions that int64 has room for; booleans with nulls object arrays of bool and None, dates
    and timestamps datetime64 arrays in UTC, durations timedelta64, both with NaT for null. All other columns are
    foreign. Texts by view may take `octets_max` together.
    """
    _check_names(table.schema, field)
    texts = _Texts(field, octets_max)
    columns, foreign = {}, {}
    for name in table.column_names:
        column = _plain(_whole(table.column(name)))
        array = _masked(column) if pa.types.is_integer(column.type) and column.null_count else _array(column, texts)
        if array is None:
            foreign[name] = Foreign(str(_kind(column)), len(column))
        else:
            columns[name] = array
    return Sample(columns, foreign)


def _read(data: bytes, field: str, check_names: Callable[[Sequence[str]], None] = _any_names) -> pa.Table:
    with _opened(data, field) as reader:
        _check_names(reader.schema, field)
        check_names(reader.schema.names)
        octets, most = unpacked_octets(data, reader.schema), len(data) + UNPACKED_MAX
        if octets > most:
            raise TooLarge(
                f"{field}: {len(data)} bytes unpack to {octets}; wanted at most {most}, fewer rows at a time"
            )
        table = reader.read_all()
        table.validate(full=True)
    return table


@contextmanager
def _opened(data: bytes, field: str) -> Iterator[pa.ipc.RecordBatchStreamReader]:
    try:
        with pa.ipc.open_stream(pa.BufferReader(data)) as reader:
            yield reader
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:  # the last: a name that is no text
        text = " ".join(str(error).split())[:FOREIGN_TEXT_MAX]
        raise InvalidArgument(f"{field}: {len(data)} bytes are not a whole Arrow IPC stream: {text}") from error


def _check_names(schema: pa.Schema, field: str) -> None:
    if len(schema) > COLUMNS_MAX:
        raise InvalidArgument(f"{field}: got {len(schema)} columns; wanted at most {COLUMNS_MAX}")
    names = schema.names
    if len(set(names)) != len(names):
        again = next(name for name, count in Counter(names).items() if count > 1)
        raise InvalidArgument(f"{field}: got two columns {again!r:.100}; wanted each name once")


def write_table(table: Table) -> bytes:
    """Return the columns as an Arrow IPC stream."""
    batch = pa.table({name: pa.array(column, from_pandas=True) for name, column in table.items()})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_table(batch)
    return sink.getvalue().to_pybytes()  # type: ignore[no-any-return]


def _of_model(column: pa.ChunkedArray, name: str, field: str, missing_flags: bool, texts: "_Texts") -> Array:
    column = _plain(column)
    if not missing_flags and pa.types.is_boolean(column.type) and column.null_count:
        raise InvalidArgument(f"{field}: column {name!r} is boolean and has nulls; flags need a value in every row")
    array = None if pa.types.is_temporal(column.type) else _array(column, texts)
    if array is None:
        raise InvalidArgument(f"{field}: column {name!r} is {_kind(column)}; wanted numbers, texts or booleans")
    return array


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return the column with the values themselves where it holds a dictionary, and floats where decimals.

    Not of texts and octets: a row that names one of many takes an octet, and the one any number of them.
    """
    kind = column.type
    if pa.types.is_dictionary(kind) and is_fixed(kind.value_type):
        column = column.cast(kind.value_type)
    return column.cast(pa.float64()) if pa.types.is_decimal(column.type) else column


def _kind(column: pa.ChunkedArray) -> pa.DataType:
    """Return the type of the column, or of what its dictionary holds: Arrow has no way to take lists out of these."""
    kind = column.type
    return kind.value_type if pa.types.is_dictionary(kind) and not pa.types.is_nested(kind.value_type) else kind


def _whole(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return decimals without fractions as integers where all of them fit."""
    if not pa.types.is_decimal(column.type) or column.type.scale > 0:
        return column
    try:
        return column.cast(pa.int64())
    except pa.ArrowInvalid:
        return column


def _masked(column: pa.ChunkedArray) -> Array:
    return np.ma.MaskedArray(column.fill_null(0).to_numpy(), column.is_null().to_numpy())


def _array(column: pa.ChunkedArray, texts: "_Texts") -> Array | None:
    """Return the values; None for a type of which a column is not looked at."""
    kind = _kind(column)
    if pa.types.is_null(kind):
        return np.full(len(column), np.nan)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return texts.of(column)
    if pa.types.is_boolean(kind) and column.null_count:
        codes = column.cast(pa.int8()).fill_null(len(_FLAGS) - 1).to_numpy()
        flags: Array = np.empty(len(column), np.object_)
        for piece in pieces(len(column)):
            flags[piece] = _FLAGS[codes[piece]]
        return flags
    numbers = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)
    times = pa.types.is_timestamp(kind) or pa.types.is_date(kind) or pa.types.is_duration(kind)
    return column.to_numpy() if numbers or times else None


class _Texts:
    """The texts of a table as objects: of a dictionary once, however many rows and columns hold them."""

    def __init__(self, field: str, octets_max: float) -> None:
        self._field = field
        self._octets_max = octets_max
        self._octets = 0
        self._known: dict[tuple[int, ...], Array] = {}  # by where a dictionary lies, for as long as the table does

    def of(self, column: pa.ChunkedArray) -> Array:
        """Return the texts of a column, which may be in a dictionary; None for null."""
        array: Array = np.empty(len(column), np.object_)
        at = 0
        for chunk in column.iterchunks():
            target = array[at : at + len(chunk)]
            if pa.types.is_dictionary(chunk.type):
                self._pick(chunk, target)
            else:
                self._fill(chunk, target)
            at += len(chunk)
        return array

    def _pick(self, chunk: pa.DictionaryArray, target: Array) -> None:
        held = chunk.dictionary
        place = held.offset, len(held), *(buffer.address if buffer is not None else 0 for buffer in held.buffers())
        values = self._known.get(place)
        if values is None:
            values = self._known[place] = np.empty(len(held) + 1, np.object_)  # the last one stays None, for nulls
            self._fill(held, values[:-1])
        codes = chunk.indices.cast(pa.int64()).fill_null(len(held)).to_numpy(zero_copy_only=False)
        for piece in pieces(len(chunk)):
            target[piece] = values[codes[piece]]

    def _fill(self, chunk: pa.Array, target: Array) -> None:
        for piece in pieces(len(chunk)):
            part = chunk.slice(piece.start, piece.stop - piece.start)
            if pa.types.is_string_view(part.type):
                self._count(part)
            target[piece] = part.to_pylist()

    def _count(self, part: pa.Array) -> None:
        """Refuse texts by view that take too much: any number of views may show the same octets."""
        words = np.frombuffer(part.buffers()[1], np.int32, 4 * (part.offset + len(part)))
        lengths = words[4 * part.offset :: 4][part.is_valid().to_numpy(zero_copy_only=False)]
        self._octets += int(lengths.sum(dtype=np.int64))
        if self._octets > self._octets_max:
            raise TooLarge(
                f"{self._field}: texts by view unpack to {self._octets} bytes and more; "
                f"wanted at most {self._octets_max}, fewer rows at a time"
            )
