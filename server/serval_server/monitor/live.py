"""From what was seen of a version to what is said of it."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

import numpy as np
from serval_kernels.drift import sketch
from serval_registry import baseline as baselines
from serval_registry.baseline import CATEGORIES, FeatureBaseline
from serval_registry.model import FeatureKind

from serval_server.monitor.accumulator import Accumulator
from serval_server.monitor.compare import compare_counts
from serval_server.monitor.layout import COLUMNS_MAX, Column, How, Layout, Tensor, baseline_bins, ends_of
from serval_server.monitor.report import DriftReport, Verdict
from serval_server.monitor.verdict import Rule
from serval_server.monitor.windows import Seen

NO_BASELINE = (
    "Nothing is compared, as the version has no baseline: register it with a sample, or call SetBaseline. "
    "Rows that come from then on are compared."
)
NO_COLUMNS = (
    "Nothing is compared, as only rows are counted of a model whose inputs are no columns, or which has more than "
    f"{COLUMNS_MAX:,} columns with its outputs."
)


@dataclass(frozen=True, slots=True)
class LiveDrift:
    """A window compared; the message LiveDrift of drift.proto says what each field is."""

    report: DriftReport
    start: float
    end: float
    rows: int
    unobserved: int
    other_rows: int
    current: tuple[FeatureBaseline, ...]
    outputs: tuple[FeatureBaseline, ...]


def live_drift(seen: Seen, rule: Rule | None = None, weights: Mapping[str, float] | None = None) -> LiveDrift:
    """Compare a window with the baseline that its layout is from. `weights`: see `judge`."""
    layout, total = seen.layout, seen.total
    current = tuple(_column_of(total, column) for column in layout.features)
    outputs = tuple(_column_of(total, column) for column in layout.answers)
    report = _without_baseline(seen, rule or Rule())
    if layout.baseline is not None:
        known = {column.name: place for place, column in enumerate(layout.features)}
        pairs = [
            _in_bins_of(base, total, layout, layout.features[known[base.feature]]) for base in layout.baseline.features
        ]
        current = tuple(pair[0] for pair in pairs)
        report = compare_counts(current, [pair[1] for pair in pairs], total.rows, layout.baseline, rule, weights)
    return LiveDrift(report, seen.start, seen.end, total.rows, total.unobserved, seen.other_rows, current, outputs)


def _without_baseline(seen: Seen, rule: Rule) -> DriftReport:
    return DriftReport(
        verdict=Verdict.INSUFFICIENT_DATA,
        drifted=(),
        features=(),
        reference_rows=0,
        current_rows=seen.total.rows,
        alpha=rule.alpha,
        tolerance=rule.tolerance,
        mean_cosine=0.0,
        against_baseline=True,
        rule=NO_BASELINE if seen.layout.features else NO_COLUMNS,
    )


def _column_of(total: Accumulator, column: Column) -> FeatureBaseline:
    """Return what was seen of a column, in the bins that it was counted in."""
    if column.how is How.LABELS:
        table = total.tables[column.place]
        taken = table.counts > 0
        counts = {str(label): int(n) for label, n in zip(table.labels[taken], table.counts[taken], strict=True)}
        return _categories(column, counts, int(table.rest[0]), 0)
    if column.how is How.TEXTS:
        counts, listed = total.categories(column.place), total.listed[column.place].keys()
        return _categories(column, counts, total.other_texts[column.place], 0, listed)
    counted = total.numbers.counts[column.place, : len(column.edges) + 1]
    moments = sketch.moments_of(total.numbers, column.place)
    if column.kind is FeatureKind.FLAG:
        flags = {name: int(n) for name, n in zip(("false", "true"), counted, strict=True) if n}
        return _categories(column, flags, 0, moments.missing)
    return FeatureBaseline(
        feature=column.name,
        kind=FeatureKind.NUMERIC,
        rows=moments.finite + moments.missing + moments.infinite,
        missing=moments.missing,
        infinite=moments.infinite,
        edges=tuple(column.edges.tolist()),
        counts=tuple(counted.tolist()),
        mean=moments.mean,
        variance=moments.variance,
        minimum=moments.minimum if moments.finite else 0.0,
        maximum=moments.maximum if moments.finite else 0.0,
    )


def _categories(
    column: Column, counts: Mapping[str, int], other: int, missing: int, listed: Collection[str] = ()
) -> FeatureBaseline:
    """Return a column of categories: those that are listed, and the most frequent of the others."""
    ranked = sorted(baselines.most_frequent(counts), key=lambda each: each[0] not in listed)
    return FeatureBaseline(
        feature=column.name,
        kind=column.kind,
        rows=sum(counts.values()) + other + missing,
        missing=missing,
        categories=tuple(name for name, _ in ranked[:CATEGORIES]),
        category_counts=tuple(n for _, n in ranked[:CATEGORIES]),
        other_count=other + sum(n for _, n in ranked[CATEGORIES:]),
    )


def _in_bins_of(
    base: FeatureBaseline, total: Accumulator, layout: Layout, column: Column
) -> tuple[FeatureBaseline, int]:
    """Return what was seen of a feature in the baseline's bins, and how many values lie outside its range."""
    seen = _column_of(total, column)
    if base.kind is not FeatureKind.NUMERIC:
        return seen, 0
    fine = np.array(seen.counts, np.int64)
    counts = np.zeros(len(base.counts), np.int64)
    np.add.at(counts, baseline_bins(base, column), fine)
    outside = 0
    if base.finite:
        below, top = ends_of(base, _tensor_of(layout, column).dtype)
        uppers, lowers = np.append(column.edges, np.inf), np.append(-np.inf, column.edges)
        outside = int(fine[(uppers <= below) | (lowers >= top)].sum())
    return replace(seen, edges=base.edges, counts=tuple(counts.tolist())), outside


def _tensor_of(layout: Layout, column: Column) -> Tensor:
    return next(
        tensor
        for tensor in layout.inputs
        if tensor.how is How.NUMBERS and tensor.first <= column.place < tensor.first + tensor.width
    )
