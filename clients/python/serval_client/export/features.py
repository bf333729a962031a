"""A sample of rows as columns, and columns as the inputs of an ONNX model.

Numbers travel to the server as float32, so numeric inputs are float32. Columns of one sort share the input "X", of
shape [rows, width]; where texts and numbers mix, every column has an input of its own, of shape [rows, 1].
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from serval_client.export.errors import ExportError

Array = npt.NDArray[Any]

NUMERIC, TEXT, FLAG = "numeric", "text", "flag"
_PACKED = "X"
# Names that converters give to outputs; an input of the same name would be renamed without a word.
_TAKEN = {"label", "probabilities", "variable", "scores", "output_label", "output_probability", "transformed_column"}


@dataclass(frozen=True, slots=True)
class Feature:
    """One column a model takes: its place is column `column` of the ONNX input `input`.

    `kind` is "numeric", "text" or "flag".
    """

    name: str
    kind: str
    input: str
    column: int = 0


@dataclass(frozen=True, slots=True)
class Sample:
    """Rows as the model takes them, and the same rows as columns by feature name, in the model's order.

    Columns are float64 (NaN is missing), bool, or object arrays of str and None.
    """

    rows: Any
    columns: dict[str, Array]

    @property
    def size(self) -> int:
        """The number of rows."""
        return len(next(iter(self.columns.values())))

    def take(self, chosen: Array) -> "Sample":
        """Return the rows whose numbers are in `chosen`."""
        rows = self.rows.iloc[chosen] if _is_frame(self.rows) else np.asarray(self.rows)[chosen]
        return Sample(rows, {name: column[chosen] for name, column in self.columns.items()})

    def with_missing(self, row: int, name: str) -> "Sample":
        """Return the rows with NaN in one cell of a numeric column."""
        columns = self.columns | {name: self.columns[name].copy()}
        columns[name][row] = np.nan
        if _is_frame(self.rows):
            rows = self.rows.copy()
            label = _labels_by_name(rows)[name]
            rows[label] = _as_original(columns[name], rows[label].dtype)
        else:
            rows = np.array(self.rows, object if self.rows.dtype == object else np.float64)
            rows[row, list(self.columns).index(name)] = np.nan
        return Sample(rows, columns)

    def rounded(self) -> "Sample":
        """Return the rows with every number rounded to float32: what a server is sent."""
        columns = {name: _rounded(column) for name, column in self.columns.items()}
        if _is_frame(self.rows):
            rows = self.rows.copy()
            labels = _labels_by_name(rows)
            for name, column in columns.items():
                if getattr(rows[labels[name]].dtype, "kind", "O") in "fiu":
                    rows[labels[name]] = _as_original(column, rows[labels[name]].dtype)
        elif self.rows.dtype.kind in "fiu":
            rows = self.rows.astype(np.float32).astype(np.float64)
        else:
            rows = self.rows.copy()
            for index, (name, column) in enumerate(columns.items()):
                if not _same(column, self.columns[name]):
                    rows[:, index] = column
        return Sample(rows, columns)


def read_sample(model: Any, sample: Any) -> Sample:
    """Return the sample as columns; `sample` is a DataFrame, an array [rows, width] or texts of shape [rows]."""
    if _is_frame(sample):
        columns = _columns_of_frame(model, sample)
        rows = sample
    else:
        rows = np.asarray(sample)
        columns = _columns_of_array(model, rows)
        if rows.dtype.kind == "U":
            rows = rows.astype(object)
    if not columns or len(next(iter(columns.values()))) == 0:
        raise ExportError("sample: got no values, wanted at least one row of at least one column")
    return Sample(rows, columns)


def _columns_of_frame(model: Any, frame: Any) -> dict[str, Array]:
    labels = _labels_by_name(frame)
    if len(labels) != len(frame.columns):
        raise ExportError("sample: two columns have one name")
    wanted = [str(name) for name in getattr(model, "feature_names_in_", labels)]
    if wanted == [re.sub(r"\s", "_", name) for name in labels]:
        wanted = list(labels)  # LightGBM keeps its names without blanks
    absent = [name for name in wanted if name not in labels]
    if absent:
        raise ExportError(f"sample: column {absent[0]!r}, which the model was fitted with, is not there")
    return {name: _column(frame[labels[name]], name) for name in wanted}


def _columns_of_array(model: Any, rows: Array) -> dict[str, Array]:
    if rows.ndim == 1 and rows.dtype.kind in "OU":
        return {"text": _column(rows.astype(object), "text")}
    if rows.ndim != 2:
        raise ExportError(f"sample: got shape {list(rows.shape)}, wanted [rows, width]")
    names = [str(name) for name in getattr(model, "feature_names_in_", [])]
    if len(names) != rows.shape[1]:
        names = [f"f{index}" for index in range(rows.shape[1])]
    if rows.dtype.kind == "U":
        rows = rows.astype(object)
    return {name: _column(rows[:, index], name) for index, name in enumerate(names)}


def _column(values: Any, name: str) -> Array:
    """Return one column as float64, bool or object; `values` is an array or a pandas Series."""
    dtype = values.dtype
    if getattr(dtype, "name", "") == "category":
        dtype = dtype.categories.dtype
    kind = getattr(dtype, "kind", "O")
    if kind in "fiu":
        return _as_floats(values)
    if kind == "b":
        if hasattr(values, "isna") and bool(values.isna().any()):
            raise ExportError(
                f"sample: column {name!r} is boolean and has missing values; use a text or a number instead"
            )
        return np.asarray(values).astype(bool)
    if kind in "OUT" or getattr(dtype, "name", "").startswith(("str", "string")):
        return _column_of_objects([_none_if_missing(value) for value in values], name)
    raise ExportError(f"sample: column {name!r} is {dtype}; wanted numbers, texts or booleans")


def _as_floats(values: Any) -> Array:
    if hasattr(values, "to_numpy"):
        return values.to_numpy(dtype=np.float64, na_value=np.nan)  # type: ignore[no-any-return]
    return np.asarray(values, np.float64)


def _none_if_missing(value: Any) -> Any:
    if value is None or type(value).__name__ == "NAType" or value != value:
        return None
    return value


def _column_of_objects(values: Sequence[Any], name: str) -> Array:
    kinds = {type(value) for value in values if value is not None}
    if all(issubclass(kind, str) for kind in kinds) and kinds:
        column = np.empty(len(values), object)
        column[:] = [None if value is None else str(value) for value in values]
        return column
    if all(issubclass(kind, bool | np.bool_) for kind in kinds) and kinds and None not in values:
        return np.array(values, bool)
    if all(issubclass(kind, int | float | np.integer | np.floating) for kind in kinds):
        return np.array([np.nan if value is None else float(value) for value in values])
    shown = ", ".join(sorted(kind.__name__ for kind in kinds))
    raise ExportError(f"sample: column {name!r} holds {shown}; wanted numbers, texts or booleans, not a mixture")


def lay_out(columns: Mapping[str, Array]) -> tuple[Feature, ...]:
    """Return the features in order, each with its place in the inputs."""
    kinds = {name: _kind(column) for name, column in columns.items()}
    if len({kind == TEXT for kind in kinds.values()}) == 1:
        return tuple(Feature(name, kind, _PACKED, index) for index, (name, kind) in enumerate(kinds.items()))
    inputs = input_names(list(columns))
    return tuple(Feature(name, kind, inputs[name]) for name, kind in kinds.items())


def input_names(names: Sequence[str]) -> dict[str, str]:
    """Return an ONNX input name for each column: its own where that is a C identifier, else one like it; all distinct.

    skl2onnx renames an input that is no C identifier without a word.
    """
    given: dict[str, str] = {}
    taken = set(_TAKEN)
    for name in names:
        base = re.sub(r"\W", "_", name, flags=re.ASCII) or "column"
        base = base if re.match(r"[A-Za-z_]", base) else f"column_{base}"
        chosen, number = base, 1
        while chosen in taken:
            number += 1
            chosen = f"{base}_{number}"
        taken.add(chosen)
        given[name] = chosen
    return given


def feeds(features: Sequence[Feature], columns: Mapping[str, Array]) -> dict[str, Array]:
    """Return what an ONNX Runtime session is fed: float32 or object arrays of shape [rows, width], by input name."""
    by_input: dict[str, list[Feature]] = {}
    for feature in features:
        by_input.setdefault(feature.input, []).append(feature)
    fed: dict[str, Array] = {}
    for name, members in by_input.items():
        dtype: Any = object if members[0].kind == TEXT else np.float32
        block = np.empty((len(columns[members[0].name]), len(members)), dtype)
        with np.errstate(over="ignore"):
            for member in members:
                block[:, member.column] = columns[member.name]
        fed[name] = block
    return fed


def to_send(features: Sequence[Feature], columns: Mapping[str, Array]) -> Array | dict[str, Array]:
    """Return the rows as a client sends them: a float32 array [rows, width] where all is numeric, else columns."""
    if all(feature.kind == NUMERIC for feature in features):
        return feeds(features, columns)[_PACKED]
    return {
        feature.name: columns[feature.name].astype(np.float32) if feature.kind == NUMERIC else columns[feature.name]
        for feature in features
    }


def without_missing_texts(sample: Sample) -> Array:
    """Return the numbers of the rows whose texts are all there: a text tensor has no missing value."""
    whole = np.ones(sample.size, bool)
    for column in sample.columns.values():
        if column.dtype == object:
            whole &= np.array([value is not None for value in column])
    return np.flatnonzero(whole)


def _kind(column: Array) -> str:
    return {"f": NUMERIC, "b": FLAG}.get(column.dtype.kind, TEXT)


def _rounded(column: Array) -> Array:
    if column.dtype.kind != "f":
        return column
    with np.errstate(over="ignore"):
        return column.astype(np.float32).astype(np.float64)


def _as_original(column: Array, dtype: Any) -> Array:
    """Return the column in its own integer type where it still fits, else as float64."""
    if getattr(dtype, "kind", "O") in "iu" and not np.isnan(column).any():
        return column.astype(dtype)
    return column


def _same(left: Array, right: Array) -> bool:
    return left is right or np.array_equal(left, right, equal_nan=True)


def _is_frame(rows: Any) -> bool:
    return hasattr(rows, "columns") and hasattr(rows, "iloc")


def _labels_by_name(frame: Any) -> dict[str, Any]:
    return {str(label): label for label in frame.columns}
