"""`serval compare`."""

from argparse import ArgumentParser, Namespace

from serval_client.cli import connection, output
from serval_client.cli.command import OK, Command
from serval_client.lifecycle.records import Comparison, MetricRow

EXAMPLES = """\
  serval compare churn@3 churn@4
  serval compare churn@production churn@4 churn@5 --lower wait_minutes
  serval compare churn@3 churn@4 --json
"""

_ARROWS = {"higher": "higher", "lower": "lower", "unknown": "?"}


def configure(parser: ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("models", metavar="REF", nargs="+", help="two or more; each is compared with the first")
    for way in ("higher", "lower"):
        parser.add_argument(
            f"--{way}",
            metavar="METRIC",
            action="append",
            default=[],
            help=f"{way} is better, where its name does not say",
        )
    parser.add_argument("--all", action="store_true", help="also what is the same")
    output.add_json(parser)
    connection.add_arguments(parser)


def run(args: Namespace) -> int:
    """Show versions side by side."""
    directions = {**dict.fromkeys(args.higher, "higher"), **dict.fromkeys(args.lower, "lower")}
    with connection.connect(args) as client:
        found = client.compare(args.models, directions=directions)
    if args.json:
        output.print_json(found)
    else:
        print(_told(found, everything=args.all))
    return OK


def _told(found: Comparison, *, everything: bool) -> str:
    metrics = ((row.name, _ARROWS[row.direction], *_values(row)) for row in found.metrics)
    parts = [output.table(("METRIC", "BETTER", *found.models), metrics)] if found.metrics else []
    for title, rows in (("PARAMETER", found.hyperparameters), ("PROPERTY", found.properties)):
        shown = [(row.name, *(value or None for value in row.values)) for row in rows if everything or not row.same]
        parts += [output.table((title, *found.models), shown)] if shown else []
    told = [f"{model}: {'; '.join(schema)}" for model, schema in zip(found.models, found.schema, strict=True) if schema]
    parts.append("\n".join([f"not compatible with {found.models[0]}:", *told]) if told else "schemas are compatible")
    return "\n\n".join(parts)


def _values(row: MetricRow) -> list[str | None]:
    cells: list[str | None] = []
    for index, (value, delta) in enumerate(zip(row.values, row.deltas, strict=True)):
        if value is None:
            cells.append(None)
            continue
        change = f" ({delta:+.4g})" if index and delta is not None else ""
        cells.append(f"{value:.6g}{change}{' *' if index in row.best else ''}")
    return cells


COMPARE = Command("compare", "show versions side by side; * is the best", configure, run, EXAMPLES)
