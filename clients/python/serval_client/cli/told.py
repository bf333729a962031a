"""A drift report as text."""

import textwrap

from serval_client.cli import output
from serval_client.drift import DriftReport, Severity, Verdict, shift_told

RULE_WIDTH = 100


def told(report: DriftReport) -> str:
    """Return the verdict, a table of the columns, and how the verdict was reached."""
    against = "its baseline" if report.against_baseline else "the reference"
    head = {
        Verdict.NO_DRIFT: f"no drift: {report.ref}",
        Verdict.DRIFT: f"DRIFT in {', '.join(report.drifted)}: {report.ref}",
        Verdict.INSUFFICIENT_DATA: f"too few rows to say: {report.ref}",
    }[report.verdict]
    whose = report.compatibility or f"alpha {report.alpha:g}, tolerance {report.tolerance:g}"
    rule = textwrap.fill(f"{whose}: {report.rule}", RULE_WIDTH)
    if not report.features:  # a live window, of which nothing is compared
        return f"nothing is compared: {report.ref}, {report.current_rows} rows\n\n{rule}"
    lines = [f"{head}, {report.current_rows} rows against {report.reference_rows} of {against}"]
    lines += [report.summary] * bool(report.summary)
    table = _opinions(report) if report.compatibility else _measured(report)
    return "\n".join([*map(output.visible, lines), "", table, "", rule])


def _measured(report: DriftReport) -> str:
    rows = (
        (
            feature.feature,
            feature.verdict.replace("_", " "),
            feature.severity if feature.severity is not Severity.NONE else None,
            output.figure(feature.effect, ".3f"),
            f"{feature.effect_lower:.3f}-{feature.effect_upper:.3f}",
            output.figure(feature.adjusted_p_value, ".2g"),
            output.figure(feature.psi, ".3f"),
            None if feature.mean_shift is None else shift_told(feature.mean_shift),
            f"{feature.reference_missing:.1%} > {feature.current_missing:.1%}",
            ", ".join(feature.unseen[:3]) or None,
        )
        for feature in sorted(report.features, key=lambda feature: -feature.effect)
    )
    names = ("FEATURE", "VERDICT", "SEVERITY", "EFFECT", "BOUNDS", "P", "PSI", "MEAN SHIFT", "MISSING", "UNSEEN")
    return output.table(names, rows)


def _opinions(report: DriftReport) -> str:
    """Return what another tool says of each column."""
    rows = (
        (
            feature.feature,
            feature.verdict.replace("_", " "),
            feature.method or None,
            output.figure(feature.score, ".4g"),
            output.figure(feature.threshold, ".4g"),
            output.figure(feature.effect, ".3f"),
        )
        for feature in report.features
    )
    return output.table(("FEATURE", "VERDICT", "METHOD", "SCORE", "THRESHOLD", "SERVAL'S EFFECT"), rows)
