"""Does the exported model answer as the original did, on the same rows?

A server is sent float32. So the exported model is compared with the original on the rows rounded to float32 (as float64
values, the form in which most models compute). Where they disagree there, the original's answers to the rows as given
count: converters round the thresholds of trees along with the data, so that a rounded row falls on the side on which
the row as given fell in the original, while the original itself, given the rounded row, may fall on the other. Either
all rows agree in one of the two readings, or the export is refused.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from serval_client.export import graph
from serval_client.export.errors import ExportRefused, NotConvertible, shortened
from serval_client.export.estimators import Answer, Kind, answer
from serval_client.export.features import NUMERIC, Feature, Sample, feeds

Array = npt.NDArray[Any]

ROUNDED, GIVEN = "rows rounded to float32", "rows as given"
SINGLE_ROWS = 5  # rows that are also run alone: some graphs have a fixed batch in them
_PROBE_COLUMNS_MAX = 512


@dataclass(frozen=True, slots=True)
class Parity:
    """How the exported model compares with its original on `rows` rows.

    Differences are |original - exported| of scores: absolute for probabilities, else (`relative`) divided by
    max(1, |original|). `label_mismatch`: share of rows, 0 to 1, whose label changed. `against`: which of the original's
    readings was compared with, "rows rounded to float32" or "rows as given".
    """

    rows: int
    max_difference: float
    mean_difference: float
    label_mismatch: float
    tolerance: float
    relative: bool = False
    against: str = ROUNDED

    @property
    def holds(self) -> bool:
        """Whether scores are within the tolerance and no label changed."""
        return self.max_difference <= self.tolerance and self.label_mismatch == 0

    def __str__(self) -> str:
        """Return the numbers in words."""
        kind = "relative " if self.relative else ""
        return (
            f"largest {kind}difference {self.max_difference:.2g}, mean {self.mean_difference:.2g}, labels changed in "
            f"{self.label_mismatch:.2%} of {self.rows} rows"
        )


class Exported:
    """An ONNX file in a session of one thread, and what of its outputs is labels and what is scores."""

    def __init__(self, data: bytes, kind: Kind, name: str) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 4
        try:
            self._session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        except Exception as error:
            text = shortened(f"{type(error).__name__}: {error}")
            raise NotConvertible(name, f"ONNX Runtime does not load what came out: {text}") from error
        self.data = data
        self._name = name
        self._outputs = {value.name: value for value in self._session.get_outputs()}
        self._labelled = kind not in (Kind.REGRESSOR, Kind.TRANSFORMER)

    @property
    def inputs(self) -> set[str]:
        """The names of the inputs that the graph has."""
        return {value.name for value in self._session.get_inputs()}

    def run(self, fed: Mapping[str, Array]) -> dict[str, Any]:
        """Return every output by name; raise ExportRefused where the model does not run."""
        try:
            values = self._session.run(None, {name: fed[name] for name in self.inputs})
        except Exception as error:
            text = shortened(f"{type(error).__name__}: {error}")
            raise ExportRefused(f"{self._name}: ONNX Runtime does not run what came out: {text}") from error
        return dict(zip(self._outputs, values, strict=True))

    def answer(self, fed: Mapping[str, Array]) -> Answer:
        """Return labels of shape [rows] and scores of shape [rows, width]."""
        values = list(self.run(fed).values())
        labels = np.asarray(values.pop(0)).reshape(-1) if self._labelled else None
        scores = np.asarray(values[0], np.float64) if values and isinstance(values[0], np.ndarray) else None
        if scores is not None and scores.ndim != 2:
            scores = scores.reshape(len(scores), -1)
        return Answer(labels, scores, relative=False)

    def tidied(self, fed: Mapping[str, Array], *, scored: bool) -> bytes | None:
        """Return the file with only the compared outputs, of the shapes they have; None if nothing is amiss."""
        values = self.run(fed)
        wanted = list(values)[: self._labelled + scored]
        data = self.data if len(wanted) == len(values) else graph.keep_outputs(self.data, wanted)
        shapes = {name: values[name].shape for name in wanted}
        if data is self.data and all(list(self._outputs[name].shape[1:]) == list(shapes[name][1:]) for name in wanted):
            return None
        return graph.declare_shapes(data, shapes)


def compare(
    model: Any, kind: Kind, exported: Exported, features: Sequence[Feature], sample: Sample, tolerance: float
) -> Parity:
    """Return how the two compare, in the reading in which they agree best."""
    rounded = sample.rounded()
    got = exported.answer(feeds(features, sample.columns))
    first = _measured(answer(model, kind, rounded.rows), got, tolerance, ROUNDED)
    if first.holds:
        return first
    second = _measured(answer(model, kind, sample.rows), got, tolerance, GIVEN)
    return min(first, second, key=lambda parity: (not parity.holds, parity.label_mismatch, parity.max_difference))


def rounding(model: Any, kind: Kind, sample: Sample, tolerance: float) -> str | None:
    """Say how far the original itself is moved by rounding the rows to float32; None where within the tolerance."""
    given, rounded = answer(model, kind, sample.rows), answer(model, kind, sample.rounded().rows)
    gap = float(difference(given, rounded, relative=given.relative).max(initial=0.0))
    changed = label_changes(given.labels, rounded.labels)
    if gap <= tolerance and changed == 0:
        return None
    return (
        f"rounding the rows to float32, as they are sent, moves the original's own answers by up to {gap:.2g} and "
        f"changes {changed:.2%} of its labels: fit on float32 values to avoid this"
    )


def difference(left: Answer, right: Answer, *, relative: bool) -> Array:
    """Return |left - right| of scores, [rows, width], 0 where both are NaN or the same infinity, else inf for those."""
    if left.scores is None or right.scores is None:
        return np.zeros((0, 0))
    one, other = left.scores, right.scores
    if one.shape[1] == 1 and other.shape[1] == 2:
        other = other[:, 1:]  # the decision value of two classes, which ONNX gives for both
    if one.shape != other.shape:
        return np.full((1, 1), np.inf)
    with np.errstate(invalid="ignore"):
        gap = np.abs(one - other)
        if relative:
            gap = gap / np.maximum(1.0, np.abs(one))
    same = (one == other) | (np.isnan(one) & np.isnan(other))
    return np.where(same, 0.0, np.where(np.isfinite(gap), gap, np.inf))


def label_changes(original: Array | None, exported: Array | None) -> float:
    """Return the share of rows whose label changed: texts as texts, numbers and booleans as numbers."""
    if original is None:
        return 0.0
    if exported is None or len(exported) != len(original) or original.ndim != 1:
        return 1.0
    if original.dtype.kind in "fiub" and exported.dtype.kind in "fiub":
        return float(np.mean(original.astype(np.float64) != exported.astype(np.float64)))
    return float(np.mean(original.astype(str) != exported.astype(str)))


def check_single_rows(exported: Exported, fed: Mapping[str, Array], tolerance: float) -> None:
    """Raise ExportRefused where a row alone is answered otherwise than among others."""
    together = exported.answer(fed)
    relative = together.scores is not None and bool(np.abs(together.scores).max(initial=0.0) > 1.0)
    for row in range(min(SINGLE_ROWS, len(next(iter(fed.values()))))):
        alone = exported.answer({name: block[row : row + 1] for name, block in fed.items()})
        whole = Answer(
            None if together.labels is None else together.labels[row : row + 1],
            None if together.scores is None else together.scores[row : row + 1],
            relative=relative,
        )
        gap = float(difference(whole, alone, relative=relative).max(initial=0.0))
        if gap > tolerance or label_changes(whole.labels, alone.labels):
            raise ExportRefused(f"a row alone is answered otherwise than in a batch: difference {gap:.2g}")


def missing_allowed(
    model: Any, kind: Kind, exported: Exported, features: Sequence[Feature], sample: Sample, tolerance: float
) -> bool | None:
    """Whether NaN in any numeric column is answered, and alike by both; None where no column is numeric.

    Found by trying: one row for every numeric column, with NaN in it. scikit-learn's tags speak of the first step of a
    pipeline, and a scaler lets NaN pass to a model that refuses it.
    """
    numeric = [feature.name for feature in features if feature.kind == NUMERIC][:_PROBE_COLUMNS_MAX]
    if not numeric:
        return None
    probe = sample.rounded().take(np.arange(len(numeric)) % sample.size)
    try:
        for row, name in enumerate(numeric):
            probe = probe.with_missing(row, name)
        original = answer(model, kind, probe.rows)
        got = exported.answer(feeds(features, probe.columns))
    except Exception:
        return False
    gap = difference(original, got, relative=original.relative).max(initial=0.0)
    return bool(gap <= tolerance) and label_changes(original.labels, got.labels) == 0


def _measured(original: Answer, exported: Answer, tolerance: float, against: str) -> Parity:
    rows = next(len(part) for part in (original.labels, original.scores) if part is not None)
    if original.scores is not None and exported.scores is None:
        gaps = np.full((1, 1), np.inf)
    else:
        gaps = difference(original, exported, relative=original.relative)
    return Parity(
        rows=rows,
        max_difference=float(gaps.max(initial=0.0)),
        mean_difference=float(gaps.mean()) if gaps.size else 0.0,
        label_mismatch=label_changes(original.labels, exported.labels),
        tolerance=tolerance,
        relative=original.relative,
        against=against,
    )
