"""Gauges for Prometheus: how far the registry's housekeeping is.

What the tables hold is the same in every worker. What was done is of the worker that answers, since it started, and so
is what it is doing and for how long that has been waiting.
"""

from collections.abc import Iterator
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector
from serval_registry.registry import Registry

_GAUGES: Final = {
    "versions": "Rows of the table of versions, with those of deleted ones",
    "pieces": "Pieces that the tables lie in and that could be merged",
    "indexed_rows": "Rows in the vector index",
    "unindexed_rows": "Rows beside the vector index, which are compared one by one",
    "lag_seconds": "For how long housekeeping has been waiting, or under way",
}
_COUNTERS: Final = {
    "commits": "Writes to the table of versions",
    "merges": "Times that pieces were merged",
    "trainings": "Times that the vector index was trained",
    "sweeps": "Times that what nothing refers to was looked for",
    "failures": "Times that housekeeping failed",
    "removed_files": "Files removed that no version referred to",
    "removed_bytes": "Bytes of these files",
}
_DOING: Final = ("merge", "index", "mirror", "sweep")


class RegistryCollector(Collector):
    """Asks the registry when it is asked, which takes some milliseconds."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def collect(self) -> Iterator[GaugeMetricFamily | CounterMetricFamily]:
        """Yield the families."""
        status = self._registry.status()
        for name, text in _GAUGES.items():
            yield GaugeMetricFamily(f"serval_registry_{name}", text, value=getattr(status, name))
        for name, text in _COUNTERS.items():
            yield CounterMetricFamily(f"serval_registry_{name}", text, value=getattr(status, name))
        doing = GaugeMetricFamily("serval_registry_doing", "1: housekeeping is at it now", labels=("work",))
        for work in _DOING:
            doing.add_metric((work,), status.doing == work)
        yield doing
