"""`serval stages` and `serval rollback`."""

from argparse import ArgumentParser, Namespace

from serval_client.cli import connection, output, pairs
from serval_client.cli.command import OK, Command
from serval_client.cli.lifecycle import told_change
from serval_client.lifecycle.records import Stages

STAGES_EXAMPLES = """\
  serval stages churn                  each version, where it may go, and what was in production when
  serval stages churn --json | jq .production
"""

ROLLBACK_EXAMPLES = """\
  serval rollback churn                back to what was in production before; again goes one further back
  serval rollback churn --to 3 --reason "4 refuses half of the applications"
"""


def configure_stages(parser: ArgumentParser) -> None:
    """Add the arguments of `stages`."""
    parser.add_argument("name", metavar="NAME")
    output.add_json(parser)
    connection.add_arguments(parser)


def run_stages(args: Namespace) -> int:
    """Show the stages of a name."""
    with connection.connect(args) as client:
        found = client.stages(args.name)
    if args.json:
        output.print_json(found)
    else:
        print(_told(found))
    return OK


def configure_rollback(parser: ArgumentParser) -> None:
    """Add the arguments of `rollback`."""
    parser.add_argument("name", metavar="NAME")
    parser.add_argument("--to", type=pairs.whole(64), metavar="VERSION", help="a version that has been in production")
    parser.add_argument("--reason", default="", metavar="TEXT", help="for the audit log")
    output.add_json(parser)
    connection.add_arguments(parser)


def run_rollback(args: Namespace) -> int:
    """Bring back what was in production."""
    with connection.connect(args) as client:
        change = client.rollback(args.name, to=args.to, reason=args.reason)
    if args.json:
        output.print_json(change)
    else:
        print(told_change(change))
    return OK


def _told(found: Stages) -> str:
    versions = output.table(
        ("VERSION", "LABEL", "ALIASES", "STAGE", "MAY GO TO"),
        (
            (v.version, v.label or None, ", ".join(v.aliases) or None, v.stage, ", ".join(v.next))
            for v in found.versions
        ),
    )
    if not found.production:
        return f"{versions}\n\nnothing has been in production"
    periods = output.table(
        ("IN PRODUCTION", "SINCE", "UNTIL", "BY", "HOW"),
        ((p.version, p.since, p.until or "now", p.promoted_by, p.how or None) for p in found.production),
    )
    return f"{versions}\n\n{periods}"


STAGES = Command(
    "stages", "show where versions stand and what was in production when", configure_stages, run_stages, STAGES_EXAMPLES
)
ROLLBACK = Command(
    "rollback", "bring back what was in production before", configure_rollback, run_rollback, ROLLBACK_EXAMPLES
)
