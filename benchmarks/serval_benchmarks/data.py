"""Rows to send: from a file, or drawn at random from what the model's baseline says.

A table is columns by feature name, as in the registry: float64 (NaN is missing), bool, or object arrays of str.
"""

import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from serval_client.tensors import DTYPES
from serval_protos.v1 import common_pb2, drift_pb2, registry_pb2

from serval_benchmarks.errors import BenchmarkError

Array = npt.NDArray[np.generic]
Table = Mapping[str, Array]

# All the draws that a model without a baseline leaves open.
_CATEGORIES = ("a", "b", "c")
_TRUTHS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


def draw_table(
    version: registry_pb2.ModelVersion, baseline: drift_pb2.Baseline | None, rows: int, random: np.random.Generator
) -> Table:
    """Return `rows` rows of the model's features.

    With a baseline: numbers uniform between its minimum and maximum, categories by their frequency. Without: numbers
    from the standard normal distribution, categories by equal chance. Whole numbers where the input holds integers.
    """
    known = {feature.feature: feature for feature in baseline.features} if baseline else {}
    datatypes = {spec.name: spec.datatype for spec in version.inputs}
    table: dict[str, Array] = {}
    for feature in version.features:
        if feature.kind == common_pb2.NUMERIC:
            column = _draw_numbers(known.get(feature.name), rows, random)
            table[feature.name] = _whole(column, DTYPES.get(datatypes[feature.input], np.dtype("<f4")))
        else:
            table[feature.name] = _draw_categories(feature.kind, known.get(feature.name), rows, random)
    return table


def draw_tensors(version: registry_pb2.ModelVersion, rows: int, random: np.random.Generator) -> Mapping[str, Array]:
    """Return one array per input, of shape [rows, ...], for a model whose inputs are not columns.

    Raise BenchmarkError where a dimension after the first has no fixed size.
    """
    tensors: dict[str, Array] = {}
    for spec in version.inputs:
        if any(size < 1 for size in spec.shape[1:]):
            raise BenchmarkError(
                f"--data: input {spec.name!r} has shape {list(spec.shape)}: its free sizes cannot be guessed; "
                "give an .npy file of one array of shape [rows, ...]"
            )
        shape = (rows, *spec.shape[1:])
        if spec.datatype == common_pb2.STRING:
            tensors[spec.name] = random.choice(np.array(_CATEGORIES, np.object_), shape)
        else:
            dtype = DTYPES[spec.datatype]
            tensors[spec.name] = _whole(random.standard_normal(shape), dtype).astype(dtype)
    return tensors


def load_table(path: Path, version: registry_pb2.ModelVersion) -> Table:
    """Return the rows of a .csv or .npy file as the model's features.

    A .csv whose first line holds every feature's name is read by name, in any order, more columns allowed; any other
    .csv, and every .npy, is read by position: one column per feature. An empty cell is missing.
    """
    if path.suffix == ".npy":
        array = load_array(path)
        if array.ndim != 2 or array.shape[1] != len(version.features):
            raise BenchmarkError(
                f"--data: {path} has shape {list(array.shape)}, wanted [rows, {len(version.features)}]: "
                f"one column per feature of {version.name}@{version.version}"
            )
        columns: Mapping[str, Sequence[object]] = {f.name: array[:, i].tolist() for i, f in enumerate(version.features)}
    elif path.suffix == ".csv":
        columns = _read_csv(path, [feature.name for feature in version.features])
    else:
        raise BenchmarkError(f"--data: {path} ends in {path.suffix!r}, wanted .csv or .npy")
    return {feature.name: _column(columns[feature.name], feature, path) for feature in version.features}


def load_array(path: Path) -> Array:
    """Return the array of an .npy file of numbers or booleans, with at least one row."""
    try:
        array: Array = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise BenchmarkError(f"--data: {path} cannot be read: {error}") from error
    if array.dtype.kind not in "fiub" or array.ndim == 0 or len(array) == 0:
        raise BenchmarkError(f"--data: {path} holds {array.dtype} of shape {list(array.shape)}, wanted rows of numbers")
    return array


def _draw_numbers(
    feature: drift_pb2.FeatureBaseline | None, rows: int, random: np.random.Generator
) -> npt.NDArray[np.float64]:
    if feature is None or not (math.isfinite(feature.minimum) and feature.minimum <= feature.maximum < math.inf):
        return random.standard_normal(rows)
    # The ends are halved: maximum - minimum of float64 can overflow.
    share = random.random(rows)
    low, high = np.float64(feature.minimum), np.float64(feature.maximum)
    return low * (1 - share) + high * share


def _draw_categories(
    kind: int, feature: drift_pb2.FeatureBaseline | None, rows: int, random: np.random.Generator
) -> Array:
    names, counts = (list(feature.categories), list(feature.category_counts)) if feature else ([], [])
    if not names:
        names = ["true", "false"] if kind == common_pb2.FLAG else list(_CATEGORIES)
        counts = [1] * len(names)
    drawn = random.choice(len(names), rows, p=np.array(counts) / sum(counts))
    if kind == common_pb2.FLAG:
        return np.array([name == "true" for name in names])[drawn]
    return np.array(names, np.object_)[drawn]


def _whole(values: npt.NDArray[np.float64], dtype: np.dtype[np.generic]) -> npt.NDArray[np.float64]:
    """Return the values as what `dtype` can hold exactly: whole numbers within its range where it is an integer."""
    if dtype.kind == "f":
        return values
    if dtype.kind == "b":
        return (values > 0).astype(np.float64)
    # Beyond 2**53 a float64 would not be the integer it is sent as.
    limits = np.iinfo(dtype)  # type: ignore[type-var]
    return np.clip(np.rint(values), max(limits.min, -(2**53)), min(limits.max, 2**53))


def _read_csv(path: Path, names: Sequence[str]) -> Mapping[str, Sequence[object]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            lines = [line for line in csv.reader(file) if line]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise BenchmarkError(f"--data: {path} cannot be read: {error}") from error
    header = lines[0] if lines else []
    by_name = set(names) <= set(header)
    rows = lines[1:] if by_name else lines
    width = len(header) if by_name else len(names)
    if not rows:
        raise BenchmarkError(f"--data: {path} holds no rows")
    for index, row in enumerate(rows):
        if len(row) != width:
            missing = ", ".join(repr(name) for name in names if name not in header)
            raise BenchmarkError(
                f"--data: row {index + 1} of {path} has {len(row)} cells, wanted {width}"
                + ("" if by_name else f": one per feature, as the first line does not name {missing[:200]}")
            )
    places = {name: header.index(name) if by_name else i for i, name in enumerate(names)}
    return {name: [row[place] for row in rows] for name, place in places.items()}


def _column(cells: Sequence[object], feature: common_pb2.Feature, path: Path) -> Array:
    try:
        if feature.kind == common_pb2.NUMERIC:
            return np.array([math.nan if cell == "" else float(cell) for cell in cells], np.float64)  # type: ignore[arg-type]
        if feature.kind == common_pb2.FLAG:
            return np.array([_TRUTHS[str(cell).strip().lower()] for cell in cells], np.bool_)
    except (ValueError, KeyError) as error:
        wanted = "a number" if feature.kind == common_pb2.NUMERIC else "true or false"
        raise BenchmarkError(f"--data: column {feature.name!r} of {path}: {error}, wanted {wanted}") from error
    column = np.empty(len(cells), np.object_)
    column[:] = [str(cell) for cell in cells]
    return column
