"""Quality reports as plain values; the meaning of each figure is written in drift.proto as well."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from serval_protos.v1 import drift_pb2

from serval_client.records import FeatureKind, kind_of


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityPart:
    """One part of the score: the share of what is right, 0 to 1, and the power to which it enters the score."""

    name: str
    share: float
    weight: float


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityIssue:
    """One thing that is wrong: which check found it, in which column ("" for whole rows), in how many rows.

    share: of rows, 0 to 1. row: the first such row, from 0; -1 where it is of no row.
    """

    check: str
    column: str
    count: int
    share: float
    row: int
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnProfile:
    """What a column looks like; what its kind does not have is None.

    mean, deviation (divisor n), minimum, maximum and quantiles (at 0.05, 0.25, 0.5, 0.75, 0.95) are of finite values.
    frequent: at most 10 values with their counts, most frequent first.
    """

    name: str
    kind: FeatureKind
    rows: int
    missing: int
    infinite: int
    distinct: int
    outliers: int
    mean: float | None
    deviation: float | None
    minimum: float | None
    maximum: float | None
    quantiles: tuple[float, ...]
    frequent: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityReport:
    """What is wrong with a sample. score: 0 to 1, the product of the parts to the power of their weights.

    unchecked: the checks that could not be made, and why: of a live window, those that counts cannot tell.
    """

    name: str
    version: int
    rows: int
    score: float
    parts: tuple[QualityPart, ...]
    columns: tuple[ColumnProfile, ...]
    issues: tuple[QualityIssue, ...]
    unchecked: Mapping[str, str]

    @property
    def ref(self) -> str:
        """The reference that names the version whose features were wanted, such as "churn@3"."""
        return f"{self.name}@{self.version}"


_OPTIONAL = ("mean", "deviation", "minimum", "maximum")


def report(message: drift_pb2.QualityReport) -> QualityReport:
    """Read a QualityReport message."""
    return QualityReport(
        name=message.name,
        version=message.version,
        rows=message.rows,
        score=message.score,
        parts=tuple(QualityPart(**_fields(part, QualityPart)) for part in message.parts),
        columns=tuple(_column(column) for column in message.columns),
        issues=tuple(QualityIssue(**_fields(issue, QualityIssue)) for issue in message.issues),
        unchecked={entry.check: entry.reason for entry in message.unchecked},
    )


def _column(message: drift_pb2.ColumnProfile) -> ColumnProfile:
    known = _fields(message, ColumnProfile) | {
        "kind": kind_of(message.kind),
        "quantiles": tuple(message.quantiles),
        "frequent": tuple((entry.value, entry.count) for entry in message.frequent),
    }
    known |= {name: None for name in _OPTIONAL if not message.HasField(name)}
    return ColumnProfile(**known)


def _fields(message: Any, record: type) -> dict[str, Any]:
    return {entry.name: getattr(message, entry.name) for entry in fields(record)}
