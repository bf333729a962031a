"""`serval demo`: all of it at once, on a server of its own."""

import signal
import threading
from argparse import ArgumentParser, Namespace
from types import FrameType

from serval_client import extras
from serval_client.cli.command import Command
from serval_client.errors import InvalidArgument

SECONDS_MOST = 86_400.0

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
    """Run the demo; its server ends with it, also where SIGTERM ends it."""
    if not 0 < args.seconds <= SECONDS_MOST:
        raise InvalidArgument(f"--seconds: got {args.seconds:g}, wanted more than 0, at most {SECONDS_MOST:g}")
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _end)
    demo = extras.require("serval_client.demo", "the demo", "'serval-inference[server,train]'")
    code: int = demo.run(keep=args.keep, seconds=args.seconds)
    return code


def _end(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
    raise SystemExit(128 + number)


DEMO = Command("demo", "train, register, serve, predict and drift, in one go", configure, run, EXAMPLES)
