"""`serval drift`."""

import textwrap
from argparse import ArgumentParser, Namespace
from typing import assert_never

from serval_client.cli import command, connection, output
from serval_client.cli.command import Command
from serval_client.cli.files import ENDINGS
from serval_client.cli.progress import Progress
from serval_client.cli.samples import read_for
from serval_client.drift import DriftReport, Severity, Verdict

RULE_WIDTH = 100

EXAMPLES = """\
  serval drift churn --data today.csv
  serval drift churn@3 --data today.parquet --reference last-month.parquet
  serval drift churn --data today.csv --tolerance 0.05 --json
  serval drift churn --data today.csv || page-someone

exit codes: 0 no drift, 3 drift, 4 too few rows to say (which is not "no drift"), 1 failed
"""


def configure(parser: ArgumentParser) -> None:
    """Add the arguments."""
    add = parser.add_argument
    add("model", metavar="REF", help="NAME, NAME@VERSION or NAME@STAGE")
    add("--data", required=True, metavar="FILE", help=f"the rows of now: {ENDINGS}")
    add("--reference", metavar="FILE", help="rows to compare with, instead of the version's baseline")
    add("--alpha", type=float, metavar="X", help="share of false alarms allowed over all columns together (0.01)")
    add("--tolerance", type=float, metavar="X", help="largest effect that does not count, 0 to 1 (0.04)")
    output.add_json(parser)
    connection.add_arguments(parser)


def run(args: Namespace) -> int:
    """Compare, print the features, and return the verdict as an exit code."""
    with connection.connect(args) as client, Progress("comparing"):
        info = client.show(args.model).model
        report = client.drift(
            info.ref,
            read_for(info, args.data),
            None if args.reference is None else read_for(info, args.reference),
            alpha=args.alpha,
            tolerance=args.tolerance,
        )
    if args.json:
        output.print_json(report)
    else:
        print(_told(report))
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


def _told(report: DriftReport) -> str:
    against = "its baseline" if report.against_baseline else "the reference"
    head = {
        Verdict.NO_DRIFT: f"no drift: {report.ref}",
        Verdict.DRIFT: f"DRIFT in {', '.join(report.drifted)}: {report.ref}",
        Verdict.INSUFFICIENT_DATA: f"too few rows to say: {report.ref}",
    }[report.verdict]
    rows = (
        (
            feature.feature,
            feature.verdict.replace("_", " "),
            feature.severity if feature.severity is not Severity.NONE else None,
            output.figure(feature.effect, ".3f"),
            f"{feature.effect_lower:.3f}-{feature.effect_upper:.3f}",
            output.figure(feature.adjusted_p_value, ".2g"),
            output.figure(feature.psi, ".3f"),
            output.figure(feature.mean_shift, "+.2f"),
            f"{feature.reference_missing:.1%} > {feature.current_missing:.1%}",
            ", ".join(feature.unseen[:3]) or None,
        )
        for feature in sorted(report.features, key=lambda feature: -feature.effect)
    )
    names = ("FEATURE", "VERDICT", "SEVERITY", "EFFECT", "BOUNDS", "P", "PSI", "MEAN SHIFT", "MISSING", "UNSEEN")
    table = output.table(names, rows)
    summary = f"\n{report.summary}" if report.summary else ""
    rule = textwrap.fill(f"alpha {report.alpha:g}, tolerance {report.tolerance:g}: {report.rule}", RULE_WIDTH)
    return (
        f"{head}, {report.current_rows} rows against {report.reference_rows} of {against}{summary}\n\n{table}\n\n{rule}"
    )


DRIFT = Command("drift", "tell whether rows differ from those a model was trained on", configure, run, EXAMPLES)
