"""A file of rows for a model that the server knows: its columns are read as the model's features say."""

from serval_client.cli import output
from serval_client.cli.files import read_rows
from serval_client.forms import RowsLike
from serval_client.records import ModelInfo

SHOWN = 5


def read_for(info: ModelInfo, path: str) -> RowsLike:
    """Return the rows in a file with the columns that the model takes; a note on stderr names those it does not."""
    kinds = {feature.name: feature.kind for feature in info.features} or None
    rows, left_out = read_rows(path, kinds)
    if left_out:
        more = f" and {len(left_out) - SHOWN} more" if len(left_out) > SHOWN else ""
        output.note(f"{path}: left out {', '.join(left_out[:SHOWN])}{more}: no feature of {info.ref}")
    return rows
