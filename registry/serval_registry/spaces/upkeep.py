"""Looking after tables of stamps: their indices, and the rows of versions that are no more, or never came."""

import json
from collections.abc import Callable, Iterator
from datetime import datetime

import pyarrow as pa
from lancedb import col, lit
from lancedb.expr import Expr

from serval_registry.errors import ServalError
from serval_registry.filters import all_of
from serval_registry.mirror.partitioning import partitions
from serval_registry.search import measure_recall
from serval_registry.spaces.keyed import EVERY, trained
from serval_registry.spaces.living import Stamp, stamp_of, stamped
from serval_registry.storage import Storage
from serval_registry.tables import INDEX_ROWS_MIN, Database, Row, Table

# An index is trained anew at this many times the rows it was trained on; till then new rows are added to it.
GROWTH = 2

# From so many rows on, names are indexed.
COLUMN_INDEX_ROWS = 5000

_KEY = ["name", "version", "created"]
_TOGETHER = 200

Job = Callable[[], None]


def due(storage: Storage, tables: list[Table], threshold: int) -> Iterator[Job]:
    """Yield what there is to do to the indices of these tables; each may lose to a writer with a RuntimeError."""
    for table in tables:
        rows = table.count()
        if rows >= max(threshold, INDEX_ROWS_MIN) and (
            not table.indexed_rows() or rows >= GROWTH * _trained_on(storage, table)
        ):
            yield lambda table=table, rows=rows: _train(storage, table, rows)  # type: ignore[misc]
        if rows >= COLUMN_INDEX_ROWS:
            for column in table.unindexed_columns():
                yield lambda table=table, column=column: table.index_column(column)  # type: ignore[misc]


def forget_lost(storage: Storage, database: Database, referring: Expr, before: datetime) -> int:
    """Delete rows written before a moment of versions to which no reference counts; return how many."""
    gone = 0
    for table in database.stamped():
        lost = _lost(table, database, referring, before)
        for start in range(0, len(lost), _TOGETHER):
            gone += _forget(storage, table, database, lost[start : start + _TOGETHER], referring)
    return gone


def _train(storage: Storage, table: Table, rows: int) -> None:
    table.build_index(partitions(rows))
    table.prewarm()
    recall = measure_recall(table, EVERY)
    storage.write(trained(table), json.dumps({"rows": rows, "recall": recall}).encode())


def _trained_on(storage: Storage, table: Table) -> float:
    try:
        return float(json.loads(storage.read(trained(table)) or b"{}")["rows"])
    except (ServalError, OSError, ValueError, KeyError, TypeError):
        return 0.0  # unknown: do it, and know


def _lost(table: Table, database: Database, referring: Expr, before: datetime) -> list[Stamp]:
    ours = table.values(col("created") < lit(before), _KEY)
    theirs = database.versions.values(referring, _KEY)
    lost: pa.Table = ours.join(theirs, keys=_KEY, join_type="left anti")
    return [stamp_of(row) for row in lost.to_pylist()]


def _forget(storage: Storage, table: Table, database: Database, lost: list[Stamp], referring: Expr) -> int:
    """Delete the rows of some stamps, after another look under the writer's lock."""
    with storage.writers.held():
        rows: list[Row] = database.versions.select(all_of(referring, stamped(lost)), _KEY)
        used = {stamp_of(row) for row in rows}
        gone = [each for each in lost if each not in used]
        for name, version, created in gone:
            table.delete(
                (col("name") == lit(name)) & (col("version") == lit(version)) & (col("created") == lit(created))
            )
    return len(gone)
