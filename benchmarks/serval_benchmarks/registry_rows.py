"""A registry of many versions, its rows written in bulk as registrations would have laid them out.

Vectors lie as embeddings do: 3,000 clusters of Zipf sizes, each along 24 directions, with some noise; of length 1.
"""

import argparse
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from onnx import TensorProto, helper
from serval_registry.embedding import DIMENSION
from serval_registry.lance import connect
from serval_registry.model import DataType, Draft, Feature, FeatureKind, Signature, Stage, TensorSpec
from serval_registry.packing import packed
from serval_registry.registry import Registry
from serval_registry.schemas import VERSIONS
from serval_registry.versions import to_row

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
    with Registry.open(data, index_threshold=_NEVER) as registry:
        template = registry.register(Draft(name="template"), SIGNATURE, artifact(), baseline=None, sample=None)
        registry.delete("template", 1)
    begin = time.monotonic()
    table = connect(data / "tables").open_table("versions")
    for start in range(0, len(vectors), _BATCH):
        part = vectors[start : start + _BATCH]
        table.add(_rows(start, part, template.artifact_sha256, template.artifact_bytes))
        say(f"rows: {start + len(part):,} of {len(vectors):,}")
    filled = time.monotonic()
    with Registry.open(data, index_threshold=_NEVER) as registry:
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
    began = datetime(2026, 1, 1, tzinfo=UTC)
    drafts = (
        Draft(
            name=name_of(row),
            description="synthetic",
            tags={"team": f"team-{row % TEAMS}", "cohort": cohort_of(row)},
            metrics={"accuracy": float(accuracy[row - start]), "gini": float(2 * accuracy[row - start] - 1)},
            algorithm="LogisticRegression",
            framework="scikit-learn",
            features=FEATURES,
        )
        for row in numbers.tolist()
    )
    columns: dict[str, list[Any]] = {}
    for draft, row in zip(drafts, numbers.tolist(), strict=True):
        moment = began + timedelta(seconds=10 * row)
        written = to_row(draft, SIGNATURE) | {
            "version": row % PER_NAME + 1,
            "revision": 1,
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
