"""Reports on the quality of samples as messages."""

from serval_protos.v1 import drift_pb2
from serval_registry.model import Version

from serval_server.codec.drift import fields
from serval_server.codec.records import kind_number
from serval_server.monitor.profile import ColumnProfile
from serval_server.monitor.quality import WEIGHTS, QualityReport


def quality_message(version: Version, report: QualityReport) -> drift_pb2.QualityReport:
    """Return a report on a version's sample as a message."""
    return drift_pb2.QualityReport(
        name=version.name,
        version=version.version,
        rows=report.rows,
        score=report.score,
        parts=[
            drift_pb2.QualityPart(name=name, share=part, weight=WEIGHTS[name]) for name, part in report.parts.items()
        ],
        columns=map(_profile, report.columns),
        issues=[drift_pb2.QualityIssue(**fields(issue)) for issue in report.issues],
        unchecked=[drift_pb2.UncheckedQuality(check=check, reason=why) for check, why in report.unchecked.items()],
    )


def _profile(column: ColumnProfile) -> drift_pb2.ColumnProfile:
    frequent = [drift_pb2.ValueCount(value=value, count=count) for value, count in column.frequent]
    return drift_pb2.ColumnProfile(**fields(column, kind=kind_number(column.kind), frequent=frequent))
