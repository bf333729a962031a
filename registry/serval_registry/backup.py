"""Copies of a registry, made while it is being served.

A backup is a registry: a folder, or a prefix of a bucket, that `serval serve` would serve as it is. Restoring is the
same copy the other way. What is copied is the state of one moment: the numbers of the tables' newest commits are taken
under the writer's lock, in which nothing else is done, and the tables read as of those while others write on. What
these rows refer to was stored before them, and housekeeping removes nothing until the copy is made.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from serval_registry.connecting import connect
from serval_registry.errors import DataLoss, FailedPrecondition, NotFound
from serval_registry.registry import Registry
from serval_registry.snapshots import Snapshot, snapshots
from serval_registry.storage import Storage, check_exists, storage_of

# Called with how many contents were copied, and how many there are.
Progress = Callable[[int, int], None]

NOTE = "backup.json"
_UNLOADED = "unloaded"


@dataclass(frozen=True, slots=True)
class Copied:
    """What a copy holds: rows of versions, with those of deleted ones, and the contents that they refer to."""

    versions: int
    contents: int
    bytes: int
    lost: tuple[str, ...]  # SHA-256 of contents that were missing or damaged already, and so are not in the copy


def backup(registry: Registry, target: Path | str, progress: Progress = lambda _done, _total: None) -> Copied:
    """Copy a registry to an empty place; FailedPrecondition where there is one already."""
    place = _empty(target)
    with registry.quiet():
        with registry.storage.writers.held():
            tables = snapshots(registry.storage)
        # Rows come last: a copy that was cut short shows no version.
        lost, contents, size = _copy_contents(registry.storage, place, tables, progress)
        tables.sort(key=lambda table: table.name == "versions")
        versions = sum(_copy_table(table, place) for table in tables)
    for name in registry.storage.names(_UNLOADED):
        place.write(f"{_UNLOADED}/{name}", b"")
    place.flush()
    place.write(NOTE, json.dumps({"taken": datetime.now(UTC).isoformat(), "versions": versions}).encode())
    place.close()
    return Copied(versions, contents, size, tuple(lost))


def restore(source: Path | str, data: Path | str, progress: Progress = lambda _done, _total: None) -> Copied:
    """Make a registry of a backup, in an empty place; FailedPrecondition for what is no whole backup."""
    if not _has_note(source):
        raise FailedPrecondition(f"from: {str(source)!r} is no backup, or one that was not finished")
    with Registry.open(source) as registry:
        return backup(registry, data, progress)


def _has_note(source: Path | str) -> bool:
    try:
        check_exists(source)  # opening a folder makes one of it
    except NotFound:
        return False
    held = storage_of(source)
    try:
        return held.read(NOTE) is not None
    finally:
        held.close()


def _empty(target: Path | str) -> Storage:
    _check_holds_nothing_else(target)
    place = storage_of(target)
    if connect(place).list_tables(limit=1).tables:
        place.close()
        raise FailedPrecondition(f"to: {str(target)!r} holds a registry already; wanted an empty place")
    return place


def _check_holds_nothing_else(target: Path | str) -> None:
    """Raise FailedPrecondition for a folder of other things, which a registry would be strewn among."""
    folder = Path(target)
    if "://" in str(target) or not folder.exists():
        return
    if not folder.is_dir():
        raise FailedPrecondition(f"to: {str(target)!r} is no folder")
    if not (folder / "tables").is_dir() and any(folder.iterdir()):
        raise FailedPrecondition(f"to: {str(target)!r} holds other files; wanted an empty place")


def _copy_contents(
    source: Storage, target: Storage, tables: list[Snapshot], progress: Progress
) -> tuple[list[str], int, int]:
    lost, size = [], 0
    by_name = {table.name: table for table in tables}
    wanted = sorted({*_contents(by_name["versions"]), *_probes(by_name.get("inputs"))})
    for done, sha256 in enumerate(wanted, 1):
        try:
            content = source.artifacts.get(sha256, "backup")
        except DataLoss:
            lost.append(sha256)
        else:
            size += len(content)
            target.artifacts.put(content)
        progress(done, len(wanted))
    return lost, len(wanted) - len(lost), size


def _contents(versions: Snapshot) -> Iterator[str]:
    columns = ["artifact_sha256", "sample_sha256"]
    seen = pa.chunked_array([], pa.string())
    for batch in versions.batches([*columns, "deleted"]):
        living = batch.filter(pc.invert(batch["deleted"]))
        seen = pc.unique(pa.chunked_array([seen.combine_chunks(), *(living[name] for name in columns)], pa.string()))
        seen = pa.chunked_array([seen])
    return (sha256 for sha256 in seen.to_pylist() if sha256 is not None)


def _probes(inputs: Snapshot | None) -> Iterator[str]:
    for batch in inputs.batches(["probes_sha256"]) if inputs is not None else ():
        yield from (sha256 for sha256 in batch["probes_sha256"].to_pylist() if sha256 is not None)


def _copy_table(table: Snapshot, target: Storage) -> int:
    """Copy a table's rows, in one commit, and return how many versions that makes."""
    rows = 0

    def counted() -> Iterator[pa.RecordBatch]:
        nonlocal rows
        for batch in table.batches(table.schema.names):
            rows += batch.num_rows
            yield pa.RecordBatch.from_arrays(batch.columns, schema=table.schema)

    copy = connect(target).create_table(table.name, schema=table.schema)
    copy.add(pa.RecordBatchReader.from_batches(table.schema, counted()))
    return rows if table.name == "versions" else 0
