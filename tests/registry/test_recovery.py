"""The loss of power, in its worst forms: of what was not flushed, names vanish or files are empty."""

import argparse
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from serval_registry.cli import REGISTRY
from serval_registry.durability import Durability
from serval_registry.errors import DataLoss
from serval_registry.lifecycle.entries import ANONYMOUS
from serval_registry.model import Draft, Ref, Signature, Stage, Version
from serval_registry.registry import Registry
from serval_registry.torn import _data_files
from serval_registry.verifying import verify


class Disk:
    """What fsync has made durable of a folder: the contents of files, and the names in folders."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.files: dict[int, bytes] = {}  # by inode
        self.names: dict[Path, dict[str, int]] = {}

    def fsync(self, fd: int) -> None:
        path, status = Path(os.readlink(f"/proc/self/fd/{fd}")), os.fstat(fd)
        if self.root not in (path, *path.parents):
            return
        if path.is_dir():
            self.names[path] = {entry.name: entry.inode() for entry in os.scandir(path)}
        else:
            self.files[status.st_ino] = path.read_bytes()

    def cut(self, to: Path, lost: str, rng: random.Random) -> None:
        """Write the folder as it may be found after the power has come back."""
        for folder, _, files in os.walk(self.root):
            kept = self.names.get(Path(folder), {})
            target = to / Path(folder).relative_to(self.root)
            if target.parent.exists():
                target.mkdir(exist_ok=True)
            for name in files:
                path = Path(folder) / name
                flushed = kept.get(name) == path.stat().st_ino
                fate = {"names": "names", "contents": "contents"}.get(lost) or rng.choice(["names", "contents", "none"])
                if flushed or fate != "names":
                    content = self.files.get(path.stat().st_ino)
                    if content is None:
                        content = path.read_bytes() if fate == "none" else b""
                    (target / name).write_bytes(content)
        (to / "boot").write_text("another start of the machine")


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Disk:
    disk, fsync = Disk(tmp_path / "data"), os.fsync

    def record(fd: int) -> None:
        disk.fsync(fd)
        fsync(fd)

    monkeypatch.setattr(os, "fsync", record)
    return disk


def fill(registry: Registry, signature: Signature) -> list[Version]:
    """Write everything that can be written, with a merge in between."""
    told = [
        registry.register(Draft(name="m"), signature, b"m%d" % n, baseline=(b"b%d" % n, 1), sample=b"s")
        for n in range(1, 6)
    ]
    registry.set_stage("m", 1, Stage.PRODUCTION)
    registry.optimize()
    registry.set_stage("m", 2, Stage.PRODUCTION)
    registry.delete("m", 4)
    registry.set_baseline("m", 5, b"later", 2)
    return told


def check(registry: Registry) -> None:
    versions = {version.version: version for version in registry.versions("m")}
    assert sorted(versions) == [1, 2, 3, 5]
    assert [versions[n].stage for n in (1, 2, 3)] == [Stage.ARCHIVED, Stage.PRODUCTION, Stage.NONE]
    for number, version in versions.items():
        assert registry.artifact(version) == b"m%d" % number
        assert registry.sample(version) == b"s"
        assert registry.baseline("m", number) == (b"later" if number == 5 else b"b%d" % number)


@pytest.mark.slow
@pytest.mark.parametrize("lost", ["names", "contents", "1", "2", "3"])
def test_what_was_acknowledged_survives_the_loss_of_all_that_was_not_flushed(
    lost: str, tmp_path: Path, disk: Disk, signature: Signature, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Registry.open(tmp_path / "data") as registry, Registry.open(tmp_path / "data") as other:
        fill(registry, signature)
        # Writes of two writers that nobody is told of: the power goes before they are flushed.
        for writer in (registry, other):
            monkeypatch.setattr(writer.storage, "flush", lambda: None)
        registry.register(Draft(name="m"), signature, b"m6", baseline=None, sample=b"s")
        other.set_stage("m", 5, Stage.STAGING)
        registry.delete("m", 3)
        other.edits.set_tags(Ref("m", version=5), {"team": "growth"}, [], ANONYMOUS)
        disk.cut(tmp_path / "after", lost, random.Random(lost))
    with Registry.open(tmp_path / "after") as after:
        assert verify(after).faults == []
        versions = {version.version for version in after.versions("m")}
        assert {1, 2, 5} <= versions <= {1, 2, 3, 5, 6}
        if 3 in versions and 6 not in versions:
            check(after)
        number = after.register(Draft(name="m"), signature, b"next", baseline=None, sample=None).version
        assert number in (6, 7)
        assert after.artifact(after.resolve(Ref("m", version=number))) == b"next"
        assert verify(after).faults == []


@pytest.mark.slow
def test_without_flushing_the_same_loss_loses_what_was_acknowledged(
    tmp_path: Path, disk: Disk, signature: Signature
) -> None:
    # The test above can fail: this is what it would find.
    with Registry.open(tmp_path / "data", durability=Durability.PROCESS) as registry:
        fill(registry, signature)
        disk.cut(tmp_path / "after", "names", random.Random(0))
    with Registry.open(tmp_path / "after") as after:
        assert after.list()[0] == []


@pytest.mark.slow
@pytest.mark.parametrize("tear", [lambda _: b"", lambda b: b[: len(b) // 2], lambda b: bytes(len(b))])
def test_a_torn_newest_commit_is_moved_aside(
    tear: Callable[[bytes], bytes], tmp_path: Path, signature: Signature
) -> None:
    with Registry.open(tmp_path) as registry:
        fill(registry, signature)
        registry.set_stage("m", 3, Stage.PRODUCTION)
    newest = min((tmp_path / "tables/versions.lance/_versions").glob("*.manifest"))
    newest.write_bytes(tear(newest.read_bytes()))
    (tmp_path / "boot").write_text("another")
    with Registry.open(tmp_path) as registry:
        check(registry)
    assert [path.name for path in (tmp_path / "torn").iterdir()] == [f"versions-{newest.name}"]


@pytest.mark.slow
def test_a_damage_that_no_power_cut_explains_is_told_and_nothing_is_moved(tmp_path: Path, signature: Signature) -> None:
    with Registry.open(tmp_path) as registry:
        fill(registry, signature)
    versions = tmp_path / "tables/versions.lance"
    for age, manifest in enumerate(sorted((versions / "_versions").glob("*.manifest"))):
        os.utime(manifest, (1e9 - 100 * age, 1e9 - 100 * age))
    before = sorted(os.listdir(versions / "_versions"))
    shutil.rmtree(versions / "data")
    (tmp_path / "boot").write_text("another")
    with pytest.raises(DataLoss, match="table versions cannot be read, and no power cut explains it"):
        Registry.open(tmp_path)
    assert sorted(os.listdir(versions / "_versions")) == before


@pytest.mark.parametrize(
    ("table", "left"),
    [
        ("reports", ["_transactions/0-a.txn", "_versions"]),
        ("space-notes", ["_transactions/0-a.txn"]),
        pytest.param("reports", ["_transactions/0-a.txn"], marks=pytest.mark.slow),
        pytest.param("space-notes", ["_versions"], marks=pytest.mark.slow),
    ],
)
def test_a_table_in_making_is_in_nobodys_way(left: list[str], table: str, tmp_path: Path, signature: Signature) -> None:
    with Registry.open(tmp_path) as registry:
        whole = registry.register(Draft(name="m"), signature, b"m", baseline=None, sample=None)
    making = tmp_path / f"tables/{table}.lance"
    shutil.rmtree(making, ignore_errors=True)
    for name in left:
        path = making / (name if "/" in name else "_versions/18446744073709551614.manifest")
        path.parent.mkdir(parents=True)
        path.write_bytes(b"")
    for boot in ("this", "another") if left == ["_transactions/0-a.txn"] else ("another",):
        if boot == "another":
            (tmp_path / "boot").write_text(boot)
        with Registry.open(tmp_path) as registry:
            assert registry.resolve(Ref("m")) == whole
            assert [space.name for space in registry.spaces.list()] == ["description"]
    with Registry.open(tmp_path) as registry:
        registry.embeddings.put("m", 1, "notes", [3.0, 4.0])
        assert registry.spaces.own("notes", whole).tolist() == pytest.approx([0.6, 0.8])


@pytest.mark.slow
def test_a_space_whose_first_row_the_power_cut_has_torn_is_moved_aside(tmp_path: Path, signature: Signature) -> None:
    with Registry.open(tmp_path) as registry:
        registry.register(Draft(name="m"), signature, b"m", baseline=None, sample=None)
        registry.embeddings.put("m", 1, "notes", [3.0, 4.0])
    shutil.rmtree(tmp_path / "tables/space-notes.lance/_versions")
    (tmp_path / "boot").write_text("another")
    with Registry.open(tmp_path) as registry:
        assert [space.name for space in registry.spaces.list()] == ["description"]
    (aside,) = (tmp_path / "torn").iterdir()
    assert list((aside / "data").iterdir())


@pytest.mark.slow
def test_a_table_of_which_rows_were_told_is_never_taken_for_one_in_making(tmp_path: Path, signature: Signature) -> None:
    with Registry.open(tmp_path) as registry:
        fill(registry, signature)
    shutil.rmtree(tmp_path / "tables/versions.lance/_versions")
    with pytest.raises(
        DataLoss, match=r"table versions is damaged \(versions.lance/_versions\); `serval registry repair"
    ):
        Registry.open(tmp_path)
    (tmp_path / "boot").write_text("another")
    with pytest.raises(
        DataLoss, match=r"no power cut explains it \(versions.lance/_versions\); `serval registry restore"
    ):
        Registry.open(tmp_path)


@pytest.fixture
def indexed(tmp_path: Path, signature: Signature) -> Path:
    """Return a registry that has indices, of which every file is empty."""
    with Registry.open(tmp_path) as registry:
        fill(registry, signature)
        for column in ("name", "revision", "stage", "tag_list"):
            registry.database.versions.index_column(column)
    for path in (tmp_path / "tables/versions.lance/_indices").rglob("*.*"):
        path.write_bytes(b"")
    return tmp_path


def test_an_index_that_a_power_cut_has_torn_is_dropped_at_opening(indexed: Path) -> None:
    (indexed / "boot").write_text("another")
    with Registry.open(indexed) as registry:
        check(registry)
        assert "revision" in registry.database.versions.unindexed_columns()


@pytest.mark.slow
def test_a_torn_index_of_a_running_machine_is_damage_that_repair_mends(
    indexed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(DataLoss, match=r"table versions is damaged \(versions.lance/_indices/.*serval registry repair"):
        Registry.open(indexed)
    assert REGISTRY.run(argparse.Namespace(action="repair", data=str(indexed), sources=[], json=False)) == 0
    assert capsys.readouterr().out.count("could not be read and was dropped") == 4
    with Registry.open(indexed) as registry:
        check(registry)


@pytest.mark.slow
def test_a_running_machine_is_not_looked_at(tmp_path: Path, signature: Signature) -> None:
    with Registry.open(tmp_path) as registry:
        fill(registry, signature)
        with Registry.open(tmp_path) as second:
            check(second)
    assert not (tmp_path / "torn").exists()


def test_names_of_data_files_are_found_behind_any_length() -> None:
    for length in (44, 50, 56):  # with the ending, 0x32 and 0x38 are digits
        name = ("0123456789abcdef" * 4)[:length] + ".lance"
        assert _data_files(b"\x0a" + bytes([len(name)]) + name.encode() + b"\x10") == {name}
