"""Damage is found and named; what can be mended is."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import lancedb
import pyarrow as pa
import pytest
from serval_registry.errors import InvalidArgument
from serval_registry.filters import digest_is, exactly
from serval_registry.lifecycle.entries import ANONYMOUS
from serval_registry.model import Draft, Ref, Signature, Stage, Version
from serval_registry.registry import Registry
from serval_registry.verifying import repair, verify

pytestmark = pytest.mark.slow

Add = Callable[..., Version]

# A value for each type that a column has.
EMPTY: dict[str, object] = {
    "string": "",
    "int64": 1,
    "double": 0.0,
    "binary": b"",
    "timestamp[us, tz=UTC]": datetime(2026, 1, 1, tzinfo=UTC),
}


def flip(registry: Registry, sha256: str) -> Path:
    path = registry.storage.artifacts.path(sha256)  # type: ignore[attr-defined]
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.chmod(0o644)
    path.write_bytes(content)
    return path


def rows_of(registry: Registry) -> int:
    """Count the rows of all tables, and the entries of the log once more for their chain."""
    return sum(table.count() for table in registry.database.tables) + registry.journal.horizon()


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
    done, total = zip(*told, strict=True)
    assert set(total) == {5 + rows_of(full)}
    assert list(done) == sorted(done)
    assert done[-1] == total[0]


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
    found = [(fault.ref, fault.what.partition(", and so")[0].partition(";")[0]) for fault in verify(full).faults]
    assert sorted(found) == [("audit log", "entries: none tells of the newest versions"), ("m@1", "is in production")]
    done = repair(full)
    assert done.mended == ["m@2: archived, another version was moved to production later"]
    assert [fault.ref for fault in done.left] == ["audit log"]  # which nobody may write anew
    assert {v.version: v.stage for v in full.versions("m")} == {1: Stage.PRODUCTION, 2: Stage.ARCHIVED}


def meddle(registry: Registry, table: str, where: str, values: dict[str, object]) -> None:
    """Change rows behind the registry's back."""
    lancedb.connect(registry.storage.tables).open_table(table).update(where=where, values=values)


@pytest.mark.parametrize(
    ("table", "where", "values", "faults"),
    [
        ("journal", "number = 3", {"actor": "mallory"}, ["audit log: entry 3: its columns are not what its text says"]),
        ("versions", "version = 1", {"signature": "{"}, ["m@1: its record is not", "n@1: its record is not"]),
        (
            "versions",
            "version = 2",
            {"record": None, "signature": "{"},
            ["m@2: its row cannot be read: JSON"],
        ),
        ("versions", "version = 2", {"vector": [0.5] * 128}, ["m@2: its vector in space description does not have"]),
        ("space-notes", "version = 1", {"vector": [0.0] * 4}, ["m@1: its vector in space notes does not have"]),
    ],
)
def test_every_row_is_read(
    table: str, where: str, values: dict[str, object], faults: list[str], full: Registry
) -> None:
    full.embeddings.put("m", 1, "notes", [3.0, 4.0])
    meddle(full, table, where, values)
    found = [f"{fault.ref}: {fault.what}" for fault in verify(full).faults]
    assert len(found) == len(faults)
    for what, wanted in zip(found, faults, strict=True):
        assert what.startswith(wanted)


@pytest.mark.slow
@pytest.mark.parametrize("table", ["behaviours", "inputs", "space-notes"])
def test_a_table_that_cannot_be_read_is_named_and_the_rest_is_read(table: str, full: Registry) -> None:
    full.embeddings.put("m", 1, "notes", [3.0, 4.0])
    found = lancedb.connect(full.storage.tables).open_table(table)
    if not found.count_rows():
        row = {
            field.name: EMPTY[str(field.type)]
            for field in found.schema
            if not field.nullable and field.name != "vector"
        }
        found.add(pa.Table.from_pylist([row | {"probes_source": "", "vector": [0.0] * 128}], schema=found.schema))
    (data,) = Path(found.uri, "data").iterdir()
    data.write_bytes(data.read_bytes()[:-100])
    fault, *_ = verify(full).faults
    assert (fault.ref, fault.what.partition(";")[0]) == (
        f"table {table}",
        f"registry: table {table} is damaged ({table}.lance/data/{data.name})",
    )


def test_an_index_that_cannot_be_read_is_found(full: Registry) -> None:
    full.database.versions.index_column("name")
    for path in Path(full.storage.tables, "versions.lance", "_indices").rglob("*.*"):
        path.write_bytes(b"")
    with Registry.open(Path(full.storage.tables).parent) as registry:
        fault, *_ = verify(registry).faults
    assert (fault.ref, fault.what.partition(";")[0]) == ("table versions", "its index name_idx cannot be read")
