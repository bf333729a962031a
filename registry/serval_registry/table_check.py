"""Reading every row of every table, column by column, as LanceDB decodes them and as the registry does."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from serval_registry.errors import NotFound, ServalError
from serval_registry.model import Ref
from serval_registry.packing import packed
from serval_registry.registry import Registry
from serval_registry.snapshots import Snapshot, snapshot
from serval_registry.spaces.spaces import DESCRIPTION, space_of
from serval_registry.tables import SPACE, Row, Table
from serval_registry.versions import from_row

# Called with how many things more were looked at.
Step = Callable[[int], None]

# Of the length of a vector in single precision.
_ROUNDING = 1e-3

_VERSIONS = "versions"


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that is not as it has to be: of which version, and what; `sha256` where content is concerned."""

    ref: str
    what: str
    sha256: str = ""


def check_tables(registry: Registry, step: Step) -> Iterator[Fault]:
    """Yield what is wrong with the rows, the vectors and the indices of every table; `step` takes rows."""
    for table in registry.database.tables:
        try:
            found = snapshot(registry.storage, table.name)
            yield from _check_schema(table, found)
            for batch in found.batches(found.schema.names):
                yield from _check_batch(table.name, batch)
                step(batch.num_rows)
            for index in table.broken_indices():
                yield Fault(
                    f"table {table.name}", f"its index {index} cannot be read; `serval registry repair` drops it"
                )
        except NotFound:
            continue  # a space that was deleted meanwhile
        except ServalError as error:
            yield Fault(f"table {table.name}", str(error))


def _check_schema(table: Table, found: Snapshot) -> Iterator[Fault]:
    stored = {field.name: field.type for field in found.schema}
    for field in table.fields:
        if stored.get(field.name) != field.type:
            came = stored.get(field.name, "missing")
            yield Fault(f"table {table.name}", f"its column {field.name} is {came}; wanted {field.type}")


def _check_batch(table: str, batch: pa.RecordBatch) -> Iterator[Fault]:
    try:
        batch.validate(full=True)
    except pa.ArrowInvalid as error:
        yield Fault(f"table {table}", f"its content cannot be decoded: {error}")
        return
    if "vector" in batch.schema.names:
        yield from _check_vectors(table, batch)
    if table == _VERSIONS:
        rows: list[Row] = batch.drop_columns(["vector"]).to_pylist()
        yield from (Fault(_ref(row), fault) for row in rows if (fault := _fault_of(row)))


def _check_vectors(table: str, batch: pa.RecordBatch) -> Iterator[Fault]:
    column = batch["vector"]
    space = DESCRIPTION if table == _VERSIONS else space_of(table)
    vectors = np.asarray(column.flatten(), np.float64).reshape(-1, column.type.list_size)
    lengths = np.linalg.norm(vectors, axis=1)
    # Who was not run on probes lies nowhere among behaviours.
    good = np.abs(lengths - 1.0) < _ROUNDING if table == _VERSIONS or table.startswith(SPACE) else np.isfinite(lengths)
    for place in np.flatnonzero(~good).tolist():
        ref = Ref(batch["name"][place].as_py(), version=batch["version"][place].as_py())
        wanted = "have length 1" if np.isfinite(lengths[place]) else "consist of finite numbers"
        yield Fault(str(ref), f"its vector in space {space} does not {wanted}")


def _fault_of(row: Row) -> str:
    """Return why a row of `versions` cannot be made a version; empty: it can."""
    try:
        if row["record"] is not None and row["record"] != packed(row):
            return "its record is not what its columns say"
        from_row(row)
    except (ValueError, KeyError, TypeError, IndexError) as error:
        return f"its row cannot be read: {type(error).__name__}: {error}"
    return ""


def _ref(row: Row) -> str:
    return f"{row['name']}@{row['version']}"
