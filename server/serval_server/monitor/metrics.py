"""Gauges for Prometheus: the drift of the last hour, and alarms, of the versions that are asked most.

Rules. Label sets are bounded: so many versions, and of each so many columns, those of the largest effect. What was
compared is kept for some seconds, so that scraping often costs no more. Any worker answers for all of them; the one
that got the port does.
"""

import logging
import threading
import time
from collections import Counter
from collections.abc import Iterator
from typing import Final, NamedTuple

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from serval_registry.errors import NotFound
from serval_registry.model import Ref
from serval_registry.registry import Registry

from serval_server.monitor.life import LifeReport
from serval_server.monitor.live import LiveDrift, live_drift
from serval_server.monitor.monitor import Monitor
from serval_server.monitor.severity import weights_of
from serval_server.monitor.slots import Key
from serval_server.monitor.verdict import Verdict
from serval_server.monitor.windows import DEFAULT_SECONDS, Window

LOG = logging.getLogger(__name__)

VERSIONS_MAX: Final = 32
COLUMNS_MAX: Final = 32
FRESH_SECONDS: Final = 15.0

_OF_VERSION: Final = ("model", "version")
_OF_COLUMN: Final = ("model", "version", "feature")


class Compared(NamedTuple):
    """What there is to tell of a version."""

    key: Key
    live: LiveDrift
    life: LifeReport | None


class DriftCollector(Collector):
    """Makes the gauges when it is asked."""

    def __init__(self, registry: Registry, monitor: Monitor) -> None:
        self._registry = registry
        self._monitor = monitor
        self._collecting = threading.Lock()
        self._known: list[Compared] = []
        self._known_at = float("-inf")

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Yield the families of gauges."""
        with self._collecting:
            if time.monotonic() - self._known_at > FRESH_SECONDS:
                self._known = list(self._compared())
                self._known_at = time.monotonic()
            known = self._known
        yield from _of_versions(known)
        yield from _of_columns(known)
        yield from _of_alarms(known)

    def _compared(self) -> Iterator[Compared]:
        since = time.time() - DEFAULT_SECONDS
        rows: Counter[Key] = Counter(dict.fromkeys(self._monitor.watched(), 0))
        for slot in self._monitor.slots.listing():
            if slot.end > since:
                for key in slot.entries:
                    rows[key] += slot.rows(key)
        told = 0
        for (name, number), _ in rows.most_common():
            if told == VERSIONS_MAX:
                return
            try:
                version = self._registry.resolve(Ref(name, version=number))
                life = self._monitor.life(version)
                live = live_drift(self._monitor.seen(version, Window()), weights=weights_of(version.metrics))
            except NotFound:
                continue
            except Exception:  # that of one version is to hide no other's
                LOG.exception("%s@%d: no gauges", name, number)
                continue
            told += 1
            yield Compared((name, number), live, life)


def _of_versions(known: list[Compared]) -> Iterator[GaugeMetricFamily]:
    rows = GaugeMetricFamily("serval_window_rows", "Rows of the last hour that were looked at", labels=_OF_VERSION)
    missed = GaugeMetricFamily("serval_window_rows_unobserved", "Rows that could not be looked at", labels=_OF_VERSION)
    drifted = GaugeMetricFamily("serval_drift_columns", "Columns that have drifted", labels=_OF_VERSION)
    judged = GaugeMetricFamily("serval_drift_judged", "1: there was enough data for a verdict", labels=_OF_VERSION)
    for (name, number), live, _ in known:
        labels = (name, str(number))
        rows.add_metric(labels, live.rows)
        missed.add_metric(labels, live.unobserved)
        drifted.add_metric(labels, len(live.report.drifted))
        judged.add_metric(labels, live.report.verdict is not Verdict.INSUFFICIENT_DATA)
    yield from (rows, missed, drifted, judged)


def _of_columns(known: list[Compared]) -> Iterator[GaugeMetricFamily]:
    effect = GaugeMetricFamily("serval_drift_effect", "Effect of a column's drift, 0 to 1", labels=_OF_COLUMN)
    drifted = GaugeMetricFamily("serval_drift_column", "1: the column has drifted", labels=_OF_COLUMN)
    missing = GaugeMetricFamily("serval_missing_share", "Share of rows without a value, 0 to 1", labels=_OF_COLUMN)
    for (name, number), live, _ in known:
        for column in sorted(live.report.features, key=lambda column: -column.effect)[:COLUMNS_MAX]:
            labels = (name, str(number), column.feature)
            effect.add_metric(labels, column.effect)
            drifted.add_metric(labels, column.verdict is Verdict.DRIFT)
            missing.add_metric(labels, column.current_missing)
    yield from (effect, drifted, missing)


def _of_alarms(known: list[Compared]) -> Iterator[GaugeMetricFamily]:
    alarm = GaugeMetricFamily("serval_drift_alarms", "Columns with an alarm since the baseline", labels=_OF_VERSION)
    unseen = GaugeMetricFamily(
        "serval_drift_alarms_unacknowledged", "Alarms that nobody has acknowledged", labels=_OF_VERSION
    )
    p_value = GaugeMetricFamily(
        "serval_drift_p_value", "Of no column ever having drifted; valid at any time", labels=_OF_VERSION
    )
    since = GaugeMetricFamily(
        "serval_drift_alarm_since_seconds", "When a column was found to drift, since 1970", labels=_OF_COLUMN
    )
    for (name, number), _, life in known:
        if life is None:
            continue
        labels, alarms = (name, str(number)), [(c.feature, c.alarm) for c in life.alarmed if c.alarm is not None]
        alarm.add_metric(labels, len(alarms))
        unseen.add_metric(labels, sum(found.acknowledged is None for _, found in alarms))
        p_value.add_metric(labels, life.p_value)
        for feature, found in alarms[:COLUMNS_MAX]:
            since.add_metric((*labels, feature), found.since)
    yield from (alarm, unseen, p_value, since)
