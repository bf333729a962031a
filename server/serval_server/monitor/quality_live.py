"""Whether what was predicted lately can be trusted: the checks of `quality` that counts can answer.

Rules. A window has counts by column and no rows. Missing and infinite values, values out of the baseline's range, its
unseen categories, constant columns and the balance of an output are counted exactly; types are those of the model's
inputs, as a call with others is refused. What needs rows is not checked, and said so. Of numbers that differ, at least
as many are told as bins have any.
"""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from serval_registry.baseline import Baseline, FeatureBaseline
from serval_registry.errors import FailedPrecondition, InvalidArgument
from serval_registry.model import FeatureKind

from serval_server.monitor.live import LiveDrift
from serval_server.monitor.profile import FREQUENT, ColumnProfile
from serval_server.monitor.quality import NO_CLASSES, Issue, QualityReport, constant, imbalance, parts_of, report_on

UNCHECKED: Final = {
    "duplicate_row": "a window keeps counts of each column; whether rows are equal is not among them",
    "shared_row": "a window keeps counts of each column; whether a row came in training is not among them",
    "outlier": "the median of distances from the median needs the values",
    "type": "a call with values of another type than the model's inputs is refused, and so not in the window",
    "missing_column": "a call without a column of the model is refused, and so not in the window",
}
_NO_BASELINE: Final = "the version has no baseline"
_NO_PARTS: Final = ("uniqueness", "separation", "typicality")


def check_window(live: LiveDrift, baseline: Baseline | None, label: str = "") -> QualityReport:
    """Check a window of at least 1 row. `label`: an output or a feature of texts, whose balance is checked.

    Raises FailedPrecondition where there are no rows or columns, InvalidArgument for an unknown label.
    """
    columns = [column for column in live.current if column.rows]
    if not columns:
        raise FailedPrecondition("window: no rows with columns were looked at; wanted at least 1")
    known = {base.feature: base for base in baseline.features} if baseline is not None else {}
    # Infinities lie outside too, and are told apart.
    infinite = {column.feature: column.infinite for column in columns}
    outside = {
        f.feature: round((f.outside_range or 0.0) * f.current_rows) - infinite.get(f.feature, 0)
        for f in live.report.features
    }
    issues = [
        issue
        for column in columns
        for issue in _of_column(column, known.get(column.feature), outside.get(column.feature, 0))
    ]
    classes = _classes(live, label) if label else None
    if classes:
        issues += imbalance(label, classes, live.rows)
    profiles = tuple(_profile(column) for column in columns)
    rows = max(column.rows for column in columns)
    parts = parts_of(issues, profiles, rows, (), classes or None)
    report = report_on(rows, profiles, issues, {name: part for name, part in parts.items() if name not in _NO_PARTS})
    unbased = {} if baseline is not None else dict.fromkeys(("out_of_range", "unseen_category"), _NO_BASELINE)
    unclassed = {"class_imbalance": NO_CLASSES} if classes is not None and not classes else {}
    return replace(report, unchecked={**UNCHECKED, **unbased, **unclassed})


def _of_column(column: FeatureBaseline, base: FeatureBaseline | None, outside: int) -> list[Issue]:
    found = []
    if column.missing:
        found.append(_issue("missing", column, column.missing, "no value"))
    if column.infinite:
        found.append(_issue("infinite", column, column.infinite, "infinite"))
    profile = _profile(column)
    if profile.constant:
        found.append(constant(profile, _only(column)))
    if outside > 0 and base is not None:
        found.append(_issue("out_of_range", column, outside, f"outside {base.minimum:g} to {base.maximum:g}"))
    if base is not None and base.kind is not FeatureKind.NUMERIC and not base.other_count:
        listed = set(base.categories)
        counts = zip(column.categories, column.category_counts, strict=True)
        unseen = [(name, count) for name, count in counts if name not in listed]
        count = sum(n for _, n in unseen) + column.other_count
        if count:
            such = f"such as {unseen[0][0]!r:.40}" if unseen else "among those that are not told apart"
            found.append(_issue("unseen_category", column, count, such))
    return found


def _issue(check: str, column: FeatureBaseline, count: int, detail: str) -> Issue:
    return Issue(check=check, column=column.feature, count=count, share=count / column.rows, detail=detail)


def _distinct(column: FeatureBaseline) -> int:
    if column.kind is not FeatureKind.NUMERIC:
        return len(column.categories) + (column.other_count > 0)
    if column.infinite:
        return max(1 + (column.finite > 0), sum(count > 0 for count in column.counts))
    if column.minimum == column.maximum:
        return min(column.finite, 1)
    return max(2, sum(count > 0 for count in column.counts))


def _only(column: FeatureBaseline) -> str:
    if column.kind is FeatureKind.NUMERIC:
        return f"{column.minimum:g}" if column.finite else "nothing"
    return column.categories[0] if column.categories else "nothing"


def _profile(column: FeatureBaseline) -> ColumnProfile:
    profile = ColumnProfile(
        name=column.feature,
        kind=column.kind,
        rows=column.rows,
        missing=column.missing,
        infinite=column.infinite,
        distinct=_distinct(column),
        frequent=tuple(zip(column.categories, column.category_counts, strict=True))[:FREQUENT],
    )
    if not column.finite or column.kind is not FeatureKind.NUMERIC:
        return profile
    return replace(
        profile,
        mean=column.mean,
        deviation=math.sqrt(column.variance),
        minimum=column.minimum,
        maximum=column.maximum,
    )


def _classes(live: LiveDrift, label: str) -> Mapping[str, float]:
    """Return the shares of the classes of an output, or of a feature; empty where no row has a value."""
    labelled = [column for column in (*live.outputs, *live.current) if column.kind is not FeatureKind.NUMERIC]
    for column in labelled:
        if column.feature == label:
            counts = dict(zip(column.categories, column.category_counts, strict=True))
            total = sum(counts.values()) + column.other_count
            return {name: count / total for name, count in counts.items()} if total else {}
    names = ", ".join(sorted(column.feature for column in labelled)[:20]) or "none"
    raise InvalidArgument(f"label: no column {label!r} of classes in the window; it has {names}")
