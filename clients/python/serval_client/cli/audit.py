"""`serval audit`."""

import argparse
from argparse import ArgumentParser, Namespace
from datetime import UTC, datetime, timedelta
from itertools import islice

from serval_client.cli import connection, output, pairs
from serval_client.cli.command import ERROR, OK, Command
from serval_client.errors import InvalidArgument

EXAMPLES = """\
  serval audit                                        the newest entries
  serval audit --about churn --since 2024-06-01
  serval audit --by alice --action stage --since 7d --json
  serval audit verify                                 prove the log; note what it prints somewhere else
  serval audit verify --known 1042:9f2c...            that the log still has the entry noted then
"""

_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def configure(parser: ArgumentParser) -> None:
    """Add the arguments."""
    add = parser.add_argument
    add("what", nargs="?", choices=("list", "verify"), default="list", help="list entries (default), or prove the log")
    add("--by", default="", metavar="WHO", help="only what this actor did")
    add("--about", default="", metavar="NAME|REF", help="only what was done to this name, or to NAME@VERSION")
    add("--action", action="append", default=[], metavar="ACTION", help="only this, such as stage; may be repeated")
    add(
        "--since",
        type=_moment,
        metavar="TIME",
        help="2024-06-01, 2024-06-01T12:00 (UTC), or how long ago: 30m, 12h, 7d",
    )
    add("--until", type=_moment, metavar="TIME", help="not included")
    add(
        "-n",
        "--number",
        type=pairs.whole(32, 0),
        default=50,
        metavar="N",
        help="at most so many entries (%(default)d); 0: all",
    )
    add("--known", action="append", default=[], type=_known, metavar="NUMBER:SHA256", help="a digest that was noted")
    output.add_json(parser)
    connection.add_arguments(parser)


def run(args: Namespace) -> int:
    """List or prove."""
    if args.what == "verify":
        return _verify(args)
    if args.known:
        raise InvalidArgument("--known: belongs to `serval audit verify`")
    with connection.connect(args) as client:
        entries = client.audit(actor=args.by, about=args.about, actions=args.action, since=args.since, until=args.until)
        found = list(islice(entries, args.number or None))
    if args.json:
        output.print_json(found)
    elif found:
        rows = ((e.number, e.time, e.actor, e.actor.proof, e.action, e.object or None, e.details) for e in found)
        print(output.table(("ENTRY", "TIME", "BY", "PROOF", "ACTION", "ON", "DETAILS"), rows))
    else:
        output.note("no such entries")
    return OK


def _verify(args: Namespace) -> int:
    with connection.connect(args) as client:
        proof = client.verify_audit(dict(args.known))
    if args.json:
        output.print_json(proof)
    elif proof.holds:
        print(f"the log holds: {proof.entries} entries, the newest is\n{proof.head}:{proof.head_sha256}")
    else:
        print("\n".join(["THE LOG DOES NOT HOLD", *proof.faults]))
    return OK if proof.holds else ERROR


def _moment(argument: str) -> datetime:
    try:
        if argument[:-1].isdecimal() and argument[-1] in _UNITS:
            return datetime.now(UTC) - timedelta(**{_UNITS[argument[-1]]: int(argument[:-1])})
        moment = datetime.fromisoformat(argument)
    except (ValueError, OverflowError):
        raise argparse.ArgumentTypeError(f"got {argument!r}, wanted a time such as 2024-06-01T12:00 or 7d") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _known(argument: str) -> tuple[int, str]:
    number, _, sha256 = argument.partition(":")
    if not pairs.is_number(number) or not sha256:
        raise argparse.ArgumentTypeError(f"got {argument!r}, wanted NUMBER:SHA256")
    return int(number), sha256


AUDIT = Command("audit", "show who did what to which version, and prove it", configure, run, EXAMPLES)
