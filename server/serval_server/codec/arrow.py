"""Arrow IPC streams into columns by name.

The bytes come from anywhere: they are validated in full before a value is read, since Arrow itself trusts offsets.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from serval_registry.errors import InvalidArgument
from serval_registry.model import Table

from serval_server.monitor.profile import Foreign

Array = npt.NDArray[np.generic]

COLUMNS_MAX = 10_000
FOREIGN_TEXT_MAX = 200


class Sample(NamedTuple):
    """Columns to look at as they came, and those that cannot be looked at."""

    columns: Table
    foreign: Mapping[str, Foreign]


def read_table(data: bytes, field: str, *, missing_flags: bool = False) -> Table:
    """Return the columns of an Arrow IPC stream by name, as a model takes them.

    Integers, floats and decimals become float arrays with NaN for null, or integers stay as they are where nothing is
    null; booleans become bool arrays, texts and dictionaries of texts object arrays of str, with None for null. Raises
    InvalidArgument for other types, booleans with nulls, and what is no whole stream. With `missing_flags`, booleans
    with nulls are taken too, as object arrays of bool and None.
    """
    table = _read(data, field)
    _check_names(table, field)
    return {name: _of_model(table.column(name), name, field, missing_flags) for name in table.column_names}


def column_names(data: bytes, field: str) -> list[str]:
    """Return the names of the columns of an Arrow IPC stream, whose rows are not looked at; raises as `read_table`."""
    with _opened(data, field) as reader:
        names: list[str] = reader.schema.names
    return names


def read_sample(data: bytes, field: str) -> Sample:
    """Return the columns of an Arrow IPC stream as they came, as `sample_of` does; raises for what is no stream."""
    return sample_of(_read(data, field), field)


def sample_of(table: pa.Table, field: str) -> Sample:
    """Return the columns of a validated Arrow table as they came: what a model does not take too.

    Besides what `read_table` gives: integers with nulls become masked arrays, as floats have no room for every one, and
    so do decimals without fractions that int64 has room for; booleans with nulls object arrays of bool and None, dates
    and timestamps datetime64 arrays in UTC, durations timedelta64, both with NaT for null. All other columns are
    foreign.
    """
    _check_names(table, field)
    columns, foreign = {}, {}
    for name in table.column_names:
        column = _plain(_whole(table.column(name)))
        array = _masked(column) if pa.types.is_integer(column.type) and column.null_count else _array(column)
        if array is None:
            foreign[name] = Foreign(str(column.type), len(column))
        else:
            columns[name] = array
    return Sample(columns, foreign)


def _read(data: bytes, field: str) -> pa.Table:
    with _opened(data, field) as reader:
        table = reader.read_all()
        table.validate(full=True)
    return table


@contextmanager
def _opened(data: bytes, field: str) -> Iterator[pa.ipc.RecordBatchStreamReader]:
    try:
        with pa.ipc.open_stream(pa.BufferReader(data)) as reader:
            yield reader
    except (pa.ArrowException, OSError) as error:
        text = " ".join(str(error).split())[:FOREIGN_TEXT_MAX]
        raise InvalidArgument(f"{field}: {len(data)} bytes are not a whole Arrow IPC stream: {text}") from error


def _check_names(table: pa.Table, field: str) -> None:
    names = table.column_names
    if len(names) > COLUMNS_MAX:
        raise InvalidArgument(f"{field}: got {len(names)} columns; wanted at most {COLUMNS_MAX}")
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


def _of_model(column: pa.ChunkedArray, name: str, field: str, missing_flags: bool) -> Array:
    column = _plain(column)
    if not missing_flags and pa.types.is_boolean(column.type) and column.null_count:
        raise InvalidArgument(f"{field}: column {name!r} is boolean and has nulls; flags need a value in every row")
    array = None if pa.types.is_temporal(column.type) else _array(column)
    if array is None:
        raise InvalidArgument(f"{field}: column {name!r} is {column.type}; wanted numbers, texts or booleans")
    return array


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return the column with the values themselves where it holds a dictionary, and floats where decimals.

    Arrow has no way to do so for lists and structs, which are not looked at in any case.
    """
    kind = column.type
    if pa.types.is_dictionary(kind) and not pa.types.is_nested(kind.value_type):
        column = column.cast(kind.value_type)
    return column.cast(pa.float64()) if pa.types.is_decimal(column.type) else column


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


def _array(column: pa.ChunkedArray) -> Array | None:
    """Return the values; None for a type of which a column is not looked at."""
    kind = column.type
    if pa.types.is_null(kind):
        return np.full(len(column), np.nan)
    texts = pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    if texts or (pa.types.is_boolean(kind) and column.null_count):
        array = np.empty(len(column), np.object_)
        array[:] = column.to_pylist()
        return array
    numbers = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)
    times = pa.types.is_timestamp(kind) or pa.types.is_date(kind) or pa.types.is_duration(kind)
    return column.to_numpy() if numbers or times else None
