"""Tables as Arrow IPC streams. pyarrow comes with an extra and is imported when a table is first sent."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from serval_client import extras
from serval_client.errors import InvalidArgument

Array = npt.NDArray[np.generic]


def is_table(value: object) -> bool:
    """Tell whether a value is a table of some library: pandas, polars, pyarrow, or any with Arrow's C stream."""
    if isinstance(value, type):
        return False
    return hasattr(value, "__arrow_c_stream__") or (hasattr(value, "columns") and hasattr(value, "dtypes"))


def from_foreign(value: Any) -> Any:
    """Return a pyarrow Table of a DataFrame, a Table or a RecordBatch; the index of a pandas DataFrame is left out."""
    pa = extras.require("pyarrow", "sending a table")
    try:
        if isinstance(value, pa.Table):
            table = value
        elif isinstance(value, pa.RecordBatch):
            table = pa.Table.from_batches([value])
        elif type(value).__module__.partition(".")[0] == "pandas":
            table = pa.Table.from_pandas(value, preserve_index=False)
        else:
            table = pa.table(value)
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise InvalidArgument(f"rows: this {type(value).__name__} does not convert to Arrow: {error}") from error
    return _plain(pa, table)


def from_columns(columns: Mapping[str, Array]) -> Any:
    """Return a pyarrow Table of named columns; NaN and None are missing."""
    pa = extras.require("pyarrow", "sending many named rows")
    arrays = {}
    for name, column in columns.items():
        try:
            arrays[name] = pa.array(column, from_pandas=column.dtype.kind == "O")
        except (pa.ArrowException, TypeError) as error:
            raise InvalidArgument(f"rows: column {name!r} is neither numbers, texts nor booleans: {error}") from error
    return pa.table(arrays)


def to_ipc(table: Any) -> bytes:
    """Return a pyarrow Table as an Arrow IPC stream of one record batch."""
    pa = extras.require("pyarrow", "sending a table")
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table.combine_chunks())
    return sink.getvalue().to_pybytes()  # type: ignore[no-any-return]


def _plain(pa: Any, table: Any) -> Any:
    """Return the table with types that every server reads: decoded dictionaries, plain texts, floats for decimals."""
    types = pa.types
    fields = []
    for field in table.schema:
        kind = field.type.value_type if types.is_dictionary(field.type) else field.type
        if types.is_decimal(kind):
            kind = pa.float64()
        elif types.is_string_view(kind):
            kind = pa.string()
        fields.append(pa.field(str(field.name), kind))
    return table.cast(pa.schema(fields))
