"""`serval request`, `serval requests`, `serval approve` and `serval refuse`."""

from argparse import ArgumentParser, Namespace

from serval_client.cli import connection, output, pairs
from serval_client.cli.command import OK, Command
from serval_client.cli.lifecycle import told_change
from serval_client.errors import InvalidArgument
from serval_client.lifecycle.records import TransitionRequest
from serval_client.records import Stage

REQUEST_EXAMPLES = """\
  serval request churn@3 production --reason "fewer false alarms"
  serval request churn@3 production --done "load tested"      with an item of the checklist done
  serval request 42 --done "card written"                     tick off an item of request 42
  serval request 42 --withdraw
"""

REQUESTS_EXAMPLES = """\
  serval requests --pending            what waits for somebody
  serval requests churn --json
"""

APPROVE_EXAMPLES = """\
  serval approve 42 --reason "seen the report"
  serval approve 42 --apply            and make the move, if this was the last approval needed
"""

REFUSE_EXAMPLES = """\
  serval refuse 42 --reason "no report for the new region"
"""


def configure_request(parser: ArgumentParser) -> None:
    """Add the arguments of `request`."""
    parser.add_argument("what", metavar="REF|ID", help="NAME@VERSION for a new request, or the number of one")
    parser.add_argument(
        "stage", nargs="?", type=str.lower, choices=[*map(str, Stage)], metavar="STAGE", help=", ".join(Stage)
    )
    parser.add_argument(
        "--done", metavar="ITEM", action="append", default=[], help="an item of the checklist; may be repeated"
    )
    parser.add_argument("--reason", default="", metavar="TEXT")
    parser.add_argument("--withdraw", action="store_true", help="take back a request of your own")
    output.add_json(parser)
    connection.add_arguments(parser)


def run_request(args: Namespace) -> int:
    """Make a request, or go on with one."""
    number = int(args.what) if pairs.is_number(args.what) else None
    if (number is None) != (args.stage is not None):
        raise InvalidArgument("wanted NAME@VERSION and a stage for a new request, or the number of one and no stage")
    if number is None and args.withdraw:
        raise InvalidArgument("--withdraw: wanted the number of a request")
    with connection.connect(args) as client:
        if number is None:
            found = client.request(args.what, args.stage, reason=args.reason, done=args.done)
        elif args.withdraw:
            found = client.withdraw(number, args.reason).request
        else:
            found = client.complete(number, args.done)
    _print(args, found)
    return OK


def configure_requests(parser: ArgumentParser) -> None:
    """Add the arguments of `requests`."""
    parser.add_argument("name", nargs="?", default="", metavar="NAME", help="only requests for versions of this name")
    parser.add_argument("--pending", action="store_true", help="only open and approved ones")
    output.add_json(parser)
    connection.add_arguments(parser)


def run_requests(args: Namespace) -> int:
    """List requests."""
    with connection.connect(args) as client:
        found = client.requests(args.name, pending=args.pending)
    if args.json:
        output.print_json(found)
    elif found:
        print(_listing(found))
    else:
        output.note("no requests; make one with `serval request NAME@VERSION STAGE`")
    return OK


def configure_approve(parser: ArgumentParser) -> None:
    """Add the arguments of `approve`."""
    parser.add_argument("number", type=pairs.whole(64), metavar="ID", help="the number of the request")
    parser.add_argument("--reason", default="", metavar="TEXT")
    parser.add_argument("--apply", action="store_true", help="make the move too, if this was the last approval needed")
    output.add_json(parser)
    connection.add_arguments(parser)


def run_approve(args: Namespace) -> int:
    """Say yes."""
    with connection.connect(args) as client:
        decision = client.approve(args.number, reason=args.reason, apply=args.apply)
    _print(args, decision.request)
    if decision.change is not None and not args.json:
        print(told_change(decision.change))
    return OK


def configure_refuse(parser: ArgumentParser) -> None:
    """Add the arguments of `refuse`."""
    parser.add_argument("number", type=pairs.whole(64), metavar="ID", help="the number of the request")
    parser.add_argument("--reason", required=True, metavar="TEXT", help="why not")
    output.add_json(parser)
    connection.add_arguments(parser)


def run_refuse(args: Namespace) -> int:
    """Say no."""
    with connection.connect(args) as client:
        _print(args, client.refuse(args.number, args.reason).request)
    return OK


def _print(args: Namespace, found: TransitionRequest) -> None:
    if args.json:
        output.print_json(found)
        return
    print(f"request {found.id}: {found.model} to {found.stage}, by {found.requester}: {found.status}")
    for item, done in found.checklist.items():
        print(f"  [{'x' if done else ' '}] {item}")
    for review in found.reviews:
        print(f"  {review.action} by {review.actor}{': ' + review.reason if review.reason else ''}")
    if found.status == "open":
        print(f"next: serval approve {found.id}, by somebody else")
    elif found.status == "approved":
        print(f"next: serval stage {found.model} {found.stage}")


def _listing(found: list[TransitionRequest]) -> str:
    return output.table(
        ("ID", "MODEL", "STAGE", "STATUS", "BY", "CHECKLIST", "REVIEWS", "REASON", "TIME"),
        (
            (
                request.id,
                request.model,
                request.stage,
                request.status,
                request.requester,
                f"{sum(request.checklist.values())}/{len(request.checklist)}" if request.checklist else None,
                ", ".join(f"{review.action} {review.actor}" for review in request.reviews) or None,
                request.reason or None,
                request.time,
            )
            for request in found
        ),
    )


REQUEST = Command("request", "ask that a version enter a stage", configure_request, run_request, REQUEST_EXAMPLES)
REQUESTS = Command(
    "requests", "list what was asked and what became of it", configure_requests, run_requests, REQUESTS_EXAMPLES
)
APPROVE = Command("approve", "approve a request", configure_approve, run_approve, APPROVE_EXAMPLES)
REFUSE = Command("refuse", "refuse a request, and say why", configure_refuse, run_refuse, REFUSE_EXAMPLES)
