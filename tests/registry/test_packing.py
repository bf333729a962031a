"""What never changes of a version, in one column: by Python and by SQL the same, and back."""

from typing import Any

import lancedb
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serval_registry.model import Draft, Parity, Signature
from serval_registry.packing import PACKED, SEPARATOR, packed, packing_sql, unpacked
from serval_registry.registry import Registry

TEXTS = st.text(st.characters(exclude_characters=SEPARATOR, exclude_categories=["Cs"]), max_size=20)
ROWS = st.fixed_dictionaries(
    dict.fromkeys(PACKED, TEXTS)
    | {
        "missing_allowed": st.booleans(),
        "artifact_bytes": st.integers(0, 2**60),
        "sample_sha256": st.none() | TEXTS.filter(bool),
        "parity": st.none() | TEXTS.filter(bool),
    }
)


@given(ROWS)
def test_a_record_is_its_columns(row: dict[str, Any]) -> None:
    assert unpacked(packed(row)) == row


def test_a_separator_in_a_text_moves_no_other(registry: Registry, signature: Signature) -> None:
    draft = Draft(name="wine", description=f"a{SEPARATOR}b", algorithm="forest")
    registry.register(draft, signature, b"x", baseline=None, sample=None)
    found = registry.versions("wine")[0]
    assert (found.description, found.algorithm) == ("a b", "forest")


@pytest.mark.parametrize("sample", [None, b"sample"])
def test_sql_packs_as_python_does(registry: Registry, signature: Signature, sample: bytes | None) -> None:
    draft = Draft(
        name="wine",
        description=f"it's {SEPARATOR} \u00e4 \x1f \\ 'n'",
        metrics={"accuracy": 0.1 + 0.2, "gini": 1e-300},
        classes=["a", '"'],
        parity=Parity(rows=3, max_difference=1e-7, mean_difference=0.0, label_mismatch=0.0, tolerance=1e-5),
        missing_allowed=sample is None,
        label="1.2.3-rc.1",
    )
    registry.register(draft, signature, b"x", baseline=None, sample=sample)
    table = lancedb.connect(registry.storage.tables).open_table("versions")
    before = table.to_arrow()["record"].to_pylist()
    table.add_columns({"again": packing_sql()})
    assert table.to_arrow()["again"].to_pylist() == before
    assert before[0].split(SEPARATOR)[PACKED.index("label")] == "1.2.3-rc.1"
