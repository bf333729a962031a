"""Schemas of the tables by number, and the steps from each to the next.

The number lies in the metadata of a table's first column, the only metadata that LanceDB lets one change; tables made
by schema 1 have it with the table. A step adds columns, each in one commit, and the number comes last: a migration that
was cut short goes on where it stopped. The writer's lock is held, but workers of an older release write rows without
the new columns and refuse to start: end them first.
"""

from typing import Any

import pyarrow as pa

from serval_registry.errors import FailedPrecondition
from serval_registry.metrics import INDEXED_METRICS, metric_column, metric_sql
from serval_registry.packing import packing_sql

SCHEMA = 2
SCHEMA_KEY = b"serval.schema"

# LanceDB has two commits that insert the same key at once see each other, where a column says that it is the key.
PRIMARY_KEY = b"lance-schema:unenforced-primary-key"

# By schema and table, the columns that the step to it adds, each with what it is in older rows, as SQL; None: null.
STEPS: dict[int, dict[str, dict[str, str | None]]] = {
    2: {
        "versions": {
            "request_id": None,
            "label": "''",
            "aliases": "''",
            "parents": "''",
            "lineage": "'{}'",
            "tag_list": "string_to_array(btrim(tags, chr(31)), chr(31))",
            **{metric_column(name): metric_sql(name) for name in INDEXED_METRICS},
            "record": packing_sql(),
        }
    },
}


def migrate(table: Any, name: str, schema: pa.Schema) -> None:
    """Bring a table to SCHEMA; FailedPrecondition for one that a later release has made, or nobody."""
    stored = stored_schema(table)
    if stored is None or stored > SCHEMA:
        raise FailedPrecondition(
            f"registry: table {name} has schema {stored or 'none'}; this release reads schemas 1 to {SCHEMA}"
        )
    for number in range(stored + 1, SCHEMA + 1):
        for column, value in STEPS[number].get(name, {}).items():
            if column not in table.schema.names:
                _add(table, schema.field(column), value)
        _note(table, table.schema.names[0], {SCHEMA_KEY: str(number).encode()})


def note_key(table: Any, schema: pa.Schema) -> None:
    """Have a table say what its key is, as those of older releases do not."""
    for field in schema:
        if PRIMARY_KEY in (field.metadata or {}) and PRIMARY_KEY not in (table.schema.field(field.name).metadata or {}):
            _note(table, field.name, {PRIMARY_KEY: field.metadata[PRIMARY_KEY]})


def _add(table: Any, column: pa.Field, value: str | None) -> None:
    if value is None:
        table.add_columns(column)
    elif pa.types.is_list(column.type):
        table.add_columns({column.name: value})
    else:
        table.add_columns({column.name: f"cast({value} as {_sql_type(column.type)})"})
    _note(table, column.name, column.metadata or {})


def _note(table: Any, column: str, metadata: dict[bytes, bytes]) -> None:
    texts = {key.decode(): text.decode() for key, text in metadata.items()}
    table.update_field_metadata({"path": column, "metadata": texts})


def _sql_type(datatype: pa.DataType) -> str:
    return {pa.string(): "string", pa.int64(): "bigint", pa.bool_(): "boolean", pa.float64(): "double"}[datatype]


def stored_schema(table: Any) -> int | None:
    """Return the number that a table carries, or None."""
    first = table.schema.field(0).metadata or {}
    text = (first.get(SCHEMA_KEY) or (table.schema.metadata or {}).get(SCHEMA_KEY, b"")).decode()
    return int(text) if text.isdigit() else None
