"""Looking after tables of stamps: their indices, and the rows of versions that are no more, or never came."""

from collections.abc import Collection, Iterator
from datetime import datetime

import pyarrow as pa

from serval_registry import training
from serval_registry.filters import all_of
from serval_registry.lance import Expr, col, lit
from serval_registry.spaces.keyed import EVERY
from serval_registry.spaces.living import Stamp, stamp_of, stamped
from serval_registry.storage import Storage
from serval_registry.tables import Database, Row, Table
from serval_registry.training import Job

# From so many rows on, columns that are asked for are indexed.
COLUMN_INDEX_ROWS = 5000

_KEY = ["name", "version", "created"]
_TOGETHER = 200


def due(storage: Storage, tables: list[Table], threshold: int) -> Iterator[Job]:
    """Yield what there is to do to the indices of these tables; each may lose to a writer with a RuntimeError."""
    for table in tables:
        if training.is_due(storage.read, table, threshold):
            yield lambda table=table: training.train(storage, table, EVERY)  # type: ignore[misc]
        yield from column_jobs(table)


def column_jobs(table: Table) -> Iterator[Job]:
    """Yield the indexing of what filters ask for, once there are enough rows to matter; merges keep it fresh."""
    if table.count() >= COLUMN_INDEX_ROWS:
        for column in table.unindexed_columns():
            yield lambda column=column: table.index_column(column)  # type: ignore[misc]


def drop_tables(storage: Storage, database: Database, tables: Collection[str]) -> None:
    """Remove those of these tables that are still there, once it is on disk that they may go. The lock is held."""
    left = [name for name in database.names() if name in tables]
    if left:
        storage.flush()
    for name in left:
        storage.drop(name)


def forget_lost(storage: Storage, database: Database, referring: Expr, before: datetime) -> int:
    """Delete rows written before a moment of versions to which no reference counts; return how many."""
    gone = 0
    for table in database.stamped():
        lost = _lost(table, database, referring, before)
        for start in range(0, len(lost), _TOGETHER):
            gone += _forget(storage, table, database, lost[start : start + _TOGETHER], referring)
    return gone


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
