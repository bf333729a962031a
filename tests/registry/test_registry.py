"""The face of the registry, over a real directory."""

import multiprocessing
import os
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from serval_registry import migrations, tables
from serval_registry.errors import DataLoss, FailedPrecondition, InvalidArgument, NotFound
from serval_registry.model import Draft, Feature, FeatureKind, Parity, Ref, Signature, Stage, Version
from serval_registry.registry import Registry
from serval_registry.versions import not_found

Add = Callable[..., Version]

FULL = Draft(
    name="wine-quality",
    description="Rot oder weiß: größer 'als' \"alles\" \N{WINE GLASS}",
    tags={"team": "cellar", "note": "a=b; DROP TABLE versions --", "empty": ""},
    metrics={"accuracy": 0.9312345678901234, "loss": -1e-300},
    hyperparameters={"n_estimators": "100", "nested": '{"a": [1, "\'"]}'},
    algorithm="RandomForestClassifier",
    framework="scikit-learn",
    dataset="s3://cellar/2026.parquet",
    features=[Feature("alcohol", FeatureKind.NUMERIC, "X", 0), Feature("colour", FeatureKind.TEXT, "colour")],
    classes=["red", "white"],
    parity=Parity(178, 1e-7, 1e-8, 0.0, 1e-5, relative=True),
    libraries={"scikit-learn": "1.9.1"},
    missing_allowed=True,
)


def test_a_version_comes_back_as_it_was_registered(registry: Registry, signature: Signature, tmp_path: Path) -> None:
    before = datetime.now(UTC)
    version = registry.register(FULL, signature, b"onnx bytes", baseline=(b"baseline", 178), sample=b"arrow")
    with Registry.open(tmp_path / "data") as again:
        assert again.resolve(Ref("wine-quality")) == version
        assert again.artifact(version) == b"onnx bytes"
        assert again.sample(version) == b"arrow"
        assert again.baseline("wine-quality", 1) == b"baseline"
    for field in ("name", "description", "tags", "metrics", "hyperparameters", "algorithm", "framework", "dataset"):
        assert getattr(version, field) == getattr(FULL, field)
    assert (version.features, version.classes) == (tuple(FULL.features), tuple(FULL.classes))
    assert (version.parity, version.libraries, version.missing_allowed) == (FULL.parity, FULL.libraries, True)
    assert (version.version, version.stage, version.signature) == (1, Stage.NONE, signature)
    assert (version.artifact_bytes, version.baseline_rows, version.has_sample) == (10, 178, True)
    assert version.vector_source == "default"
    assert before <= version.created == version.updated <= datetime.now(UTC)


def test_a_bare_version_has_neither_baseline_nor_sample(registry: Registry, add: Add) -> None:
    version = add("bare")
    assert (version.baseline_rows, version.has_sample, version.parity) == (0, False, None)
    assert registry.baseline("bare", 1) is None
    assert registry.sample(version) is None


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"name": "x' OR '1'='1"}, "name: "),
        ({"name": ""}, "name: "),
        ({"tags": {"a=b": "c"}}, "tags: 'a=b'"),
        ({"tags": {"a": "b\x1fc"}}, "tags: 'a'"),
        ({"tags": {str(n): "" for n in range(101)}}, "tags: 101 tags; wanted at most 100"),
        ({"metrics": {"auc": float("nan")}}, "metrics: 'auc' is nan; wanted a finite number"),
        ({"description": "x" * 20_000}, "description: 20000 characters; wanted at most 16384"),
        ({"vector": [1.0, 2.0]}, "vector: 2 numbers in shape [2]; wanted [128]"),
        ({"vector": [0.0] * 128}, "vector: all 128 numbers are zero"),
        ({"vector": [1.0] * 127 + [float("inf")]}, "vector: number 127 is not finite"),
    ],
)
def test_a_draft_that_cannot_be_stored_is_refused_and_takes_no_number(
    add: Add, said: dict[str, object], words: str
) -> None:
    with pytest.raises(InvalidArgument) as error:
        add(**{"name": "wine", **said})
    assert str(error.value).startswith(words)
    assert add("wine").version == 1


def test_resolving_prefers_production_then_the_newest(registry: Registry, add: Add) -> None:
    for _ in range(3):
        add("m")
    assert registry.resolve(Ref("m")).version == 3
    registry.set_stage("m", 1, Stage.PRODUCTION)
    registry.set_stage("m", 2, Stage.STAGING)
    assert registry.resolve(Ref("m")).version == 1
    assert registry.resolve(Ref("m", stage=Stage.STAGING)).version == 2
    assert registry.resolve(Ref("m", version=3)).version == 3
    registry.set_stage("m", 1, Stage.ARCHIVED)
    assert registry.resolve(Ref("m")).version == 3


@pytest.mark.slow
def test_a_name_that_is_registered_while_it_is_looked_for_was_not_there() -> None:
    error = not_found(Ref("new"), [{"version": 1, "deleted": False}])
    assert str(error) == "no model is named 'new'"


def test_not_found_says_what_was_asked_and_what_exists(registry: Registry, add: Add) -> None:
    for _ in range(6):
        add("m")
    registry.delete("m", 5)
    expected = {
        "x": "no model is named 'x'",
        "m@9": "model 'm' has no version 9; its versions are 1 to 4, 6",
        "m@5": "model 'm' has no version 5 any more: it was deleted; its versions are 1 to 4, 6",
        "m@production": "model 'm' has no version in stage production; its versions are 1 to 4, 6",
    }
    for ref, words in expected.items():
        with pytest.raises(NotFound) as error:
            registry.resolve(Ref.parse(ref))
        assert str(error.value) == words
    for ask in (registry.vector, registry.baseline, registry.delete):
        with pytest.raises(NotFound, match="has no version 9"):
            ask("m", 9)
    with pytest.raises(NotFound, match="no model is named"):
        registry.versions("x")
    with pytest.raises(NotFound, match="has no version 9"):
        registry.set_baseline("m", 9, b"b", 1)


def test_a_deleted_number_is_never_given_again(registry: Registry, add: Add) -> None:
    first, second = add("m"), add("m")
    registry.delete("m", 2)
    assert add("m").version == 3
    registry.delete("m", 3)
    registry.delete("m", 1)
    with pytest.raises(NotFound, match="no versions left: all 3 were deleted"):
        registry.resolve(Ref("m"))
    assert add("m").version == 4
    for gone in (first, second):
        with pytest.raises(NotFound):
            registry.sample(gone)
        assert registry.artifact(gone) == b"onnx"


def test_a_version_in_production_cannot_be_deleted(registry: Registry, add: Add) -> None:
    add("m")
    registry.set_stage("m", 1, Stage.PRODUCTION)
    with pytest.raises(FailedPrecondition, match="m@1 is in production"):
        registry.delete("m", 1)
    assert registry.resolve(Ref("m")).version == 1


@pytest.mark.slow
def test_promotion_archives_the_version_before_in_one_commit(registry: Registry, add: Add) -> None:
    for name in ("m", "m", "m", "other"):
        add(name)
    registry.set_stage("other", 1, Stage.PRODUCTION)
    assert registry.set_stage("m", 2, Stage.PRODUCTION).archived_version == 0
    before, commit = registry.resolve(Ref("m", version=2)), registry._versions.commit()
    change = registry.set_stage("m", 3, Stage.PRODUCTION)
    assert registry._versions.commit() == commit + 1
    assert change.archived_version == 2
    assert change.version.stage is Stage.PRODUCTION
    assert [v.stage for v in registry.versions("m")] == [Stage.PRODUCTION, Stage.ARCHIVED, Stage.NONE]
    assert registry.resolve(Ref("other")).stage is Stage.PRODUCTION
    now = registry.resolve(Ref("m", version=2))
    assert now == before._replace(stage=Stage.ARCHIVED, updated=change.version.updated)
    assert now.updated > before.updated


def test_a_move_to_where_a_version_is_writes_nothing(registry: Registry, add: Add) -> None:
    add("m")
    registry.set_stage("m", 1, Stage.PRODUCTION)
    commit = registry._versions.commit()
    assert registry.set_stage("m", 1, Stage.PRODUCTION) == (registry.resolve(Ref("m")), 0)
    assert registry._versions.commit() == commit


def test_a_baseline_is_replaced(registry: Registry, add: Add) -> None:
    add("m")
    registry.set_baseline("m", 1, b"first", 10)
    registry.set_baseline("m", 1, b"second", 20)
    assert registry.baseline("m", 1) == b"second"
    assert registry.resolve(Ref("m")).baseline_rows == 20


def test_changes_name_what_changed_since(registry: Registry, add: Add) -> None:
    assert registry.changes(None).names == frozenset()
    cursor = registry.changes(None).cursor
    add("a"), add("b"), add("c")
    changes = registry.changes(cursor)
    assert changes.names == {"a", "b", "c"}
    for act, name in (
        (lambda: registry.set_stage("b", 1, Stage.PRODUCTION), "b"),
        (lambda: registry.set_baseline("a", 1, b"x", 1), "a"),
        (lambda: registry.delete("c", 1), "c"),
    ):
        act()
        cursor = changes.cursor
        changes = registry.changes(cursor)
        assert changes.names == {name}
    registry.optimize()
    assert registry.changes(changes.cursor).names == frozenset()


def test_names_and_tags_that_look_like_sql_are_only_text(registry: Registry, add: Add) -> None:
    nasty, value = "x') OR true; DELETE FROM versions; --", "' OR '1'='1' --\"%_\\"
    add("a", tags={nasty: value})
    add("b", tags={"plain": "1"})
    assert [v.name for v in registry.list(tags={nasty: value})[0]] == ["a"]
    for tags in ({nasty: "%"}, {"plain": "_"}, {"plain": "' OR ''='"}, {"%": "%"}):
        assert registry.list(tags=tags)[0] == []
        assert registry.search("anything", tags=tags).hits == []
    with pytest.raises(NotFound):
        registry.resolve(Ref("a' OR '1'='1"))
    with pytest.raises(NotFound):
        registry.set_stage("a' OR '1'='1", 1, Stage.PRODUCTION)
    with pytest.raises(InvalidArgument):
        registry.list(name="a' OR '1'='1")
    assert len(registry.list()[0]) == 2


def test_an_altered_artifact_is_detected(registry: Registry, signature: Signature) -> None:
    version = registry.register(Draft(name="m"), signature, b"model", baseline=(b"b", 1), sample=b"sample")
    path = registry._artifacts.path(version.artifact_sha256)
    path.chmod(0o644)
    path.write_bytes(b"mOdel")
    with pytest.raises(DataLoss, match=f"artifact of m@1: the file of SHA-256 {version.artifact_sha256} is damaged"):
        registry.artifact(version)
    path.unlink()
    with pytest.raises(DataLoss, match=r"artifact of m@1.*missing"):
        registry.artifact(version)
    assert registry.sample(version) == b"sample"


def test_what_is_acknowledged_was_flushed_to_disk(
    registry: Registry, add: Add, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed: list[str] = []
    fsync = os.fsync

    def record(fd: int) -> None:
        flushed.append(os.readlink(f"/proc/self/fd/{fd}"))
        fsync(fd)

    monkeypatch.setattr(os, "fsync", record)
    path = registry._artifacts.path(add("m", artifact=b"new").artifact_sha256)
    table = f"{tmp_path}/data/tables/versions.lance"
    order = [
        next(place for place, name in enumerate(flushed) if wanted in name and name.endswith(end))
        for wanted, end in (
            ("artifacts/incoming/", ""),
            (f"{path.parent}", path.parent.name),
            (f"{table}/data/", ".lance"),
            (f"{table}/data", "data"),
            (f"{table}/_versions/", ".manifest"),
            (f"{table}/_versions", "_versions"),
        )
    ]
    assert order == sorted(order)


def test_a_directory_of_a_later_schema_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Registry.open(tmp_path).close()
    monkeypatch.setattr(migrations, "SCHEMA", 1)
    with pytest.raises(FailedPrecondition, match="has schema 2; this release reads schemas 1 to 1"):
        Registry.open(tmp_path)


def test_every_column_is_documented(registry: Registry) -> None:
    for schema in (tables.VERSIONS, tables.BASELINES):
        assert all(field.metadata[b"meaning"] for field in schema)
    stored = registry.database.versions._table.schema
    assert stored.field("vector").type == pa.list_(pa.float32(), 128)
    assert stored.field("updated").type == pa.timestamp("us", tz="UTC")


def _use_after_fork(registry: Registry) -> None:
    try:
        registry.changes(None)
    except RuntimeError:
        raise SystemExit(7) from None


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning", "ignore::RuntimeWarning")
def test_use_after_a_fork_is_refused_rather_than_a_crash(registry: Registry) -> None:
    child = multiprocessing.get_context("fork").Process(target=_use_after_fork, args=(registry,))
    child.start()
    child.join(30)
    assert child.exitcode == 7


def test_vectors(registry: Registry, add: Add) -> None:
    add("computed")
    version = add("own", vector=[3.0] + [0.0] * 126 + [4.0])
    assert version.vector_source == "user"
    own = registry.vector("own", 1)
    assert (own.dtype, own.shape) == (np.float32, (128,))
    np.testing.assert_allclose(own[[0, 127]], [0.6, 0.8], rtol=1e-6)
    assert np.linalg.norm(registry.vector("computed", 1)) == pytest.approx(1.0)


@pytest.mark.slow
def test_registering_a_small_version_is_quick(add: Add) -> None:
    times = []
    for number in range(40):
        start = time.perf_counter()
        add("quick", artifact=b"%d" % number)
        times.append(time.perf_counter() - start)
    # Far above what it takes (see the benchmarks), far below what a table of unmerged pieces would make of it.
    assert np.median(times) < 0.25
