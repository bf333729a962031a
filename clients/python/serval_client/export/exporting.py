"""`export`: convert, compare, and say what came out."""

import importlib
import importlib.util
import platform
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from serval_client.export import estimators, graph, parity
from serval_client.export.convert import Job, Way
from serval_client.export.errors import ExportError, ExportRefused, NotConvertible
from serval_client.export.estimators import Kind
from serval_client.export.features import (
    TEXT,
    Feature,
    Sample,
    feeds,
    lay_out,
    read_sample,
    to_send,
    without_missing_texts,
)
from serval_client.export.parity import GIVEN, Parity
from serval_client.export.process import Progress, convert_in_worker
from serval_client.export.trees import has_float64_thresholds

TOLERANCE = 1e-5
TIMEOUT_SECONDS = 60.0
PROGRESS_SECONDS = 2.0
# ai.onnx.ml 3 is what ONNX Runtime and every converter here agree on; some converters refuse 4.
TARGET_OPSET: Mapping[str, int] = {"": 18, "ai.onnx.ml": 3}
_EXTRA = ("sklearn", "skl2onnx", "onnxmltools", "onnx", "onnxruntime")
_LIBRARIES = ("numpy", "sklearn", "skl2onnx", "onnx", "onnxruntime")


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """A model in its ONNX form, with what a registry keeps of it.

    `sample`: the rows in the form to send: a float32 array [rows, width] where every feature is numeric, else columns
    by feature name (float32, bool, or object arrays of str and None). `hyperparameters`: values as JSON texts.
    `missing_allowed`: whether NaN in numeric features is answered as by the original; None where no feature is
    numeric. `notes`: what a user should know, in sentences.
    """

    onnx: bytes
    features: tuple[Feature, ...]
    classes: list[str]
    algorithm: str
    framework: str
    hyperparameters: dict[str, str]
    parity: Parity
    libraries: dict[str, str]
    opsets: dict[str, int]
    missing_allowed: bool | None
    sample: npt.NDArray[np.float32] | dict[str, npt.NDArray[Any]]
    notes: tuple[str, ...] = ()


def export(
    model: Any,
    sample: Any,
    *,
    labels: Sequence[str] | None = None,
    tolerance: float = TOLERANCE,
    timeout: float = TIMEOUT_SECONDS,
    target_opset: Mapping[str, int] = TARGET_OPSET,
    progress: Progress | None = None,
) -> Exported:
    """Convert a fitted model to ONNX and compare the two on the rows of `sample`.

    `model`: an estimator or pipeline of scikit-learn, a model or Booster of XGBoost or LightGBM. `sample`: real rows, a
    DataFrame, an array [rows, width] or texts [rows]. `labels`: names of the classes, in place of the model's own.
    `tolerance`: what the largest difference of scores may be; no label may change. `timeout`: seconds for one
    conversion, of which a few may be tried. `progress`: is told every two seconds what goes on;
    by default a terminal's stderr.

    The classes of the model must be importable in another process. Raises NotConvertible naming the class that has no
    converter, ConversionTimeout, ExportRefused where the answers differ, ExportError where the arguments are wrong.
    """
    if not tolerance >= 0 or not timeout > 0:
        raise ExportError(
            f"tolerance and timeout: got {tolerance} and {timeout}; wanted tolerance >= 0 and timeout > 0"
        )
    _check_extra()
    model = estimators.unwrapped(model)
    estimators.check_fitted(model)
    kind = estimators.kind_of(model)
    whole = read_sample(model, sample)
    compared = whole.take(_comparable(whole))
    features = lay_out(whole.columns)
    classes = _classes(model, labels)
    one = _Conversion(
        model, kind, features, compared, tolerance, timeout, target_opset, _patient(progress or _to_terminal)
    )
    exported, measured, notes = one.best()
    kept = tuple(feature for feature in features if feature.input in exported.inputs)
    if compared.size < whole.size:
        notes.append(
            f"{whole.size - compared.size} rows with missing texts were left out of the comparison: a text feature "
            "needs a value in every row that is sent"
        )
    return Exported(
        onnx=exported.data,
        features=kept,
        classes=classes,
        algorithm=estimators.class_name(model),
        framework=estimators.framework_of(model),
        hyperparameters=estimators.hyperparameters_of(model),
        parity=measured,
        libraries=_libraries(model),
        opsets=graph.opsets(exported.data),
        missing_allowed=parity.missing_allowed(model, kind, exported, kept, compared, tolerance),
        sample=to_send(kept, whole.columns),
        notes=tuple(notes),
    )


@dataclass(frozen=True, slots=True)
class _Conversion:
    """One export on its way: the ways of computing are tried in turn, the first that holds is taken."""

    model: Any
    kind: Kind
    features: tuple[Feature, ...]
    sample: Sample
    tolerance: float
    timeout: float
    target_opset: Mapping[str, int]
    progress: Progress

    def best(self) -> tuple[parity.Exported, Parity, list[str]]:
        """Return the first conversion that answers as the original, or raise what stood in the way.

        float32 is tried first but for a pipeline that ends in trees or neighbours: a float32 scaler in front of them
        moves a few rows over a threshold, too few to be sure of them in a sample.
        """
        failed: list[NotConvertible] = []
        measured: list[Parity] = []
        for way in self._ways():
            try:
                exported = self._converted(way)
                found = self._compared(exported)
            except NotConvertible as error:
                failed.append(error)
                continue
            if found.holds:
                return self._tidied(exported), found, self._notes(found, way)
            measured.append(found)
        if measured:
            closest = min(measured, key=lambda found: (found.label_mismatch, found.max_difference))
            raise ExportRefused(self._refusal(closest), closest)
        raise failed[0]

    def _ways(self) -> list[Way]:
        final = estimators.final_estimator(self.model)
        delicate = final is not self.model and estimators.is_discontinuous(final)
        ways = [Way.WIDE, Way.CAST, Way.PLAIN] if delicate else [Way.PLAIN, Way.WIDE]
        if any(has_float64_thresholds(part) for part in [self.model, *estimators.parts(self.model)]):
            ways.append(Way.FLOORED)
        return ways

    def _converted(self, way: Way) -> parity.Exported:
        widths: dict[str, int] = {}
        for feature in self.features:
            widths[feature.input] = widths.get(feature.input, 0) + 1
        texts = {feature.input for feature in self.features if feature.kind == TEXT}
        inputs = tuple((name, name in texts, width) for name, width in widths.items())
        job = Job(self.model, inputs, dict(self.target_opset), way)
        data = convert_in_worker(job, self.timeout, self.progress)
        return parity.Exported(data, self.kind, estimators.class_name(self.model))

    def _compared(self, exported: parity.Exported) -> Parity:
        name = estimators.class_name(self.model)
        self.progress(f"comparing {name} on {self.sample.size} rows")
        return parity.compare(self.model, self.kind, exported, self.features, self.sample, self.tolerance)

    def _tidied(self, exported: parity.Exported) -> parity.Exported:
        fed = feeds(self.features, self.sample.columns)
        original = estimators.answer(self.model, self.kind, self.sample.take(np.arange(1)).rows)
        data = exported.tidied(fed, scored=original.scores is not None)
        if data is not None:
            exported = parity.Exported(data, self.kind, estimators.class_name(self.model))
        parity.check_single_rows(exported, fed, self.tolerance)
        return exported

    def _notes(self, found: Parity, way: Way) -> list[str]:
        notes = []
        if way is Way.WIDE:
            notes.append("the graph computes in float64 between its float32 inputs and outputs")
        if way is Way.CAST:
            notes.append("scalers compute in float64, all else in float32")
        if way is Way.FLOORED:
            notes.append("thresholds of trees were lowered to the next float32, which is exact for rows of float32")
        if found.against == GIVEN:
            notes.append(
                "it answers as the original answers the rows as given; the original itself, given the same rows "
                "rounded to float32, answers some of them otherwise: fit on float32 values to avoid this"
            )
        else:
            moved = parity.rounding(self.model, self.kind, self.sample, self.tolerance)
            notes += [moved] if moved else []
        return notes

    def _refusal(self, found: Parity) -> str:
        name = estimators.class_name(self.model)
        advice = ""
        if estimators.is_discontinuous(self.model) and found.tolerance < found.max_difference < np.inf:
            advice = "; trees, bins and neighbours jump: fitting on float32 values without a scaler in front may help"
        return (
            f"{name} does not answer in ONNX as the original does: {found} (compared with the {found.against}); wanted "
            f"at most {found.tolerance:g} and no label changed{advice}"
        )


def _check_extra() -> None:
    absent = [name for name in _EXTRA if importlib.util.find_spec(name) is None]
    if absent:
        raise ExportError(
            f"exporting needs {', '.join(absent)}, which is not installed: pip install 'serval-inference[train]'"
        )


def _comparable(sample: Sample) -> npt.NDArray[Any]:
    chosen = without_missing_texts(sample)
    if len(chosen) == 0:
        raise ExportError("sample: every row misses a text; wanted rows with all their texts")
    return chosen


def _classes(model: Any, labels: Sequence[str] | None) -> list[str]:
    classes = estimators.classes_of(model)
    if labels is None:
        return classes
    if len(labels) != len(classes):
        raise ExportError(f"labels: got {len(labels)} names, wanted {len(classes)}, one for each class of the model")
    return [str(label) for label in labels]


def _libraries(model: Any) -> dict[str, str]:
    root = type(estimators.final_estimator(model)).__module__.split(".")[0]
    names = list(_LIBRARIES)
    if root in ("xgboost", "lightgbm"):
        names += [root, "onnxmltools"]
    versions = {"python": platform.python_version()}
    for name in names:
        versions[estimators.FRAMEWORKS.get(name, name)] = str(importlib.import_module(name).__version__)
    return versions


def _patient(tell: Progress) -> Progress:
    """Return a progress that is silent for the first seconds, and then speaks once in a while."""
    next_time = time.monotonic() + PROGRESS_SECONDS

    def told(text: str) -> None:
        nonlocal next_time
        if time.monotonic() >= next_time:
            next_time = time.monotonic() + PROGRESS_SECONDS
            tell(text)

    return told


def _to_terminal(text: str) -> None:
    if sys.stderr.isatty():
        print(text, file=sys.stderr, flush=True)
