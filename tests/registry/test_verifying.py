"""Damage is found and named; what can be mended is."""

from collections.abc import Callable
from pathlib import Path

import pytest
from serval_registry.errors import InvalidArgument
from serval_registry.filters import exactly
from serval_registry.lifecycle.entries import ANONYMOUS
from serval_registry.model import Draft, Ref, Signature, Stage, Version
from serval_registry.registry import Registry
from serval_registry.tables import digest_is
from serval_registry.verifying import repair, verify

Add = Callable[..., Version]


def flip(registry: Registry, sha256: str) -> Path:
    path = registry.storage.artifacts.path(sha256)  # type: ignore[attr-defined]
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.chmod(0o644)
    path.write_bytes(content)
    return path


@pytest.fixture
def full(registry: Registry, signature: Signature) -> Registry:
    for number in (1, 2, 3):
        registry.register(
            Draft(name="m"), signature, b"model %d" % number, baseline=(b"b%d" % number, 1), sample=b"sample"
        )
    registry.register(Draft(name="n"), signature, b"model 1", baseline=None, sample=None)
    registry.set_stage("m", 2, Stage.PRODUCTION)
    registry.delete("m", 3)
    return registry


def test_a_whole_registry_has_no_faults(full: Registry) -> None:
    told: list[tuple[int, int]] = []
    report = verify(full, lambda done, total: told.append((done, total)))
    assert report.faults == []
    # Two artifacts, the sample and two baselines; the artifact of the deleted version is nobody's.
    assert (report.versions, report.contents, report.bytes, report.unreferenced) == (3, 5, 7 + 7 + 6 + 2 + 2, 1)
    assert told == [(n, 5) for n in range(1, 6)]


def test_every_flipped_byte_and_missing_file_is_found_and_named(full: Registry) -> None:
    one, two = (full.versions("m")[-number].artifact_sha256 for number in (1, 2))
    flip(full, one)
    full.storage.artifacts.remove(two)
    baseline = full.database.versions.select(exactly("m", 2), ["baseline_sha256"])[0]["baseline_sha256"]
    full.database.baselines.update(digest_is(baseline), {"content": b"bX"})
    faults = verify(full).faults
    assert [(fault.ref, fault.what.partition(":")[0], fault.sha256) for fault in faults] == [
        ("m@1", "artifact of m@1", one),
        ("m@2", "artifact of m@2", two),
        ("m@2", "baseline of m@2", ""),
    ]
    assert "damaged: its content now has SHA-256" in faults[0].what
    assert faults[1].what.endswith("is missing")


def test_lost_content_is_put_back_from_where_it_still_is(full: Registry, tmp_path: Path) -> None:
    kept = tmp_path / "kept" / "deep"
    kept.mkdir(parents=True)
    (kept / "old.onnx").write_bytes(b"model 1")
    (kept / "other.onnx").write_bytes(b"unrelated")
    one, two = (full.versions("m")[-number] for number in (1, 2))
    flip(full, one.artifact_sha256), flip(full, two.artifact_sha256)
    done = repair(full, [tmp_path / "kept"])
    assert done.mended == [f"SHA-256 {one.artifact_sha256}: put back"]
    assert [fault.ref for fault in done.left] == ["m@2"]
    assert full.artifact(one) == b"model 1"
    with pytest.raises(InvalidArgument, match="neither a file nor a folder"):
        repair(full, [tmp_path / "nowhere"])


def test_of_two_in_production_the_one_moved_there_later_stays_whatever_was_set_since(full: Registry) -> None:
    full.set_stage("m", 1, Stage.PRODUCTION)
    full.database.versions.update(exactly("m", 2), {"stage": "production"})  # as two promotions that crossed leave it
    full.edits.set_alias("m", "old", 2, ANONYMOUS)
    rows = full.database.versions.select(exactly("m", 1, 2), ["version", "revision"], order={"revision": True})
    assert [row["version"] for row in rows] == [1, 2]
    assert repair(full).mended == ["m@2: archived, another version was moved to production later"]
    assert full.resolve(Ref("m", stage=Stage.PRODUCTION)).version == 1


def test_of_two_in_production_the_later_stays(full: Registry) -> None:
    full.database.versions.update(exactly("m", 1), {"stage": "production", "revision": 1_000})
    assert [fault.what.partition(", and so")[0] for fault in verify(full).faults] == ["is in production"]
    done = repair(full)
    assert done.mended == ["m@2: archived, another version was moved to production later"]
    assert done.left == []
    assert {v.version: v.stage for v in full.versions("m")} == {1: Stage.PRODUCTION, 2: Stage.ARCHIVED}
