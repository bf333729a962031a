"""`serval quality`."""

from argparse import ArgumentParser, Namespace

from serval_client.cli import command, connection, output
from serval_client.cli.command import Command
from serval_client.cli.files import ENDINGS, read_rows
from serval_client.cli.progress import Progress
from serval_client.errors import InvalidArgument
from serval_client.quality import QualityReport

EXAMPLES = """\
  serval quality churn                                        the sample that the version was registered with
  serval quality churn --data test.csv --reference train.csv --label churned
  serval quality churn --data today.parquet --least 0.95 || page-someone
  serval quality churn --live --window 24h --label label      what was predicted in the last day, as far as counts tell

exit codes: 0 the score is at least --least, 3 it is less, 1 failed
"""


def configure(parser: ArgumentParser) -> None:
    """Add the arguments."""
    add = parser.add_argument
    add("model", metavar="REF", help="NAME, NAME@VERSION or NAME@STAGE")
    add(
        "--data",
        metavar="FILE",
        help=f"rows to check, instead of those that the version was registered with: {ENDINGS}",
    )
    add("--live", action="store_true", help="check the rows that the server has predicted lately")
    add("--window", metavar="SPAN", help="with --live: 15m, 1h, 7d, or '5000 rows' (1h)")
    add("--reference", metavar="FILE", help="rows that none of these should be, such as those of training")
    add("--label", default="", metavar="NAME", help="the column of classes")
    add("--least", type=float, default=0.9, metavar="X", help="score from which it is good (0.9)")
    output.add_json(parser)
    connection.add_arguments(parser)


def run(args: Namespace) -> int:
    """Check, print what is wrong, and return whether the score is good enough as an exit code."""
    live = args.live or args.window is not None
    if live and (args.data or args.reference):
        raise InvalidArgument("--live: goes without --data and --reference, as a window keeps no rows")
    with connection.connect(args) as client, Progress("checking"):
        data, reference = (None if path is None else read_rows(path)[0] for path in (args.data, args.reference))
        report = client.check_quality(args.model, data, reference, label=args.label, live=live, window=args.window)
    if args.json:
        output.print_json(report)
    else:
        print(_told(report))
    return command.OK if report.score >= args.least else command.DRIFT


def _told(report: QualityReport) -> str:
    parts = output.table(("PART", "SHARE", "WEIGHT"), ((part.name, part.share, part.weight) for part in report.parts))
    issues = output.table(
        ("CHECK", "COLUMN", "ROWS", "SHARE", "FIRST ROW", "DETAIL"),
        (
            (
                issue.check,
                issue.column or None,
                issue.count,
                issue.share,
                issue.row if issue.row >= 0 else None,
                issue.detail,
            )
            for issue in report.issues
        ),
    )
    not_told = "".join(f"\nnot checked: {check}: {why}" for check, why in report.unchecked.items())
    return f"quality {report.score:.3f} of {report.rows} rows for {report.ref}\n\n{parts}\n\n{issues}{not_told}"


QUALITY = Command("quality", "tell what is wrong with a sample: a score and its parts", configure, run, EXAMPLES)
