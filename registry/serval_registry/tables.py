"""The LanceDB tables of a registry, and the only place that speaks to LanceDB.

`versions` has one row a version; deleted ones stay as rows, so that their numbers are never given again. `baselines`
has one row a baseline, named by the SHA-256 of its content, never changed and referred to by rows of `versions`: so a
version's baseline changes in the one commit of its row. `journal` has one row an entry, never changed. `reports` is the
history of drift, one row a closed window. The schema's number is stored with each table.

Reads see what other processes have committed. LanceDB survives a killed process but flushes nothing to disk; `settled`
does.
"""

import functools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from serval_registry import connecting
from serval_registry.commits import Commits
from serval_registry.embedding import Vector
from serval_registry.faults import damaged
from serval_registry.filters import Where, sql
from serval_registry.lance import Bitmap, BTree, ColumnOrdering, Expr, IvfPq, LabelList
from serval_registry.mending import broken_indices, mend
from serval_registry.metrics import INDEXED_METRICS, metric_column
from serval_registry.migrations import migrate, note_key
from serval_registry.packing import PACKED, packed, unpacked
from serval_registry.quantising import sub_vectors
from serval_registry.schemas import BASELINES, BEHAVIOURS, INPUTS, JOURNAL, REPORTS, VERSIONS
from serval_registry.storage import Storage

_INDEX = "vector_idx"

# The tables of users' spaces are named so; `spaces` bounds how many there are.
SPACE = "space-"
TABLES_MAX = 200

# Recall at 10 of 0.998 on a million clustered vectors; the defaults reach 0.34. The refinement is what matters.
NPROBES = 20
REFINE_FACTOR = 20

# Product quantisation learns 256 centroids, and LanceDB silently indexes nothing with fewer rows.
INDEX_ROWS_MIN = 256

_FOR_GOOD = timedelta(days=36_500)

# A fifth of a million rows' lookups take as long without them as with them; a million's take ten times as long.
SCALAR_INDICES: Mapping[str, Any] = {
    "name": BTree,
    "revision": BTree,
    "created": BTree,
    "stage": Bitmap,
    "deleted": Bitmap,
    "vector_source": Bitmap,
    "tag_list": LabelList,
    "schema": BTree,
    "sha256": BTree,
    **{metric_column(name): BTree for name in INDEXED_METRICS},
}
# What else filters compare as numbers.
FILTERED_NUMBERS = (
    "version",
    "baseline_rows",
    "created",
    "updated",
    *(metric_column(name) for name in INDEXED_METRICS),
)

_UNREAD = {"vector", "tag_list", "parents", "request_id", *PACKED, *(metric_column(name) for name in INDEXED_METRICS)}

Row = dict[str, Any]
RowList = list[Row]
Vectors = npt.NDArray[np.float32]


class Database:
    """The tables of a registry. To be opened under the writer's lock, so that each is made and migrated once."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        mend(storage)
        self._connection = connecting.connect(storage)
        known = set(self.names())
        self.versions = self._open("versions", VERSIONS, known)
        self.baselines = self._open("baselines", BASELINES, known)
        self.journal = self._open("journal", JOURNAL, known)
        self.reports = self._open("reports", REPORTS, known)
        self.inputs = self._open("inputs", INPUTS, known)
        self.behaviours = self._open("behaviours", BEHAVIOURS, known)
        self._others: dict[str, Table] = {}
        storage.flush()

    @property
    def tables(self) -> "tuple[Table, ...]":
        """Every table, for those who look after them."""
        return (self.versions, self.baselines, self.journal, self.reports, self.inputs, *self.stamped())

    def stamped(self) -> "list[Table]":
        """Return the tables whose rows stand for versions; see `schemas`."""
        return [self.behaviours, *self.others(SPACE).values()]

    def others(self, prefix: str) -> "dict[str, Table]":
        """Return the tables whose names begin so, which any process may have made since, by the rest of their names."""
        found = {name.removeprefix(prefix): self.other(name) for name in self.names() if name.startswith(prefix)}
        return {name: table for name, table in found.items() if table is not None}

    def other(self, name: str) -> "Table | None":
        """Return a table whatever its schema; None while it is being made."""
        if name not in self._others:
            table = connecting.open_table(self._connection, self._storage, name)
            if table is None:
                return None
            self._others[name] = Table(table, table.schema, self._storage)
        return self._others[name]

    def make(self, name: str, schema: pa.Schema) -> "Table":
        """Make a table; the writer's lock is held."""
        self._others[name] = self._open(name, schema, set())
        return self._others[name]

    def names(self) -> list[str]:
        """Return the names of all tables, with those that are being made."""
        with self._storage.faults.of(self._storage.tables):
            return sorted(self._connection.list_tables(limit=TABLES_MAX).tables)

    def _open(self, name: str, schema: pa.Schema, known: set[str]) -> "Table":
        table = connecting.open_table(self._connection, self._storage, name) if name in known else None
        with self._storage.faults.of(connecting.uri(self._storage, name)):
            if table is None:
                # What a process has left that was killed while it made the table is no table, and is in nobody's way.
                if self._storage.names(f"tables/{name}.lance/data"):
                    raise damaged(connecting.uri(self._storage, name))
                table = self._connection.create_table(name, schema=schema)
            migrate(table, name, schema)
            note_key(table, schema)
        return Table(table, schema, self._storage)


class Near(NamedTuple):
    """The id of a row, LanceDB's own and good until a merge, and the cosine distance of its vector, 0 to 2."""

    id: int
    distance: float


class Table:
    """One table: rows as dicts in, rows as dicts out."""

    def __init__(self, table: Any, schema: pa.Schema, storage: Storage) -> None:
        self._table = table
        self._schema = schema
        self._storage = storage
        self._faults = functools.partial(storage.faults.of, table.uri)
        self._commits = Commits(table.uri, self._version)

    @property
    def name(self) -> str:
        """What the table is called."""
        return str(self._table.name)

    @property
    def columns(self) -> list[str]:
        """Every column but the vector, which few readers need, and those that only filters do."""
        return [name for name in self._schema.names if name not in _UNREAD]

    @property
    def fields(self) -> list[pa.Field]:
        """The columns as they have to be."""
        return list(self._schema)

    @property
    def metadata(self) -> Mapping[bytes, bytes]:
        """What was noted of the table when it was made."""
        return self._schema.metadata or {}

    @property
    def width(self) -> int:
        """Return how many numbers a vector has."""
        return int(self._schema.field("vector").type.list_size)

    def commit(self) -> int:
        """Return the number of the newest commit, by any process; it only grows, and asking is cheap."""
        return self._commits.newest()

    def _version(self) -> int:
        with self._faults():
            return int(self._table.version)

    def count(self) -> int:
        """Return the number of rows."""
        with self._faults():
            return int(self._table.count_rows())

    def count_where(self, where: Where) -> int:
        """Return the number of rows that pass."""
        with self._faults():
            return int(self._table.count_rows(sql(where)))

    def fragments(self) -> int:
        """Return the number of small pieces that the table lies in; every query opens each."""
        with self._faults():
            return int(self._table.stats()["fragment_stats"]["num_small_fragments"])

    def select(
        self,
        where: Where | None,
        columns: Sequence[str],
        *,
        order: Mapping[str, bool] | None = None,
        limit: int | None = None,
    ) -> list[Row]:
        """Return rows; `order` says by which columns, and of each whether ascending."""
        found = self.values(where, columns, order=order, limit=limit)
        return [_whole(row) for row in found.to_pylist()]

    def values(
        self,
        where: Where | None,
        columns: Sequence[str],
        *,
        order: Mapping[str, bool] | None = None,
        limit: int | None = None,
    ) -> pa.Table:
        """Return columns of the rows found, as they lie where `order` does not say otherwise."""
        with self._faults():
            query = self._table.search().select(list(columns))
            if where is not None:
                query = query.where(where)
            if order:
                by = [ColumnOrdering(column_name=name, ascending=ascending) for name, ascending in order.items()]
                query = query.order_by(by)
            if limit is not None:
                query = query.limit(limit)
            return query.to_arrow()

    def strings(self, column: str) -> npt.NDArray[np.str_]:
        """Return a column of text of all rows."""
        with self._faults():
            found = self._table.search().select([column]).to_arrow()
        return np.asarray(found[column].to_numpy(), dtype=np.str_)

    def vector(self, where: Where) -> Vector | None:
        """Return the vector of the first row found."""
        with self._faults():
            found = self._table.search().select(["vector"]).where(where).limit(1).to_arrow()
        if not found.num_rows:
            return None
        return np.asarray(found["vector"].combine_chunks().flatten(), dtype=np.float32)

    def add(self, *rows: Row) -> None:
        """Append rows, in one commit."""
        self._storage.check_writer()
        with self._faults():
            whole = [row | {"record": packed(row)} for row in rows] if "record" in self._schema.names else [*rows]
            self._table.add(pa.Table.from_pylist(whole, schema=self._schema))

    def add_new(self, row: Row, key: str) -> bool:
        """Append a row unless one has its `key`, in one commit; tell whether it was appended.

        Where the writer's lock may be lost unnoticed, another process may have written one since it was looked for;
        else the lock has decided already.
        """
        if self._storage.exclusive:
            self.add(row)
            return True
        self._storage.check_writer()
        with self._faults():
            # By an index on the key, commits that cross do not see each other.
            merge = self._table.merge_insert(key).when_not_matched_insert_all().use_index(False)
            return bool(merge.execute(pa.Table.from_pylist([row], schema=self._schema)).num_inserted_rows)

    def update(self, where: Expr, values: Row) -> None:
        """Set columns of the rows found to the same values, in one commit."""
        self._storage.check_writer()
        with self._faults():
            self._table.update(where=where, values=values)

    def update_sql(self, where: Expr, expressions: Mapping[str, str]) -> None:
        """Set columns of the rows found to expressions, in one commit. Never with a caller's text in them."""
        self._storage.check_writer()
        with self._faults():
            self._table.update(where=where, values_sql=dict(expressions))

    def delete(self, where: Expr) -> None:
        """Delete the rows found, in one commit."""
        self._storage.check_writer()
        with self._faults():
            self._table.delete(where)

    def nearest(self, vector: Vector, where: Where | None, k: int, *, probes: int) -> list[Near]:
        """Return the k nearest by cosine distance among the rows that pass `where`, nearest first.

        `probes` is how many partitions of the index are visited, 0: every row is compared. Where the filter leaves
        fewer than k rows of them, fewer come back.
        """
        with self._faults():
            # LanceDB warns on stderr at every query that does not select the distance.
            found = self._near(vector, where, probes).select(["_distance"]).with_row_id(True).limit(k)
            columns = found.to_arrow().to_pydict()
        return [Near(*near) for near in zip(columns["_rowid"], columns["_distance"], strict=True)]

    def nearest_rows(
        self, vector: Vector, where: Where | None, k: int, columns: Sequence[str], *, probes: int
    ) -> list[tuple[Row, float]]:
        """Return columns of the k nearest rows, and their cosine distances; see `nearest`."""
        with self._faults():
            query = self._near(vector, where, probes).select([*columns, "_distance"])
            rows = query.limit(k).to_arrow().to_pylist()
        return [(row, row.pop("_distance")) for row in rows]

    def _near(self, vector: Vector, where: Where | None, probes: int) -> Any:
        query = self._table.search(vector, vector_column_name="vector").distance_type("cosine")
        if probes:  # noqa: SIM108
            # The same bounds: left to visit more where a filter is narrow, LanceDB takes thirty times as long.
            query = query.nprobes(probes).refine_factor(REFINE_FACTOR)
        else:
            query = query.bypass_vector_index()
        return query if where is None else query.where(where, prefilter=True)

    def rows(self, ids: Sequence[int]) -> list[tuple[int, Row]]:
        """Return the rows with these ids, as `nearest` gave them, each with its id; those moved since are left out."""
        try:
            taken = self._table.take_row_ids(list(ids)).select(self.columns).with_row_id().to_arrow().to_pylist()
        except (ValueError, RuntimeError, OSError):
            return []
        return [(row.pop("_rowid"), _whole(row)) for row in taken]

    def vectors(self, where: Where, columns: Sequence[str], limit: int) -> tuple[list[int], list[Row], Vectors]:
        """Return ids, columns and vectors (float32 [rows, width]) of the rows found, at most `limit`."""
        with self._faults():
            query = self._table.search().where(where).select([*columns, "vector"]).with_row_id(True)
            found = query.limit(limit).to_arrow()
        flat = np.asarray(found["vector"].combine_chunks().flatten(), np.float32)
        ids: list[int] = found["_rowid"].to_pylist()
        rows: list[Row] = found.select(list(columns)).to_pylist() if columns else []
        return ids, [_whole(row) for row in rows], flat.reshape(-1, self.width)

    def indexed_rows(self) -> int:
        """Return how many rows the vector index covers. That it exists says nothing: it may cover none."""
        with self._faults():
            statistics = self._table.index_stats(_INDEX)
        return int(statistics.num_indexed_rows) if statistics else 0

    def unindexed_columns(self) -> list[str]:
        """Return the columns that filters want an index on and that have none yet."""
        with self._faults():
            known = {column for index in self._table.list_indices() for column in index.columns}
        return [column for column in SCALAR_INDICES if column in self._schema.names and column not in known]

    def index_column(self, column: str) -> None:
        """Make the index that filters on a column are answered by. RuntimeError on a commit conflict."""
        self._table.create_index(column, config=SCALAR_INDICES[column]())

    def broken_indices(self) -> list[str]:
        """Read every index and return the names of those that cannot be read."""
        with self._faults():
            return broken_indices(self._table)

    def prewarm(self) -> None:
        """Read the vector index into memory, so that the first search need not."""
        with self._faults():
            if any("vector" in index.columns for index in self._table.list_indices()):
                self._table.prewarm_index(_INDEX)

    def build_index(self, partitions: int) -> None:
        """Train the vector index on the rows there are, replacing the one before. RuntimeError on a commit conflict."""
        # LanceDB's own 50 iterations take longer and find no more.
        config = IvfPq(
            distance_type="cosine",
            num_partitions=partitions,
            num_sub_vectors=sub_vectors(self.width),
            num_bits=8,
            max_iterations=20,
        )
        self._table.create_index("vector", config=config, replace=True)

    def merge(self, keep_commits: timedelta = _FOR_GOOD, *, orphans: bool = False) -> None:
        """Merge small pieces, fold new rows into the index, drop older commits. RuntimeError on a commit conflict.

        With `orphans`, under the writer's lock alone, also files that no commit names: what writers that were killed,
        and merges that gave way, have left.
        """
        self._table.optimize(cleanup_older_than=keep_commits, delete_unverified=orphans)

    @contextmanager
    def settled(self) -> Iterator[None]:
        """Flush to disk what is written within, and what it stands on, before going on."""
        yield
        self._storage.flush()


def _whole(row: Row) -> Row:
    """Return a row with what its record holds, if it was read."""
    record = row.pop("record", None)
    return row if record is None else row | unpacked(record)
