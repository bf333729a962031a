"""The calls of serval.v1.DriftService."""

from collections.abc import Iterable
from datetime import UTC, datetime

from serval_protos.v1 import drift_pb2

from serval_client import drift, errors, forms, life, quality
from serval_client.calls import LIST_REPORTS, Call


def detect_drift(
    model: str,
    current: forms.RowsLike,
    reference: forms.RowsLike,
    alpha: float | None,
    tolerance: float | None,
    compatibility: str,
) -> Call[drift.DriftReport]:
    """Return the DetectDrift call."""
    request = drift_pb2.DetectDriftRequest(
        model=model,
        current=forms.to_message(current, "current"),
        reference=None if reference is None else forms.to_message(reference, "reference"),
        alpha=_share(alpha, "alpha"),
        tolerance=_tolerance(tolerance),
        compatibility=compatibility,
    )
    return Call("/serval.v1.DriftService/DetectDrift", request, drift.report)


def drift_request(
    model: str,
    window: drift.WindowLike,
    alpha: float | None,
    tolerance: float | None,
    distributions: bool,
    compatibility: str = "",
) -> drift_pb2.GetDriftRequest:
    """Return what GetDrift and WatchDrift ask with."""
    return drift_pb2.GetDriftRequest(
        model=model,
        window=drift.window(window),
        alpha=_share(alpha, "alpha"),
        tolerance=_tolerance(tolerance),
        include_distributions=distributions,
        compatibility=compatibility,
    )


def live_drift(request: drift_pb2.GetDriftRequest) -> Call[drift.LiveDrift]:
    """Return the GetDrift call."""
    return Call("/serval.v1.DriftService/GetDrift", request, drift.live)


def watch_drift(request: drift_pb2.GetDriftRequest, interval: float) -> drift_pb2.WatchDriftRequest:
    """Return the request of WatchDrift."""
    return drift_pb2.WatchDriftRequest(drift=request, interval=interval)


def list_reports(
    model: str, since: datetime | None, until: datetime | None, page_size: int, page_token: str
) -> Call[tuple[list[drift.LiveDrift], str]]:
    """Return the ListReports call for one page; the answer is its reports and the next page's token."""
    request = drift_pb2.ListReportsRequest(model=model, page_size=page_size, page_token=page_token)
    if since is not None:
        request.since.FromDatetime(since.astimezone(UTC))
    if until is not None:
        request.until.FromDatetime(until.astimezone(UTC))
    return Call(LIST_REPORTS, request, lambda r: ([*map(drift.live, r.reports)], r.next_page_token))


def acknowledge_alarms(model: str, features: Iterable[str], note: str, begin_anew: bool) -> Call[life.Life]:
    """Return the AcknowledgeAlarms call."""
    request = drift_pb2.AcknowledgeAlarmsRequest(model=model, features=features, note=note, begin_anew=begin_anew)
    return Call("/serval.v1.DriftService/AcknowledgeAlarms", request, life.life)


def check_quality(
    model: str, sample: forms.RowsLike, reference: forms.RowsLike, label: str, live: bool, window: drift.WindowLike
) -> Call[quality.QualityReport]:
    """Return the CheckQuality call."""
    request = drift_pb2.CheckQualityRequest(
        model=model,
        sample=None if sample is None else forms.to_message(sample, "sample"),
        reference=None if reference is None else forms.to_message(reference, "reference"),
        label=label,
        window=drift.window(window) or (drift_pb2.Window() if live else None),
    )
    return Call("/serval.v1.DriftService/CheckQuality", request, quality.report)


def set_baseline(model: str, sample: forms.RowsLike) -> Call[drift.Baseline]:
    """Return the SetBaseline call."""
    request = drift_pb2.SetBaselineRequest(model=model, sample=forms.to_message(sample, "sample"))
    return Call("/serval.v1.DriftService/SetBaseline", request, drift.baseline)


def get_baseline(model: str) -> Call[drift.Baseline]:
    """Return the GetBaseline call."""
    return Call("/serval.v1.DriftService/GetBaseline", drift_pb2.GetBaselineRequest(model=model), drift.baseline)


def _share(value: float | None, field: str) -> float:
    """Return 0, the server's default, for None; the contract cannot say 0 itself."""
    if value is None:
        return 0.0
    if not 0 < value < 1:
        raise errors.InvalidArgument(f"{field}: got {value}, wanted more than 0 and less than 1")
    return value


def _tolerance(value: float | None) -> float | None:
    """Return None, unset, for the server's default."""
    if value is not None and not 0 <= value < 1:
        raise errors.InvalidArgument(f"tolerance: got {value}, wanted 0 or more and less than 1")
    return value
