"""Merging and indexing, while others write."""

import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from serval_registry.embedding import DIMENSION
from serval_registry.housekeeping import FRAGMENTS_MAX, WRITES_BETWEEN
from serval_registry.model import Draft, Signature, Version
from serval_registry.registry import Registry
from serval_registry.schemas import VERSIONS
from serval_registry.spaces import upkeep
from serval_registry.tables import INDEX_ROWS_MIN

Add = Callable[..., Version]


def eventually(condition: Callable[[], bool], seconds: float = 20.0) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def test_optimize_leaves_one_piece_and_every_version(registry: Registry, add: Add) -> None:
    for _ in range(5):
        add("m")
    assert registry._versions.fragments() == 5
    registry.optimize()
    assert registry._versions.fragments() == 1
    assert len(registry.versions("m")) == 5


def test_files_that_no_commit_names_go_from_a_folder(registry: Registry, add: Add, tmp_path: Path) -> None:
    add("m")
    (named,) = (tmp_path / "data/tables/versions.lance/data").iterdir()
    unnamed = named.with_name(f"{uuid.uuid4()}.lance")
    unnamed.write_bytes(named.read_bytes())
    registry.sweep()
    assert not unnamed.exists()
    assert [version.version for version in registry.versions("m")] == [1]


@pytest.mark.slow
def test_pieces_are_merged_by_themselves(registry: Registry, add: Add) -> None:
    for _ in range(FRAGMENTS_MAX + 2 * WRITES_BETWEEN):
        add("m")
    assert eventually(lambda: registry._versions.fragments() < FRAGMENTS_MAX)
    assert len(registry.versions("m")) == FRAGMENTS_MAX + 2 * WRITES_BETWEEN


@pytest.mark.slow
def test_merging_beside_writers_loses_nothing(registry: Registry, add: Add) -> None:
    done = threading.Event()
    failures: list[BaseException] = []

    def merge() -> None:
        while not done.is_set():
            try:
                registry.optimize()
            except BaseException as error:
                failures.append(error)
                return

    merger = threading.Thread(target=merge)
    merger.start()
    for number in range(1, 31):
        assert add("m").version == number
        registry.set_baseline("m", number, b"x", number)
    done.set()
    merger.join()
    assert failures == []
    assert [version.baseline_rows for version in registry.versions("m")] == list(range(30, 0, -1))


@pytest.mark.slow
def test_the_index_is_built_by_itself(tmp_path: Path, signature: Signature) -> None:
    rows = INDEX_ROWS_MIN + WRITES_BETWEEN
    with Registry.open(tmp_path, index_threshold=INDEX_ROWS_MIN) as registry:
        table = registry._versions._table
        registry.register(Draft(name="m"), signature, b"a", baseline=None, sample=None)
        (one,) = table.to_arrow().to_pylist()
        vectors = np.random.default_rng(7).standard_normal((rows, DIMENSION)).astype(np.float32)
        table.add(pa.Table.from_pylist([one | {"vector": vector} for vector in vectors], schema=VERSIONS))
        assert registry._versions.indexed_rows() == 0
        for _ in range(WRITES_BETWEEN):
            registry.register(Draft(name="n"), signature, b"a", baseline=None, sample=None)
        assert eventually(lambda: registry._versions.indexed_rows() >= rows)


@pytest.mark.slow
def test_baselines_are_found_by_an_index_once_they_are_many(
    registry: Registry, signature: Signature, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep, "COLUMN_INDEX_ROWS", 2)
    for content in (b"x", b"y"):
        registry.register(Draft(name="m"), signature, b"a", baseline=(content, 1), sample=None)
    baselines = registry.database.baselines
    assert baselines.unindexed_columns() == ["created", "sha256"]
    registry.build_index()
    assert baselines.unindexed_columns() == []
    registry.set_baseline("m", 1, b"z", 1)  # which the index does not cover yet
    assert [registry.baseline("m", number) for number in (1, 2)] == [b"z", b"y"]


def test_closing_twice_does_no_harm(tmp_path: Path) -> None:
    registry = Registry.open(tmp_path)
    registry._housekeeper.close()
    registry.close()
