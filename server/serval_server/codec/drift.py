"""Baselines, drift reports and windows as messages."""

import dataclasses
from datetime import UTC, datetime
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp
from serval_protos.v1 import drift_pb2
from serval_registry.baseline import Baseline, FeatureBaseline
from serval_registry.model import Version

from serval_server.codec.records import kind_number, timestamp
from serval_server.monitor.life import ColumnLife, LifeReport, promise
from serval_server.monitor.live import LiveDrift
from serval_server.monitor.report import DriftReport, FeatureDrift, Severity, Verdict


def baseline_message(version: Version, baseline: Baseline) -> drift_pb2.Baseline:
    """Return a version's baseline as a message."""
    return drift_pb2.Baseline(
        name=version.name,
        version=version.version,
        rows=baseline.rows,
        features=map(_column, baseline.features),
        created=timestamp(baseline.created.astimezone(UTC)),
    )


def report_message(version: Version, report: DriftReport) -> drift_pb2.DriftReport:
    """Return a report on a version as a message."""
    return drift_pb2.DriftReport(
        name=version.name,
        version=version.version,
        **fields(
            report,
            verdict=_number(report.verdict),
            severity=_severity(report.severity),
            features=map(_drift_of, report.features),
        ),
    )


def live_message(
    version: Version,
    live: LiveDrift,
    baseline: Baseline | None = None,
    *,
    whole: bool = False,
    life: LifeReport | None = None,
) -> drift_pb2.LiveDrift:
    """Return what is said of a window as a message, `whole`: with its distributions and those of the baseline."""
    message = drift_pb2.LiveDrift(
        report=report_message(version, live.report),
        start=_moment(live.start),
        end=_moment(live.end),
        rows=live.rows,
        unobserved=live.unobserved,
        other_rows=live.other_rows,
        life=life_message(life) if life is not None else None,
    )
    if whole:
        message.reference.extend(map(_column, baseline.features if baseline is not None else ()))
        message.current.extend(map(_column, live.current))
        message.outputs.extend(map(_column, live.outputs))
    return message


def life_message(life: LifeReport) -> drift_pb2.Life:
    """Return what is known of a life as a message."""
    return drift_pb2.Life(
        **fields(
            life, began=_moment(life.began), looked_at=_moment(life.looked_at), columns=map(_column_life, life.columns)
        ),
        p_value=life.p_value,
        alarmed=[column.feature for column in life.alarmed],
        rule=promise(life),
    )


def _column_life(column: ColumnLife) -> drift_pb2.ColumnLife:
    alarm = column.alarm
    if alarm is None:
        return drift_pb2.ColumnLife(**fields(column))
    acknowledged = _moment(alarm.acknowledged) if alarm.acknowledged is not None else None
    said = drift_pb2.Alarm(**fields(alarm, since=_moment(alarm.since), acknowledged=acknowledged))
    return drift_pb2.ColumnLife(**fields(column, alarm=said))


def _moment(seconds: float) -> Timestamp:
    return timestamp(datetime.fromtimestamp(seconds, UTC))


def _column(feature: FeatureBaseline) -> drift_pb2.FeatureBaseline:
    return drift_pb2.FeatureBaseline(**fields(feature, kind=kind_number(feature.kind)))


def _drift_of(feature: FeatureDrift) -> drift_pb2.FeatureDrift:
    return drift_pb2.FeatureDrift(
        **fields(
            feature,
            kind=kind_number(feature.kind),
            verdict=_number(feature.verdict),
            severity=_severity(feature.severity),
        )
    )


def _number(verdict: Verdict) -> drift_pb2.Verdict:
    return drift_pb2.Verdict.Value(verdict.name)  # type: ignore[no-any-return]


def _severity(severity: Severity) -> drift_pb2.Severity:
    return drift_pb2.Severity.Value(f"SEVERITY_{severity.name}")  # type: ignore[no-any-return]


def fields(record: Any, **override: object) -> dict[str, Any]:
    """Return a record's fields by name, as the message of the same name has them; None is absent."""
    return {field.name: getattr(record, field.name) for field in dataclasses.fields(record)} | override
