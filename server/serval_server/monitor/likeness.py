"""A report by the rules of another tool: serval's figures with the other's verdicts, and whose they are.

Rules. The other tool's opinion of each column takes the place of the verdict; of the whole it is said what the tool
would say: Evidently calls a table drifted when at least half of its columns are, NannyML has no such rule, so any
column is enough. Both need rows on both sides. A live window has only counts: its numbers are taken to be in each bin
what the reference has there, or evenly spread where it has none or they go beyond it.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np
from serval_registry.baseline import FeatureBaseline
from serval_registry.errors import InvalidArgument
from serval_registry.model import Array, Feature, FeatureKind, Table

from serval_server.monitor import compatibility
from serval_server.monitor.report import DriftReport, FeatureDrift, Severity, Verdict
from serval_server.monitor.severity import severity_of, worst

TOOLS: Final = {"evidently": compatibility.evidently, "nannyml": compatibility.nannyml}
RULES: Final = {
    "evidently": (
        "Evidently 0.7's defaults. Up to 1,000 reference values: two-sample Kolmogorov-Smirnov for numbers of more "
        "than 5 values, else chi-square, or a z test for two; drift where p is at most 0.05. Above: Wasserstein-1 "
        "divided by the reference's standard deviation, or Jensen-Shannon for the rest; drift from 0.1 on. The whole "
        "has drifted when at least half of the columns have. No column is corrected for the others: false alarms are "
        "not bounded."
    ),
    "nannyml": (
        "NannyML 0.13's defaults. Jensen-Shannon distance of the rows from the reference; drift above the mean plus 3 "
        "standard deviations of that of ten chunks of the reference. The whole has drifted when any column has. False "
        "alarms are not bounded."
    ),
}
WINDOW_ROWS_MAX: Final = 200_000


def checked(tool: str) -> str:
    """Return the name of a tool, or nothing; raise InvalidArgument for others."""
    if tool and tool not in TOOLS:
        raise InvalidArgument(f"compatibility: {tool[:40]!r}; wanted one of {', '.join(TOOLS)}, or nothing")
    return tool


def judged_like(
    tool: str, report: DriftReport, current: Table, reference: Table, features: Sequence[Feature]
) -> DriftReport:
    """Return a report on two tables with the verdicts of another tool; tables as `compare_tables` takes them."""
    kinds = {feature.name: feature.kind for feature in features}
    told = tuple(
        _told(tool, column, reference[column.feature], current[column.feature], kinds[column.feature])
        for column in report.features
    )
    drifted = [column for column in told if column.verdict is Verdict.DRIFT]
    judged = [column for column in told if column.verdict is not Verdict.INSUFFICIENT_DATA]
    enough = len(drifted) >= 0.5 * len(judged) if tool == "evidently" else True
    quiet = Verdict.NO_DRIFT if judged else Verdict.INSUFFICIENT_DATA
    names = tuple(column.feature for column in sorted(drifted, key=lambda column: -column.effect))
    return replace(
        report,
        verdict=Verdict.DRIFT if drifted and enough else quiet,
        drifted=names,
        features=told,
        rule=RULES[tool],
        severity=worst([column.severity for column in told]),
        summary=f"{len(drifted)} of {len(told)} columns drifted by the rules of {tool}"
        + (f": {', '.join(names[:3])}" if names else ""),
        compatibility=tool,
    )


def window_table(columns: Sequence[FeatureBaseline], reference: Table) -> Table:
    """Return values with the counts of a window, in no order; raise InvalidArgument for too many rows."""
    rows = max((column.rows for column in columns), default=0)
    if rows > WINDOW_ROWS_MAX:
        raise InvalidArgument(
            f"window: {rows} rows; wanted at most {WINDOW_ROWS_MAX} for the rules of others, such as the last "
            f"{WINDOW_ROWS_MAX} rows"
        )
    return {column.feature: _values(column, reference[column.feature]) for column in columns}


def _told(tool: str, column: FeatureDrift, before: Array, now: Array, kind: FeatureKind) -> FeatureDrift:
    try:
        opinion = TOOLS[tool](before, now, kind)
    except InvalidArgument as error:
        return replace(column, verdict=Verdict.INSUFFICIENT_DATA, severity=Severity.NONE, summary=str(error))
    words = "drifted" if opinion.drifted else "no drift"
    return replace(
        column,
        verdict=Verdict.DRIFT if opinion.drifted else Verdict.NO_DRIFT,
        severity=severity_of(column.effect, column.weight) if opinion.drifted else Severity.NONE,
        summary=f"{column.feature}: {words} by {opinion.method}, {opinion.score:.4g} against {opinion.threshold:.4g}",
        method=opinion.method,
        score=opinion.score,
        threshold=opinion.threshold,
    )


def _values(column: FeatureBaseline, before: Array) -> Array:
    if column.kind is not FeatureKind.NUMERIC:
        names: list[object] = [*column.categories, "(other)"]
        values = np.repeat(np.array(names, object), [*column.category_counts, column.other_count])
        # A flag is the text of a flag here, and a boolean there.
        return values == "true" if column.kind is FeatureKind.FLAG else values
    finite = before[np.isfinite(before)] if before.dtype.kind == "f" else before
    return _spread(column, np.sort(finite).astype(np.float64)) if column.finite else np.zeros(0)


def _spread(column: FeatureBaseline, ordered: Array) -> Array:
    """Return as many values as each bin counts: the reference's, or spread evenly where they cannot be these."""
    edges = np.array(column.edges, np.float64)
    stops = np.append(np.searchsorted(ordered, edges, side="right"), len(ordered))
    uppers = np.append(edges, column.maximum)
    values, start, lower = [], 0, column.minimum
    for count, stop, upper in zip(column.counts, stops.tolist(), uppers.tolist(), strict=True):
        ranks = (np.arange(count) + 0.5) / max(count, 1)
        there = ordered[start:stop]
        beyond = (start == 0 and column.minimum < ordered[0]) or (stop == len(ordered) and column.maximum > ordered[-1])
        if len(there) and not beyond:
            values.append(there[(ranks * len(there)).astype(np.int64)])
        else:
            values.append(lower + ranks * (min(upper, column.maximum) - lower))
        start, lower = stop, max(upper, column.minimum)
    return np.concatenate(values)
