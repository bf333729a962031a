"""What a comparison comes to: plain values; drift.proto says what each field is."""

from dataclasses import dataclass
from enum import StrEnum

from serval_registry.model import FeatureKind


class Verdict(StrEnum):
    """What is said of a column or of a report."""

    NO_DRIFT = "no_drift"
    DRIFT = "drift"
    INSUFFICIENT_DATA = "insufficient_data"


class Severity(StrEnum):
    """How much a drift matters, by its size and the column's weight; NONE where nothing drifted."""

    NONE = "none"
    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


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
    effect_lower: float = 0.0
    effect_upper: float = 1.0
    effect_noise: float = 0.0
    effect_hidden: float = 0.0
    missing_adjusted_p_value: float = 1.0
    severity: Severity = Severity.NONE
    weight: float = 1.0
    summary: str = ""
    method: str = ""
    score: float | None = None
    threshold: float | None = None

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
    severity: Severity = Severity.NONE
    summary: str = ""
    compatibility: str = ""
