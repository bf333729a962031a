"""Arrow IPC streams into columns by name.

The bytes come from anywhere: they are validated in full before a value is read, since Arrow itself trusts offsets.
"""

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from serval_registry.errors import InvalidArgument
from serval_registry.model import Table

Array = npt.NDArray[np.generic]

COLUMNS_MAX = 10_000
FOREIGN_TEXT_MAX = 200


def read_table(data: bytes, field: str) -> Table:
    """Return the columns of an Arrow IPC stream by name.

    Integers and floats become float arrays with NaN for null, or stay as they are where nothing is null; booleans
    become bool arrays, texts and dictionaries of texts object arrays of str, with None for null.
    """
    try:
        with pa.ipc.open_stream(pa.BufferReader(data)) as reader:
            table = reader.read_all()
        table.validate(full=True)
    except (pa.ArrowException, OSError) as error:
        text = " ".join(str(error).split())[:FOREIGN_TEXT_MAX]
        raise InvalidArgument(f"{field}: {len(data)} bytes are not a whole Arrow IPC stream: {text}") from error
    return columns_of(table, field)


def columns_of(table: pa.Table, field: str) -> Table:
    """Return the columns of a validated Arrow table by name, as `read_table` does."""
    names = table.column_names
    if len(names) > COLUMNS_MAX or len(set(names)) != len(names):
        raise InvalidArgument(f"{field}: got {len(names)} columns; wanted at most {COLUMNS_MAX}, each name once")
    return {name: _column(table.column(name), name, field) for name in names}


def write_table(table: Table) -> bytes:
    """Return the columns as an Arrow IPC stream."""
    batch = pa.table({name: pa.array(column, from_pandas=True) for name, column in table.items()})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_table(batch)
    return sink.getvalue().to_pybytes()  # type: ignore[no-any-return]


def _column(column: pa.ChunkedArray, name: str, field: str) -> Array:
    kind = column.type
    if pa.types.is_dictionary(kind):
        column = column.cast(kind.value_type)
        kind = kind.value_type
    if pa.types.is_boolean(kind):
        if column.null_count:
            raise InvalidArgument(f"{field}: column {name!r} is boolean and has nulls; flags need a value in every row")
        return column.to_numpy()  # type: ignore[no-any-return]
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return column.to_numpy()  # type: ignore[no-any-return]
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        array = np.empty(len(column), np.object_)
        array[:] = column.to_pylist()
        return array
    if pa.types.is_null(kind):
        return np.full(len(column), np.nan)
    raise InvalidArgument(f"{field}: column {name!r} is {kind}; wanted numbers, texts or booleans")
