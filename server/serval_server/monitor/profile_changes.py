"""What has changed from one profile to another, both of which may have been stored long ago.

Rules. A profile holds figures and no rows, so a change is told and not judged: whether it is more than chance takes
drift's tests, which need counts. Means are compared in pooled standard deviations (Cohen's d). Of categories a profile
lists the most frequent: the change of shares is the total variation of those whose counts both know, the others being
one group, and so at most the true one.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from serval_registry.errors import InvalidArgument
from serval_registry.model import FeatureKind

from serval_server.monitor.profile import QUANTILES, ColumnProfile
from serval_server.monitor.quality import WEIGHTS, Issue, QualityReport

# What JSON has of fields with one value, by their types.
_STORED: Mapping[Any, Any] = {int: int, float: int | float, str: str, float | None: int | float | None}


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnChange:
    """A column of both profiles; None where there is nothing to compare.

    missing: the change of its share, now less before. mean_shift: in pooled standard deviations, infinite where both
    are constant and differ. spread: deviation now over before. below, above: whether the values go further than they
    did. shares: 0 to 1, of categories. kind_before: where it was another one.
    """

    column: str
    missing: float
    distinct: int
    mean_shift: float | None = None
    spread: float | None = None
    below: bool = False
    above: bool = False
    shares: float | None = None
    kind_before: FeatureKind | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileChanges:
    """Two profiles beside each other: the score's change, columns of one only, and issues by check and column."""

    score: float
    columns: tuple[ColumnChange, ...]
    added: tuple[str, ...]
    removed: tuple[str, ...]
    issues_new: tuple[tuple[str, str], ...]
    issues_gone: tuple[tuple[str, str], ...]


def changes(before: QualityReport, now: QualityReport) -> ProfileChanges:
    """Compare two profiles; columns are in the order of `now`."""
    old = {column.name: column for column in before.columns}
    new = {column.name: column for column in now.columns}
    found_before, found_now = (
        dict.fromkeys((issue.check, issue.column) for issue in report.issues) for report in (before, now)
    )
    return ProfileChanges(
        score=now.score - before.score,
        columns=tuple(_change(old[name], column) for name, column in new.items() if name in old),
        added=tuple(name for name in new if name not in old),
        removed=tuple(name for name in old if name not in new),
        issues_new=tuple(issue for issue in found_now if issue not in found_before),
        issues_gone=tuple(issue for issue in found_before if issue not in found_now),
    )


def read_profile(path: Path) -> QualityReport:
    """Return the profile that `serval profile --json` wrote; raises InvalidArgument for another file."""
    return read_stored(path)[0]


def read_stored(path: Path) -> tuple[QualityReport, tuple[str, ...]]:
    """Return the profile that `serval profile --json` wrote, and which columns hold moments; see `read_profile`."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        columns = tuple(
            ColumnProfile(
                **_known(ColumnProfile, column)
                | {
                    "kind": FeatureKind(column["kind"]),
                    "quantiles": tuple(math.nan if q is None else q for q in column["quantiles"]),
                    "frequent": tuple((str(value), int(count)) for value, count in column["frequent"]),
                }
            )
            for column in found["columns"]
        )
        issues = tuple(Issue(**_known(Issue, issue)) for issue in found["issues"])
        whole = {
            "columns": columns,
            "issues": issues,
            "parts": {name: float(found["parts"][name]) for name in WEIGHTS if name in found["parts"]},
            "unchecked": {str(check): str(why) for check, why in found.get("unchecked", {}).items()},
        }
        report = QualityReport(**_known(QualityReport, found) | whole)
        if not all(count > 0 for count in (report.rows, *(column.rows for column in columns))):
            raise ValueError("no rows")
        if any(len(column.quantiles) not in (0, len(QUANTILES)) for column in columns):
            raise ValueError("quantiles")
        return report, tuple(found.get("moments", ()))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        text = f"{type(error).__name__}: {error}"[:100]
        raise InvalidArgument(f"{path.name}: is no profile that serval profile --json wrote ({text})") from error


def _known(record: type, found: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a record has fields for; a later serval may have written more. TypeError for other than is stored."""
    kinds = {field.name: field.type for field in fields(record)}
    known = {name: value for name, value in found.items() if name in kinds}
    for name, value in known.items():
        if kinds[name] in _STORED and not isinstance(value, _STORED[kinds[name]]):
            raise TypeError(f"{name}: {value!r:.20}")
    return known


def _change(before: ColumnProfile, now: ColumnProfile) -> ColumnChange:
    both_numbers = before.kind is now.kind is FeatureKind.NUMERIC
    return ColumnChange(
        column=now.name,
        missing=now.missing / now.rows - before.missing / before.rows,
        distinct=now.distinct - before.distinct,
        mean_shift=_mean_shift(before, now) if both_numbers else None,
        spread=_ratio(now.deviation, before.deviation) if both_numbers else None,
        below=both_numbers and _less(now.minimum, before.minimum),
        above=both_numbers and _less(before.maximum, now.maximum),
        shares=_shares(before, now) if before.kind is now.kind and not both_numbers else None,
        kind_before=None if before.kind is now.kind else before.kind,
    )


def _mean_shift(before: ColumnProfile, now: ColumnProfile) -> float | None:
    if before.mean is None or now.mean is None or before.deviation is None or now.deviation is None:
        return None
    n, m = before.present - before.infinite, now.present - now.infinite
    pooled = math.hypot(before.deviation * math.sqrt(n), now.deviation * math.sqrt(m)) / math.sqrt(max(n + m - 2, 1))
    difference = now.mean - before.mean
    if pooled == 0.0:
        return math.copysign(math.inf, difference) if difference else 0.0
    return difference / pooled


def _ratio(now: float | None, before: float | None) -> float | None:
    if now is None or before is None:
        return None
    return now / before if before else (math.inf if now else 1.0)


def _less(a: float | None, b: float | None) -> bool:
    return a is not None and b is not None and a < b


def _shares(before: ColumnProfile, now: ColumnProfile) -> float | None:
    if not (before.present and now.present):
        return None
    pairs = [
        (old / before.present, new / now.present)
        for name in dict(before.frequent) | dict(now.frequent)
        if (old := _count(before, name)) is not None and (new := _count(now, name)) is not None
    ]
    rest = 1.0 - sum(p for p, _ in pairs), 1.0 - sum(q for _, q in pairs)
    return sum(abs(p - q) for p, q in (*pairs, rest)) / 2


def _count(column: ColumnProfile, category: str) -> int | None:
    """Return how often a category came; None where it may have come, but too rarely to be listed."""
    every = column.distinct <= len(column.frequent)
    return dict(column.frequent).get(category, 0 if every else None)
