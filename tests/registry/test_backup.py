"""Copies made beside writers."""

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from serval_registry.backup import backup, restore
from serval_registry.errors import FailedPrecondition, NotFound
from serval_registry.lifecycle.entries import ANONYMOUS
from serval_registry.model import Draft, Ref, Signature, Stage, Version
from serval_registry.registry import Registry
from serval_registry.verifying import verify


@pytest.mark.slow
def test_a_backup_taken_beside_writers_is_one_moment_and_whole(
    registry: Registry, signature: Signature, tmp_path: Path
) -> None:
    def add(number: int) -> None:
        registry.register(Draft(name="m"), signature, b"m%d" % number, baseline=(b"b%d" % number, 1), sample=b"s")
        registry.set_stage("m", number, Stage.PRODUCTION)

    for number in range(1, 9):
        add(number)
    registry.delete("m", 3)
    done = threading.Event()
    written = []

    def write() -> None:
        while not done.is_set():
            written.append(len(written) + 9)
            add(written[-1])

    writer = threading.Thread(target=write)
    writer.start()
    copied = [backup(registry, tmp_path / f"copy-{n}") for n in range(2)]
    done.set()
    writer.join()
    assert len(written) > 2
    for n, copy in enumerate(copied):
        with Registry.open(tmp_path / f"copy-{n}") as opened:
            versions = opened.versions("m")
            assert verify(opened).faults == []
            assert len(versions) + 1 == copy.versions  # with the deleted one
            assert copy.lost == ()
            assert [v.version for v in versions] == [n for n in range(copy.versions, 0, -1) if n != 3]
            assert sum(v.stage is Stage.PRODUCTION for v in versions) == 1
            assert [opened.artifact(v) for v in versions] == [b"m%d" % v.version for v in versions]
            # No version beyond the moment, and numbers go on from there.
            assert (
                opened.register(Draft(name="m"), signature, b"x", baseline=None, sample=None).version
                == len(versions) + 2
            )


@pytest.mark.slow
def test_restoring_gives_back_what_was(registry: Registry, signature: Signature, tmp_path: Path) -> None:
    first = registry.register(Draft(name="m"), signature, b"one", baseline=(b"base", 1), sample=b"sample")
    registry.storage.write("unloaded/m", b"")
    backup(registry, tmp_path / "copy")
    registry.register(Draft(name="m"), signature, b"two", baseline=None, sample=None)
    restore(tmp_path / "copy", tmp_path / "again")
    with Registry.open(tmp_path / "again") as again:
        assert again.versions("m") == [first]
        assert (again.artifact(first), again.sample(first), again.baseline("m", 1)) == (b"one", b"sample", b"base")
        assert again.storage.names("unloaded") == {"m"}
        assert (again.vector("m", 1) == registry.vector("m", 1)).all()


@pytest.mark.slow
def test_what_follows_a_restored_registry_sees_every_write(
    registry: Registry, signature: Signature, tmp_path: Path
) -> None:
    def add(to: Registry, name: str) -> Version:
        return to.register(Draft(name=name), signature, b"x", baseline=None, sample=None)

    # Many changes and few rows: the commits of the copy's tables have far lower numbers than the changes.
    add(registry, "old")
    for stage in (Stage.STAGING, Stage.NONE) * 5:
        registry.set_stage("old", 1, stage)
    backup(registry, tmp_path / "copy")
    restore(tmp_path / "copy", tmp_path / "new")
    with Registry.open(tmp_path / "new") as writer, Registry.open(tmp_path / "new") as follower:
        cursor = follower.changes(None).cursor
        assert follower.resolve(Ref("old")).stage is Stage.NONE
        assert [hit.version.name for hit in follower.search("x").hits] == ["old"]
        writes: list[tuple[str, Callable[[], object]]] = [
            ("new", lambda: add(writer, "new")),
            ("old", lambda: writer.set_stage("old", 1, Stage.STAGING)),
            ("new", lambda: writer.edits.set_alias("new", "best", 1, ANONYMOUS)),
            ("old", lambda: writer.edits.set_tags(Ref("old"), {"a": "b"}, (), ANONYMOUS)),
            ("new", lambda: writer.set_baseline("new", 1, b"baseline", 3)),
            ("old", lambda: writer.delete("old", 1)),
        ]
        for name, write in writes:
            write()
            writer.optimize()  # merges are commits too, and change nothing
            changes = follower.changes(cursor)
            assert changes.names == {name}
            cursor = changes.cursor
            assert follower.changes(cursor).names == set()
        assert follower.resolve(Ref("new", alias="best")).baseline_rows == 3
        assert [hit.version.name for hit in follower.search("x").hits] == ["new"]
        with pytest.raises(NotFound):
            follower.resolve(Ref("old"))
        assert verify(writer).faults == []


def test_nothing_is_written_over_and_no_half_backup_is_restored(
    registry: Registry, signature: Signature, tmp_path: Path
) -> None:
    registry.register(Draft(name="m"), signature, b"one", baseline=None, sample=None)
    backup(registry, tmp_path / "copy")
    for target in ("copy", "data"):
        with pytest.raises(FailedPrecondition, match="holds a registry already"):
            backup(registry, tmp_path / target)
    (tmp_path / "copy" / "backup.json").unlink()
    with pytest.raises(FailedPrecondition, match="no backup, or one that was not finished"):
        restore(tmp_path / "copy", tmp_path / "again")


def test_what_was_lost_before_is_told(registry: Registry, signature: Signature, tmp_path: Path) -> None:
    version = registry.register(Draft(name="m"), signature, b"one", baseline=None, sample=None)
    registry.storage.artifacts.remove(version.artifact_sha256)
    assert backup(registry, tmp_path / "copy").lost == (version.artifact_sha256,)
