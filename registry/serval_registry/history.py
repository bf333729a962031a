"""The history of drift: one row for each window that was closed, of each version."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import accumulate

from serval_registry.errors import InvalidArgument
from serval_registry.lance import Expr, col, lit
from serval_registry.storage import Writers
from serval_registry.tables import Table

ALARM = "alarm"  # the verdict of a window that was kept for an alarm, in the midst of a period

PAGE_SIZE = 100
PAGE_SIZE_MAX = 1000
PAGE_OCTETS = 3 << 20  # of reports: most gRPC clients take no more than 4 MiB unless they are told to

# What a token may say: how many windows of one moment were shown, and a moment after which there is another.
_SHOWN_DIGITS = 9
_LAST = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClosedWindow:
    """A window and the report on it; the table's schema says what each field is."""

    name: str
    version: int
    start: datetime
    end: datetime
    rows: int
    verdict: str
    drifted: Sequence[str]
    effect: float
    report: bytes
    window: bytes


class History:
    """Closed windows, newest first."""

    def __init__(self, table: Table, writers: Writers) -> None:
        self._table = table
        self._writers = writers

    def add(self, windows: Sequence[ClosedWindow]) -> None:
        """Append windows, in one commit."""
        rows = [
            {name: getattr(window, name) for name in ClosedWindow.__slots__}
            | {"drifted": json.dumps([*window.drifted])}
            for window in windows
        ]
        if rows:
            with self._table.settled(), self._writers.held():
                self._table.add(*rows)

    def holds(self, window: ClosedWindow) -> bool:
        """Return whether a window of this version, end, verdict and columns is kept already."""
        where = (col("name") == lit(window.name)) & (col("version") == lit(window.version))
        where = where & (col("end") == lit(window.end)) & (col("verdict") == lit(window.verdict))
        where = where & (col("drifted") == lit(json.dumps([*window.drifted])))
        return bool(self._table.select(where, ["end"], limit=1))

    def newest(self) -> datetime | None:
        """Return when the last period was closed; None where there is none."""
        found = self._table.select(col("verdict") != lit(ALARM), ["end"], order={"end": False}, limit=1)
        return found[0]["end"] if found else None

    def forget(self, before: datetime) -> None:
        """Remove the windows that were closed before a moment."""
        if self._table.select(col("end") < lit(before), ["end"], limit=1):
            with self._writers.held():
                self._table.delete(col("end") < lit(before))

    def page(
        self,
        name: str,
        version: int | None,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        page_size: int = 0,
        page_token: str = "",
    ) -> tuple[list[bytes], str]:
        """Return a page of reports of a name, or of one version, and the next page's token, empty after the last.

        since, until: only windows closed from then on, or before. page_size: 1 to 1000, 0 means 100; a page of long
        reports has fewer, but one at least. Raises InvalidArgument for other sizes and tokens.
        """
        if not 0 <= page_size <= PAGE_SIZE_MAX:
            raise InvalidArgument(f"page_size: got {page_size}, wanted 1 to {PAGE_SIZE_MAX}, or 0 for {PAGE_SIZE}")
        size, skip = page_size or PAGE_SIZE, _read_token(page_token)
        where = col("name") == lit(name)
        conditions: list[Expr] = []
        if version is not None:
            conditions.append(col("version") == lit(version))
        if since is not None:
            conditions.append(col("end") >= lit(since))
        last = until if skip is None else skip[0] + timedelta(microseconds=1)
        if last is not None:
            conditions.append(col("end") < lit(last))
        for condition in conditions:
            where = where & condition
        # The windows of one moment, one a version, may lie on both sides of a page's end.
        limit = size + 1 + (skip[1] if skip is not None else 0)
        rows = self._table.select(
            where, ["report", "end", "version"], order={"end": False, "version": False}, limit=limit
        )
        rows = rows[limit - size - 1 :]
        ends = accumulate(len(row["report"]) for row in rows[:size])
        page = rows[: max(sum(end <= PAGE_OCTETS for end in ends), 1)]
        return [bytes(row["report"]) for row in page], _token(page, skip) if len(rows) > len(page) else ""


def _token(page: Sequence[dict[str, object]], skip: tuple[datetime, int] | None) -> str:
    """Return where the next page begins: a moment, and how many of its windows were shown."""
    end = page[-1]["end"]
    assert isinstance(end, datetime)
    shown = sum(row["end"] == end for row in page)
    if skip is not None and skip[0] == end:
        shown += skip[1]
    return f"{end.isoformat()}/{shown}"


def _read_token(token: str) -> tuple[datetime, int] | None:
    if not token:
        return None
    moment, slash, shown = token.partition("/")
    try:
        if slash and shown.isdigit() and len(shown) <= _SHOWN_DIGITS:
            end = datetime.fromisoformat(moment)
            if end.utcoffset() == timedelta(0) and end < _LAST:
                return end, int(shown)
    except ValueError:
        pass
    raise InvalidArgument(f"page_token: {token[:80]!r} is none that was given out")
