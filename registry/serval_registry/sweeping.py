"""Removing what no version refers to any more: artifacts, samples and baselines. Probes stay for good.

What is put before its version is registered is young, and stays; what a deleted version referred to stays for as long,
so that a deletion can be looked into. Whether something is referred to is asked again under the writer's lock, under
which it is then removed, and a registration looks under that lock whether what it has put is there still.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from itertools import islice
from typing import NamedTuple, TypeVar

import pyarrow as pa
import pyarrow.compute as pc

from serval_registry.artifacts import Stored
from serval_registry.filters import alive
from serval_registry.lance import Expr, col, lit
from serval_registry.spaces.upkeep import forget_lost
from serval_registry.storage import Storage
from serval_registry.tables import Database

# A registration waits at most half as long for the writer's lock.
YOUNG = timedelta(seconds=60)

# Removed under one hold of the writer's lock.
_BATCH = 200

# Looked at together.
_PART = 65_536

Item = TypeVar("Item")


class Swept(NamedTuple):
    """What a sweep has removed."""

    files: int
    bytes: int
    baselines: int


def sweep(storage: Storage, database: Database, before: datetime) -> Swept:
    """Remove what has not been referred to since `before`; at least YOUNG ago."""
    files = _unreferenced_files(storage, database, before)
    baselines = _unreferenced_baselines(database, before)
    removed = [stored for batch in _batches(files) for stored in _remove_files(storage, database, batch, before)]
    gone = sum(_remove_baselines(storage, database, batch, before) for batch in _batches(baselines))
    forget_lost(storage, database, referring(before), before)
    return Swept(len(removed), sum(stored.bytes for stored in removed), gone)


def referring(before: datetime) -> Expr:
    """Rows whose references count: those of versions that are there, or were at `before`."""
    return alive() | (col("updated") > lit(before))


def _unreferenced_files(storage: Storage, database: Database, before: datetime) -> list[Stored]:
    table = database.versions.values(referring(before), ["artifact_sha256", "sample_sha256"])
    probes = database.inputs.values(None, ["probes_sha256"])["probes_sha256"]
    referred = (*table["artifact_sha256"].chunks, *table["sample_sha256"].chunks, *probes.chunks)
    used = pa.chunked_array([*referred], pa.string())
    old = (stored for stored in storage.artifacts.stored() if stored.put < before)
    unused: list[Stored] = []
    # In parts, for there may be millions of them.
    while part := list(islice(old, _PART)):
        is_used = pc.is_in(pa.array([stored.sha256 for stored in part], pa.string()), value_set=used)
        unused += (stored for stored, used_still in zip(part, is_used.to_pylist(), strict=True) if not used_still)
    return unused


def _unreferenced_baselines(database: Database, before: datetime) -> list[str]:
    old = database.baselines.values(col("created") < lit(before), ["sha256"])["sha256"]
    used = database.versions.values(referring(before), ["baseline_sha256"])["baseline_sha256"]
    return sorted(set(old.filter(pc.invert(pc.is_in(old, value_set=used))).to_pylist()))


def _remove_files(storage: Storage, database: Database, batch: Sequence[Stored], before: datetime) -> list[Stored]:
    names = [stored.sha256 for stored in batch]
    with storage.writers.held():
        concerned = col("artifact_sha256").isin(names) | col("sample_sha256").isin(names)
        rows = database.versions.select(referring(before) & concerned, ["artifact_sha256", "sample_sha256"])
        probes = database.inputs.select(col("probes_sha256").isin(names), ["probes_sha256"])
        used = {sha256 for row in (*rows, *probes) for sha256 in row.values()}
        unused = [stored for stored in batch if stored.sha256 not in used]
        for stored in unused:
            storage.check_writer()  # each takes a while in a bucket, and whoever holds the lock by now may refer to it
            storage.artifacts.remove(stored.sha256)
    return unused


def _remove_baselines(storage: Storage, database: Database, batch: Sequence[str], before: datetime) -> int:
    with storage.writers.held():
        rows = database.versions.select(referring(before) & col("baseline_sha256").isin(batch), ["baseline_sha256"])
        unused = sorted(set(batch) - {row["baseline_sha256"] for row in rows})
        if unused:
            database.baselines.delete(col("sha256").isin(unused) & (col("created") < lit(before)))
    return len(unused)


def _batches(items: Sequence[Item]) -> Iterator[Sequence[Item]]:
    return (items[start : start + _BATCH] for start in range(0, len(items), _BATCH))
