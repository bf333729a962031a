"""Versions side by side: metrics with their direction, and what differs in hyperparameters and schema."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from serval_registry.errors import InvalidArgument
from serval_registry.lifecycle.gates import differences
from serval_registry.model import TensorSpec, Version

VERSIONS_MAX = 100


class Direction(StrEnum):
    """Which way a metric gets better; UNKNOWN where its name does not say, and then none is called best."""

    HIGHER = "higher"
    LOWER = "lower"
    UNKNOWN = "unknown"


_WORDS = re.compile(r"[^a-z0-9]+")

# Words that metrics' names are made of, between '_', '-', '@', '/' and spaces; the first that is known decides.
_LOWER = frozenset(
    _WORDS.split(
        "loss error errors mse rmse mae mape smape rmsle msle medae brier deviance logloss perplexity latency "
        "ms seconds wer cer fpr fnr far frr eer ece bytes cost regret hinge crossentropy distance difference"
    )
)
_HIGHER = frozenset(
    _WORDS.split(
        "accuracy acc precision recall f1 fbeta auc auroc roc aucroc pr prauc ap map ndcg mrr r2 r2score "
        "kappa mcc gini sensitivity specificity tpr tnr score hit hits lift bleu rouge iou dice jaccard "
        "likelihood throughput purity silhouette ks correlation"
    )
)


@dataclass(frozen=True, slots=True)
class MetricRow:
    """One metric over all versions, None where one has none; `best` are the places of the best, none where unknown.

    `delta` is each value less that of the first version, None where one of the two is missing.
    """

    name: str
    direction: Direction
    values: tuple[float | None, ...]
    delta: tuple[float | None, ...]
    best: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class TextRow:
    """One property over all versions, as text; empty where one has none."""

    name: str
    values: tuple[str, ...]
    same: bool


@dataclass(frozen=True, slots=True)
class Comparison:
    """Any number of versions, each compared with the first; `schema` are what a caller of the first would trip over."""

    versions: tuple[Version, ...]
    metrics: tuple[MetricRow, ...]
    hyperparameters: tuple[TextRow, ...]
    properties: tuple[TextRow, ...]
    schema: tuple[tuple[str, ...], ...]


def compare(versions: Sequence[Version], directions: Mapping[str, Direction]) -> Comparison:
    """Return versions side by side; `directions` of metrics go before what their names say."""
    if not 2 <= len(versions) <= VERSIONS_MAX:
        raise InvalidArgument(f"models: {len(versions)}; wanted 2 to {VERSIONS_MAX}")
    metrics = sorted({name for version in versions for name in version.metrics})
    settings = sorted({name for version in versions for name in version.hyperparameters})
    return Comparison(
        versions=tuple(versions),
        metrics=tuple(_metric(name, versions, directions.get(name) or direction_of(name)) for name in metrics),
        hyperparameters=tuple(_row(name, versions, _setting(name)) for name in settings),
        properties=tuple(_row(name, versions, shown) for name, shown in _PROPERTIES.items()),
        schema=tuple(tuple(differences(version, versions[0])) for version in versions),
    )


def direction_of(name: str) -> Direction:
    """Return which way a metric gets better, by its name.

    >>> [direction_of(name).value for name in ("roc_auc", "val_loss", "neg_log_loss", "blue")]
    ['higher', 'lower', 'higher', 'unknown']
    """
    words = _WORDS.split(name.lower())
    if words[0] in ("neg", "negative"):  # scikit-learn's scorers
        return Direction.HIGHER
    if any(word in _LOWER for word in words):
        return Direction.LOWER
    return Direction.HIGHER if any(word in _HIGHER for word in words) else Direction.UNKNOWN


def _metric(name: str, versions: Sequence[Version], direction: Direction) -> MetricRow:
    values = tuple(version.metrics.get(name) for version in versions)
    first = values[0]
    delta = tuple(None if value is None or first is None else value - first for value in values)
    known = [value for value in values if value is not None]
    if direction is Direction.UNKNOWN:
        return MetricRow(name, direction, values, delta, ())
    best = max(known) if direction is Direction.HIGHER else min(known)
    return MetricRow(name, direction, values, delta, tuple(i for i, value in enumerate(values) if value == best))


def _row(name: str, versions: Sequence[Version], shown: Callable[[Version], str]) -> TextRow:
    values = tuple(shown(version) for version in versions)
    return TextRow(name, values, len(set(values)) == 1)


def _setting(name: str) -> Callable[[Version], str]:
    return lambda version: version.hyperparameters.get(name, "")


def _tensors(specs: Sequence[TensorSpec]) -> str:
    return ", ".join(f"{spec.name} {spec.datatype}{list(spec.shape)}" for spec in specs)


_PROPERTIES: Mapping[str, Callable[[Version], str]] = {
    "label": lambda version: version.label,
    "stage": lambda version: str(version.stage),
    "algorithm": lambda version: version.algorithm,
    "framework": lambda version: version.framework,
    "dataset": lambda version: version.dataset,
    "features": lambda version: ", ".join(f"{feature.name} {feature.kind}" for feature in version.features),
    "inputs": lambda version: _tensors(version.signature.inputs),
    "outputs": lambda version: _tensors(version.signature.outputs),
    "classes": lambda version: ", ".join(version.classes),
    "artifact": lambda version: f"{version.artifact_bytes} bytes, {version.artifact_sha256[:12]}",
}
