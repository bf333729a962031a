"""What of a version is observed, and where it lies in a sketch.

Rules. Inputs that are columns and outputs of a row a row are observed; others (images, sequences) only by their number
of rows. Each numeric column gets the edges of the baseline, and two more where its sample ends, so that what lies
outside is counted too; without a baseline, log-linear ones. Scores (the floats of a classifier) are counted in 64 equal
bins from 0 to 1, whole numbers that are outputs as labels, texts as texts. Two sketches add up where their layouts have
one digest.
"""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
from serval_kernels.drift import sketch
from serval_registry.baseline import Baseline, FeatureBaseline, from_bytes
from serval_registry.model import DataType, Feature, FeatureKind, TensorSpec, Version
from serval_registry.registry import Registry

from serval_server.datatypes import NUMPY_TYPES

Edges = npt.NDArray[np.float64]
PlanOf = Callable[[str, Sequence[Edges]], sketch.Plan]

LAYOUTS_MAX: Final = 1024
PLANS_MAX: Final = 256
COLUMNS_MAX: Final = 4096  # of a version; one column takes some kilobytes
SCORES: Final = np.arange(65) / 64
NO_EDGES: Final = np.zeros(0)
FLAG: Final = np.array([0.5])

_LABELS: Final = frozenset(DataType) - {DataType.FP16, DataType.FP32, DataType.FP64, DataType.UINT64, DataType.STRING}
_FLOATS: Final = (DataType.FP16, DataType.FP32, DataType.FP64)


class How(Enum):
    """How the values of a tensor are kept."""

    NUMBERS = "numbers"  # columns of the sketch
    LABELS = "labels"  # a table of whole numbers
    TEXTS = "texts"  # counters of texts, one a column


class Tensor(NamedTuple):
    """An observed input or output: its columns are `first` to `first` + `width` of those of its kind.

    `place` is its place among all inputs and outputs of the signature, `row` the shape of a row.
    """

    name: str
    place: int
    how: How
    dtype: np.dtype[np.generic]
    first: int
    row: tuple[int, ...]

    @property
    def width(self) -> int:
        """Return the values of a row."""
        return self.row[0] if self.row else 1


class Column(NamedTuple):
    """A feature or an output column by the name that reports have."""

    name: str
    kind: FeatureKind
    how: How
    place: int
    edges: Edges


@dataclass(frozen=True, slots=True)
class Layout:
    """Where everything lies. `features` are in the model's order; `baseline` is what the edges are from."""

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    features: tuple[Column, ...]
    answers: tuple[Column, ...]
    plan: sketch.Plan
    labels: int
    listed: tuple[frozenset[str], ...]  # of each column of texts, what is counted by itself however many others come
    digest: str
    baseline: Baseline | None


def layout_of(version: Version, baseline: Baseline | None, plan_of: PlanOf | None = None) -> Layout:
    """Return what is observed of a version. `plan_of` gives the plan of a digest and edges, new or shared."""
    builder = _Builder(version)
    width = sum(_width(spec) or 0 for spec in (*version.signature.inputs, *version.signature.outputs))
    if width > COLUMNS_MAX:
        baseline = None  # what is not observed cannot be compared
    else:
        if version.features:
            for spec in version.signature.inputs:
                builder.add_input(spec, version.features, baseline)
        is_classifier = any(spec.datatype not in _FLOATS for spec in version.signature.outputs)
        for spec in version.signature.outputs:
            builder.add_output(spec, version.classes, is_classifier)
    return builder.layout(version.features, baseline, plan_of or _new_plan)


class Layouts:
    """The layouts of versions, by the baseline that they have now."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._known: dict[tuple[str, int], tuple[datetime, Layout]] = {}
        self._plans: dict[str, sketch.Plan] = {}

    def of(self, version: Version) -> Layout:
        """Return what is observed of a version, as its baseline was when the version was read, or later.

        Any other moment of change than the known one may mean another baseline: clocks are set back, and those of two
        servers differ. Raises NotFound for a version that was deleted.
        """
        key = (version.name, version.version)
        known = self._known.get(key)
        if known is not None and known[0] == version.updated:
            return known[1]
        stored = self._registry.baseline(*key)
        baseline = from_bytes(stored) if stored is not None else None
        if known is not None and known[1].baseline == baseline:
            layout = known[1]
        else:
            layout = layout_of(version, baseline, self._plan_of)
        if len(self._known) >= LAYOUTS_MAX:
            self._known.clear()
        self._known[key] = version.updated, layout
        return layout

    def _plan_of(self, digest: str, edges: Sequence[Edges]) -> sketch.Plan:
        """Return one plan for all versions that are observed alike, as those without a baseline: half a megabyte."""
        plan = self._plans.get(digest)
        if plan is None:
            if len(self._plans) >= PLANS_MAX:
                self._plans.clear()
            plan = self._plans[digest] = sketch.new_plan(edges)
        return plan


class _Builder:
    """Gathers columns tensor by tensor."""

    def __init__(self, version: Version) -> None:
        specs = (*version.signature.inputs, *version.signature.outputs)
        self.places = {spec.name: place for place, spec in enumerate(specs)}
        self.inputs: list[Tensor] = []
        self.outputs: list[Tensor] = []
        self.edges: list[Edges] = []
        self.features: dict[str, Column] = {}
        self.answers: list[Column] = []
        self.labels = 0
        self.listed: list[frozenset[str]] = []

    def add_input(self, spec: TensorSpec, features: Iterable[Feature], baseline: Baseline | None) -> None:
        """Observe an input whose columns are features."""
        width = _width(spec) or 0
        tensor = self._tensor(spec, How.TEXTS if spec.datatype is DataType.STRING else How.NUMBERS, width)
        self.inputs.append(tensor)
        known = {column.feature: column for column in baseline.features} if baseline is not None else {}
        places = {feature.column: feature for feature in features if feature.input == spec.name}
        for column in range(width):
            feature = places[column]
            edges = _edges_of(feature, known.get(feature.name), tensor.dtype) if tensor.how is How.NUMBERS else NO_EDGES
            self.features[feature.name] = Column(feature.name, feature.kind, tensor.how, tensor.first + column, edges)
            if tensor.how is How.TEXTS and feature.name in known:
                self.listed[tensor.first + column] = frozenset(known[feature.name].categories)
            if tensor.how is How.NUMBERS:
                self.edges.append(edges)

    def add_output(self, spec: TensorSpec, classes: tuple[str, ...], is_classifier: bool) -> None:
        """Observe an output of a row of values a row."""
        width = _width(spec)
        if width is None:
            return
        if spec.datatype is DataType.STRING:
            how = How.TEXTS
        elif spec.datatype in _LABELS and width == 1:
            how = How.LABELS
        else:
            how = How.NUMBERS
        tensor = self._tensor(spec, how, width)
        self.outputs.append(tensor)
        edges = SCORES if is_classifier else sketch.LOG_LINEAR
        for column in range(width):
            name = spec.name if width == 1 else f"{spec.name}[{_class_name(classes, column, width)}]"
            kind = FeatureKind.NUMERIC if how is How.NUMBERS else FeatureKind.TEXT
            self.answers.append(
                Column(name, kind, how, tensor.first + column, edges if how is How.NUMBERS else NO_EDGES)
            )
            if how is How.NUMBERS:
                self.edges.append(edges)

    def layout(self, features: Iterable[Feature], baseline: Baseline | None, plan_of: PlanOf) -> Layout:
        """Return what was gathered."""
        ordered = tuple(self.features[feature.name] for feature in features if feature.name in self.features)
        hashed = hashlib.blake2b(digest_size=8)
        for tensor in (*self.inputs, *self.outputs):
            hashed.update(repr((tensor.name, tensor.how, str(tensor.dtype), tensor.first, tensor.width)).encode())
        for edges in self.edges:
            hashed.update(edges.tobytes() + b"|")
        return Layout(
            tuple(self.inputs),
            tuple(self.outputs),
            ordered,
            tuple(self.answers),
            plan_of(hashed.hexdigest(), self.edges),
            self.labels,
            tuple(self.listed),
            hashed.hexdigest(),
            baseline,
        )

    def _tensor(self, spec: TensorSpec, how: How, width: int) -> Tensor:
        first = {How.NUMBERS: len(self.edges), How.LABELS: self.labels, How.TEXTS: len(self.listed)}[how]
        self.labels += width if how is How.LABELS else 0
        self.listed += [frozenset()] * width if how is How.TEXTS else []
        return Tensor(spec.name, self.places[spec.name], how, NUMPY_TYPES[spec.datatype], first, tuple(spec.shape[1:]))


def _new_plan(_digest: str, edges: Sequence[Edges]) -> sketch.Plan:
    return sketch.new_plan(edges)


def _width(spec: TensorSpec) -> int | None:
    """Return the values of a row; None for another rank than [rows] or [rows, width]."""
    if len(spec.shape) == 1:
        return 1
    return spec.shape[1] if len(spec.shape) == 2 and spec.shape[1] > 0 else None


def _class_name(classes: tuple[str, ...], column: int, width: int) -> str:
    return classes[column] if len(classes) == width else str(column)


def _edges_of(feature: Feature, base: FeatureBaseline | None, dtype: np.dtype[np.generic]) -> Edges:
    """Return the edges of an input column."""
    if feature.kind is FeatureKind.FLAG:
        return FLAG
    if base is None or base.kind is not FeatureKind.NUMERIC:
        return sketch.LOG_LINEAR
    edges = np.array(base.edges, np.float64)
    if not base.finite:
        return edges
    ends = np.array(ends_of(base, dtype))
    return np.union1d(edges, ends[np.isfinite(ends)])


def baseline_bins(base: FeatureBaseline, column: Column) -> npt.NDArray[np.intp]:
    """Return the bin of a baseline that each bin of its column lies in."""
    edges = np.array(base.edges, np.float64)
    return np.append(np.searchsorted(edges, column.edges), len(edges))


def ends_of(base: FeatureBaseline, dtype: np.dtype[np.generic]) -> tuple[float, float]:
    """Return the edges just below the smallest and at the largest value of a sample, as a column's dtype has them."""
    precision = np.float32 if dtype == np.float32 else np.float64
    with np.errstate(over="ignore"):
        low, high = np.array([base.minimum, base.maximum]).astype(precision)
        return float(np.nextafter(low, precision(-np.inf))), float(high)
