"""A row of the table of versions as one text: what is read of it, made from columns without a loop in Python."""

from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc

from serval_registry.model import Version
from serval_registry.packing import SEPARATOR as RECORD_SEPARATOR
from serval_registry.packing import unpacked
from serval_registry.tables import Row
from serval_registry.versions import from_row

SEPARATOR = "\x1d"

# The name and the version come first, as rows are looked for by them; the record is last, as it may hold anything.
COLUMNS = (
    "name",
    "version",
    "revision",
    "stage",
    "deleted",
    "tags",
    "aliases",
    "lineage",
    "created",
    "updated",
    "baseline_sha256",
    "baseline_rows",
    "record",
)
_RECORD = COLUMNS.index("record")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Key = tuple[str, int]


def encoded(rows: pa.Table | pa.RecordBatch) -> pa.Array:
    """Return the rows as texts (string); ValueError for one without a record."""
    if rows["record"].null_count:
        raise ValueError("record: a row has none; the table was not migrated")
    texts = pc.binary_join_element_wise(
        *(_text(rows[name]) for name in COLUMNS), SEPARATOR, null_handling="replace", null_replacement=""
    )
    return texts.combine_chunks() if isinstance(texts, pa.ChunkedArray) else texts


def key_of(text: str) -> Key:
    """Return the name and the version of a row."""
    name, version, _ = text.split(SEPARATOR, 2)
    return name, int(version)


def version_of(text: str) -> Version:
    """Return the version in a row."""
    return from_row(decoded(text))


def decoded(text: str, *, whole: bool = True) -> Row:
    """Return the row, without what its record holds unless it is to be whole."""
    # Written out, in the order of COLUMNS: a page has hundreds.
    fields = text.split(SEPARATOR, _RECORD)
    name, version, revision, stage, deleted, tags, aliases, lineage, created, updated, baseline, rows, record = fields
    row: Row = unpacked(record) if whole else {}
    row["name"] = name
    row["version"] = int(version)
    row["revision"] = int(revision)
    row["stage"] = stage
    row["deleted"] = deleted == "true"
    row["tags"] = tags
    row["aliases"] = aliases
    row["lineage"] = lineage
    row["created"] = _moment(created)
    row["updated"] = row["created"] if updated == created else _moment(updated)
    row["baseline_sha256"] = baseline or None
    row["baseline_rows"] = int(rows)
    return row


def split(text: str) -> tuple[list[str], list[str]]:
    """Return the columns of a row but its record, in the order of COLUMNS, and of its record in that of PACKED."""
    *columns, record = text.split(SEPARATOR, _RECORD)
    return columns, record.split(RECORD_SEPARATOR)


def _moment(microseconds: str) -> datetime:
    return _EPOCH + timedelta(0, 0, int(microseconds))  # by its name, the argument takes half as long again


def _text(column: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    return (column.cast(pa.int64()) if pa.types.is_timestamp(column.type) else column).cast(pa.string())
