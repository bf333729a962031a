"""`serval card`."""

from argparse import ArgumentParser, Namespace
from pathlib import Path

from serval_client.cli import connection
from serval_client.cli.command import OK, Command

EXAMPLES = """\
  serval card churn@production
  serval card churn@3 --html -o churn-3.html
"""


def configure(parser: ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("model", metavar="REF", help="NAME, NAME@VERSION, NAME@STAGE, ...")
    parser.add_argument("--html", action="store_true", help="one HTML page, with the lineage drawn; else Markdown")
    parser.add_argument("-o", "--output-file", metavar="FILE", help="where to write it; else it is printed")
    connection.add_arguments(parser)


def run(args: Namespace) -> int:
    """Write or print a card."""
    with connection.connect(args) as client:
        text = client.card(args.model, html=args.html)
    if args.output_file:
        Path(args.output_file).write_text(text, encoding="utf-8")
    else:
        print(text, end="")
    return OK


CARD = Command("card", "write what is known of a version, for people", configure, run, EXAMPLES)
