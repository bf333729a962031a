"""Rows and columns of features into the inputs of a model.

Three forms come in: a dense matrix in the model's feature order, named rows, and an Arrow table. All become columns by
feature name, and columns become the arrays that the ONNX inputs want.
"""

from collections.abc import Iterable, Sequence
from heapq import nsmallest
from typing import Any

import numpy as np
import numpy.typing as npt
from serval_protos.v1 import common_pb2, prediction_pb2
from serval_registry.errors import InvalidArgument
from serval_registry.model import DataType, Feature, FeatureKind, Signature, Table

from serval_server.codec import arrow, tensors
from serval_server.datatypes import NUMPY_TYPES

Array = npt.NDArray[np.generic]

SHOWN_NAMES_MAX = 10


class Columns:
    """How one model's features lie in its inputs. `label` is what error messages call the model."""

    def __init__(self, label: str, features: Sequence[Feature], signature: Signature) -> None:
        self._label = label
        self.features = tuple(features)
        self._inputs = signature.inputs
        self._by_input: dict[str, list[Feature]] = {
            spec.name: sorted((f for f in self.features if f.input == spec.name), key=lambda f: f.column)
            for spec in self._inputs
        }
        self._has_texts = any(feature.kind is FeatureKind.TEXT for feature in self.features)
        # A matrix goes in as it is where one input holds every column in the order of the features.
        in_order = [feature.column for feature in self.features] == list(range(len(self.features)))
        self._whole = self._inputs[0] if len(self._inputs) == 1 and in_order and not self._has_texts else None

    def from_values(self, values: Sequence[float]) -> dict[str, Array]:
        """Return the inputs for packed floats, row-major in feature order."""
        width = self._width("values")
        if len(values) == 0 or len(values) % width:
            raise InvalidArgument(
                f"values: got {len(values)} numbers, wanted a multiple of {width}, the features of {self._label}"
            )
        self._check_no_texts("values")
        return self.from_matrix(tensors.from_elements(values, np.float32).reshape(-1, width), "values")

    def from_matrix(self, matrix: Array, field: str) -> dict[str, Array]:
        """Return the inputs for an array of shape [rows, width] in feature order."""
        self._check_matrix(matrix, field)
        if matrix.shape[0] == 0:
            raise InvalidArgument(f"{field}: got 0 rows, wanted at least 1")
        if self._whole is not None:
            return {self._whole.name: _cast(matrix, self._whole.datatype, field)}
        return self.from_table(self._table_of(matrix, field), field)

    def from_named_rows(self, rows: Sequence[prediction_pb2.NamedRow]) -> dict[str, Array]:
        """Return the inputs for rows of named values."""
        self._width("rows")
        names = {feature.name for feature in self.features}
        for index, row in enumerate(rows):
            if row.features.keys() != names:
                self._check_names(row.features.keys(), f"rows[{index}]")
        return self.from_table({f.name: _column_of(rows, f) for f in self.features}, "rows")

    def from_table(self, table: Table, field: str) -> dict[str, Array]:
        """Return the inputs for columns by name; every feature has to be there, and nothing else."""
        self._width(field)
        self._check_names(table.keys(), field)
        rows = len(next(iter(table.values())))
        if rows == 0:
            raise InvalidArgument(f"{field}: got 0 rows, wanted at least 1")
        inputs: dict[str, Array] = {}
        for spec in self._inputs:
            block = np.empty((rows, len(self._by_input[spec.name])), NUMPY_TYPES[spec.datatype])
            for i, feature in enumerate(self._by_input[spec.name]):
                block[:, i] = _cast(_checked_kind(table[feature.name], feature, field), spec.datatype, feature.name)
            inputs[spec.name] = block if len(spec.shape) == 2 else block.reshape(rows)
        return inputs

    def from_rows(self, rows: common_pb2.Rows, field: str) -> dict[str, Array]:
        """Return the inputs for a Rows message."""
        match rows.WhichOneof("data"):
            case "tensor":
                return self.from_matrix(tensors.from_message(rows.tensor, f"{field}.tensor"), f"{field}.tensor")
            case "arrow_ipc":
                return self.from_table(self._read(rows.arrow_ipc, f"{field}.arrow_ipc"), f"{field}.arrow_ipc")
            case _:
                raise InvalidArgument(f"{field}: is empty, wanted a tensor or an Arrow IPC stream")

    def table(self, rows: common_pb2.Rows, field: str) -> Table:
        """Return the columns of a Rows message by feature name, for statistics: missing values are welcome here.

        What a model takes as FP16 is rounded so: 0.3 is another number there, and what is predicted would look like
        drift from what was sampled.
        """
        self._width(field)
        match rows.WhichOneof("data"):
            case "tensor":
                matrix = tensors.from_message(rows.tensor, f"{field}.tensor")
                self._check_matrix(matrix, f"{field}.tensor")
                return self._as_taken(self._table_of(matrix, f"{field}.tensor"))
            case "arrow_ipc":
                table = self._read(rows.arrow_ipc, f"{field}.arrow_ipc", missing_flags=True)
                return self._as_taken({f.name: _as_statistic(table[f.name], f, field) for f in self.features})
            case _:
                raise InvalidArgument(f"{field}: is empty, wanted a tensor or an Arrow IPC stream")

    def any_table(self, rows: common_pb2.Rows, field: str) -> arrow.Sample:
        """Return the columns of a Rows message as they came: any names and types in Arrow, features in a matrix."""
        if rows.WhichOneof("data") == "arrow_ipc":
            return arrow.read_sample(rows.arrow_ipc, f"{field}.arrow_ipc")
        return arrow.Sample(self.table(rows, field), {})

    def _read(self, data: bytes, field: str, *, missing_flags: bool = False) -> Table:
        """Return the columns of an Arrow stream that has the model's features and no others."""
        self._width(field)
        return arrow.read_table(
            data, field, check_names=lambda names: self._check_names(names, field), missing_flags=missing_flags
        )

    def _as_taken(self, table: dict[str, Array]) -> Table:
        """Return statistics' columns with the numbers of FP16 inputs as these have them."""
        half = {spec.name for spec in self._inputs if spec.datatype is DataType.FP16}
        with np.errstate(over="ignore"):
            for feature in self.features:
                if feature.input in half and feature.kind is FeatureKind.NUMERIC:
                    table[feature.name] = table[feature.name].astype(np.float16).astype(np.float32)
        return table

    def _check_matrix(self, matrix: Array, field: str) -> None:
        width = self._width(field)
        if matrix.ndim != 2 or matrix.shape[1] != width:
            raise InvalidArgument(
                f"{field}: got shape {list(matrix.shape)}, wanted [rows, {width}]: {self._label} takes {width} features"
            )
        self._check_no_texts(field)

    def _check_no_texts(self, field: str) -> None:
        if self._has_texts:
            raise InvalidArgument(f"{field}: {self._label} takes texts too; send named rows or an Arrow table")

    def _table_of(self, matrix: Array, field: str) -> dict[str, Array]:
        """Return the columns of a checked matrix by feature name; those of flags hold 0 and 1."""
        if matrix.dtype.kind not in "fiub":
            raise InvalidArgument(f"{field}: got {matrix.dtype}, wanted numbers")
        return {f.name: _column_from(matrix[:, i], f, field) for i, f in enumerate(self.features)}

    def _width(self, field: str) -> int:
        if not self.features:
            raise InvalidArgument(f"{field}: {self._label} does not take columns; send its inputs as tensors")
        return len(self.features)

    def _check_names(self, got: Iterable[str], field: str) -> None:
        # As many as anybody likes come: each step of these loops may let go of the interpreter, a set's own may not.
        names, came, unknown = {feature.name for feature in self.features}, set[str](), set[str]()
        for name in got:
            (came if name in names else unknown).add(name)
        parts = []
        if names - came:
            parts.append(f"missing {_shown(names - came)}")
        if unknown:
            parts.append(f"unknown {_shown(unknown)}")
        if not parts:
            return
        raise InvalidArgument(
            f"{field}: features of {self._label} do not match: {'; '.join(parts)}; wanted {_shown(names)}"
        )


def _column_of(rows: Sequence[prediction_pb2.NamedRow], feature: Feature) -> Array:
    """Return one column of named rows. A loop in Python over rows: this is the form for a few of them."""
    kinds = {FeatureKind.NUMERIC: "number", FeatureKind.TEXT: "text", FeatureKind.FLAG: "flag"}
    wanted = kinds[feature.kind]
    values: list[Any] = []
    for index, row in enumerate(rows):
        value = row.features[feature.name]
        came = value.WhichOneof("kind")
        if came is None:
            if feature.kind is not FeatureKind.NUMERIC:
                raise InvalidArgument(f"rows[{index}]: feature {feature.name!r} is missing, wanted a {wanted}")
            values.append(np.nan)
        elif came != wanted:
            raise InvalidArgument(f"rows[{index}]: feature {feature.name!r} came as a {came}, wanted a {wanted}")
        else:
            values.append(getattr(value, wanted))
    return tensors.from_elements(values, {"number": np.float64, "text": np.object_, "flag": np.bool_}[wanted])


def _column_from(column: Array, feature: Feature, field: str) -> Array:
    if feature.kind is not FeatureKind.FLAG:
        return _as_float(column)
    flags: Array = np.not_equal(column, 0)
    if not np.array_equal(flags, column):
        raise InvalidArgument(f"{field}: column {feature.name!r} is a flag and holds other numbers than 0 and 1")
    return flags


def _checked_kind(column: Array, feature: Feature, field: str) -> Array:
    """Return the column where its type is what the feature is made of."""
    fits = {FeatureKind.NUMERIC: "fiu", FeatureKind.TEXT: "O", FeatureKind.FLAG: "b"}[feature.kind]
    if feature.kind is FeatureKind.FLAG and column.dtype == np.object_ and any(value is None for value in column):
        raise InvalidArgument(f"{field}: column {feature.name!r} has nulls; flags need a value in every row")
    if column.dtype.kind not in fits:
        raise InvalidArgument(f"{field}: column {feature.name!r} came as {column.dtype}, wanted {feature.kind} values")
    return column


def _cast(array: Array, datatype: DataType, field: str) -> Array:
    """Return the array as what an input holds; refuse values that would change by more than rounding."""
    dtype = NUMPY_TYPES[datatype]
    if array.dtype == dtype:
        if dtype == np.object_ and any(value is None for value in array.reshape(-1)):
            raise InvalidArgument(f"{field}: has missing texts; text features need a value in every row")
        return np.ascontiguousarray(array)
    if array.dtype.kind not in "fiub" or dtype.kind not in "fiub":
        raise InvalidArgument(f"{field}: got {array.dtype}, wanted {datatype}")
    with np.errstate(invalid="ignore", over="ignore"):
        cast = np.ascontiguousarray(array, dtype)
    if dtype.kind != "f" and not np.array_equal(cast, array):
        raise InvalidArgument(f"{field}: holds values that are not exact in {datatype}")
    return cast


def _as_float(column: Array) -> Array:
    return column if column.dtype in (np.float32, np.float64) else column.astype(np.float64)


def _as_statistic(column: Array, feature: Feature, field: str) -> Array:
    """Return the column as statistics take it: NaN where a number is missing, None where a text or flag is."""
    numeric = feature.kind is FeatureKind.NUMERIC
    if column.dtype == np.object_ or (column.dtype.kind == "f" and not numeric):
        value = next((value for value in column if value is not None and value == value), None)
        if value is None:  # a column without any value has no type of its own, and fits every kind
            return np.full(len(column), np.nan) if numeric else np.full(len(column), None, np.object_)
        if feature.kind is FeatureKind.FLAG and isinstance(value, bool):
            return column
    column = _checked_kind(column, feature, field)
    return _as_float(column) if numeric else column


def _shown(names: set[str]) -> str:
    shown = [repr(name[:80]) for name in nsmallest(SHOWN_NAMES_MAX, names)]
    more = len(names) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")
