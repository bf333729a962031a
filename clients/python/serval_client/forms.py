"""What callers hold their samples in, read into one of five forms, and the forms as messages.

A caller may give: numbers in the model's feature order (an array or nested lists; one dimension is one row), one row or
several as dicts by feature name, a dict of columns, a table (pandas, polars, pyarrow), or, for models whose inputs are
not columns, a dict of arrays of two or more dimensions by input name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from serval_protos.v1 import common_pb2, prediction_pb2

from serval_client import arrow, tensors
from serval_client.errors import InvalidArgument

Array = npt.NDArray[np.generic]

# Anything that `read` takes; a closed type would need pandas, polars and pyarrow.
RowsLike = Any

# Beyond this a double that is whole is no longer exact as float32.
_FLOAT32_WHOLE = 1 << 24


@dataclass(frozen=True, slots=True)
class Matrix:
    """Columns in the model's feature order: an array of shape [rows, width]."""

    array: Array

    def __len__(self) -> int:
        return len(self.array)

    @property
    def nbytes(self) -> int:
        """About how many bytes the rows are on the wire."""
        return self.array.nbytes

    def part(self, start: int, stop: int) -> Matrix:
        """Return the rows from `start` up to `stop`."""
        return Matrix(self.array[start:stop])

    @property
    def packs(self) -> bool:
        """Whether packed float32 says all there is to say of the numbers."""
        if self.array.dtype.kind in "iu" and self.array.size:
            return bool(self.array.max() <= _FLOAT32_WHOLE and self.array.min() >= -_FLOAT32_WHOLE)
        return self.array.dtype.kind in "fiub"


@dataclass(frozen=True, slots=True)
class NamedRows:
    """One mapping of feature name to value for each row."""

    rows: Sequence[Mapping[str, object]]

    def __len__(self) -> int:
        return len(self.rows)

    def columns(self) -> Columns:
        """Return the same values column by column; a name that a row does not have is missing there."""
        names = {name: None for row in self.rows for name in row}
        return Columns({name: _column([row.get(name) for row in self.rows], name) for name in names})


@dataclass(frozen=True, slots=True)
class Columns:
    """Columns by feature name, all of one length."""

    columns: Mapping[str, Array]

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def named_rows(self) -> NamedRows:
        """Return the same values row by row."""
        lists = [column.tolist() for column in self.columns.values()]
        return NamedRows([dict(zip(self.columns, row, strict=True)) for row in zip(*lists, strict=True)])


@dataclass(frozen=True, slots=True)
class Table:
    """A pyarrow Table."""

    table: Any

    def __len__(self) -> int:
        return int(self.table.num_rows)

    @property
    def nbytes(self) -> int:
        """About how many bytes the rows are on the wire."""
        return int(self.table.nbytes)

    def part(self, start: int, stop: int) -> Table:
        """Return the rows from `start` up to `stop`."""
        return Table(self.table.slice(start, stop - start))


@dataclass(frozen=True, slots=True)
class Tensors:
    """One array for each input of a model whose inputs are not columns; the first dimension is the rows."""

    arrays: Mapping[str, Array]

    def __len__(self) -> int:
        return len(next(iter(self.arrays.values())))

    @property
    def nbytes(self) -> int:
        """About how many bytes the rows are on the wire."""
        return sum(array.nbytes for array in self.arrays.values())

    def part(self, start: int, stop: int) -> Tensors:
        """Return the rows from `start` up to `stop`."""
        return Tensors({name: array[start:stop] for name, array in self.arrays.items()})


Form = Matrix | NamedRows | Columns | Table | Tensors
Block = Matrix | Table | Tensors


def read(rows: RowsLike) -> Form:
    """Return what a caller gave as one of the forms; raise InvalidArgument where it is none, or has no rows."""
    form = _read(rows)
    if len(form) == 0:
        raise InvalidArgument("rows: got 0 rows, wanted at least 1")
    return form


def block(form: Form) -> Block:
    """Return a form that can be cut and sent in bulk; named values become a table."""
    if isinstance(form, NamedRows):
        form = form.columns()
    if isinstance(form, Columns):
        return Table(arrow.from_columns(form.columns))
    return form


def to_message(rows: RowsLike, field: str = "rows") -> common_pb2.Rows:
    """Return a Rows message: numbers as one tensor of their own dtype, everything named as Arrow."""
    match block(read(rows)):
        case Matrix(array):
            return common_pb2.Rows(tensor=tensors.to_message(array, field=field))
        case Table(table):
            return common_pb2.Rows(arrow_ipc=arrow.to_ipc(table))
        case Tensors():
            raise InvalidArgument(f"{field}: got arrays of more than two dimensions, wanted rows of columns")


def packed(matrix: Matrix) -> bytes:
    """Return the field `values` of a PredictRequest as it lies on the wire.

    A packed field is the numbers' own bytes behind a tag and a length; through `extend` each would become an object.
    """
    data = np.ascontiguousarray(matrix.array, "<f4").tobytes()
    tag = prediction_pb2.PredictRequest.VALUES_FIELD_NUMBER << 3 | 2
    return bytes([tag]) + _varint(len(data)) + data


def named_messages(rows: NamedRows) -> Iterator[prediction_pb2.NamedRow]:
    """Yield one NamedRow for each row."""
    for index, row in enumerate(rows.rows):
        message = prediction_pb2.NamedRow()
        for name, value in row.items():
            _set(message.features[name], value, index, name)
        yield message


def _read(rows: RowsLike) -> Form:
    if isinstance(rows, np.ndarray):  # the common case, before slower questions
        return _from_array(rows)
    match rows:
        case Matrix() | NamedRows() | Columns() | Table() | Tensors():
            return rows
        case Mapping():
            return _from_mapping(rows)
        case str() | bytes():
            raise InvalidArgument(f"rows: got {type(rows).__name__}, wanted an array, dicts or a table")
        case Sequence() if len(rows) and isinstance(rows[0], Mapping):
            return NamedRows(rows)
    if arrow.is_table(rows):
        return Table(arrow.from_foreign(rows))
    return _from_array(rows)


def _from_array(rows: RowsLike) -> Form:
    array = _array(rows, "rows")
    if not isinstance(rows, np.ndarray) and array.dtype.kind == "U" and not _all_texts(rows):
        raise InvalidArgument("rows: texts and numbers are mixed; name the columns: send dicts or a DataFrame")
    match array.ndim:
        case 0:
            raise InvalidArgument(f"rows: got a single {type(rows).__name__}, wanted an array, dicts or a table")
        case 1:
            return Matrix(array.reshape(1, -1)) if array.size else Matrix(array.reshape(0, 1))
        case 2:
            return Matrix(array)
        case _:
            return Tensors({"": array})


def _from_mapping(rows: Mapping[str, Any]) -> Form:
    if not rows:
        raise InvalidArgument("rows: got an empty dict, wanted values or columns by feature name")
    dimensions = {name: np.ndim(value) for name, value in rows.items()}
    if not any(dimensions.values()):
        return NamedRows([rows])
    scalars = [name for name, count in dimensions.items() if count == 0]
    if scalars:
        raise InvalidArgument(f"rows: {scalars[0]!r} is one value where others are columns; wanted columns all through")
    if max(dimensions.values()) > 1:
        arrays = {name: _array(value, f"rows[{name!r}]") for name, value in rows.items()}
        _check_lengths(arrays)
        return Tensors(arrays)
    columns = {name: _column(value, name) for name, value in rows.items()}
    _check_lengths(columns)
    return Columns(columns)


def _array(value: Any, field: str) -> Array:
    try:
        return np.asarray(value)
    except ValueError as error:
        raise InvalidArgument(f"{field}: rows are of different lengths, wanted as many values in each") from error


def _column(values: Any, name: str) -> Array:
    """Return a column as numbers, booleans, or an object array of str and None."""
    array = values if isinstance(values, np.ndarray) else _object_array(values)
    if array.dtype.kind == "U":
        return array.astype(np.object_)
    if array.dtype.kind != "O":
        if array.dtype.kind not in "fiub":
            raise InvalidArgument(f"rows: column {name!r} is {array.dtype}; wanted numbers, texts or booleans")
        return array
    present = [value for value in array.tolist() if value is not None]
    if any(isinstance(value, str) for value in present):
        return array
    if present and all(isinstance(value, bool | np.bool_) for value in present):
        return array.astype(np.bool_) if len(present) == len(array) else array
    if not all(isinstance(value, int | float | np.number) for value in present):
        raise InvalidArgument(f"rows: column {name!r} holds other than numbers, texts and booleans")
    if len(present) == len(array) > 0:
        numbers: Array = np.array(array.tolist())
        return numbers if numbers.dtype.kind in "fiu" else array.astype(np.float64)
    return array.astype(np.float64)


def _object_array(values: Any) -> Array:
    listed = list(values)
    array = np.empty(len(listed), np.object_)
    array[:] = listed
    return array


def _all_texts(values: Any) -> bool:
    if isinstance(values, str):
        return True
    return isinstance(values, Sequence) and all(_all_texts(value) for value in values)


def _check_lengths(arrays: Mapping[str, Array]) -> None:
    lengths = {name: len(array) for name, array in arrays.items()}
    if len(set(lengths.values())) > 1:
        shortest, longest = min(lengths, key=lengths.__getitem__), max(lengths, key=lengths.__getitem__)
        raise InvalidArgument(
            f"rows: {shortest!r} has {lengths[shortest]} rows and {longest!r} has {lengths[longest]}; wanted one length"
        )


def _set(message: common_pb2.Value, value: object, index: int, name: str) -> None:
    """Fill in one value; None stays unset, which is missing."""
    match value:
        case bool() | np.bool_():
            message.flag = bool(value)
        case int() | float() | np.integer() | np.floating():
            message.number = float(value)
        case str():
            message.text = value
        case None:
            pass
        case _:
            raise InvalidArgument(
                f"rows[{index}]: {name!r} is a {type(value).__name__}; wanted a number, a text, a bool or None"
            )


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)
