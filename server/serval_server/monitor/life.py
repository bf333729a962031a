"""The life of a version under one baseline: every row that it is asked for is looked at once, as blocks of rows close.

Rules. What is promised is of the whole life, not of a look: at most the share alpha of lives ever give a false alarm,
over all columns together (`sequential`). Each column has two tests, of its values and of its missing share, and all
tests share alpha. An alarm stays until the life ends. A life is kept as one line that anybody can read, and what the
looks remember: 1 MB for 30 columns of numbers, never more than 45 MB, for 4,096 columns of texts.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, NamedTuple, Self

import numpy as np
from serval_registry.baseline import Baseline
from serval_registry.model import FeatureKind

from serval_server.monitor.accumulator import Accumulator, packed, unpacked
from serval_server.monitor.counted import Counts, counted
from serval_server.monitor.layout import Layout
from serval_server.monitor.sequential import Measure, Sequential
from serval_server.monitor.verdict import Rule


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    """When a column was found to have drifted, by what, and who has taken note.

    since, acknowledged: seconds since the epoch. row: the last row of the life that was looked at by then. The effect
    is of the last `window_rows` values then, and of missing values where `missing`.
    """

    since: float
    row: int
    missing: bool
    effect: float
    effect_lower: float
    effect_upper: float
    window_rows: int
    acknowledged: float | None = None
    acknowledged_by: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnLife:
    """A column: p_value is of "it never drifted beyond the tolerance", over all columns, valid at any time."""

    feature: str
    p_value: float = 1.0
    alarm: Alarm | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LifeReport:
    """What is known of a life. began, looked_at: seconds since the epoch; number: 1 for the version's first life.

    rows: that were looked at; looks: at how many blocks of them. p_value: of "no column ever drifted beyond the
    tolerance", which may be compared with alpha at any time.
    """

    number: int
    began: float
    looked_at: float
    rows: int
    looks: int
    alpha: float
    tolerance: float
    columns: tuple[ColumnLife, ...]

    @property
    def p_value(self) -> float:
        """Return the smallest of the columns: theirs are corrected for being many."""
        return min((column.p_value for column in self.columns), default=1.0)

    @property
    def alarmed(self) -> tuple[ColumnLife, ...]:
        """Return the columns that drifted, those first that were found first."""
        found = [column for column in self.columns if column.alarm is not None]
        return tuple(sorted(found, key=lambda column: column.alarm.row if column.alarm else 0))


@dataclass(slots=True)
class Record:
    """The line that is kept. baseline: which one it is. taken: up to when each writer's slots were looked at.

    untold: columns whose alarm was not reported yet. It is kept with the alarm, so that no crash parts the two.
    """

    name: str
    baseline: str
    report: LifeReport
    taken: dict[str, float] = field(default_factory=dict)
    untold: list[str] = field(default_factory=list)

    def left_to_tell(self) -> dict[float, list[str]]:
        """Return the columns of `untold` by when their alarms were given."""
        left: dict[float, list[str]] = {}
        for column in self.report.columns:
            if column.alarm is not None and column.feature in self.untold:
                left.setdefault(column.alarm.since, []).append(column.feature)
        return left

    def to_json(self) -> str:
        """Return it as one line."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, line: str | bytes) -> Self:
        """Read what `to_json` wrote."""
        found = json.loads(line)
        columns = tuple(
            ColumnLife(**(column | {"alarm": Alarm(**column["alarm"]) if column["alarm"] else None}))
            for column in found["report"]["columns"]
        )
        return cls(**(found | {"report": LifeReport(**(found["report"] | {"columns": columns}))}))


class _Group(NamedTuple):
    """Columns that are looked at together: their places among the features, and what gives their counts."""

    measure: Measure
    places: list[int]
    watch: Sequential


class Life:
    """The looks at one version, whose layout has a baseline."""

    def __init__(self, layout: Layout, record: Record, looks: bytes | None = None) -> None:
        """Begin with `record`, or go on where `looks` were taken."""
        assert layout.baseline is not None
        self.record = record
        self._columns = counted(layout)
        numeric = [column.kind is FeatureKind.NUMERIC for column in self._columns]
        parts = {
            Measure.DISTANCE: [place for place, is_numeric in enumerate(numeric) if is_numeric],
            Measure.VARIATION: [place for place, is_numeric in enumerate(numeric) if not is_numeric],
            Measure.SHARE: [*range(len(numeric))],
        }
        self._groups = [
            _Group(measure, places, self._watch(measure, places)) for measure, places in parts.items() if places
        ]
        if looks is not None:
            kept = unpacked(looks)
            for group in self._groups:
                group.watch.restore(_under(f"{group.measure}.", kept))

    @classmethod
    def begin(cls, layout: Layout, name: str, number: int, now: float, rule: Rule | None = None) -> Self:
        """Return a new life, of no rows."""
        rule = rule or Rule()
        assert layout.baseline is not None
        known = {column.name for column in layout.features}
        columns = tuple(ColumnLife(feature=base.feature) for base in layout.baseline.features if base.feature in known)
        report = LifeReport(
            number=number,
            began=now,
            looked_at=now,
            rows=0,
            looks=0,
            alpha=rule.alpha,
            tolerance=rule.tolerance,
            columns=columns,
        )
        return cls(layout, Record(name, name_of(layout.baseline), report))

    def look(self, parts: Sequence[Accumulator], now: float) -> list[str]:
        """Take in rows that were not looked at yet, of the layout, and return the columns that are found to drift now.

        Which rows come together must not depend on their values.
        """
        report = self.record.report
        rows = report.rows + sum(part.rows for part in parts)
        found: list[list[_Finding]] = [[] for _ in self._columns]
        for group in self._groups:
            looked = group.watch.look(self._counts(group, parts))
            missing = group.measure is Measure.SHARE
            for place, told in zip(group.places, zip(*(part.tolist() for part in looked), strict=True), strict=True):
                found[place].append(_Finding._make((*told, missing)))
        new, columns = [], []
        for column, findings in zip(report.columns, found, strict=True):
            best = min(findings, key=lambda finding: finding.p_value)
            p_value = min(best.p_value * self._tests, 1.0)
            alarm = column.alarm
            if alarm is None and best.detected:
                alarm = best.alarm(now, rows)
                new.append(column.feature)
            columns.append(ColumnLife(feature=column.feature, p_value=p_value, alarm=alarm))
        looks = max((group.watch.blocks for group in self._groups), default=0)
        self.record.report = replace(report, rows=rows, looks=looks, looked_at=now, columns=tuple(columns))
        return new

    def looks(self) -> bytes:
        """Return what the looks have to remember, as octets; the record is kept beside it."""
        return packed({f"{g.measure}.{name}": array for g in self._groups for name, array in g.watch.state().items()})

    @property
    def octets(self) -> int:
        """Return what the looks take in memory."""
        return sum(group.watch.octets for group in self._groups)

    @property
    def _tests(self) -> int:
        return 2 * len(self._columns)

    def _watch(self, measure: Measure, places: Sequence[int]) -> Sequential:
        columns = [self._columns[place] for place in places]
        reference = np.stack(
            [column.missing_before if measure is Measure.SHARE else column.before for column in columns]
        )
        report = self.record.report
        return Sequential(
            reference, alpha=report.alpha, tolerance=report.tolerance, columns=self._tests, measure=measure
        )

    def _counts(self, group: _Group, parts: Sequence[Accumulator]) -> Counts:
        counts = np.zeros(group.watch.reference.shape, np.int64)
        for row, place in zip(counts, group.places, strict=True):
            column = self._columns[place]
            for part in parts:
                if group.measure is Measure.SHARE:
                    column.count_missing(part, row)
                else:
                    column.count(part, row)
        return counts


class _Finding(NamedTuple):
    """What a look says of one test."""

    detected: bool
    p_value: float
    effect: float
    lower: float
    upper: float
    rows: int
    missing: bool

    def alarm(self, now: float, row: int) -> Alarm:
        return Alarm(
            since=now,
            row=row,
            missing=self.missing,
            effect=self.effect,
            effect_lower=self.lower,
            effect_upper=self.upper,
            window_rows=self.rows,
        )


def promise(life: LifeReport) -> str:
    """Return in words what an alarm means."""
    return (
        "Every row since the baseline was set is looked at once, as blocks of at least 100 rows close, in windows of "
        f"all lengths. A column has an alarm once it drifted by more than {life.tolerance:g} with confidence, in its "
        f"values or its missing share. Of lives in which none ever does, at most {life.alpha:g} ever give an alarm, "
        "over all columns together and however long they are, if rows are independent of each other."
    )


def name_of(baseline: Baseline) -> str:
    """Return what tells a baseline from the others of its version, and how it is counted from how it once was."""
    hashed = any(base.kind is FeatureKind.TEXT for base in baseline.features)
    return f"{baseline.created.isoformat()} {baseline.rows}{' hashed' if hashed else ''}"


def _under(prefix: str, kept: Mapping[str, Any]) -> dict[str, Any]:
    return {name.removeprefix(prefix): kept[name] for name in kept if name.startswith(prefix)}
