"""The rows that models of the same features are compared on, drawn once for each set of features and never changed.

Two versions have the same features where these have the same names and kinds, whatever their order and however their
inputs hold them. The rows are drawn from the sample that the first such version keeps, of its rows without a missing
value; or else from its baseline, each column by itself: a bin by its count and a value evenly within it, a category by
its count. What is drawn depends on the features and the source alone.
"""

import hashlib
import json
from collections.abc import Collection, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from serval_registry.baseline import Baseline, FeatureBaseline
from serval_registry.errors import DataLoss
from serval_registry.model import Array, Feature, FeatureKind, Table

# An agreement of 0.9 has a standard error of 0.02.
PROBES = 256

# A sample of fewer rows without a missing value says less than the baseline.
ROWS_LEAST = 32

Seeded = np.random.Generator


def schema_of(features: Sequence[Feature]) -> str:
    """Return the name of a set of features: the SHA-256 of their names and kinds."""
    return hashlib.sha256(named(features).encode()).hexdigest()


def named(features: Sequence[Feature]) -> str:
    """Return the names and kinds of features as JSON, in the order of their names."""
    pairs = sorted([feature.name, str(feature.kind)] for feature in features)
    return json.dumps(pairs, ensure_ascii=False, separators=(",", ":"))


def from_sample(table: Table, schema: str) -> Table | None:
    """Return at most PROBES rows of a sample, in their order; None where too few have no missing value."""
    whole = np.flatnonzero(~np.any([_missing(column) for column in table.values()], axis=0))
    if len(whole) < ROWS_LEAST:
        return None
    chosen = np.sort(_random(schema).permutation(whole)[:PROBES])
    return {name: column[chosen] for name, column in table.items()}


def from_baseline(baseline: Baseline, schema: str, whole_numbers: Collection[str]) -> Table:
    """Return PROBES rows that a baseline tells of; `whole_numbers` are features that take no others."""
    random = _random(schema)
    columns = {feature.feature: feature for feature in baseline.features}
    drawn: dict[str, Array] = {}
    for name in sorted(columns):  # whatever the order of the features, the same is drawn
        column = _drawn(columns[name], random)
        drawn[name] = np.rint(column) if name in whole_numbers else column
    return drawn


def to_bytes(table: Table) -> bytes:
    """Return rows as an Arrow IPC stream, columns by name."""
    batch = pa.record_batch({name: pa.array(table[name], from_pandas=True) for name in sorted(table)})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return bytes(sink.getvalue())


def from_bytes(content: bytes, features: Sequence[Feature], owner: str) -> Table:
    """Return the features' columns of an Arrow IPC stream that serval has written; DataLoss, naming `owner`, else."""
    try:
        table = pa.ipc.open_stream(content).read_all()
        return {feature.name: _column(table[feature.name], feature.kind) for feature in features}
    except (pa.ArrowException, OSError, KeyError, ValueError) as error:
        raise DataLoss(f"{owner}: {len(content)} bytes that are not its rows") from error


def _random(schema: str) -> Seeded:
    return np.random.default_rng(int(schema[:16], 16))


def _missing(column: Array) -> npt.NDArray[np.bool_]:
    if column.dtype.kind == "f":
        return np.isnan(column)
    return np.array([value is None for value in column.tolist()], np.bool_)


def _drawn(column: FeatureBaseline, random: Seeded) -> Array:
    if column.kind is FeatureKind.NUMERIC:
        return _numbers(column, random)
    counts = np.array(column.category_counts, np.float64)
    names: Array = np.empty(max(len(counts), 1), np.object_)
    names[:] = column.categories or ("",)
    chosen = names[random.choice(len(names), PROBES, p=counts / counts.sum() if counts.sum() else None)]
    return chosen == "true" if column.kind is FeatureKind.FLAG else chosen


def _numbers(column: FeatureBaseline, random: Seeded) -> npt.NDArray[np.float64]:
    """Return values by inverse transform: of the bins between the edges, closed by the smallest and largest value."""
    counts = np.array(column.counts, np.float64)
    if not column.finite or not counts.sum():
        return np.zeros(PROBES)
    bounds = np.clip([column.minimum, *column.edges, column.maximum], column.minimum, column.maximum)
    bins = random.choice(len(counts), PROBES, p=counts / counts.sum())
    share = random.random(PROBES)
    # Both ends weighted, as their difference may be beyond the largest number.
    drawn = bounds[bins] * (1.0 - share) + bounds[bins + 1] * share
    return np.clip(drawn, bounds[bins], bounds[bins + 1])


def _column(column: pa.ChunkedArray, kind: FeatureKind) -> Array:
    if kind is FeatureKind.NUMERIC:
        return np.asarray(column.to_numpy(), np.float64)
    values: Array = np.empty(len(column), np.object_)
    values[:] = column.to_pylist()
    return values.astype(np.bool_) if kind is FeatureKind.FLAG and column.null_count == 0 else values
