"""`serval register`."""

from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import Any

from serval_client import extras, forms, registration
from serval_client.cli import connection, lineage, output, pairs
from serval_client.cli.command import OK, Command
from serval_client.cli.files import ENDINGS, read_rows
from serval_client.cli.progress import Progress
from serval_client.errors import InvalidArgument
from serval_client.records import ModelInfo

EXAMPLES = """\
  serval register churn.onnx --name churn --sample train.csv --metric auc=0.93
  serval register churn.joblib --name churn --sample train.csv --drop churned --tag team=growth
  serval register price.json --name price --sample train.parquet     an XGBoost model
  serval register encoder.onnx --name encoder --json
  serval register churn.onnx --name churn --bump minor --parent churn@3=retrained-from --data churn:2024-06:train:41200

The columns of an ONNX model of one input are named after those of --sample, in order, where these are as many.
A model that is not ONNX is exported first and compared with its original on the rows of --sample. A pickled model
(.joblib, .pkl) executes code as it is loaded: register only files that you trust.
"""


BUMPS = ("major", "minor", "patch")


def configure(parser: ArgumentParser) -> None:
    """Add the arguments."""
    add = parser.add_argument
    add(
        "file",
        metavar="FILE",
        help=".onnx, or a model: .joblib, .pkl, .skops, .json, .ubj (XGBoost), .txt (LightGBM)",
    )
    add("--name", required=True, help="the model's name; it gets the next version")
    add("--sample", metavar="FILE", help=f"rows the model was trained on, for drift: {ENDINGS}")
    add(
        "--drop", metavar="COLUMN", action="append", default=[], help="a column of the sample to leave out (the target)"
    )
    add("--keep-sample", action="store_true", help="keep the sample's rows on the server, not only their statistics")
    add("--description", default="", metavar="TEXT", help="what the model is, in words that a search should find")
    add("--tag", metavar="K=V", action="append", type=pairs.text, default=[], help="may be repeated")
    add("--metric", metavar="K=NUMBER", action="append", type=pairs.number, default=[], help="may be repeated")
    add("--param", metavar="K=V", action="append", type=pairs.anything, default=[], help="hyperparameter: JSON or text")
    add("--algorithm", default="", help="such as RandomForestClassifier (found by itself when exported)")
    add("--framework", default="", help="such as scikit-learn (found by itself when exported)")
    add("--dataset", default="", metavar="REFERENCE", help="what it was trained on, in your own terms")
    add("--tolerance", type=float, metavar="X", help="largest difference of scores that an export may make")
    add("--label", default="", metavar="VERSION", help="a semantic version, such as 1.4.0; unique per name")
    add("--bump", default="", choices=BUMPS, help="instead: which part of the name's highest label is to grow")
    lineage.add_arguments(parser)
    output.add_json(parser)
    connection.add_arguments(parser)


def run(args: Namespace) -> int:
    """Register the file and print the version."""
    sample = None
    if args.sample is not None:
        sample, _ = read_rows(args.sample, drop=args.drop)
    elif args.drop:
        raise InvalidArgument("--drop: there is no --sample to leave columns out of")
    model: Any = Path(args.file)
    if model.suffix.lower() != ".onnx":
        model, sample = _export(args, sample), None
    with connection.connect(args) as client, Progress("sending", output.size) as progress:
        info = client.register(
            model,
            args.name,
            sample=sample,
            description=args.description,
            tags=dict(args.tag),
            metrics=dict(args.metric),
            hyperparameters=dict(args.param),
            algorithm=args.algorithm,
            framework=args.framework,
            dataset=args.dataset,
            keep_sample=args.keep_sample,
            label=args.label,
            bump=args.bump,
            lineage=lineage.read(args),
            progress=progress,
        )
    if args.json:
        output.print_json(info)
    else:
        print(_told(info))
    return OK


def _export(args: Namespace, sample: forms.RowsLike) -> Any:
    """Return the model in the file as ONNX."""
    export = extras.require("serval_client.export", "registering a model that is not ONNX")
    if not Path(args.file).is_file():
        raise InvalidArgument(f"model: {args.file!r} is not a file")
    if sample is None:
        raise InvalidArgument("--sample: is missing; an exported model is compared with its original on real rows")
    options = {} if args.tolerance is None else {"tolerance": args.tolerance}
    try:
        if export.executes_code(args.file):
            output.note(export.TRUST_NOTICE)
        with Progress("exporting"):
            exported = export.export(
                export.load(args.file), registration.for_export(sample), progress=_silent, **options
            )
    except export.ExportError as error:
        raise InvalidArgument(f"{args.file}: {error}") from error
    for text in exported.notes:
        output.note(text)
    return exported


def _silent(text: str) -> None:
    """Take the exporter's own progress, which the bar here stands for."""


def _told(info: ModelInfo) -> str:
    label = f" ({info.label})" if info.label else ""
    lines = [f"registered {info.ref}{label}: {info.algorithm or 'ONNX model'}, {output.size(info.artifact_bytes)}"]
    if info.parity is not None:
        lines.append(f"equals its original within {info.parity.max_difference:.2g} on {info.parity.rows} rows")
    if info.baseline_rows:
        lines.append(f"baseline for drift from {info.baseline_rows} rows")
    else:
        lines.append("no baseline for drift: give --sample to have one")
    lines.append(f"next: serval stage {info.ref} production")
    return "\n".join(lines)


REGISTER = Command("register", "register a model file as the next version of a name", configure, run, EXAMPLES)
