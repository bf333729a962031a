"""`serval predict`."""

import csv
import json
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from serval_client import extras
from serval_client.cli import connection, output
from serval_client.cli.command import OK, Command
from serval_client.cli.files import ENDINGS
from serval_client.cli.progress import Progress
from serval_client.cli.samples import read_for
from serval_client.errors import InvalidArgument
from serval_client.prediction import Prediction
from serval_client.whole_file import whole_file

EXAMPLES = """\
  serval predict churn --data new.csv
  serval predict churn@3 --data new.csv --output-file scored.csv
  serval predict churn --data rows.json --output probabilities --json

The first line of a CSV names the columns, in any order; columns that are no feature of the model are left out.
"""

ROWS_SHOWN = 20
WRITTEN = (".csv", ".json", ".parquet", ".npz")


def configure(parser: ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("model", metavar="REF", help="NAME, NAME@VERSION or NAME@STAGE")
    parser.add_argument("--data", required=True, metavar="FILE", help=f"the rows: {ENDINGS}")
    parser.add_argument("--output", action="append", metavar="NAME", help="only this output; may be repeated")
    parser.add_argument("--output-file", metavar="FILE", help=f"write all rows there: {', '.join(WRITTEN)}")
    output.add_json(parser)
    connection.add_arguments(parser)


def run(args: Namespace) -> int:
    """Predict every row of the file and print or write the outputs."""
    target = None if args.output_file is None else _target(args.output_file)
    with connection.connect(args) as client, Progress("predicting") as progress:
        info = client.show(args.model).model
        rows = read_for(info, args.data)
        prediction = client.batch_predict(info.ref, rows, args.output, progress=progress)
    columns = flat(prediction, info.classes)
    if target is not None:
        with whole_file(target) as part:
            _write(part, prediction, columns)
        print(f"{target}: {len(prediction)} rows by {prediction.ref}")
    elif args.json:
        output.print_json({"model": prediction.ref, "outputs": prediction.outputs})
    else:
        _print(prediction, columns)
    return OK


def flat(prediction: Prediction, classes: tuple[str, ...] = ()) -> dict[str, npt.NDArray[Any]]:
    """Return the outputs as columns: one a row by its name, several a row as name_0, or name_class for classes."""
    columns: dict[str, npt.NDArray[Any]] = {}
    for name, array in prediction.outputs.items():
        matrix = array.reshape(len(array), -1)
        width = matrix.shape[1]
        if width == 1:
            columns[name] = matrix[:, 0]
            continue
        tails = classes if len(classes) == width else tuple(str(i) for i in range(width))
        columns.update({f"{name}_{tail}": matrix[:, i] for i, tail in enumerate(tails)})
    return columns


def _print(prediction: Prediction, columns: dict[str, npt.NDArray[Any]]) -> None:
    shown = [column[:ROWS_SHOWN].tolist() for column in columns.values()]
    print(output.table(("ROW", *columns), ((i, *row) for i, row in enumerate(zip(*shown, strict=True)))))
    output.note(f"predicted by {prediction.ref}")
    if len(prediction) > ROWS_SHOWN:
        output.note(f"{len(prediction) - ROWS_SHOWN} more rows; --output-file FILE writes all")


def _target(text: str) -> Path:
    """Return the path; an ending that cannot be written, or no folder, is better known before the work than after."""
    path = Path(text)
    if path.suffix.lower() not in WRITTEN:
        raise InvalidArgument(f"--output-file: {path.name!r} ends in none of {', '.join(WRITTEN)}")
    output.check_folder(path, "--output-file")
    if path.suffix.lower() == ".parquet":
        extras.require("pyarrow.parquet", "writing Parquet")
    return path


def _write(path: Path, prediction: Prediction, columns: dict[str, npt.NDArray[Any]]) -> None:
    match path.suffix.lower():
        case ".csv":
            with path.open("w", newline="", encoding="utf-8") as file:
                writer = csv.writer(file)
                writer.writerow(columns)
                writer.writerows(zip(*(column.tolist() for column in columns.values()), strict=True))
        case ".json":
            rows = zip(*(output.plain(column) for column in columns.values()), strict=True)
            path.write_text(json.dumps([dict(zip(columns, row, strict=True)) for row in rows]), encoding="utf-8")
        case ".parquet":
            parquet = extras.require("pyarrow.parquet", "writing Parquet")
            parquet.write_table(extras.require("pyarrow", "writing Parquet").table(columns), path)
        case _:
            arrays: dict[str, Any] = {name: _unboxed(array) for name, array in prediction.outputs.items()}
            np.savez(path, **arrays)


def _unboxed(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return texts as numpy's own type: objects would be pickled."""
    return array.astype(np.str_) if array.dtype.kind == "O" else array


PREDICT = Command("predict", "predict every row of a file", configure, run, EXAMPLES)
