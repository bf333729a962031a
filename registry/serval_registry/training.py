"""The vector index of a table: when it is trained anew, how, and what was noted then."""

import json
import math
from collections.abc import Callable
from typing import NamedTuple

from serval_registry.filters import Where
from serval_registry.mirror.partitioning import partitions
from serval_registry.storage import Storage
from serval_registry.tables import INDEX_ROWS_MIN, NPROBES, Table

# It is trained anew at this many times the rows it was trained on; till then new rows are added to it.
_GROWTH = 2
_RECALL_QUERIES, _RECALL_K = 20, 10

Read = Callable[[str], bytes | None]
Job = Callable[[], None]


class Indexed(NamedTuple):
    """How many rows a table has, how many its index covers, and the recall at 10 that was measured; NaN: not known."""

    rows: int
    indexed: int
    recall: float


def look(read: Read, table: Table) -> Indexed:
    """Return what is known of a table and its index; `read` gives the documents of its registry."""
    return Indexed(table.count(), table.indexed_rows(), _noted(read, table, "recall", math.nan))


def is_due(read: Read, table: Table, threshold: int) -> bool:
    """Tell whether a table of at least `threshold` rows has no index, or one that was trained on far fewer."""
    rows = table.count()
    if rows < max(threshold, INDEX_ROWS_MIN):
        return False
    try:
        trained_on = _noted(read, table, "rows", 0.0)
    except OSError:
        trained_on = 0.0  # unknown: do it, and know
    return not table.indexed_rows() or rows >= _GROWTH * trained_on


def train(storage: Storage, table: Table, counted: Where, persist: Callable[[Job], object] = lambda job: job()) -> None:
    """Train the index on all rows and note its recall. `persist` tries what may lose to a writer again.

    counted: the rows among which the recall is measured.
    """
    rows = table.count()
    persist(lambda: table.build_index(partitions(rows)))
    table.prewarm()
    note = {"rows": rows, "recall": _measured(table, counted)}
    storage.write(_document(table), json.dumps(note).encode())


def _document(table: Table) -> str:
    return "index.json" if table.name == "versions" else f"index-{table.name}.json"


def _noted(read: Read, table: Table, field: str, unknown: float) -> float:
    try:
        return float(json.loads(read(_document(table)) or b"{}")[field])
    except (KeyError, TypeError, ValueError):
        return unknown


def _measured(table: Table, counted: Where) -> float:
    """Return the share of the 10 nearest of some stored vectors that the index finds, 0 to 1."""
    _, _, vectors = table.vectors(counted, [], _RECALL_QUERIES)
    found = wanted = 0
    for vector in vectors:
        exact = {near.id for near in table.nearest(vector, counted, _RECALL_K, probes=0)}
        found += len(exact & {near.id for near in table.nearest(vector, counted, _RECALL_K, probes=NPROBES)})
        wanted += len(exact)
    return found / wanted if wanted else math.nan
