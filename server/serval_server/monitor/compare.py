"""Comparing a current table with a baseline or with a reference table: what is measured on each column.

Rules. Both ways measure the same things in the same bins, those of the reference; the reference table, whose values are
at hand, gives the exact KS and Wasserstein distances instead of the binned. Infinities are values to KS, PSI and JS;
moments and Wasserstein are of finite values. Nothing is judged here: that is `verdict`.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from serval_kernels.drift import categorical, divergence, two_sample
from serval_kernels.drift.binning import coarsen, merge_bins
from serval_kernels.drift.sorting import sort_present
from serval_kernels.similarity.cosine import cosine
from serval_registry import baseline as baselines
from serval_registry.baseline import Baseline, FeatureBaseline
from serval_registry.model import Array, Feature, FeatureKind, Table

from serval_server.monitor import bounds
from serval_server.monitor.report import DriftReport, FeatureDrift
from serval_server.monitor.verdict import Rule, judge

GROUPS = 10
UNSEEN = 20

Floats = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True, slots=True)
class _Categories:
    """How often each category comes; `other` counts what was not told apart."""

    counts: Mapping[str, int]
    other: int = 0


def compare_with_baseline(
    current: Table, baseline: Baseline, rule: Rule | None = None, weights: Mapping[str, float] | None = None
) -> DriftReport:
    """Compare the columns that the baseline has; no row of the reference is needed. `weights`: see `judge`.

    Raises InvalidArgument for a missing column, or one of another type or length; see `baseline.check_table`.
    """
    features = [Feature(base.feature, base.kind, base.feature) for base in baseline.features]
    rows = baselines.check_table(current, features)
    pairs = [
        (base, baselines.compute_feature(feature, current[feature.name], like=base))
        for feature, base in zip(features, baseline.features, strict=True)
    ]
    measured = [
        _against_baseline(feature, *pair, current[feature.name]) for feature, pair in zip(features, pairs, strict=True)
    ]
    return judge(
        measured,
        reference_rows=baseline.rows,
        current_rows=rows,
        rule=rule or Rule(),
        mean_cosine=_mean_cosine(pairs),
        against_baseline=True,
        weights=weights,
    )


def compare_counts(
    current: Sequence[FeatureBaseline],
    outside: Sequence[int],
    rows: int,
    baseline: Baseline,
    rule: Rule | None = None,
    weights: Mapping[str, float] | None = None,
) -> DriftReport:
    """Compare what was counted of `rows` rows with the baseline: the same features, numbers between the same edges.

    outside: of each feature, how many values lie outside the baseline's range.
    """
    pairs = list(zip(baseline.features, current, strict=True))
    measured = [
        _numeric_drift(*pair, beyond)
        if pair[0].kind is FeatureKind.NUMERIC
        else _category_drift(*pair, *(_listed(side) for side in pair))
        for pair, beyond in zip(pairs, outside, strict=True)
    ]
    return judge(
        measured,
        reference_rows=baseline.rows,
        current_rows=rows,
        rule=rule or Rule(),
        mean_cosine=_mean_cosine(pairs),
        against_baseline=True,
        weights=weights,
    )


def _listed(side: FeatureBaseline) -> _Categories:
    return _Categories(dict(zip(side.categories, side.category_counts, strict=True)), side.other_count)


def compare_tables(
    current: Table,
    reference: Table,
    features: Sequence[Feature],
    rule: Rule | None = None,
    weights: Mapping[str, float] | None = None,
) -> DriftReport:
    """Compare the features' columns of two tables, value by value. Raises as `compare_with_baseline` does."""
    current_rows = baselines.check_table(current, features)
    reference_rows = baselines.check_table(reference, features)
    measured, pairs = [], []
    for feature in features:
        columns = _same_precision(reference[feature.name], current[feature.name])
        base = baselines.compute_feature(feature, columns[0])
        pairs.append((base, baselines.compute_feature(feature, columns[1], like=base)))
        measured.append(_against_rows(feature, *pairs[-1], *columns))
    return judge(
        measured,
        reference_rows=reference_rows,
        current_rows=current_rows,
        rule=rule or Rule(),
        mean_cosine=_mean_cosine(pairs),
        against_baseline=False,
        weights=weights,
    )


def _against_baseline(
    feature: Feature, reference: FeatureBaseline, current: FeatureBaseline, column: Array
) -> FeatureDrift:
    if feature.kind is FeatureKind.NUMERIC:
        return _numeric_drift(reference, current, _outside(cast("Floats", column), reference))
    counts, _ = baselines.count_categories(feature, column)
    return _category_drift(reference, current, _listed(reference), _Categories(counts))


def _against_rows(
    feature: Feature, reference: FeatureBaseline, current: FeatureBaseline, before: Array, now: Array
) -> FeatureDrift:
    if feature.kind is FeatureKind.NUMERIC:
        old, new = cast("Floats", before), cast("Floats", now)
        return _exact(_numeric_drift(reference, current, _outside(new, reference)), reference, old, new)
    sides = [_Categories(baselines.count_categories(feature, column)[0]) for column in (before, now)]
    return _category_drift(reference, current, *sides)


def _common(reference: FeatureBaseline, current: FeatureBaseline) -> FeatureDrift:
    """Return what is measured on a column of any kind."""
    return FeatureDrift(
        feature=reference.feature,
        kind=reference.kind,
        reference_rows=reference.present,
        current_rows=current.present,
        reference_missing=reference.missing / reference.rows if reference.rows else 0.0,
        current_missing=current.missing / current.rows if current.rows else 0.0,
        missing_p_value=categorical.share_p_value(reference.missing, reference.rows, current.missing, current.rows),
    )


def _numeric_drift(reference: FeatureBaseline, current: FeatureBaseline, outside: int) -> FeatureDrift:
    """Return what counts in shared bins, moments and the number of values outside the reference's range tell."""
    drift = _with_moments(_common(reference, current), reference, current)
    if not (reference.present and current.present):
        return drift
    edges = np.array(reference.edges, np.float64)
    before, now = np.array(reference.counts, np.int64), np.array(current.counts, np.int64)
    distance = two_sample.ks_binned(edges, before, now, exact=reference.exact)
    group_of = coarsen(before, GROUPS)
    groups = merge_bins(before, group_of), merge_bins(now, group_of)
    drift = replace(
        _with_ks(drift, distance.statistic, distance.error),
        psi=divergence.psi(*groups),
        js_distance=divergence.js_distance(*groups),
    )
    if not (reference.finite and current.finite):
        return drift
    ranges = (reference.minimum, reference.maximum, current.minimum, current.maximum)
    area = two_sample.wasserstein_binned(edges, before, now, ranges)
    return replace(_with_area(drift, reference, area), outside_range=outside / current.present)


def _exact(drift: FeatureDrift, reference: FeatureBaseline, before: Floats, now: Floats) -> FeatureDrift:
    """Put the exact distances in the place of the binned."""
    if drift.ks is None:
        return drift
    before, now = sort_present(before), sort_present(now)
    drift = _with_ks(drift, two_sample.ks_sorted(before, now), 0.0)
    if drift.wasserstein is None:
        return drift
    finite = [side[np.isfinite(side)] for side in (before, now)]
    return _with_area(drift, reference, two_sample.wasserstein_sorted(*finite))


def _with_ks(drift: FeatureDrift, distance: float, error: float) -> FeatureDrift:
    p_value = two_sample.ks_p_value(distance, drift.reference_rows, drift.current_rows)
    return replace(drift, effect=distance, effect_hidden=error, p_value=p_value, ks=distance, ks_error=error)


def _with_area(drift: FeatureDrift, reference: FeatureBaseline, area: float) -> FeatureDrift:
    return replace(drift, wasserstein=area, wasserstein_scaled=_scaled(area, reference))


def _with_moments(drift: FeatureDrift, reference: FeatureBaseline, current: FeatureBaseline) -> FeatureDrift:
    both = reference.finite and current.finite
    return replace(
        drift,
        reference_mean=reference.mean if reference.finite else None,
        current_mean=current.mean if current.finite else None,
        mean_shift=_scaled(current.mean - reference.mean, reference) if both else None,
    )


def _scaled(difference: float, reference: FeatureBaseline) -> float | None:
    """Return a difference in standard deviations of the reference; None where it has none, or none that is finite."""
    deviation = math.sqrt(reference.variance)
    return difference / deviation if 0.0 < deviation < math.inf else None


def _outside(column: Floats, reference: FeatureBaseline) -> int:
    """Count the values outside of the reference's range, its ends in the precision of the column."""
    with np.errstate(over="ignore"):
        low, high = np.array([reference.minimum, reference.maximum]).astype(column.dtype)
    return int(np.count_nonzero((column < low) | (column > high)))


def _category_drift(
    reference: FeatureBaseline, current: FeatureBaseline, before: _Categories, now: _Categories
) -> FeatureDrift:
    """Return what counts of categories tell.

    Where the reference did not tell all its categories apart, one that it does not list may be new or not, so all of
    them are taken together with the reference's rest.
    """
    drift = _common(reference, current)
    if not (reference.present and current.present):
        return drift
    unlisted = [name for name, _ in baselines.most_frequent(now.counts) if name not in before.counts]
    apart = [] if before.other else unlisted
    rest = (before.other, now.other + (sum(now.counts[name] for name in unlisted) if before.other else 0))
    names = [*before.counts, *apart]
    old, new = (np.array([side.counts.get(name, 0) for name in names], np.int64) for side in (before, now))
    test = categorical.chi_square(old, new, rest)
    whole = np.append(old, rest[0]), np.append(new, rest[1])
    found = bounds.variation(old, new, rest)
    noise, p_value = float(found.noise), test.p_value
    if before.other:
        noise += bounds.selection(old, reference.present)
        sizes = reference.present, current.present
        sides = bounds.CATEGORY_SIDES
        p_value = float(bounds.exceeds_p_value(found.distance, 0.0, *sizes, noise=noise, sides=sides))
    return replace(
        drift,
        effect=float(found.distance),
        effect_noise=noise,
        effect_hidden=float(found.hidden),
        p_value=p_value,
        js_distance=divergence.js_distance(*whole),
        chi_square=test.statistic,
        total_variation=divergence.total_variation(*whole),
        unseen=tuple(apart[:UNSEEN]),
    )


def _mean_cosine(pairs: Sequence[tuple[FeatureBaseline, FeatureBaseline]]) -> float:
    """Return the cosine between the mean vectors of the numeric columns that have finite values on both sides."""
    means = [(a.mean, b.mean) for a, b in pairs if a.kind is FeatureKind.NUMERIC and a.finite and b.finite]
    before, now = np.array(means, np.float64).reshape(-1, 2).T
    return float(cosine(np.ascontiguousarray(before), np.ascontiguousarray(now)))


def _same_precision(before: Array, now: Array) -> tuple[Array, Array]:
    """Return two columns, both float32 if one is: 0.1 is another number in float32, and would look like drift."""
    if before.dtype == now.dtype or {before.dtype, now.dtype} != {np.dtype(np.float32), np.dtype(np.float64)}:
        return before, now
    with np.errstate(over="ignore"):
        return before.astype(np.float32), now.astype(np.float32)
