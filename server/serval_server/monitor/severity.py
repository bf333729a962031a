"""How much a drift matters, and what of it is said to people.

Rules. Severity is of what was found to drift: the larger of the effect and the change of the missing share, times the
column's weight, against two marks. A weight is a column's importance divided by the largest importance of the version,
which carries importances as metrics named "importance.FEATURE"; 1 for a column that it carries none of.
"""

from collections.abc import Mapping, Sequence

from serval_registry.model import FeatureKind

from serval_server.monitor.report import FeatureDrift, Severity, Verdict

# The KS distance of a normal that moves by 0.25 and by 0.64 standard deviations.
WARNING_FROM = 0.1
CRITICAL_FROM = 0.25

IMPORTANCE = "importance."

_TOLD = 3
_OUTSIDE_TOLD = 0.05
_SHIFT_TOLD = 0.1
_ORDER = (Severity.NONE, Severity.INFO, Severity.WARNING, Severity.CRITICAL)


def severity_of(effect: float, weight: float = 1.0) -> Severity:
    """Return the severity of a drift by its effect, 0 to 1, and the column's weight, 0 to 1."""
    weighed = effect * weight
    if weighed >= CRITICAL_FROM:
        return Severity.CRITICAL
    return Severity.WARNING if weighed >= WARNING_FROM else Severity.INFO


def worst(severities: Sequence[Severity]) -> Severity:
    """Return the gravest, NONE of none."""
    return max(severities, key=_ORDER.index, default=Severity.NONE)


def weights_of(metrics: Mapping[str, float]) -> dict[str, float]:
    """Return the weight of each feature that a version's metrics carry an importance of; negative ones count as 0."""
    found = {
        name.removeprefix(IMPORTANCE): max(value, 0.0) for name, value in metrics.items() if name.startswith(IMPORTANCE)
    }
    largest = max(found.values(), default=0.0)
    return {name: value / largest for name, value in found.items()} if largest > 0 else {}


def describe(feature: FeatureDrift) -> str:
    """Return one sentence on a judged column."""
    if feature.verdict is Verdict.INSUFFICIENT_DATA:
        return (
            f"{feature.feature}: not enough data; with {feature.current_rows:,} values against "
            f"{feature.reference_rows:,} the effect may be anything from {feature.effect_lower:.2f} to "
            f"{feature.effect_upper:.2f}"
        )
    if feature.verdict is Verdict.NO_DRIFT:
        return f"{feature.feature}: no drift beyond the tolerance; effect {feature.effect:.3f}"
    if feature.missing_change > feature.effect:
        return (
            f"{feature.feature}: {_percent(feature.current_missing)} of rows are missing now, "
            f"{_percent(feature.reference_missing)} before"
        )
    return _moved_number(feature) if feature.kind is FeatureKind.NUMERIC else _moved_category(feature)


def summarise(features: Sequence[FeatureDrift], verdict: Verdict) -> str:
    """Return the whole report in a few words, the columns that matter most first."""
    moved = sorted(
        (feature for feature in features if feature.verdict is Verdict.DRIFT),
        key=lambda feature: -max(feature.effect, feature.missing_change) * feature.weight,
    )
    if moved:
        more = f"; {len(moved) - _TOLD} more" if len(moved) > _TOLD else ""
        told = "; ".join(feature.summary for feature in moved[:_TOLD])
        return f"{len(moved)} of {len(features)} columns drifted: {told}{more}"
    if verdict is Verdict.NO_DRIFT:
        return f"none of {len(features)} columns was found to drift"
    few = sum(feature.verdict is Verdict.INSUFFICIENT_DATA for feature in features)
    return f"not enough data to judge {few} of {len(features)} columns, and none of the others was found to drift"


def _moved_number(feature: FeatureDrift) -> str:
    name = feature.feature
    if (feature.outside_range or 0.0) >= _OUTSIDE_TOLD:
        return f"{name} moved: {_percent(feature.outside_range or 0.0)} of rows now lie outside the baseline's range"
    shift = feature.mean_shift or 0.0
    if abs(shift) >= _SHIFT_TOLD:
        way = "rose" if shift > 0 else "fell"
        return (
            f"{name} moved: its mean {way} by {abs(shift):.2g} standard deviations, from "
            f"{feature.reference_mean:.4g} to {feature.current_mean:.4g}"
        )
    return f"{name} changed its shape: below some value lie {_percent(feature.effect)} of rows more or less than before"


def _moved_category(feature: FeatureDrift) -> str:
    new = f"; new: {', '.join(feature.unseen[:_TOLD])}" if feature.unseen else ""
    return f"{feature.feature} changed: {_percent(feature.effect)} of rows have gone to other categories{new}"


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %" if share < 0.995 else f"{100 * share:.0f} %"
