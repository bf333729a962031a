"""Verdicts: from what was measured on each column to what is said of it.

Rules. A column drifts when the difference is both too large for chance and large enough to matter: its p value, after
Holm's correction over all tests of the report, is below alpha, and its effect is above the tolerance. The same holds
for its share of missing values. Where there are too few values to tell, that is what is said, never that nothing
drifted; but rows enough, from which the values went missing, are evidence.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from serval_registry.errors import InvalidArgument
from serval_registry.model import FeatureKind

ALPHA = 0.01
TOLERANCE = 0.1
VALUES_LEAST = 30


class Verdict(StrEnum):
    """What is said of a column or of a report."""

    NO_DRIFT = "no_drift"
    DRIFT = "drift"
    INSUFFICIENT_DATA = "insufficient_data"


@dataclass(frozen=True, slots=True)
class Rule:
    """When a column has drifted: `alpha` of false alarms over all columns, and the least effect that counts."""

    alpha: float = ALPHA
    tolerance: float = TOLERANCE

    def __post_init__(self) -> None:
        """Raise InvalidArgument unless alpha lies between 0 and 1, and tolerance from 0 to below 1."""
        if not 0.0 < self.alpha < 1.0:
            raise InvalidArgument(f"alpha: {self.alpha}; wanted a share between 0 and 1")
        if not 0.0 <= self.tolerance < 1.0:
            raise InvalidArgument(f"tolerance: {self.tolerance}; wanted 0 or more and less than 1")

    @classmethod
    def asked(cls, alpha: float, tolerance: float) -> "Rule":
        """Return the rule of a request, in which 0 means the default."""
        return cls(alpha if alpha != 0 else ALPHA, tolerance if tolerance != 0 else TOLERANCE)


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureDrift:
    """One column; the message FeatureDrift of drift.proto says what each field is. None is absent."""

    feature: str
    kind: FeatureKind
    verdict: Verdict = Verdict.INSUFFICIENT_DATA
    effect: float = 0.0
    p_value: float = 1.0
    adjusted_p_value: float = 1.0
    reference_rows: int
    current_rows: int
    reference_missing: float
    current_missing: float
    missing_p_value: float = 1.0
    psi: float | None = None
    ks: float | None = None
    ks_error: float | None = None
    wasserstein: float | None = None
    wasserstein_scaled: float | None = None
    js_distance: float | None = None
    reference_mean: float | None = None
    current_mean: float | None = None
    mean_shift: float | None = None
    outside_range: float | None = None
    chi_square: float | None = None
    total_variation: float | None = None
    unseen: tuple[str, ...] = ()

    @property
    def values_enough(self) -> bool:
        """Return whether both sides have values enough to compare."""
        return min(self.reference_rows, self.current_rows) >= VALUES_LEAST

    @property
    def missing_change(self) -> float:
        """Return the difference of the missing shares, without sign."""
        return abs(self.current_missing - self.reference_missing)


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftReport:
    """All columns; the message DriftReport of drift.proto says what each field is, but for the model's own name."""

    verdict: Verdict
    drifted: tuple[str, ...]
    features: tuple[FeatureDrift, ...]
    reference_rows: int
    current_rows: int
    alpha: float
    tolerance: float
    mean_cosine: float
    against_baseline: bool
    rule: str


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p values corrected for being many (Holm, 1979), in the order they came.

    The i-th smallest of k is multiplied by k - i + 1, never falls below the one before, and never exceeds 1.
    """
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    adjusted = [1.0] * len(p_values)
    floor = 0.0
    for rank, place in enumerate(order):
        floor = max(floor, min(1.0, p_values[place] * (len(order) - rank)))
        adjusted[place] = floor
    return adjusted


def judge(
    features: Sequence[FeatureDrift],
    *,
    reference_rows: int,
    current_rows: int,
    rule: Rule,
    mean_cosine: float,
    against_baseline: bool,
) -> DriftReport:
    """Return the report on measured columns: their adjusted p values and verdicts, and what follows for the whole."""
    rows_enough = min(reference_rows, current_rows) >= VALUES_LEAST
    of_values = [place for place, feature in enumerate(features) if feature.values_enough]
    # A test that nothing missing on either side has decided beforehand would only weaken the others.
    of_missing = [
        place for place, f in enumerate(features) if rows_enough and f.reference_missing + f.current_missing > 0
    ]
    adjusted = holm([features[i].p_value for i in of_values] + [features[i].missing_p_value for i in of_missing])
    by_value = dict(zip(of_values, adjusted, strict=False))
    by_missing = dict(zip(of_missing, adjusted[len(of_values) :], strict=True))
    judged = tuple(
        _judged(feature, by_value.get(place, 1.0), by_missing.get(place, 1.0), rule)
        for place, feature in enumerate(features)
    )
    return DriftReport(
        verdict=overall([feature.verdict for feature in judged]),
        drifted=_names_by_effect(judged),
        features=judged,
        reference_rows=reference_rows,
        current_rows=current_rows,
        alpha=rule.alpha,
        tolerance=rule.tolerance,
        mean_cosine=mean_cosine,
        against_baseline=against_baseline,
        rule=explain(rule, against_baseline, len(adjusted)),
    )


def overall(verdicts: Sequence[Verdict]) -> Verdict:
    """Return DRIFT when any column drifted, NO_DRIFT when every column was judged and none did, else too few data."""
    if Verdict.DRIFT in verdicts:
        return Verdict.DRIFT
    if not verdicts or Verdict.INSUFFICIENT_DATA in verdicts:
        return Verdict.INSUFFICIENT_DATA
    return Verdict.NO_DRIFT


def explain(rule: Rule, against_baseline: bool, tests: int) -> str:
    """Return in words how verdicts are reached."""
    ks = (
        "Kolmogorov-Smirnov over the baseline's bins (never too large, at most ks_error too small)"
        if against_baseline
        else "Kolmogorov-Smirnov over all values, exact"
    )
    return (
        f"A column drifted when its effect is above {rule.tolerance:g} and its p value, after Holm's correction over "
        f"the {tests} tests of this report, is below {rule.alpha:g}. Numbers: {ks}, asymptotic p value at the "
        "effective size. Categories: total variation, and the p value of a two-sample chi-square test with expected "
        "counts below 5 pooled. Missing values: the change of their share, and the p value of a two-proportion test. "
        f"With fewer than {VALUES_LEAST} values on either side the values of a column are not judged. "
        "PSI and JS distance, over ten groups of the reference's quantile bins, decide nothing."
    )


def _judged(feature: FeatureDrift, by_value: float, by_missing: float, rule: Rule) -> FeatureDrift:
    values_drifted = by_value < rule.alpha and feature.effect > rule.tolerance
    missing_drifted = by_missing < rule.alpha and feature.missing_change > rule.tolerance
    verdict = Verdict.NO_DRIFT if feature.values_enough else Verdict.INSUFFICIENT_DATA
    if values_drifted or missing_drifted:
        verdict = Verdict.DRIFT
    return replace(
        feature,
        verdict=verdict,
        p_value=feature.p_value if feature.values_enough else 1.0,
        adjusted_p_value=by_value,
    )


def _names_by_effect(features: Sequence[FeatureDrift]) -> tuple[str, ...]:
    drifted = [feature for feature in features if feature.verdict is Verdict.DRIFT]
    drifted.sort(key=lambda feature: -max(feature.effect, feature.missing_change))
    return tuple(feature.feature for feature in drifted)
