"""Writing a mirror of one commit, in passes over files, so that memory does not grow with the rows.

Rows are numbered by the partition of their vector: what a search compares lies together.
"""

import math
import os
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from serval_registry.embedding import DIMENSION
from serval_registry.mirror import files, keys, partitioning, parts, terms
from serval_registry.mirror.base import STAGES, Base
from serval_registry.mirror.files import Array, Draft, Files
from serval_registry.mirror.pages import PageFormat
from serval_registry.mirror.parts import Before
from serval_registry.mirror.texts import COLUMNS, encoded
from serval_registry.snapshots import Snapshot
from serval_registry.storage import Storage
from serval_registry.tables import FILTERED_NUMBERS

# What else is kept of each row, and how.
_ARRAYS = {
    "deleted": "u1",
    "stage": "u1",
    "source": "u1",
    **dict.fromkeys(FILTERED_NUMBERS, "<f8"),
}
_STAGES = pa.array([str(stage) for stage in STAGES])
_NO_KEYS = pa.table({"name": pa.array([], pa.string()), "version": pa.array([], pa.int64())})
_TABLE_ROWS = "table-rows.txt"
_RECALL_QUERIES, _RECALL_K = 20, 10
_READ = tuple(dict.fromkeys((*COLUMNS, "tag_list", "vector_source", "vector", *FILTERED_NUMBERS)))


def build(
    storage: Storage, snapshot: Snapshot, page_format: PageFormat | None = None, before: Before | None = None
) -> None:
    """Write the mirror of a table as it is at `snapshot` and make it the newest.

    With parts of pages in a format, for which the mirror before is looked at if it is of the same.
    """
    place = storage.derived
    if place is None:
        return
    draft = Draft(place / files.FOLDER)
    try:
        gathered = _gather(draft, snapshot)
        order = _partition(draft, gathered.rows)
        by_key = _arrange(draft, gathered, order)
        _arrange_texts(draft, by_key)
        if page_format is not None:
            parts.write(draft, gathered.revisions[by_key], page_format, before)
        # A power cut must not take back what the mirror shows.
        storage.flush()
        recall = _measured(draft)
        revision = int(gathered.revisions.max(initial=0))
        draft.publish(
            storage, snapshot.commit, revision, gathered.rows, recall, page_format.name if page_format else ""
        )
    except BaseException:
        draft.discard()
        raise


@dataclass
class _Gathered:
    """What has been read, in the order of the table; the rest lies in arrays named "table-..."."""

    rows: int
    revisions: Array
    keys: list[pa.Table] = field(default_factory=list)
    tags: list[pa.Array] = field(default_factory=list)
    sources: dict[str, int] = field(default_factory=dict)


def _gather(draft: Draft, snapshot: Snapshot) -> _Gathered:
    """Read everything once."""
    rows = snapshot.count()
    gathered = _Gathered(rows, np.zeros(rows, np.int64))
    arrays = {name: draft.empty(f"table-{name}", gathered.rows, dtype) for name, dtype in _ARRAYS.items()}
    ends = draft.empty("table-ends", gathered.rows, "<i8")
    start = written = 0
    with (
        (draft.folder / _TABLE_ROWS).open("wb") as out,
        draft.stream("table-vectors", (gathered.rows, DIMENSION), "<f4") as write_vectors,
    ):
        for batch in snapshot.batches(_READ):
            texts = encoded(batch)
            lengths = pc.binary_length(texts).to_numpy()
            at = slice(start, start + len(batch))
            ends[at] = written + np.cumsum(lengths, dtype=np.int64)
            out.write(memoryview(texts.buffers()[2])[: int(lengths.sum())] if not texts.offset else _joined(texts))
            written += int(lengths.sum())
            write_vectors(batch["vector"].flatten().to_numpy(zero_copy_only=False))
            _note(gathered, arrays, at, batch)
            start = at.stop
    if start != gathered.rows:
        raise ValueError(f"rows: {start} were read; wanted {gathered.rows}")
    return gathered


def _joined(texts: pa.Array) -> bytes:
    return "".join(texts.to_pylist()).encode()


def _note(gathered: _Gathered, arrays: dict[str, Array], at: slice, batch: pa.RecordBatch) -> None:
    arrays["deleted"][at] = batch["deleted"].to_numpy(zero_copy_only=False)
    arrays["stage"][at] = pc.index_in(batch["stage"], _STAGES).to_numpy(zero_copy_only=False)
    for name in FILTERED_NUMBERS:
        column = batch[name]
        if pa.types.is_timestamp(column.type):
            column = column.cast(pa.int64())
        arrays[name][at] = column.cast(pa.float64()).to_numpy(zero_copy_only=False)
    for source in pc.unique(batch["vector_source"]).to_pylist():
        gathered.sources.setdefault(source, len(gathered.sources))
    known = pa.array(list(gathered.sources), pa.string())
    arrays["source"][at] = pc.index_in(batch["vector_source"], known).to_numpy(zero_copy_only=False)
    gathered.revisions[at] = batch["revision"].to_numpy()
    gathered.keys.append(pa.table({"name": batch["name"], "version": batch["version"]}))
    gathered.tags.append(batch["tag_list"])


def _partition(draft: Draft, rows: int) -> Array:
    """Write the partitions and the vectors in their order; return that order: the table's place of each number."""
    vectors = np.load(draft.folder / "table-vectors.npy", mmap_mode="r") if rows else np.empty((0, DIMENSION), "<f4")
    centroids = partitioning.trained(vectors)
    nearest = partitioning.assigned(vectors, centroids)
    order = np.argsort(nearest, kind="stable").astype(np.int64)
    draft.put("centroids", centroids)
    draft.put("starts", np.searchsorted(nearest[order], np.arange(len(centroids) + 1)))
    scales = partitioning.scales_of(vectors)
    draft.put("scales", scales)
    with (
        draft.stream("vectors", vectors.shape, "<f4") as write_vectors,
        draft.stream("codes", vectors.shape, "i1") as write_codes,
    ):
        for block, codes in partitioning.arranged(vectors, order, scales):
            write_vectors(block)
            write_codes(codes)
    draft.drop("table-vectors")
    return order


def _arrange(draft: Draft, gathered: _Gathered, order: Array) -> Array:
    """Write what is kept by number; return the table's row at each place of the order of name and version."""
    for name in _ARRAYS:
        draft.put(name, np.load(draft.folder / f"table-{name}.npy")[order])
        draft.drop(f"table-{name}")
    numbers = np.empty(len(order), np.int32)
    numbers[order] = np.arange(len(order), dtype=np.int32)
    by_key = keys.write(draft, pa.concat_tables(gathered.keys) if gathered.keys else _NO_KEYS)
    draft.put("by_key", numbers[by_key])
    places = np.empty(len(order), np.int32)
    places[numbers[by_key]] = np.arange(len(order), dtype=np.int32)
    draft.put("place", places)
    terms.write(draft, gathered.tags, numbers)
    draft.put("sources", np.asarray(list(gathered.sources), dtype=np.str_))
    return by_key


def _arrange_texts(draft: Draft, by_key: Array) -> None:
    """Write the texts in the order of name and version, so that those of a page lie together."""
    ends = np.load(draft.folder / "table-ends.npy")
    starts = ends - np.diff(ends, prepend=0)
    with (draft.folder / _TABLE_ROWS).open("rb") as table, draft.octets(files.ROWS) as write:
        for start, end in zip(starts[by_key].tolist(), ends[by_key].tolist(), strict=True):
            write(os.pread(table.fileno(), end - start, start))
    draft.drop("table-ends")
    (draft.folder / _TABLE_ROWS).unlink()


def _measured(draft: Draft) -> float:
    """Return the share of the 10 nearest of some stored vectors that a search of few partitions finds: 0 to 1."""
    base = Base(Files(draft.folder, {}))
    queries = base.vectors[:: max(1, base.rows // _RECALL_QUERIES)][:_RECALL_QUERIES]
    everything = np.ones(base.rows, np.uint8)
    least = min(_RECALL_K, base.rows) - 1
    found = wanted = 0
    for query in np.array(queries):
        exact = set(np.argpartition(-(base.vectors @ query), least)[:_RECALL_K].tolist())
        near, _ = base.nearest(query, everything, _RECALL_K)
        found += len(exact & set(near.tolist()))
        wanted += len(exact)
    return found / wanted if wanted else math.nan
