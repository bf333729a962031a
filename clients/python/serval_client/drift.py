"""Drift reports and baselines as plain values; the meaning of each figure is written in drift.proto as well."""

import re
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from serval_protos.v1 import drift_pb2

from serval_client import life as lives
from serval_client.errors import InvalidArgument
from serval_client.life import Life
from serval_client.records import FeatureKind, kind_of

WindowLike: TypeAlias = timedelta | float | str | None

_SHIFT_LONG = 1e4  # from here on two decimals are of no use to anyone

_SPAN = re.compile(r"(?P<number>\d+(\.\d+)?) ?(?P<unit>s|m|h|d|rows)")
_ROWS_MAX = 2**63 - 1
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


class Verdict(StrEnum):
    """What a comparison came to. Too few rows is never to be read as "no drift"."""

    NO_DRIFT = "no_drift"
    DRIFT = "drift"
    INSUFFICIENT_DATA = "insufficient_data"


class Severity(StrEnum):
    """How much a drift matters, by its effect and the column's weight; NONE where nothing drifted."""

    NONE = "none"
    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


def shift_told(shift: float) -> str:
    """Return a shift of a mean as people read it: +1.50, or +9.8e+29 where it is huge."""
    return f"{shift:+.2f}" if abs(shift) < _SHIFT_LONG else f"{shift:+.1e}"


def share_told(share: float) -> str:
    """Return a share as people read it: 70 %, or 0.03 %; only none is 0 %, and only all is 100 %."""
    if share >= 1:
        return "100 %"
    return f"{min(100 * share, 99):.0f} %" if share >= 0.1 else f"{100 * share:.2g} %"


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureDrift:
    """How one column differs; a statistic that does not apply to its kind is None.

    effect: 0 to 1, the Kolmogorov-Smirnov distance, or the total variation with rare categories taken together.
    effect_lower, effect_upper: the true effect lies between them, for all columns at once, but for alpha of samples.
    p_value: of no difference; adjusted_p_value: of a true effect of at most the tolerance, after Holm's correction.
    missing_adjusted_p_value: the same of the change of the missing share.
    effect_noise: what of the effect chance alone makes (categories); effect_hidden: by how much it may be too small.
    weight: the column's importance, 1 for the most important. summary: the column in plain words.
    method, score, threshold: what another tool takes, finds, and holds that against; see DriftReport.compatibility.
    reference_rows, current_rows: rows that are not missing; reference_missing, current_missing: shares of rows, 0 to 1.
    missing_p_value: of an equal missing share.
    psi: population stability index, natural logarithm, ten bins. ks may be too small by at most ks_error.
    wasserstein: in the column's own units; wasserstein_scaled: divided by the reference's standard deviation.
    js_distance: base 2, 0 to 1. mean_shift: in standard deviations of the reference.
    outside_range: share of current rows outside the reference's minimum and maximum.
    unseen: categories that the reference does not have, most frequent first.
    """

    feature: str
    kind: FeatureKind
    verdict: Verdict
    effect: float
    p_value: float
    adjusted_p_value: float
    reference_rows: int
    current_rows: int
    reference_missing: float
    current_missing: float
    missing_p_value: float
    psi: float | None
    ks: float | None
    ks_error: float | None
    wasserstein: float | None
    wasserstein_scaled: float | None
    js_distance: float | None
    reference_mean: float | None
    current_mean: float | None
    mean_shift: float | None
    outside_range: float | None
    chi_square: float | None
    total_variation: float | None
    unseen: tuple[str, ...]
    effect_lower: float
    effect_upper: float
    effect_noise: float
    effect_hidden: float
    missing_adjusted_p_value: float
    severity: Severity
    weight: float
    summary: str
    method: str
    score: float | None
    threshold: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftReport:
    """How a current sample differs from a version's baseline, or from a reference that was sent along.

    verdict: DRIFT when any column drifted; drifted: those columns, largest effect first.
    alpha: share of false alarms allowed over all columns together; tolerance: the largest effect that does not.
    mean_cosine: cosine between the mean vectors of the numeric columns, -1 to 1; 0 where either is zero.
    rule: how the verdicts were reached, in words. summary: the columns that matter most, in plain words.
    compatibility: whose verdicts these are, "evidently" or "nannyml"; empty for serval's.
    """

    name: str
    version: int
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
    severity: Severity
    summary: str
    compatibility: str

    @property
    def ref(self) -> str:
        """The reference that names the version compared with, such as "churn@3"."""
        return f"{self.name}@{self.version}"

    def __getitem__(self, feature: str) -> FeatureDrift:
        for entry in self.features:
            if entry.feature == feature:
                return entry
        raise KeyError(feature)


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureBaseline:
    """What is kept of one column of a sample.

    Numeric: bin i counts edges[i-1] < x <= edges[i], the outer bins are open, so counts is one longer than edges; mean,
    variance (divisor n), minimum and maximum are of the finite values. Texts and flags: categories, most frequent
    first, with their counts; the rest is in other_count.
    """

    feature: str
    kind: FeatureKind
    rows: int
    missing: int
    infinite: int
    edges: npt.NDArray[np.float64]
    counts: npt.NDArray[np.int64]
    mean: float
    variance: float
    minimum: float
    maximum: float
    categories: tuple[str, ...]
    category_counts: npt.NDArray[np.int64]
    other_count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """The statistics of the sample that a version is compared with."""

    name: str
    version: int
    rows: int
    features: tuple[FeatureBaseline, ...]
    created: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveDrift:
    """How the rows that a version was asked for lately differ from its baseline.

    start, end: of the window; it may begin somewhat before what was asked for. rows: that were looked at; unobserved:
    that were answered while the observer could not keep up; other_rows: counted by the edges of another baseline, and
    so not compared. reference, current: the features of the baseline and of the window, in the same bins; outputs: what
    was answered. These three are empty unless they were asked for. life: None where no row was looked at under the
    version's baseline. raised: of a report that was kept for an alarm, the columns that were found to drift then.
    """

    report: DriftReport
    start: datetime
    end: datetime
    rows: int
    unobserved: int
    other_rows: int
    reference: tuple[FeatureBaseline, ...]
    current: tuple[FeatureBaseline, ...]
    outputs: tuple[FeatureBaseline, ...]
    life: Life | None
    raised: tuple[str, ...]

    @property
    def unobserved_share(self) -> float:
        """The share of all rows in the window that nobody looked at, 0 to 1: all that is said is of the others."""
        return self.unobserved / max(self.rows + self.other_rows + self.unobserved, 1)


_OPTIONAL = tuple(
    name for name, entry in drift_pb2.FeatureDrift.DESCRIPTOR.fields_by_name.items() if entry.has_presence
)
_READ = frozenset({"kind", "verdict", "severity", "unseen", *_OPTIONAL})
_PLAIN = tuple(entry.name for entry in fields(FeatureDrift) if entry.name not in _READ)


def report(message: drift_pb2.DriftReport) -> DriftReport:
    """Read a DriftReport message."""
    return DriftReport(
        name=message.name,
        version=message.version,
        verdict=_verdict(message.verdict),
        drifted=tuple(message.drifted),
        features=tuple(_feature_drift(feature) for feature in message.features),
        reference_rows=message.reference_rows,
        current_rows=message.current_rows,
        alpha=message.alpha,
        tolerance=message.tolerance,
        mean_cosine=message.mean_cosine,
        against_baseline=message.against_baseline,
        rule=message.rule,
        severity=_severity(message.severity),
        summary=message.summary,
        compatibility=message.compatibility,
    )


def baseline(message: drift_pb2.Baseline) -> Baseline:
    """Read a Baseline message."""
    return Baseline(
        name=message.name,
        version=message.version,
        rows=message.rows,
        features=tuple(_feature_baseline(feature) for feature in message.features),
        created=message.created.ToDatetime(UTC),
    )


def live(message: drift_pb2.LiveDrift) -> LiveDrift:
    """Read a LiveDrift message."""
    return LiveDrift(
        report=report(message.report),
        start=message.start.ToDatetime(UTC),
        end=message.end.ToDatetime(UTC),
        rows=message.rows,
        unobserved=message.unobserved,
        other_rows=message.other_rows,
        reference=tuple(map(_feature_baseline, message.reference)),
        current=tuple(map(_feature_baseline, message.current)),
        outputs=tuple(map(_feature_baseline, message.outputs)),
        life=lives.life(message.life) if message.HasField("life") else None,
        raised=tuple(message.raised),
    )


def window(asked: WindowLike) -> drift_pb2.Window | None:
    """Return the message for a span: a timedelta, seconds, or words such as "90s", "15m", "1h", "7d" or "5000 rows".

    None is the server's default. Raises InvalidArgument for others.
    """
    match asked:
        case None:
            return None
        case timedelta():
            return drift_pb2.Window(seconds=asked.total_seconds())
        case str():
            found = _SPAN.fullmatch(asked.strip())
            if found is None:
                raise InvalidArgument(f"window: {asked[:40]!r}; wanted such as 90s, 15m, 1h, 7d or '5000 rows'")
            if found["unit"] == "rows":
                return drift_pb2.Window(rows=min(int(found["number"].partition(".")[0]), _ROWS_MAX))
            return drift_pb2.Window(seconds=float(found["number"]) * _UNITS[found["unit"]])
    return drift_pb2.Window(seconds=float(asked))


def _feature_drift(message: drift_pb2.FeatureDrift) -> FeatureDrift:
    plain: dict[str, Any] = {name: getattr(message, name) for name in _PLAIN}
    optional: dict[str, Any] = {name: getattr(message, name) if message.HasField(name) else None for name in _OPTIONAL}
    return FeatureDrift(
        kind=kind_of(message.kind),
        verdict=_verdict(message.verdict),
        severity=_severity(message.severity),
        unseen=tuple(message.unseen),
        **plain,
        **optional,
    )


def _feature_baseline(message: drift_pb2.FeatureBaseline) -> FeatureBaseline:
    return FeatureBaseline(
        feature=message.feature,
        kind=kind_of(message.kind),
        rows=message.rows,
        missing=message.missing,
        infinite=message.infinite,
        edges=np.array(message.edges, np.float64),
        counts=np.array(message.counts, np.int64),
        mean=message.mean,
        variance=message.variance,
        minimum=message.minimum,
        maximum=message.maximum,
        categories=tuple(message.categories),
        category_counts=np.array(message.category_counts, np.int64),
        other_count=message.other_count,
    )


def _verdict(number: int) -> Verdict:
    """Return a verdict by its number; one that says nothing is a lack of data, not a lack of drift."""
    verdicts: dict[int, Verdict] = {drift_pb2.NO_DRIFT: Verdict.NO_DRIFT, drift_pb2.DRIFT: Verdict.DRIFT}
    return verdicts.get(number, Verdict.INSUFFICIENT_DATA)


def _severity(number: int) -> Severity:
    name = drift_pb2.Severity.Name(number) if number in drift_pb2.Severity.values() else "SEVERITY_NONE"
    return Severity.__members__.get(name.removeprefix("SEVERITY_"), Severity.NONE)
