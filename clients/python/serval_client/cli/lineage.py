"""`serval lineage`, and the arguments by which it and `serval register` say where a version comes from."""

import argparse
from argparse import ArgumentParser, Namespace
from pathlib import Path

from serval_client.cli import connection, output, pairs
from serval_client.cli.command import OK, Command
from serval_client.records import DatasetUse, Lineage, Parent

EXAMPLES = """\
  serval lineage churn@3                              what it was made from, and what was made from it
  serval lineage churn@3 --svg churn.svg
  serval lineage churn@3 --parent churn@2=retrained-from --data churn:2024-06:train:41200 --run r-17
"""


def add_arguments(parser: ArgumentParser) -> None:
    """Add --parent, --data, --run and --experiment."""
    group = parser.add_argument_group("where it comes from")
    group.add_argument(
        "--parent",
        metavar="REF=HOW",
        action="append",
        type=_parent,
        default=[],
        help="a model that it was made from, and how, such as base@2=fine-tuned-from; may be repeated",
    )
    group.add_argument(
        "--data",
        metavar="NAME:VERSION:SPLIT:ROWS",
        action="append",
        type=_dataset,
        default=[],
        help="a dataset that it has seen; what follows the name may be left out; may be repeated",
    )
    group.add_argument("--run", dest="run_id", default="", metavar="ID", help="the run that made it")
    group.add_argument("--experiment", default="", metavar="ID", help="the experiment of the run")


def read(args: Namespace) -> Lineage | None:
    """Return what was said, None for nothing."""
    if not (args.parent or args.data or args.run_id or args.experiment):
        return None
    return Lineage(parents=args.parent, datasets=args.data, run=args.run_id, experiment=args.experiment)


def configure(parser: ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("model", metavar="REF", help="NAME, NAME@VERSION, ...; a version where something is said of it")
    parser.add_argument("--svg", metavar="FILE", help="write a drawing")
    parser.add_argument(
        "--up", type=pairs.whole(32), default=0, metavar="N", help="so many generations of ancestors (all)"
    )
    parser.add_argument(
        "--down", type=pairs.whole(32), default=0, metavar="N", help="so many generations of descendants (all)"
    )
    add_arguments(parser)
    output.add_json(parser)
    connection.add_arguments(parser)


def run(args: Namespace) -> int:
    """Say where a version comes from, and show it."""
    said = read(args)
    with connection.connect(args) as client:
        if said is not None:
            client.set_lineage(args.model, said)
        graph = client.lineage(args.model, up=args.up, down=args.down)
    if args.svg:
        Path(args.svg).write_text(graph.svg, encoding="utf-8")
    if args.json:
        output.print_json(graph)
    else:
        print(graph.text)
    return OK


def _parent(argument: str) -> Parent:
    return Parent(*pairs.text(argument))


def _dataset(argument: str) -> DatasetUse:
    name, *rest = argument.split(":")
    version, split, rows = [*rest, "", "", ""][:3]
    if not name or len(rest) > 3 or (rows and not pairs.is_number(rows)):
        raise argparse.ArgumentTypeError(f"got {argument!r}, wanted NAME:VERSION:SPLIT:ROWS")
    return DatasetUse(name, version, split, int(rows or 0))


LINEAGE = Command("lineage", "show or say what a version was made from", configure, run, EXAMPLES)
