"""A linear model as a node of a graph describes it, done by compiled kernels.

ONNX Runtime takes some 5 us for a few rows before it begins to add. The kernels' values are the same, bit by bit, as
its of several rows; where they are not `Session` finds out and leaves the model where it is.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

import numpy as np
import onnx
from serval_kernels import linear

from serval_server.engine.graph import attributes_of
from serval_server.engine.head import Head
from serval_server.engine.part import Labels, Part, Values

LINEAR_CLASSIFIER: Final = "LinearClassifier"
LINEAR_REGRESSOR: Final = "LinearRegressor"

_SIZE_MAX: Final = 8  # sums of a row: of many, ONNX Runtime's product of matrices is the faster
_LABELS_LEAST: Final = 2  # of a single sum ONNX Runtime makes two scores
_WIDTH_MAX: Final = 1 << 10  # columns: of more, ONNX Runtime adds up parts
_TRANSFORMS: Final = {b"NONE": False, b"LOGISTIC": True}


class Linear(Part):
    """Weights and intercepts, and what makes labels of the sums."""

    probed = (2, 5, 200)  # few rows and blocks with a rest; not one, which ONNX Runtime adds up in another order

    def __init__(self, model: linear.Linear, labels: Labels | None, *, logistic: bool = False) -> None:
        """Take the model, and of a classifier the labels, one a sum."""
        super().__init__(len(model.offsets), len(model.intercepts))
        self._model = model
        self._labels = labels
        self._logistic = logistic

    @classmethod
    def of(cls, node: onnx.NodeProto, width: int) -> "Linear | None":
        """Return what a node does to rows of so many columns; None where it is left to ONNX Runtime."""
        if width > _WIDTH_MAX:
            return None
        try:
            given = attributes_of(node)
            return _classifier(given, width) if node.op_type == LINEAR_CLASSIFIER else _regressor(given, width)
        except (TypeError, ValueError):  # attributes of another kind
            return None

    def probes(self, count: int) -> Values:
        """Return rows by which sums become small and large."""
        random = np.random.default_rng(count)
        scale = np.float32(10.0) ** random.integers(-2, 2, (count, 1))
        return np.asarray(random.normal(size=(count, self.width)) * scale, np.float32)

    def take_head(self, head: Head) -> bool:
        """Do what a head does that only scales."""
        scaling = head.scaling()
        if scaling is not None:
            self._model = self._model._replace(offsets=scaling[0], scales=scaling[1])
        return scaling is not None

    def _steps_from(self, values: Values, label: Labels, score: Values) -> list[Callable[[], None]]:
        if self._labels is None:
            return [partial(linear.sums, values, *self._model, score)]
        return [partial(linear.classify, values, *self._model, self._logistic, self._labels, label, score)]


def _classifier(given: Mapping[str, Any], width: int) -> Linear | None:
    labels, transform = np.array(given.get("classlabels_ints", ()), np.int64), given.get("post_transform", b"NONE")
    found = _numbers(given, labels.size, width)
    if found is None or labels.size < _LABELS_LEAST or "classlabels_strings" in given or transform not in _TRANSFORMS:
        return None
    return Linear(found, labels, logistic=_TRANSFORMS[transform])


def _regressor(given: Mapping[str, Any], width: int) -> Linear | None:
    found = _numbers(given, given.get("targets", 1), width)
    return Linear(found, None) if found is not None and given.get("post_transform", b"NONE") == b"NONE" else None


def _numbers(given: Mapping[str, Any], size: int, width: int) -> linear.Linear | None:
    """Return the model of so many sums; None where there are others, or some are not finite."""
    weights = np.array(given.get("coefficients", ()), np.float32)
    intercepts = np.array(given.get("intercepts", ()), np.float32)
    if not 0 < size <= _SIZE_MAX or weights.size != size * width or intercepts.size != size:
        return None
    if not (np.isfinite(weights).all() and np.isfinite(intercepts).all()):
        return None
    offsets, scales = np.zeros(width, np.float32), np.ones(width, np.float32)
    return linear.Linear(offsets, scales, weights.reshape(size, width), intercepts)
