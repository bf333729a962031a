"""Rows in files: CSV, Parquet, JSON and numpy's own format, by the ending of the name."""

import contextlib
import csv
import json
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from serval_client import extras
from serval_client.errors import InvalidArgument
from serval_client.forms import RowsLike
from serval_client.records import FeatureKind

Array = npt.NDArray[np.generic]
Kinds = Mapping[str, FeatureKind]

# Cells that stand for a missing number or flag. In a text only an empty cell is missing: "NA" may be North America.
MISSING = ("", "NA", "N/A", "NaN", "nan", "null", "NULL")
TRUE = ("true", "True", "TRUE", "1")
FALSE = ("false", "False", "FALSE", "0")

ENDINGS = ".csv, .parquet, .json or .npy"


def read_rows(path: str | Path, kinds: Kinds | None = None, drop: Collection[str] = ()) -> tuple[RowsLike, list[str]]:
    """Return the rows in a file, and the names of columns that were left out.

    kinds: the columns to take, and what they hold; without it all are taken, and what a CSV holds is inferred.
    drop: columns to leave out.
    .csv: the first line names the columns; empty cells are missing. .json: a list of objects, a list of lists of
    numbers in feature order, or an object of lists. .npy: an array [rows, width] in feature order. Raises
    InvalidArgument, MissingExtra.
    """
    path = Path(path)
    if not path.is_file():
        raise InvalidArgument(f"{str(path)!r} is not a file")
    match path.suffix.lower():
        case ".csv":
            rows: RowsLike = _read_csv(path, kinds or {})
        case ".parquet" | ".pq":
            rows = _read_parquet(path)
        case ".json":
            rows = _read_json(path)
        case ".npy":
            rows = _read_npy(path)
        case _:
            raise InvalidArgument(f"{path.name!r}: is none of the formats that are read: {ENDINGS}")
    return _select(rows, kinds, drop)


def column_names(rows: RowsLike) -> list[str]:
    """Return the names of the columns, none for rows in feature order."""
    if hasattr(rows, "column_names"):
        return list(rows.column_names)
    if isinstance(rows, Mapping):
        return list(rows)
    if isinstance(rows, list) and rows and isinstance(rows[0], Mapping):
        return list({name: None for row in rows for name in row})
    return []


def _select(rows: RowsLike, kinds: Kinds | None, drop: Collection[str]) -> tuple[RowsLike, list[str]]:
    names = column_names(rows)
    unknown = [name for name in drop if name not in names]
    if unknown:
        raise InvalidArgument(f"--drop: there is no column {unknown[0]!r}; there are {', '.join(names) or 'no names'}")
    left_out = [name for name in names if name in drop or (kinds is not None and name not in kinds)]
    if not left_out:
        return rows, []
    kept = [name for name in names if name not in left_out]
    if not kept:
        raise InvalidArgument(f"none of the columns is wanted: got {', '.join(names)}; wanted {', '.join(kinds or ())}")
    if hasattr(rows, "column_names"):
        return rows.select(kept), left_out
    if isinstance(rows, Mapping):
        return {name: rows[name] for name in kept}, left_out
    return [{name: row[name] for name in kept if name in row} for row in rows], left_out


@contextlib.contextmanager
def _opened_csv(path: Path) -> Iterator[Iterator[list[str]]]:
    """Give the lines of a file; raise InvalidArgument where they are no CSV."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            yield csv.reader(file)
    except (UnicodeDecodeError, csv.Error) as error:
        raise InvalidArgument(f"{path.name}: is no CSV in UTF-8: {error}") from error


def _read_csv(path: Path, kinds: Kinds) -> RowsLike:
    with _opened_csv(path) as lines:
        header = next(lines, [])
    _check_header(path, header)
    try:
        import pyarrow.csv
    except ImportError:
        return _read_csv_slowly(path, kinds)
    return _read_csv_by_arrow(pyarrow, path, {name: kinds[name] for name in header if name in kinds})


def _check_header(path: Path, header: list[str]) -> None:
    if not header:
        raise InvalidArgument(f"{path.name}: is empty; wanted a first line that names the columns")
    if all(_number(name) is not None for name in header):
        raise InvalidArgument(f"{path.name}: its first line is numbers, {header[0]!r} first; wanted names of columns")
    twice = [name for name in header if header.count(name) > 1]
    if twice:
        raise InvalidArgument(f"{path.name}: has the column {twice[0]!r} more than once")


def _read_csv_by_arrow(pa: Any, path: Path, kinds: Kinds) -> Any:
    arrow_types = {FeatureKind.NUMERIC: pa.float64(), FeatureKind.TEXT: pa.string(), FeatureKind.FLAG: pa.bool_()}
    types = {name: arrow_types[kind] for name, kind in kinds.items()}
    table = _parse(pa, path, types)
    dates = [field.name for field in table.schema if pa.types.is_temporal(field.type)]
    if dates:  # inferred, and no kind of feature: read again as the texts that they are
        table = _parse(pa, path, types | dict.fromkeys(dates, pa.string()))
    for index, field in enumerate(table.schema):
        if pa.types.is_string(field.type):
            column = table.column(index)
            empty = pa.compute.equal(column, "")
            table = table.set_column(index, field.name, pa.compute.if_else(empty, pa.scalar(None, pa.string()), column))
    return table


def _parse(pa: Any, path: Path, types: Mapping[str, Any]) -> Any:
    options = pa.csv.ConvertOptions(
        column_types=types,
        null_values=list(MISSING),
        strings_can_be_null=False,
        true_values=list(TRUE),
        false_values=list(FALSE),
    )
    try:
        return pa.csv.read_csv(path, convert_options=options)
    except pa.ArrowInvalid as error:
        raise InvalidArgument(f"{path.name}: {error}") from error


def _read_csv_slowly(path: Path, kinds: Kinds) -> dict[str, Array]:
    with _opened_csv(path) as opened:
        header, *lines = opened
    for number, line in enumerate(lines, start=2):
        if len(line) != len(header):
            raise InvalidArgument(f"{path.name}: row {number} has {len(line)} cells, wanted {len(header)}")
    cells = zip(*lines, strict=True) if lines else [()] * len(header)
    return {name: _column(path.name, name, column, kinds.get(name)) for name, column in zip(header, cells, strict=True)}


def _column(file: str, name: str, cells: tuple[str, ...], kind: FeatureKind | None) -> Array:
    """Return a column of the kind, or of the first kind that all its cells are."""
    numbers = [float("nan") if cell in MISSING else _number(cell) for cell in cells]
    wrong = next((cell for cell, number in zip(cells, numbers, strict=True) if number is None), None)
    if kind is FeatureKind.NUMERIC and wrong is not None:
        raise InvalidArgument(f"{file}: column {name!r} holds {wrong!r}, wanted numbers")
    if kind is FeatureKind.NUMERIC or (kind is None and wrong is None):
        return np.array(numbers, np.float64)
    flags = all(cell in TRUE or cell in FALSE for cell in cells)
    if kind is FeatureKind.FLAG and not flags:
        raise InvalidArgument(f"{file}: column {name!r} holds other than true and false in every row")
    if flags and kind is not FeatureKind.TEXT:
        return np.array([cell in TRUE for cell in cells], np.bool_)
    return np.array([cell or None for cell in cells], np.object_)


def _number(cell: str) -> float | None:
    try:
        return float(cell)
    except ValueError:
        return None


def _read_json(path: Path) -> RowsLike:
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InvalidArgument(f"{path.name}: is not JSON: {error}") from error
    if not isinstance(rows, list | dict):
        raise InvalidArgument(f"{path.name}: holds a {type(rows).__name__}; wanted a list or an object")
    if isinstance(rows, list) and rows and not isinstance(rows[0], dict):
        return np.array([[np.nan if value is None else value for value in row] for row in _listed(path, rows)])
    if isinstance(rows, list) and not all(isinstance(row, dict) for row in rows):
        raise InvalidArgument(f"{path.name}: holds objects and others among rows; wanted one of them")
    return rows


def _listed(path: Path, rows: list[object]) -> list[list[object]]:
    """Return rows that are lists of one length, of single values."""
    lists = [row for row in rows if isinstance(row, list)]
    for number, row in enumerate(rows):
        if not isinstance(row, list):
            raise InvalidArgument(
                f"{path.name}: holds {repr(row)[:80]} among rows; wanted lists of numbers, or objects"
            )
        if len(row) != len(lists[0]):
            raise InvalidArgument(f"{path.name}: row {number} has {len(row)} values, wanted {len(lists[0])}")
        if any(isinstance(value, list | dict) for value in row):
            raise InvalidArgument(f"{path.name}: row {number} holds more than single values; wanted numbers")
    return lists


def _read_parquet(path: Path) -> Any:
    parquet = extras.require("pyarrow.parquet", "reading Parquet")
    try:
        return parquet.read_table(path)
    except (ValueError, OSError) as error:  # pyarrow's own are kinds of these
        raise InvalidArgument(f"{path.name}: cannot be read as Parquet: {error}") from error


def _read_npy(path: Path) -> Array:
    try:
        array: Array = np.load(path, allow_pickle=False)
    except (ValueError, EOFError) as error:
        reason = str(error).partition(". If you trust")[0]  # what it advises is to execute what the file holds
        raise InvalidArgument(f"{path.name}: is no numpy array of numbers or texts: {reason}") from error
    return array
