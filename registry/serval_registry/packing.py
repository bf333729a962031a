"""What never changes of a version, in one column beside its own columns.

Reading a few rows of a million costs LanceDB some milliseconds for every column whose values are nearly all the same,
for it decodes whole pages of them: eighteen such columns took 38 ms, one column of everything takes 3. The columns
themselves stay what filters look at.
"""

from typing import Any

SEPARATOR = "\x1e"

# In this order, and only added to by a new schema. Texts, or None where the text is empty; the two others by name.
PACKED = (
    "description",
    "algorithm",
    "framework",
    "dataset",
    "missing_allowed",
    "artifact_sha256",
    "artifact_bytes",
    "sample_sha256",
    "metrics",
    "hyperparameters",
    "signature",
    "features",
    "classes",
    "parity",
    "libraries",
    "vector_source",
    "label",
)


def packed(row: dict[str, Any]) -> str:
    """Return the column of a row."""
    return SEPARATOR.join(_text(row[column]).replace(SEPARATOR, " ") for column in PACKED)


def unpacked(record: str) -> dict[str, Any]:
    """Return the columns that `packed` was made of."""
    row: dict[str, Any] = dict(zip(PACKED, record.split(SEPARATOR), strict=True))
    # Written out, as in `mirror.texts`: a page has a hundred.
    row["sample_sha256"] = row["sample_sha256"] or None
    row["parity"] = row["parity"] or None
    row["missing_allowed"] = row["missing_allowed"] == "true"
    row["artifact_bytes"] = int(row["artifact_bytes"])
    return row


def packing_sql() -> str:
    """Return `packed` as SQL."""
    texts = (f"replace(coalesce(cast({column} as string), ''), chr(30), ' ')" for column in PACKED)
    return f"concat_ws(chr(30), {', '.join(texts)})"


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)
