"""The loss of power, in its worst forms: of what was not flushed, names vanish or files are empty."""

import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from serval_registry.durability import Durability
from serval_registry.errors import DataLoss
from serval_registry.model import Draft, Ref, Signature, Stage, Version
from serval_registry.recovery import _data_files
from serval_registry.registry import Registry


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
    with Registry.open(tmp_path / "data") as registry:
        fill(registry, signature)
        # Two writes that nobody is told of: the power goes before they are flushed.
        monkeypatch.setattr(registry.storage, "flush", lambda: None)
        registry.register(Draft(name="m"), signature, b"m6", baseline=(b"b6", 1), sample=b"s")
        registry.delete("m", 3)
        disk.cut(tmp_path / "after", lost, random.Random(lost))
    with Registry.open(tmp_path / "after") as after:
        versions = {version.version for version in after.versions("m")}
        assert {1, 2, 5} <= versions <= {1, 2, 3, 5, 6}
        if 3 in versions and 6 not in versions:
            check(after)
        number = after.register(Draft(name="m"), signature, b"next", baseline=None, sample=None).version
        assert number in (6, 7)
        assert after.artifact(after.resolve(Ref("m", version=number))) == b"next"


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
