"""Verdicts: from what was measured on each column to what is said of it.

Rules. A column drifts when we are confident that its effect exceeds the tolerance: the p value of "the effect is at
most the tolerance", after Holm's correction over all tests of the report, is below alpha. The same holds for its share
of missing values. So a report without drift names a column for at most the share alpha of samples, for any number of
columns and rows. Where the bound is so wide that a large effect would have been missed, that is what is said, never
that nothing drifted; but rows enough, from which the values went missing, are evidence.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from serval_registry.errors import InvalidArgument
from serval_registry.model import FeatureKind

from serval_server.config import DEFAULT_ALPHA, DEFAULT_TOLERANCE
from serval_server.monitor import bounds
from serval_server.monitor.report import DriftReport, FeatureDrift, Severity, Verdict
from serval_server.monitor.severity import describe, severity_of, summarise, worst

__all__ = ["DriftReport", "FeatureDrift", "Rule", "Severity", "Verdict", "holm", "judge", "overall"]

Numbers = npt.NDArray[Any]

ALPHA = DEFAULT_ALPHA
# The KS distance of a normal that moves by a tenth of its standard deviation.
TOLERANCE = DEFAULT_TOLERANCE
VALUES_LEAST = 30
# A bound wider than this to each side would have missed what is critical.
MARGIN_MOST = 0.2


@dataclass(frozen=True, slots=True)
class Rule:
    """When a column has drifted: `alpha` of false alarms over all columns, and the largest effect that does not count.

    With tolerance 0 any difference counts: the p value is then the column's own, of no difference.
    """

    alpha: float = ALPHA
    tolerance: float = TOLERANCE

    def __post_init__(self) -> None:
        """Raise InvalidArgument unless alpha lies between 0 and 1, and tolerance from 0 to below 1."""
        if not 0.0 < self.alpha < 1.0:
            raise InvalidArgument(f"alpha: {self.alpha}; wanted a share between 0 and 1")
        if not 0.0 <= self.tolerance < 1.0:
            raise InvalidArgument(f"tolerance: {self.tolerance}; wanted 0 or more and less than 1")

    @classmethod
    def asked(cls, alpha: float, tolerance: float | None) -> "Rule":
        """Return the rule of a request, in which alpha 0 and tolerance None mean the default."""
        return cls(alpha if alpha != 0 else ALPHA, TOLERANCE if tolerance is None else tolerance)


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
    weights: Mapping[str, float] | None = None,
) -> DriftReport:
    """Return the report on measured columns: their bounds, adjusted p values and verdicts, and what follows for all.

    Of each column are read: kind, effect with its noise and hidden part, p_value, the sizes and the missing shares.
    `weights` are the columns' weights, 0 to 1, see `severity`; one that is not among them weighs 1, as nobody has said
    that it matters little.
    """
    rows_enough = min(reference_rows, current_rows) >= VALUES_LEAST
    of_values = [place for place, f in enumerate(features) if min(f.reference_rows, f.current_rows) >= VALUES_LEAST]
    # A test that nothing missing on either side has decided beforehand would only weaken the others.
    of_missing = [
        place for place, f in enumerate(features) if rows_enough and f.reference_missing + f.current_missing > 0
    ]
    adjusted = holm(
        _value_p([features[i] for i in of_values], rule.tolerance)
        + _missing_p([features[i] for i in of_missing], (reference_rows, current_rows), rule.tolerance)
    )
    by_value = dict(zip(of_values, adjusted, strict=False))
    by_missing = dict(zip(of_missing, adjusted[len(of_values) :], strict=True))
    margins = _margins(features, rule.alpha / max(len(adjusted), 1))
    judged = tuple(
        _judged(
            feature,
            (by_value.get(place), by_missing.get(place)),
            rule,
            margins[place],
            (weights or {}).get(feature.feature, 1.0),
        )
        for place, feature in enumerate(features)
    )
    verdict = overall([feature.verdict for feature in judged])
    return DriftReport(
        verdict=verdict,
        drifted=_names_by_effect(judged),
        features=judged,
        reference_rows=reference_rows,
        current_rows=current_rows,
        alpha=rule.alpha,
        tolerance=rule.tolerance,
        mean_cosine=mean_cosine,
        against_baseline=against_baseline,
        rule=explain(rule, against_baseline, len(adjusted)),
        severity=worst([feature.severity for feature in judged]),
        summary=summarise(judged, verdict),
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
    how = (
        "Numbers: the bound of Dvoretzky, Kiefer, Wolfowitz and Massart at the effective size. Categories: McDiarmid's "
        "bound above the expected noise, rare categories taken together."
        if rule.tolerance > 0
        else "Numbers: Kolmogorov's limit. Categories: a chi-square test with expected counts below 5 pooled."
    )
    return (
        f"A column drifted when its effect, or the change of its missing share, is above {rule.tolerance:g} with "
        f"confidence: the p value of an effect of at most that, after Holm's correction over the {tests} tests of this "
        f"report, is below {rule.alpha:g}; so all columns together give a false alarm for at most {rule.alpha:g} of "
        f"samples. Effect of numbers: {ks}; of categories: total variation. {how} Missing values: Chernoff's bound on "
        "two shares. effect_lower and effect_upper hold for all columns at once. With fewer than "
        f"{VALUES_LEAST} values on either side, or where the bound is wider than {MARGIN_MOST:g} to each side "
        "and holds the tolerance, there is not enough data. PSI, JS and Wasserstein distances decide nothing."
    )


def _sizes(features: Sequence[FeatureDrift]) -> tuple[Numbers, Numbers, Numbers]:
    """Return both sizes of each column, and the sides of its bound."""
    sides = [bounds.NUMERIC_SIDES if f.kind is FeatureKind.NUMERIC else bounds.CATEGORY_SIDES for f in features]
    return np.array([f.reference_rows for f in features]), np.array([f.current_rows for f in features]), np.array(sides)


def _value_p(features: Sequence[FeatureDrift], tolerance: float) -> list[float]:
    """Return the p values of effects of at most the tolerance."""
    if tolerance == 0:
        return [feature.p_value for feature in features]
    n, m, sides = _sizes(features)
    effects, noise = np.array([f.effect for f in features]), np.array([f.effect_noise for f in features])
    p_values: list[float] = bounds.exceeds_p_value(effects, tolerance, n, m, noise=noise, sides=sides).tolist()
    return p_values


def _missing_p(features: Sequence[FeatureDrift], sizes: tuple[int, int], tolerance: float) -> list[float]:
    """Return the p values of a change of the missing share by at most the tolerance."""
    n, m = sizes
    before, now = (np.array([getattr(f, name) for f in features]) for name in ("reference_missing", "current_missing"))
    p_values: list[float] = bounds.shares_p_value(np.rint(before * n), n, np.rint(now * m), m, tolerance).tolist()
    return p_values


def _margins(features: Sequence[FeatureDrift], level: float) -> list[float]:
    """Return by how much each effect may be off, its expected noise aside, but for the share `level` of samples."""
    n, m, sides = _sizes(features)
    margins: list[float] = bounds.margin(level, n, m, sides=sides).tolist()
    return margins


def _judged(
    feature: FeatureDrift, adjusted: tuple[float | None, float | None], rule: Rule, margin: float, weight: float
) -> FeatureDrift:
    """Return a column with its bounds and verdict; None among the adjusted p values is what was not tested."""
    of_value, of_missing = (1.0 if p_value is None else p_value for p_value in adjusted)
    tested = adjusted[0] is not None
    wide = margin + feature.effect_noise
    upper = min(feature.effect + feature.effect_hidden + wide, 1.0) if tested else 1.0
    # Holm's later steps are wider than the common bound: what they reject is above the tolerance all the same.
    lower = max(feature.effect - wide if tested else 0.0, rule.tolerance if of_value < rule.alpha else 0.0)
    drifted = min(of_value, of_missing) < rule.alpha
    enough = tested and (wide + feature.effect_hidden <= MARGIN_MOST or upper <= rule.tolerance)
    quiet = Verdict.NO_DRIFT if enough else Verdict.INSUFFICIENT_DATA
    feature = replace(
        feature,
        verdict=Verdict.DRIFT if drifted else quiet,
        p_value=feature.p_value if tested else 1.0,
        adjusted_p_value=of_value,
        missing_adjusted_p_value=of_missing,
        effect_lower=lower,
        effect_upper=upper,
        weight=weight,
        severity=severity_of(_size(feature), weight) if drifted else Severity.NONE,
    )
    return replace(feature, summary=describe(feature))


def _size(feature: FeatureDrift) -> float:
    return max(feature.effect, feature.missing_change)


def _names_by_effect(features: Sequence[FeatureDrift]) -> tuple[str, ...]:
    drifted = [feature for feature in features if feature.verdict is Verdict.DRIFT]
    drifted.sort(key=lambda feature: -_size(feature))
    return tuple(feature.feature for feature in drifted)
