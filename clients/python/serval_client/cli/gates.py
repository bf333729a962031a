"""`serval gates`."""

from argparse import ArgumentParser, Namespace

from serval_client.cli import connection, output, pairs
from serval_client.cli.command import ERROR, OK, Command
from serval_client.errors import InvalidArgument
from serval_client.lifecycle.records import Gates, GatesInForce, Threshold

EXAMPLES = """\
  serval gates churn                                  what is asked of versions of churn, and by whose rule
  serval gates churn --standard                       accuracy 0.85, roc_auc 0.80, schema, parity, artifact, approval
  serval gates churn --min accuracy=0.9 --max loss=0.2 --schema --approvals 2 --checklist "load tested"
  serval gates '*' --approvals 1                      every name that has no gates of its own
  serval gates churn --clear
  serval gates churn@4                                does version 4 pass? exit code 0 if so, else 1
"""

_FLAGS = ("min", "max", "schema", "parity", "artifact", "approvals", "self_approval", "checklist", "through_staging")


def configure(parser: ArgumentParser) -> None:
    """Add the arguments."""
    add = parser.add_argument
    add("what", metavar="NAME|REF", help="a name (or '*' for all) to see or set its gates, NAME@VERSION to check one")
    group = parser.add_argument_group("to set them, all of them at once")
    group.add_argument("--standard", action="store_true", help="the usual ones")
    group.add_argument("--clear", action="store_true", help="none of its own any more")
    group.add_argument(
        "--min", metavar="K=NUMBER", action="append", type=pairs.number, default=[], help="a metric, at least"
    )
    group.add_argument(
        "--max", metavar="K=NUMBER", action="append", type=pairs.number, default=[], help="a metric, at most"
    )
    group.add_argument("--schema", action="store_true", help="compatible with that of the version in production")
    group.add_argument("--parity", action="store_true", help="the export equals the original within its tolerance")
    group.add_argument("--artifact", action="store_true", help="the file has the checksum it was registered with")
    group.add_argument(
        "--approvals", type=pairs.whole(32), default=0, metavar="N", help="so many identities must approve"
    )
    group.add_argument("--self-approval", action="store_true", help="whoever asks may be one of them")
    group.add_argument(
        "--checklist", metavar="ITEM", action="append", default=[], help="to be ticked off; may be repeated"
    )
    group.add_argument("--through-staging", action="store_true", help="production is entered from staging only")
    output.add_json(parser)
    connection.add_arguments(parser)


def run(args: Namespace) -> int:
    """Show, set or check gates."""
    said = [flag for flag in _FLAGS if getattr(args, flag)]
    if sum((bool(said), args.standard, args.clear)) > 1:
        raise InvalidArgument("wanted one of --standard, --clear, and gates of your own")
    setting = bool(said) or args.standard or args.clear
    if "@" in args.what:
        if setting:
            raise InvalidArgument(f"{args.what}: gates are set for a name, not for one version")
        return _check(args)
    with connection.connect(args) as client:
        if setting:
            found = client.set_gates(args.what, _gates(args) if said else None, standard=args.standard)
        else:
            found = client.gates(args.what)
    if args.json:
        output.print_json(found)
    else:
        print(_told(args.what, found))
    return OK


def _check(args: Namespace) -> int:
    with connection.connect(args) as client:
        check = client.check_gates(args.what)
    if args.json:
        output.print_json(check)
    elif not check.gates:
        print(f"{check.model}: no gates; set some with `serval gates {check.model.partition('@')[0]} --standard`")
    else:
        print(f"{check.model} {'passes' if check.passed else 'cannot enter production'}\n")
        rows = ((gate.name, gate.asked, gate.found, "yes" if gate.passed else "NO") for gate in check.gates)
        print(output.table(("GATE", "ASKED", "FOUND", "PASSED"), rows))
    return OK if check.passed else ERROR


def _gates(args: Namespace) -> Gates:
    return Gates(
        thresholds=[
            *(Threshold(metric, value) for metric, value in args.min),
            *(Threshold(metric, value, at_most=True) for metric, value in args.max),
        ],
        compatible=args.schema,
        parity=args.parity,
        intact=args.artifact,
        approvals=args.approvals,
        self_approval=args.self_approval,
        checklist=args.checklist,
        through_staging=args.through_staging,
    )


def _told(name: str, found: GatesInForce) -> str:
    gates = found.gates
    lines = [f"{t.metric}: at {'most' if t.at_most else 'least'} {t.value:g}" for t in gates.thresholds]
    lines += ["schema: compatible with the version in production"] if gates.compatible else []
    lines += ["parity: equal to the original within its tolerance"] if gates.parity else []
    lines += ["artifact: as it was registered"] if gates.intact else []
    whose = "anybody" if gates.self_approval else "others than who asks"
    lines += [f"approval: {gates.approvals} by {whose}"] if gates.approvals else []
    lines += [f"checklist: {item}" for item in gates.checklist]
    lines += ["stages: production only through staging"] if gates.through_staging else []
    rule = "for all names" if found.source == "*" and name != "*" else "its own"
    return "\n".join([f"{name}: {rule}", *(f"  {line}" for line in lines)] if lines else [f"{name}: no gates"])


GATES = Command("gates", "show, set or check what production asks of a version", configure, run, EXAMPLES)
