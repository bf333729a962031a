"""What is known of a version since its baseline was set; drift.proto says as well what each figure means."""

from dataclasses import dataclass
from datetime import UTC, datetime

from serval_protos.v1 import drift_pb2


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    """When a column was found to have drifted, by what, and who has taken note.

    row: the last row of the life that was looked at by then. missing: the effect is of the share of missing values.
    effect, effect_lower, effect_upper: of the last `window_rows` values then, and the bounds of the true one.
    acknowledged: None where nobody has yet.
    """

    since: datetime
    row: int
    missing: bool
    effect: float
    effect_lower: float
    effect_upper: float
    window_rows: int
    acknowledged: datetime | None
    acknowledged_by: str
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnLife:
    """A column: p_value is of "it never drifted beyond the tolerance", over all columns, valid at any time."""

    feature: str
    p_value: float
    alarm: Alarm | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Life:
    """All rows since a version's baseline was set, looked at as they came.

    At most the share alpha of lives ever give a false alarm. number: 1 for the version's first. rows: that were looked
    at; looks: at how many blocks of them. p_value: of "no column ever drifted", which may be compared with alpha at any
    time. alarmed: columns that have an alarm, those first that were found first. rule: what is promised, in words.
    """

    number: int
    began: datetime
    looked_at: datetime
    rows: int
    looks: int
    alpha: float
    tolerance: float
    p_value: float
    columns: tuple[ColumnLife, ...]
    alarmed: tuple[str, ...]
    rule: str

    def __getitem__(self, feature: str) -> ColumnLife:
        for column in self.columns:
            if column.feature == feature:
                return column
        raise KeyError(feature)

    def told(self) -> list[str]:
        """Return it in sentences: one on the whole, and one on each alarm."""
        looked = f"{self.rows:,} rows since {self.began:%Y-%m-%d %H:%M} UTC"
        if not self.alarmed:
            return [f"No alarm in {looked}; p {self.p_value:.2g}, an alarm below {self.alpha:g}."]
        return [f"ALARM in {looked}: {', '.join(self.alarmed)}.", *(_said(self[name]) for name in self.alarmed)]


def life(message: drift_pb2.Life) -> Life:
    """Read a Life message."""
    return Life(
        number=message.number,
        began=message.began.ToDatetime(UTC),
        looked_at=message.looked_at.ToDatetime(UTC),
        rows=message.rows,
        looks=message.looks,
        alpha=message.alpha,
        tolerance=message.tolerance,
        p_value=message.p_value,
        columns=tuple(_column(column) for column in message.columns),
        alarmed=tuple(message.alarmed),
        rule=message.rule,
    )


def _column(message: drift_pb2.ColumnLife) -> ColumnLife:
    alarm = _alarm(message.alarm) if message.HasField("alarm") else None
    return ColumnLife(feature=message.feature, p_value=message.p_value, alarm=alarm)


def _alarm(message: drift_pb2.Alarm) -> Alarm:
    return Alarm(
        since=message.since.ToDatetime(UTC),
        row=message.row,
        missing=message.missing,
        effect=message.effect,
        effect_lower=message.effect_lower,
        effect_upper=message.effect_upper,
        window_rows=message.window_rows,
        acknowledged=message.acknowledged.ToDatetime(UTC) if message.HasField("acknowledged") else None,
        acknowledged_by=message.acknowledged_by,
        note=message.note,
    )


def _said(column: ColumnLife) -> str:
    alarm = column.alarm
    if alarm is None:
        return f"{column.feature}: no alarm."
    what = "share of missing values" if alarm.missing else "values"
    seen = ""
    if alarm.acknowledged is not None:
        note = f": {alarm.note}" if alarm.note else ""
        seen = f" Acknowledged {alarm.acknowledged:%Y-%m-%d %H:%M} UTC by {alarm.acknowledged_by}{note}."
    return (
        f"{column.feature}: since {alarm.since:%Y-%m-%d %H:%M:%S} UTC, row {alarm.row:,}; its {what} differed by "
        f"{alarm.effect:.2f} in {alarm.window_rows:,} rows, and by at least {alarm.effect_lower:.2f} in truth; "
        f"p {column.p_value:.2g}.{seen}"
    )
