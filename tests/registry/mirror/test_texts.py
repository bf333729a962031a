"""Rows as texts."""

from datetime import UTC, datetime

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from serval_registry.mirror.texts import COLUMNS, decoded, encoded, key_of
from serval_registry.packing import PACKED, packed
from serval_registry.schemas import VERSIONS

WORDS = st.text(st.characters(exclude_characters="\x1d\x1e", exclude_categories=["Cs"]))
RECORD = dict.fromkeys(PACKED, "") | {"missing_allowed": True, "artifact_bytes": 5, "sample_sha256": None}
RECORD |= {"parity": None}
TIMES = st.datetimes(datetime(1971, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))


def table(row: dict[str, object]) -> pa.Table:
    return pa.Table.from_pylist([row], pa.schema([VERSIONS.field(name) for name in COLUMNS]))


@settings(max_examples=30)
@given(
    st.fixed_dictionaries(
        {
            "name": st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}", fullmatch=True),
            "version": st.integers(1, 2**62),
            "revision": st.integers(0, 2**62),
            "stage": st.sampled_from(["none", "production"]),
            "deleted": st.booleans(),
            "tags": WORDS,
            "aliases": WORDS,
            "lineage": WORDS,
            "created": TIMES,
            "updated": TIMES,
            "baseline_sha256": st.none() | st.just("ab"),
            "baseline_rows": st.integers(0, 2**40),
            "description": WORDS | st.just("a\x1db"),
        }
    )
)
def test_a_row_comes_back(said: dict[str, object]) -> None:
    record = RECORD | {"description": said.pop("description")}
    text = encoded(table(said | {"record": packed(record)}))[0].as_py()
    assert decoded(text, whole=False) == said
    assert decoded(text) == said | record
    assert key_of(text) == (said["name"], said["version"])


def test_a_row_without_a_record_is_refused() -> None:
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    row = dict.fromkeys(COLUMNS, "") | {"version": 1, "revision": 1, "baseline_rows": 0, "record": None}
    with pytest.raises(ValueError, match="record"):
        encoded(table(row | {"deleted": False, "created": moment, "updated": moment}))
