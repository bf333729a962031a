"""serval.v1.DriftService."""

import dataclasses
from datetime import UTC
from typing import Any

import grpc
from serval_protos.v1 import drift_pb2, drift_pb2_grpc
from serval_registry import baseline as baselines
from serval_registry.baseline import Baseline
from serval_registry.errors import FailedPrecondition, NotFound
from serval_registry.model import Ref, Table, Version
from serval_registry.registry import Registry

from serval_server.codec import arrow
from serval_server.codec.columns import Columns
from serval_server.codec.records import kind_number, timestamp
from serval_server.errors import unary
from serval_server.monitor.compare import compare_tables, compare_with_baseline
from serval_server.monitor.profile import ColumnProfile
from serval_server.monitor.quality import WEIGHTS, QualityReport, check_quality
from serval_server.monitor.report import DriftReport, FeatureDrift, Severity, Verdict
from serval_server.monitor.severity import weights_of
from serval_server.monitor.verdict import Rule


class DriftServicer(drift_pb2_grpc.DriftServiceServicer):
    """Baselines, and samples compared with them."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    @unary
    def SetBaseline(self, request: drift_pb2.SetBaselineRequest, context: grpc.ServicerContext) -> drift_pb2.Baseline:
        """Compute from a sample and store."""
        version = self._registry.resolve(Ref.parse(request.model))
        table = _columns(version).table(request.sample, "sample")
        baseline = baselines.compute(table, version.features)
        self._registry.set_baseline(version.name, version.version, baselines.to_bytes(baseline), baseline.rows)
        return _baseline_message(version, baseline)

    @unary
    def GetBaseline(self, request: drift_pb2.GetBaselineRequest, context: grpc.ServicerContext) -> drift_pb2.Baseline:
        """Return what is stored."""
        version = self._registry.resolve(Ref.parse(request.model))
        baseline = self._baseline(version)
        if baseline is None:
            raise NotFound(f"{version.ref} has no baseline; set one with SetBaseline")
        return _baseline_message(version, baseline)

    @unary
    def DetectDrift(
        self, request: drift_pb2.DetectDriftRequest, context: grpc.ServicerContext
    ) -> drift_pb2.DriftReport:
        """Compare a sample with the baseline or with a reference."""
        version = self._registry.resolve(Ref.parse(request.model))
        rule = Rule.asked(request.alpha, request.tolerance if request.HasField("tolerance") else None)
        columns, weights = _columns(version), weights_of(version.metrics)
        current = columns.table(request.current, "current")
        if request.HasField("reference"):
            reference = columns.table(request.reference, "reference")
            return _report_message(version, compare_tables(current, reference, version.features, rule, weights))
        baseline = self._baseline(version)
        if baseline is None:
            raise FailedPrecondition(
                f"{version.ref} has no baseline: register it with a sample, call SetBaseline, or send a reference"
            )
        return _report_message(version, compare_with_baseline(current, baseline, rule, weights))

    @unary
    def CheckQuality(
        self, request: drift_pb2.CheckQualityRequest, context: grpc.ServicerContext
    ) -> drift_pb2.QualityReport:
        """Check a sample, or the one that the version was registered with."""
        version = self._registry.resolve(Ref.parse(request.model))
        reference = None
        if request.HasField("reference"):
            reference = _columns(version).any_table(request.reference, "reference")
        report = check_quality(
            self._sample(version, request),
            features=version.features,
            baseline=self._baseline(version),
            label=request.label,
            reference=reference,
        )
        return _quality_message(version, report)

    def _sample(self, version: Version, request: drift_pb2.CheckQualityRequest) -> Table:
        if request.HasField("sample"):
            return _columns(version).any_table(request.sample, "sample")
        kept = self._registry.sample(version)
        if kept is None:
            raise FailedPrecondition(f"{version.ref} was registered without a sample; send one")
        return arrow.read_table(kept, "sample")

    def _baseline(self, version: Version) -> Baseline | None:
        stored = self._registry.baseline(version.name, version.version)
        return baselines.from_bytes(stored) if stored is not None else None


def _columns(version: Version) -> Columns:
    return Columns(str(version.ref), version.features, version.signature)


def _baseline_message(version: Version, baseline: Baseline) -> drift_pb2.Baseline:
    return drift_pb2.Baseline(
        name=version.name,
        version=version.version,
        rows=baseline.rows,
        features=[
            drift_pb2.FeatureBaseline(**_fields(feature, kind=kind_number(feature.kind)))
            for feature in baseline.features
        ],
        created=timestamp(baseline.created.astimezone(UTC)),
    )


def _report_message(version: Version, report: DriftReport) -> drift_pb2.DriftReport:
    return drift_pb2.DriftReport(
        name=version.name,
        version=version.version,
        **_fields(
            report,
            verdict=_number(report.verdict),
            severity=_severity(report.severity),
            features=[_feature(feature) for feature in report.features],
        ),
    )


def _feature(feature: FeatureDrift) -> drift_pb2.FeatureDrift:
    return drift_pb2.FeatureDrift(
        **_fields(
            feature,
            kind=kind_number(feature.kind),
            verdict=_number(feature.verdict),
            severity=_severity(feature.severity),
        )
    )


def _quality_message(version: Version, report: QualityReport) -> drift_pb2.QualityReport:
    return drift_pb2.QualityReport(
        name=version.name,
        version=version.version,
        rows=report.rows,
        score=report.score,
        parts=[
            drift_pb2.QualityPart(name=name, share=part, weight=WEIGHTS[name]) for name, part in report.parts.items()
        ],
        columns=[_profile(column) for column in report.columns],
        issues=[drift_pb2.QualityIssue(**_fields(issue)) for issue in report.issues],
    )


def _profile(column: ColumnProfile) -> drift_pb2.ColumnProfile:
    frequent = [drift_pb2.ValueCount(value=value, count=count) for value, count in column.frequent]
    return drift_pb2.ColumnProfile(**_fields(column, kind=kind_number(column.kind), frequent=frequent))


def _number(verdict: Verdict) -> drift_pb2.Verdict:
    return drift_pb2.Verdict.Value(verdict.name)  # type: ignore[no-any-return]


def _severity(severity: Severity) -> drift_pb2.Severity:
    return drift_pb2.Severity.Value(f"SEVERITY_{severity.name}")  # type: ignore[no-any-return]


def _fields(record: Any, **override: object) -> dict[str, Any]:
    """Return a record's fields by name, as the message of the same name has them; None is absent."""
    return {field.name: getattr(record, field.name) for field in dataclasses.fields(record)} | override
