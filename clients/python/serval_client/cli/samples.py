"""A file of rows for a model that the server knows: its columns are read as the model's features say."""

from importlib.util import find_spec

import numpy as np

from serval_client.cli import output
from serval_client.cli.files import read_rows
from serval_client.errors import InvalidArgument
from serval_client.forms import RowsLike
from serval_client.records import FeatureKind, ModelInfo

SHOWN = 5


def read_for(info: ModelInfo, path: str) -> RowsLike:
    """Return the rows in a file with the columns that the model takes; a note on stderr names those it does not."""
    kinds = {feature.name: feature.kind for feature in info.features} or None
    rows, left_out = read_rows(path, kinds)
    if left_out:
        more = f" and {len(left_out) - SHOWN} more" if len(left_out) > SHOWN else ""
        output.note(f"{path}: left out {', '.join(left_out[:SHOWN])}{more}: no feature of {info.ref}")
    return _without_arrow(info, rows)


def _without_arrow(info: ModelInfo, rows: RowsLike) -> RowsLike:
    """Return columns that are all numbers as a matrix in feature order, where there is no pyarrow to send names by."""
    names = [feature.name for feature in info.features if feature.kind is FeatureKind.NUMERIC]
    if find_spec("pyarrow") is not None or not names or len(names) != len(info.features):
        return rows
    if not isinstance(rows, dict) or not all(isinstance(column, np.ndarray) for column in rows.values()):
        return rows
    absent = [name for name in names if name not in rows]
    if absent:
        raise InvalidArgument(f"rows: there is no column {absent[0]!r}, which {info.ref} takes")
    return np.column_stack([rows[name] for name in names])
