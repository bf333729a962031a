"""Trees made ready for conversion: where their converters lose something, it is put right here, in the worker.

skl2onnx 1.20 forgets on which side scikit-learn's trees send NaN, and rounds the thresholds of HistGradientBoosting to
the nearest float32; onnxmltools does so with LightGBM's. The comparison behind every export tells whether this still
fits the versions installed.
"""

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

_CONVERTERS = ("decision_tree", "random_forest", "gradient_boosting", "ada_boost")
_TRACKS = "nodes_missing_value_tracks_true"


def remember_missing() -> None:
    """Let skl2onnx's trees send NaN where scikit-learn's do; once per process."""
    import importlib

    for name in _CONVERTERS:
        module = importlib.import_module(f"skl2onnx.operator_converters.{name}")
        original = getattr(module, "add_tree_to_attribute_pairs", None)
        if original is not None and not hasattr(original, "serval"):
            module.add_tree_to_attribute_pairs = _remembering(original)  # type: ignore[attr-defined]


def _remembering(original: Callable[..., None]) -> Callable[..., None]:
    def add_tree_to_attribute_pairs(attr_pairs: Any, is_classifier: bool, tree: Any, *rest: Any, **named: Any) -> None:
        original(attr_pairs, is_classifier, tree, *rest, **named)
        left = getattr(tree, "missing_go_to_left", None)
        if left is not None:
            inner = (np.asarray(tree.children_left) >= 0) & (np.asarray(left) != 0)
            attr_pairs[_TRACKS][-tree.node_count :] = [int(side) for side in inner]

    add_tree_to_attribute_pairs.serval = True  # type: ignore[attr-defined]
    return add_tree_to_attribute_pairs


def has_float64_thresholds(part: Any) -> bool:
    """Whether the model compares float64 values with float64 thresholds."""
    return hasattr(part, "_predictors") or hasattr(part, "booster_") or hasattr(part, "booster")


def floor_thresholds(part: Any) -> None:
    """Lower every float64 threshold to the float32 at or below it: float32 values then fall as they did before.

    For a float32 x and any t, x <= t holds exactly when x <= the largest float32 that is at most t.
    """
    for iteration in getattr(part, "_predictors", ()):
        for predictor in iteration:
            nodes = predictor.nodes
            nodes["num_threshold"] = floored(nodes["num_threshold"])
    if hasattr(part, "booster_"):
        part._Booster = _floored_booster(part.booster_)
    elif hasattr(part, "booster"):
        part.booster = _floored_booster(part.booster)


def floored(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return for each value the largest float32 that is at most the value, as float64."""
    with np.errstate(over="ignore"):
        near = values.astype(np.float32)
    below = np.nextafter(near, np.float32(-np.inf))
    return np.where(near.astype(np.float64) > values, below, near).astype(np.float64)


def _floored_booster(booster: Any) -> Any:
    import lightgbm

    def rewritten(line: re.Match[str]) -> str:
        values = floored(np.array(line.group(1).split(), np.float64))
        return "threshold=" + " ".join(repr(float(value)) for value in values)

    text = booster.model_to_string(num_iteration=-1)
    text = re.sub(r"^threshold=(.*)$", rewritten, text, flags=re.MULTILINE)
    text = re.sub(r"^tree_sizes=.*\n", "", text, flags=re.MULTILINE)  # byte offsets, which no longer hold
    copy = lightgbm.Booster(model_str=text)
    copy.best_iteration = booster.best_iteration
    return copy
