"""The tables of a registry as they were at one moment."""

from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa

from serval_registry.connecting import connect, open_table
from serval_registry.errors import NotFound
from serval_registry.storage import Storage
from serval_registry.tables import TABLES_MAX


class Snapshot:
    """A table as it was at one commit."""

    def __init__(self, table: Any, storage: Storage) -> None:
        self.name: str = table.name
        self.schema: pa.Schema = table.schema
        self.commit = int(table.version)
        self._table = table
        self._faults = storage.faults

    def count(self) -> int:
        """Return the number of rows."""
        with self._faults.of(self._table.uri):
            return int(self._table.count_rows())

    def batches(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Yield columns of all rows."""
        with self._faults.of(self._table.uri):
            yield from self._table.search().select(list(columns)).to_batches(batch_size=8192)


def snapshots(storage: Storage) -> list[Snapshot]:
    """Return every table as it is now; to be called under the writer's lock, so that they fit each other."""
    connection = connect(storage)
    with storage.faults.of(storage.tables):
        names = connection.list_tables(limit=TABLES_MAX).tables
    found = (open_table(connection, storage, name) for name in names)
    return [_at(table, storage) for table in found if table is not None]


def snapshot(storage: Storage, name: str) -> Snapshot:
    """Return one table as it is now; NotFound where there is none."""
    table = open_table(connect(storage), storage, name)
    if table is None:
        raise NotFound(f"registry: there is no table {name}")
    return _at(table, storage)


def _at(table: Any, storage: Storage) -> Snapshot:
    with storage.faults.of(table.uri):
        table.checkout(table.version)
        return Snapshot(table, storage)
