"""Baselines: what a sample looked like, in a size that does not grow with its rows.

Rules. A numeric column becomes counts between fixed edges and moments, a column of categories becomes their counts.
Counts over the same edges add up: `merge` of two parts equals `compute` of the whole wherever no category was cut off.
Missing is NaN in numbers and None in categories; a flag is the category "true" or "false".
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from serval_kernels.drift import moments as kernel_moments
from serval_kernels.drift.binning import count_bins, quantile_edges
from serval_kernels.drift.moments import Moments

from serval_registry.errors import DataLoss, FailedPrecondition, InvalidArgument
from serval_registry.model import Array, DataType, Feature, FeatureKind, Signature, Table

BINS = 256
CATEGORIES = 1000
ROWS_LEAST = 2

_FORMAT = b"1"
_FLAGS = {True: "true", False: "false", np.True_: "true", np.False_: "false"}


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureBaseline:
    """One column; the message FeatureBaseline of drift.proto says what each field is.

    Moments are of finite values, and 0 where there are none.
    """

    feature: str
    kind: FeatureKind
    rows: int
    missing: int = 0
    infinite: int = 0
    edges: tuple[float, ...] = ()
    counts: tuple[int, ...] = ()
    mean: float = 0.0
    variance: float = 0.0
    minimum: float = 0.0
    maximum: float = 0.0
    categories: tuple[str, ...] = ()
    category_counts: tuple[int, ...] = ()
    other_count: int = 0
    exact: bool = False  # float64 values are told apart, not float32 ones; see `binning.quantile_edges`

    @property
    def present(self) -> int:
        """Return how many rows are not missing."""
        return self.rows - self.missing

    @property
    def finite(self) -> int:
        """Return how many rows are finite numbers."""
        return self.present - self.infinite


@dataclass(frozen=True, slots=True)
class Baseline:
    """All columns of a sample, in the model's feature order."""

    rows: int
    features: tuple[FeatureBaseline, ...]
    created: datetime


def compute(
    table: Table,
    features: Sequence[Feature],
    *,
    like: Baseline | None = None,
    created: datetime | None = None,
    exact: Collection[str] = (),
) -> Baseline:
    """Return the baseline of a sample of at least 2 rows; `created` is now unless given.

    `exact` are the features that a model takes as finer than float32, see `exact_features`. With `like`, numbers are
    counted between the edges of that baseline, so that both can be merged or compared. Columns that are no features are
    passed over. Raises InvalidArgument for a missing column, for columns of different lengths, of another type than the
    feature's kind, or with too few rows; FailedPrecondition when `like` has other features.
    """
    rows = check_table(table, features)
    if rows < ROWS_LEAST:
        raise InvalidArgument(f"sample: {rows} rows; wanted at least {ROWS_LEAST}")
    models = _like_by_name(like, features)
    columns = tuple(
        compute_feature(feature, table[feature.name], models.get(feature.name), exact=feature.name in exact)
        for feature in features
    )
    return Baseline(rows, columns, created or datetime.now(UTC))


def exact_features(features: Iterable[Feature], signature: Signature) -> frozenset[str]:
    """Return the names of the features that a model takes as numbers finer than float32."""
    coarse = {spec.name for spec in signature.inputs if spec.datatype in (DataType.FP16, DataType.FP32)}
    return frozenset(feature.name for feature in features if feature.input not in coarse)


def compute_feature(
    feature: Feature, column: Array, like: FeatureBaseline | None = None, *, exact: bool = False
) -> FeatureBaseline:
    """Return the baseline of one column, of any number of rows, that `check_table` has found right; see `compute`."""
    base = FeatureBaseline(feature=feature.name, kind=feature.kind, rows=len(column))
    if feature.kind is not FeatureKind.NUMERIC:
        categories, missing = count_categories(feature, column)
        return _with_categories(replace(base, missing=missing), categories)
    floats = cast("npt.NDArray[np.floating[Any]]", column)
    exact = exact if like is None else like.exact
    edges = quantile_edges(floats, BINS, exact=exact) if like is None else np.array(like.edges, np.float64)
    counts = tuple(count_bins(floats, edges).tolist())
    counted = replace(base, edges=tuple(edges.tolist()), counts=counts, exact=exact)
    return _with_moments(counted, kernel_moments.moments(floats))


def merge(a: Baseline, b: Baseline) -> Baseline:
    """Return the baseline of both samples together, created when the later was.

    Raises FailedPrecondition unless both have the same features and edges. A category that one side counts in
    `other_count` stays there: then its own count is too small.
    """
    if [(f.feature, f.kind) for f in a.features] != [(f.feature, f.kind) for f in b.features]:
        raise FailedPrecondition("baselines: their features differ; wanted the same names and kinds in the same order")
    columns = tuple(_merge_features(x, y) for x, y in zip(a.features, b.features, strict=True))
    return Baseline(a.rows + b.rows, columns, max(a.created, b.created))


def check_table(table: Table, features: Iterable[Feature]) -> int:
    """Return the number of rows of the features' columns; raise InvalidArgument as `compute` says."""
    rows: int | None = None
    for feature in features:
        column = table.get(feature.name)
        if column is None:
            raise InvalidArgument(f"column {feature.name!r}: not in the table; it has {', '.join(sorted(table)[:20])}")
        if column.ndim != 1:
            raise InvalidArgument(f"column {feature.name!r}: {column.ndim} dimensions; wanted 1")
        if rows not in (None, len(column)):
            raise InvalidArgument(
                f"column {feature.name!r}: {len(column)} rows; wanted {rows}, as in the columns before"
            )
        _check_type(feature, column)
        rows = len(column)
    return rows or 0


def count_categories(feature: Feature, column: Array) -> tuple[Counter[str], int]:
    """Return how often each category comes, and how many rows are missing, for a text or flag column."""
    if column.dtype == np.bool_:
        true = int(np.count_nonzero(column))
        return Counter({name: n for name, n in (("true", true), ("false", len(column) - true)) if n}), 0
    counts: Counter[object] = Counter(column.tolist())
    missing = counts.pop(None, 0)
    if feature.kind is FeatureKind.FLAG:
        return _flag_counts(feature, counts), missing
    wrong = next((value for value in counts if not isinstance(value, str)), None)
    if wrong is not None:
        raise InvalidArgument(f"column {feature.name!r}: {type(wrong).__name__} {wrong!r:.80}; wanted text or None")
    return Counter({str(value): n for value, n in counts.items()}), missing


def most_frequent(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    """Return the categories with their counts, most frequent first, equal ones by name."""
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))


def _flag_counts(feature: Feature, counts: Counter[object]) -> Counter[str]:
    named: Counter[str] = Counter()
    for value, n in counts.items():
        if not isinstance(value, bool | np.bool_):
            raise InvalidArgument(f"column {feature.name!r}: {type(value).__name__} {value!r:.80}; wanted a boolean")
        named[_FLAGS[value]] += n
    return named


def _check_type(feature: Feature, column: Array) -> None:
    wanted = {
        FeatureKind.NUMERIC: ("float32 or float64", column.dtype in (np.float32, np.float64)),
        FeatureKind.TEXT: ("text", column.dtype.kind in "OUT"),
        FeatureKind.FLAG: ("booleans", column.dtype.kind in "bO"),
    }
    name, right = wanted[feature.kind]
    if not right:
        raise InvalidArgument(f"column {feature.name!r}: dtype {column.dtype}; wanted {name}")


def _like_by_name(like: Baseline | None, features: Sequence[Feature]) -> dict[str, FeatureBaseline]:
    if like is None:
        return {}
    by_name = {column.feature: column for column in like.features}
    for feature in features:
        if feature.name not in by_name or by_name[feature.name].kind is not feature.kind:
            raise FailedPrecondition(f"baseline: it has no {feature.kind} feature {feature.name!r}")
    return by_name


def _with_moments(base: FeatureBaseline, moments: Moments) -> FeatureBaseline:
    return replace(
        base,
        missing=moments.missing,
        infinite=moments.infinite,
        mean=moments.mean,
        variance=moments.variance,
        minimum=moments.minimum if moments.finite else 0.0,
        maximum=moments.maximum if moments.finite else 0.0,
    )


def _with_categories(base: FeatureBaseline, counts: Mapping[str, int], other: int = 0) -> FeatureBaseline:
    ranked = most_frequent(counts)
    return replace(
        base,
        categories=tuple(name for name, _ in ranked[:CATEGORIES]),
        category_counts=tuple(n for _, n in ranked[:CATEGORIES]),
        other_count=other + sum(n for _, n in ranked[CATEGORIES:]),
    )


def _merge_features(a: FeatureBaseline, b: FeatureBaseline) -> FeatureBaseline:
    if a.edges != b.edges:
        raise FailedPrecondition(f"feature {a.feature!r}: the two baselines have different edges; wanted the same")
    base = replace(a, rows=a.rows + b.rows, missing=a.missing + b.missing)
    if a.kind is FeatureKind.NUMERIC:
        counts = tuple(x + y for x, y in zip(a.counts, b.counts, strict=True))
        return _with_moments(replace(base, counts=counts), kernel_moments.merge(_moments_of(a), _moments_of(b)))
    both = Counter(dict(zip(a.categories, a.category_counts, strict=True)))
    both.update(dict(zip(b.categories, b.category_counts, strict=True)))
    return _with_categories(base, both, a.other_count + b.other_count)


def _moments_of(base: FeatureBaseline) -> Moments:
    if not base.finite:
        return kernel_moments.EMPTY._replace(missing=base.missing, infinite=base.infinite)
    m2 = base.variance * base.finite
    return Moments(base.finite, base.missing, base.infinite, base.mean, m2, base.minimum, base.maximum)


_SCHEMA = pa.schema(
    [
        ("feature", pa.string()),
        ("kind", pa.string()),
        ("rows", pa.int64()),
        ("missing", pa.int64()),
        ("infinite", pa.int64()),
        ("edges", pa.list_(pa.float64())),
        ("counts", pa.list_(pa.int64())),
        ("mean", pa.float64()),
        ("variance", pa.float64()),
        ("minimum", pa.float64()),
        ("maximum", pa.float64()),
        ("categories", pa.list_(pa.string())),
        ("category_counts", pa.list_(pa.int64())),
        ("other_count", pa.int64()),
    ]
)


# Written where a feature is exact, so that releases that do not know it read all others.
_EXACT_SCHEMA = _SCHEMA.append(pa.field("exact", pa.bool_()))


def to_bytes(baseline: Baseline) -> bytes:
    """Return a baseline as an Arrow IPC stream, one row per feature; `from_bytes` gives back exactly what went in."""
    schema = _EXACT_SCHEMA if any(feature.exact for feature in baseline.features) else _SCHEMA
    columns = {name: [getattr(feature, name) for feature in baseline.features] for name in schema.names}
    head = {
        b"serval.baseline": _FORMAT,
        b"rows": b"%d" % baseline.rows,
        b"created": baseline.created.isoformat().encode(),
    }
    batch = pa.record_batch(columns, schema=schema.with_metadata(head))
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as writer:
        writer.write_batch(batch)
    return bytes(sink.getvalue())


def from_bytes(data: bytes) -> Baseline:
    """Read what `to_bytes` wrote; raise DataLoss when it is not that, and FailedPrecondition for another format."""
    try:
        table = pa.ipc.open_stream(data).read_all()
    except (pa.ArrowInvalid, OSError) as error:
        raise DataLoss(f"baseline: {len(data)} bytes that cannot be read; wanted an Arrow IPC stream") from error
    head = table.schema.metadata or {}
    if head.get(b"serval.baseline") != _FORMAT:
        came = head.get(b"serval.baseline", b"none").decode(errors="replace")
        raise FailedPrecondition(f"baseline: format {came}; wanted {_FORMAT.decode()}")
    if not (table.schema.equals(_SCHEMA) or table.schema.equals(_EXACT_SCHEMA)):
        raise DataLoss(f"baseline: columns {table.schema.names}; wanted {_SCHEMA.names}")
    features = tuple(_feature_of(row) for row in table.to_pylist())
    return Baseline(int(head[b"rows"]), features, datetime.fromisoformat(head[b"created"].decode()))


def _feature_of(row: Mapping[str, object]) -> FeatureBaseline:
    fields = {name: tuple(value) if isinstance(value, list) else value for name, value in row.items()}
    fields["kind"] = FeatureKind(str(row["kind"]))
    return FeatureBaseline(**fields)  # type: ignore[arg-type]
