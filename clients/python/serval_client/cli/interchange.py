"""`serval import` and `serval export`."""

from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from pathlib import Path

from serval_client.cli import connection, output, pairs
from serval_client.cli.command import ERROR, OK, Command
from serval_client.cli.files import ENDINGS, read_rows
from serval_client.cli.progress import Progress
from serval_client.errors import InvalidArgument
from serval_client.interchange import mlflow, triton
from serval_client.interchange.found import Found, import_into

IMPORT_EXAMPLES = """\
  serval import mlflow --uri http://localhost:5000
  serval import mlflow --uri sqlite:///mlflow.db --name churn --production champion
  serval import mlflow --uri ./mlruns --sample churn=train.csv
  serval import dir ./triton-models --promote        a Triton model repository

A second run imports what is new. A pickled scikit-learn model executes code as it is loaded: import only from stores
that you trust.
"""

EXPORT_EXAMPLES = """\
  serval export triton ./triton-models               of each name the version in production, else the newest
  serval export triton ./triton-models churn
"""


def configure_import(parser: ArgumentParser) -> None:
    """Add a subcommand for each kind of store."""
    sources = parser.add_subparsers(dest="source", metavar="SOURCE", required=True)
    store = sources.add_parser("mlflow", help="registered models of an MLflow store: ONNX and scikit-learn flavours")
    store.add_argument("--uri", required=True, metavar="URI", help="http://HOST:PORT, sqlite:///FILE or a folder")
    store.add_argument("--production", default="", metavar="ALIAS", help="the alias whose version goes to production")
    store.add_argument(
        "--sample",
        metavar="NAME=FILE",
        action="append",
        type=pairs.text,
        default=[],
        help=f"rows to export a scikit-learn model by, where the store has no input example: {ENDINGS}",
    )
    folder = sources.add_parser("dir", help="a Triton model repository: config.pbtxt and ONNX files")
    folder.add_argument("folder", metavar="DIR", type=Path)
    folder.add_argument("--promote", action="store_true", help="to production goes what Triton would serve")
    for source in (store, folder):
        source.add_argument("--name", action="append", default=[], metavar="NAME", help="only this model")
        output.add_json(source)
        connection.add_arguments(source)


def run_import(args: Namespace) -> int:
    """Import and say of each version what became of it."""
    with connection.connect(args) as client, Progress("importing"):
        outcomes = list(import_into(client, _versions(args)))
    if args.json:
        output.print_json([outcome._asdict() for outcome in outcomes])
    elif outcomes:
        rows = ((outcome.origin, outcome.ref or None, outcome.words) for outcome in outcomes)
        print(output.table(("FROM", "TO", "OUTCOME"), rows))
    else:
        output.note("nothing to import")
    return ERROR if any(outcome.failed for outcome in outcomes) else OK


def _versions(args: Namespace) -> Iterator[Found]:
    if args.source == "dir":
        return triton.versions(args.folder, args.name, promote=args.promote)
    samples = {name: read_rows(path)[0] for name, path in args.sample}
    return mlflow.versions(args.uri, args.name, production=args.production, samples=samples)


def configure_export(parser: ArgumentParser) -> None:
    """Add a subcommand for each kind of store."""
    targets = parser.add_subparsers(dest="target", metavar="TARGET", required=True)
    target = targets.add_parser("triton", help="a Triton model repository")
    target.add_argument("folder", metavar="DIR", type=Path)
    target.add_argument("names", metavar="NAME", nargs="*", help="only these models (all)")
    connection.add_arguments(target)


def run_export(args: Namespace) -> int:
    """Write the models and say which."""
    if args.folder.exists() and not args.folder.is_dir():
        raise InvalidArgument(f"{str(args.folder)!r} is there, and no folder")
    with connection.connect(args) as client, Progress("exporting"):
        for ref in triton.write(client, args.folder, args.names):
            name, _, version = ref.rpartition("@")
            print(f"{ref}: {args.folder / name / version / 'model.onnx'}")
    return OK


IMPORT = Command("import", "register the models of another store", configure_import, run_import, IMPORT_EXAMPLES)
EXPORT = Command("export", "write models as another server takes them", configure_export, run_export, EXPORT_EXAMPLES)
