"""`serval demo`: all of it at once, on a server of its own."""

from argparse import ArgumentParser, Namespace

from serval_client import extras
from serval_client.cli.command import Command

EXAMPLES = """\
  serval demo
  serval demo --seconds 20             load the server for longer
  serval demo --keep ./demo-data       keep the registry, to serve it afterwards: serval serve --data ./demo-data
"""


def configure(parser: ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("--keep", metavar="DIR", help="keep the registry there (a temporary folder otherwise)")
    parser.add_argument("--seconds", type=float, default=5.0, metavar="S", help="how long to load it (%(default)g)")


def run(args: Namespace) -> int:
    """Run the demo."""
    demo = extras.require("serval_client.demo", "the demo", "'serval-inference[server,train]'")
    code: int = demo.run(keep=args.keep, seconds=args.seconds)
    return code


DEMO = Command("demo", "train, register, serve, predict and drift, in one go", configure, run, EXAMPLES)
