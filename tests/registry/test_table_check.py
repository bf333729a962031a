"""Vectors that no search can be right about."""

import numpy as np
import pyarrow as pa
import pytest
from serval_registry.table_check import _check_batch


@pytest.mark.parametrize(
    ("table", "faults"),
    [
        ("space-notes", ["m@2: its vector in space notes does not consist of finite numbers"] * 3),
        ("behaviours", ["m@2: its vector in space behaviours does not consist of finite numbers"] * 3),
    ],
)
def test_a_vector_that_is_not_finite_is_named(table: str, faults: list[str]) -> None:
    for found, bad in enumerate((np.nan, np.inf, -np.inf)):
        vectors = [[0.6, 0.8], [bad, 0.8]]
        batch = pa.RecordBatch.from_pydict(
            {"name": ["m", "m"], "version": [1, 2], "vector": pa.array(vectors, pa.list_(pa.float32(), 2))}
        )
        assert [f"{fault.ref}: {fault.what}" for fault in _check_batch(table, batch)] == faults[found : found + 1]


def test_text_that_is_none_is_named() -> None:
    text = pa.StringArray.from_buffers(1, pa.py_buffer(np.array([0, 2], np.int32)), pa.py_buffer(b"\xff\xff"))
    (fault,) = _check_batch("reports", pa.RecordBatch.from_arrays([text], ["name"]))
    assert (fault.ref, fault.what.partition(":")[0]) == ("table reports", "its content cannot be decoded")
