"""Closes windows: when a period has ended, what was seen of each version in it is compared, and kept as history.

An alarm is kept in the same way, with the window that ends with it.
"""

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final

from serval_registry.errors import NotFound
from serval_registry.history import ALARM, ClosedWindow
from serval_registry.lifecycle.entries import REGISTRY
from serval_registry.model import Ref, Version
from serval_registry.registry import Registry

from serval_server.codec.drift import live_message
from serval_server.monitor.accumulator import Accumulator
from serval_server.monitor.layout import Layouts
from serval_server.monitor.life import LifeReport
from serval_server.monitor.live import live_drift
from serval_server.monitor.report import Verdict
from serval_server.monitor.severity import weights_of
from serval_server.monitor.slots import KEPT_SECONDS, Slot, Slots
from serval_server.monitor.windows import Seen

LOG = logging.getLogger(__name__)

# Slots of a period are there once it ended so many intervals ago.
LATE_INTERVALS: Final = 2.0

LifeOf = Callable[[Version], LifeReport | None]


class Reports:
    """The reports of one data folder; one process at a time makes them."""

    def __init__(
        self, registry: Registry, layouts: Layouts, slots: Slots, period: float, interval: float, life_of: LifeOf
    ) -> None:
        self._registry = registry
        self._life_of = life_of
        self._layouts = layouts
        self._slots = slots
        self._period = period
        self._late = LATE_INTERVALS * interval
        self._closed = 0.0  # the end of the last period that is known to be closed

    def close(self) -> bool:
        """Close the periods that have ended and are not closed already; return whether there was one to close.

        Those too in which nobody was there to do so, as far as their slots were not merged over their ends.
        """
        end = (time.time() - self._late) // self._period * self._period
        if end <= self._closed:
            return False
        newest = self._registry.history.newest()
        since = 0.0 if newest is None else newest.timestamp()
        periods: dict[float, list[Slot]] = {}
        for slot in self._slots.listing():
            period = (slot.start // self._period + 1) * self._period
            if since < period <= end:
                periods.setdefault(period, []).append(slot)
        for period, inside in sorted(periods.items()):
            self._registry.history.add(list(self._windows(inside, period)))
        if periods:
            self._registry.history.forget(datetime.now(UTC) - timedelta(seconds=KEPT_SECONDS))
        self._closed = end
        return True

    def alarm(self, version: Version, life: LifeReport, raised: list[str]) -> None:
        """Keep that columns were found to drift, with the window that showed it, and note it in the journal.

        Their alarms are of one moment. What is kept already, as whoever did so was killed then, is not kept twice.
        """
        alarms = [column.alarm for column in life.alarmed if column.alarm is not None and column.feature in raised]
        rows, end = max(alarm.window_rows for alarm in alarms), alarms[0].since
        window, seen = [], 0
        for slot in self._slots.listing():
            if seen >= rows:
                break
            if slot.start >= end:
                continue
            window.append(slot)
            seen += slot.rows((version.name, version.version))
        kept = replace(self._window(version, window, end, raised), verdict=ALARM, drifted=raised)
        if not self._registry.history.holds(kept):
            self._registry.history.add([kept])
        names = [column.feature for column in life.alarmed]
        self._registry.drifts.note(version.ref, Verdict.DRIFT.value, names, life.rows, REGISTRY)

    def _windows(self, slots: list[Slot], end: float) -> Iterable[ClosedWindow]:
        for name, number in dict.fromkeys(key for slot in slots for key in slot.entries):
            try:
                version = self._registry.resolve(Ref(name, version=number))
                yield self._window(version, slots, end)
            except NotFound:
                continue
            except Exception:  # that of one version is to cost no other its report
                LOG.exception("%s@%d: no report of this period", name, number)

    def _window(self, version: Version, slots: list[Slot], end: float, raised: Sequence[str] = ()) -> ClosedWindow:
        layout = self._layouts.of(version)
        seen = Seen(layout, Accumulator.of(layout), end, end)
        for slot in slots:
            for part in self._slots.read(slot, (version.name, version.version)):
                seen.add(part, slot.start)
        live = live_drift(seen, weights=weights_of(version.metrics))
        message = live_message(version, live, life=self._life_of(version))
        message.raised.extend(raised)
        return ClosedWindow(
            name=version.name,
            version=version.version,
            start=datetime.fromtimestamp(seen.start, UTC),
            end=datetime.fromtimestamp(end, UTC),
            rows=live.rows,
            verdict=live.report.verdict.value,
            drifted=live.report.drifted,
            effect=max((feature.effect for feature in live.report.features), default=0.0),
            report=message.SerializeToString(),
            window=seen.total.to_bytes(),
        )
