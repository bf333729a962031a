"""`serval drift`."""

from argparse import ArgumentParser, Namespace
from typing import assert_never

from serval_client.cli import command, connection, live, output
from serval_client.cli.command import Command
from serval_client.cli.files import ENDINGS
from serval_client.cli.progress import Progress
from serval_client.cli.samples import read_for
from serval_client.cli.told import told
from serval_client.drift import Verdict
from serval_client.errors import InvalidArgument

EXAMPLES = """\
  serval drift churn --data today.csv
  serval drift churn@3 --data today.parquet --reference last-month.parquet
  serval drift churn --data today.csv --tolerance 0.05 --json
  serval drift churn --data today.csv || page-someone
  serval drift churn --data today.csv --reference june.csv --like evidently
  serval drift churn --live                        the rows that were predicted in the last hour
  serval drift churn@3 --live --window "5000 rows" --format json
  serval drift churn --window 24h --html report.html
  serval drift churn --watch
  serval drift churn --acknowledge "new sensor since May"
  serval drift churn --begin-anew                  end its alarms, and watch from now on as if nothing had been

exit codes: 0 no drift, 3 drift, 4 too few rows to say (which is not "no drift"), 1 failed
"""


def configure(parser: ArgumentParser) -> None:
    """Add the arguments."""
    add = parser.add_argument
    add("model", metavar="REF", help="NAME, NAME@VERSION or NAME@STAGE")
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--data", metavar="FILE", help=f"the rows of now: {ENDINGS}")
    source.add_argument(
        "--live", action="store_true", help="the rows that the server has predicted lately: the default"
    )
    source.add_argument("--watch", action="store_true", help="as --live, again and again, until interrupted")
    source.add_argument("--acknowledge", metavar="NOTE", help="note on its alarms that somebody has seen them")
    source.add_argument("--begin-anew", action="store_true", help="end its alarms, and begin another life")
    add("--reference", metavar="FILE", help="rows to compare with, instead of the version's baseline")
    add("--alpha", type=float, metavar="X", help="share of false alarms allowed over all columns together (0.01)")
    add("--tolerance", type=float, metavar="X", help="largest effect that does not count, 0 to 1 (0.04)")
    add("--like", choices=["evidently", "nannyml"], help="judge by the rules of another tool, in its numbers")
    add("--window", metavar="SPAN", help="with --live: 15m, 1h, 7d, or '5000 rows' (1h)")
    add("--every", type=float, default=5.0, metavar="S", help="with --watch: seconds between two looks (%(default)g)")
    add("--html", metavar="FILE", help="with --live: write a page with the distributions of each column")
    add("--format", choices=["table", "json"], default="table", help="what to print (%(default)s)")
    output.add_json(parser)
    connection.add_arguments(parser)


def run(args: Namespace) -> int:
    """Compare, print the features, and return the verdict as an exit code."""
    args.json = args.json or args.format == "json"
    for option, given in (("--window", args.window), ("--html", args.html)):
        if args.data is not None and given is not None:
            raise InvalidArgument(f"{option}: goes with --live, not with --data")
    if not args.every > 0:
        raise InvalidArgument(f"--every: {args.every:g}; wanted more than 0 seconds")
    if args.reference is not None and args.data is None:
        raise InvalidArgument("--reference: goes with --data; live rows are compared with the version's baseline")
    if args.acknowledge is not None or args.begin_anew:
        return live.acknowledge(args)
    if args.data is None:
        return live.watch(args) if args.watch else exit_code(live.look(args).verdict)
    with connection.connect(args) as client, Progress("comparing"):
        info = client.show(args.model).model
        report = client.drift(
            info.ref,
            read_for(info, args.data),
            None if args.reference is None else read_for(info, args.reference),
            alpha=args.alpha,
            tolerance=args.tolerance,
            compatibility=args.like or "",
        )
    if args.json:
        output.print_json(report)
    else:
        print(told(report))
    return exit_code(report.verdict)


def exit_code(verdict: Verdict) -> int:
    """Return the exit code that says the verdict."""
    match verdict:
        case Verdict.NO_DRIFT:
            return command.OK
        case Verdict.DRIFT:
            return command.DRIFT
        case Verdict.INSUFFICIENT_DATA:
            return command.INSUFFICIENT_DATA
    assert_never(verdict)


DRIFT = Command("drift", "tell whether rows differ from those a model was trained on", configure, run, EXAMPLES)
