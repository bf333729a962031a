"""The tables of a registry as they were at one moment."""

from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa

from serval_registry.faults import storage_faults
from serval_registry.storage import Storage
from serval_registry.tables import TABLES_MAX, connect


class Snapshot:
    """A table as it was at one commit."""

    def __init__(self, table: Any) -> None:
        self.name: str = table.name
        self.schema: pa.Schema = table.schema
        self.commit = int(table.version)
        self._table = table

    def count(self) -> int:
        """Return the number of rows."""
        with storage_faults():
            return int(self._table.count_rows())

    def batches(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Yield columns of all rows."""
        with storage_faults():
            yield from self._table.search().select(list(columns)).to_batches(batch_size=8192)


def snapshots(storage: Storage) -> list[Snapshot]:
    """Return every table as it is now; to be called under the writer's lock, so that they fit each other."""
    with storage_faults():
        names = connect(storage).list_tables(limit=TABLES_MAX).tables
    return [snapshot(storage, name) for name in names]


def snapshot(storage: Storage, name: str) -> Snapshot:
    """Return one table as it is now."""
    connection = connect(storage)
    with storage_faults():
        table = connection.open_table(name)
        table.checkout(table.version)
        return Snapshot(table)
