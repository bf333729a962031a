"""A registry of many versions, its rows written in bulk as registrations would have laid them out.

Every version has a revision of its own and an entry in the journal, and every name one more that tells of its moves.
All are noted as looked at by what runs versions on probes: without a baseline there is nothing to run them on.

Vectors lie as embeddings do: 3,000 clusters of Zipf sizes, each along 24 directions, with some noise; of length 1.
"""

import argparse
import resource
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from onnx import TensorProto, helper
from serval_registry.behaviour.backlog import Backlog, Place
from serval_registry.embedding import DIMENSION
from serval_registry.lance import connect
from serval_registry.lifecycle.entries import ANONYMOUS, Action, Entry, digest
from serval_registry.model import DataType, Draft, Feature, FeatureKind, Signature, Stage, TensorSpec
from serval_registry.packing import packed
from serval_registry.registry import Registry
from serval_registry.schemas import JOURNAL, VERSIONS
from serval_registry.versions import to_row
from serval_server.codec.listed import PAGE_FORMAT

Matrix = npt.NDArray[np.float32]

PER_NAME = 20
TEAMS, COHORTS = 50, 1000
_SEED = 7
_CLUSTERS, _LATENT, _DIRECTIONS = 3000, 32, 24
_BATCH = 50_000
_NEVER = 2**62

FEATURES = tuple(Feature(f"f{column}", FeatureKind.NUMERIC, "X", column) for column in range(4))
SIGNATURE = Signature(
    inputs=(TensorSpec("X", DataType.FP32, (-1, 4)),),
    outputs=(TensorSpec("Y", DataType.FP32, (-1, 4)),),
    opsets={"": 17},
)


def clustered(rows: int, queries: int) -> tuple[Matrix, Matrix]:
    """Return [rows, DIMENSION] vectors and [queries, DIMENSION] more of the same kind."""
    random = np.random.default_rng(_SEED)
    mixing = random.standard_normal((_LATENT, DIMENSION)) / np.sqrt(_LATENT)
    centres = (random.standard_normal((_CLUSTERS, _LATENT)) @ mixing).astype(np.float32)
    directions = (random.standard_normal((_DIRECTIONS, DIMENSION)) / np.sqrt(_DIRECTIONS)).astype(np.float32)
    sizes = 1 / np.arange(1, _CLUSTERS + 1) ** 0.7
    vectors = np.empty((rows + queries, DIMENSION), np.float32)
    for start in range(0, len(vectors), _BATCH):
        part = vectors[start : start + _BATCH]
        part[:] = centres[random.choice(_CLUSTERS, len(part), p=sizes / sizes.sum())]
        part += 0.6 * (random.standard_normal((len(part), _DIRECTIONS), np.float32) @ directions)
        part += 0.15 * random.standard_normal((len(part), DIMENSION), np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors[:rows], vectors[rows:]


def name_of(row: int) -> str:
    """Return the name of the version in a row."""
    return f"model-{row // PER_NAME:07d}"


def cohort_of(row: int) -> str:
    """Return the value of the tag that a thousandth of the rows share."""
    return f"c{(row * 7919) % COHORTS}"


def artifact() -> bytes:
    """Return a small ONNX model: four numbers in, the same out."""
    spec: list[str | int | None] = ["rows", 4]
    graph = helper.make_graph(
        [helper.make_node("Identity", ["X"], ["Y"])],
        "small",
        [helper.make_tensor_value_info("X", TensorProto.FLOAT, spec)],
        [helper.make_tensor_value_info("Y", TensorProto.FLOAT, spec)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())


@dataclass(frozen=True, slots=True)
class Filled:
    """What filling took: seconds of the rows, of the indices; and the peak memory in MiB."""

    rows_seconds: float
    index_seconds: float
    peak_mib: float
    indexed_rows: int


def fill(data: Path, vectors: Matrix, say: Callable[[str], None]) -> Filled:
    """Make a registry in `data` with a version a vector, merged and, where rows are enough, indexed."""
    content = artifact()
    with Registry.open(data, index_threshold=_NEVER) as registry:
        storage = registry.storage
        sha256 = storage.artifacts.put(content)
        (first,) = registry.journal.select()
        Backlog(registry.database.versions, storage).note(Place(revision_of(len(vectors) - 1)))
    begin = time.monotonic()
    connection = connect(data / "tables")
    table, journal = connection.open_table("versions"), connection.open_table("journal")
    last = first
    for start in range(0, len(vectors), _BATCH):
        part = vectors[start : start + _BATCH]
        entries = list(_entries(start, len(part), sha256, last))
        last = entries[-1]
        journal.add(_journal(entries))
        table.add(_rows(start, part, sha256, len(content)))
        say(f"rows: {start + len(part):,} of {len(vectors):,}")
    filled = time.monotonic()
    with Registry.open(data, index_threshold=_NEVER, page_format=PAGE_FORMAT) as registry:
        say("merging")
        registry.optimize()
        say("index: training")
        begin_index = time.monotonic()
        indexed = registry.build_index()
        took = time.monotonic() - begin_index
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return Filled(filled - begin, took, peak, indexed)


def _rows(start: int, vectors: Matrix, sha256: str, size: int) -> pa.Table:
    numbers = np.arange(start, start + len(vectors))
    random = np.random.default_rng(start)
    accuracy = np.round(random.uniform(0.5, 1.0, len(vectors)), 6)
    drafts = (
        Draft(
            name=name_of(row),
            description="synthetic",
            tags=_tags(row),
            metrics={"accuracy": float(accuracy[row - start]), "gini": float(2 * accuracy[row - start] - 1)},
            algorithm="LogisticRegression",
            framework="scikit-learn",
            features=FEATURES,
        )
        for row in numbers.tolist()
    )
    columns: dict[str, list[Any]] = {}
    for draft, row in zip(drafts, numbers.tolist(), strict=True):
        moment = _moment(row)
        written = to_row(draft, SIGNATURE) | {
            "version": key_of(row)[1],
            "revision": revision_of(row),
            "stage": str(_stage(row)),
            "created": moment,
            "updated": moment,
            "artifact_sha256": sha256,
            "artifact_bytes": size,
            "baseline_rows": 100 + row * 7919 % 10_000,
            "vector_source": "user",
        }
        written |= {"sample_sha256": None, "record": packed(written | {"sample_sha256": None})}
        for name, value in written.items():
            columns.setdefault(name, []).append(value)
    return pa.table([_column(field, columns, vectors) for field in VERSIONS], schema=VERSIONS)


def revision_of(row: int) -> int:
    """Return the revision of a row, which is the number of its entry: the journal begins with one of its own."""
    return 2 + row + row // PER_NAME


def _entries(start: int, count: int, sha256: str, last: Entry) -> Iterator[Entry]:
    """Yield what the journal tells of some rows after its entry `last`: each registered, the moves after each name."""

    def entry(row: int, action: Action, details: dict[str, Any], *, announces: bool) -> Entry:
        name, version = key_of(row)
        number = last.number + 1
        return Entry(
            number=number,
            time=_moment(row),
            actor=ANONYMOUS,
            action=action,
            name=name,
            version=version,
            revision=number if announces else 0,
            details=details,
            previous=last.sha256,
        )

    for row in range(start, start + count):
        said = {"artifact_sha256": sha256, "label": "", "tags": _tags(row)}
        last = entry(row, Action.REGISTER, said, announces=True)
        yield last
        place = row % PER_NAME
        if place == PER_NAME - 1 or row == start + count - 1:
            moves = [[key_of(one)[1], "none", str(_stage(one))] for one in range(row - place, row + 1)]
            last = entry(row, Action.STAGE, {"moves": moves}, announces=False)
            yield last


def _journal(entries: list[Entry]) -> pa.Table:
    texts = [entry.text for entry in entries]
    columns = {
        "number": [entry.number for entry in entries],
        "revision": [entry.revision for entry in entries],
        "time": [entry.time for entry in entries],
        "actor": [entry.actor.name for entry in entries],
        "action": [str(entry.action) for entry in entries],
        "name": [entry.name for entry in entries],
        "version": [entry.version for entry in entries],
        "entry": texts,
        "sha256": [digest(text) for text in texts],
    }
    return pa.table(columns, schema=JOURNAL)


def _tags(row: int) -> dict[str, str]:
    return {"team": f"team-{row % TEAMS}", "cohort": cohort_of(row)}


def _moment(row: int) -> datetime:
    return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=10 * row)


def _column(field: pa.Field, columns: dict[str, list[Any]], vectors: Matrix) -> pa.Array:
    if field.name == "vector":
        return pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), DIMENSION)
    return pa.array(columns.get(field.name, [None] * len(vectors)), field.type)


def _stage(row: int) -> Stage:
    newest = PER_NAME - 1 - row % PER_NAME
    return Stage.PRODUCTION if newest == 0 else Stage.STAGING if newest == 1 else Stage.ARCHIVED


def key_of(row: int) -> tuple[str, int]:
    """Return the name and the number of the version in a row."""
    return name_of(row), row % PER_NAME + 1


def main(arguments: list[str] | None = None) -> int:
    """Fill a folder in this process, so that its peak memory is that of the filling; print what it took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("vectors", type=Path, metavar="FILE.npy")
    options = parser.parse_args(arguments)
    vectors = np.load(options.vectors, mmap_mode="r")
    filled = fill(options.data, vectors, lambda line: print(line, file=sys.stderr, flush=True))
    print(f"{filled.rows_seconds} {filled.index_seconds} {filled.peak_mib} {filled.indexed_rows}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
