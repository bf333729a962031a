"""A fitted model into the bytes of an ONNX file. Runs in the worker process, on the worker's own copy of the model.

The copy is changed freely: columns by name become columns by position, a cast goes in front of trees.
"""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from serval_client.export import graph
from serval_client.export.errors import NotConvertible, shortened
from serval_client.export.estimators import LightGBMBooster, class_name, final_estimator, is_discontinuous, parts
from serval_client.export.imputer import register_imputer
from serval_client.export.trees import floor_thresholds, has_float64_thresholds, remember_missing

_ONNXMLTOOLS_OPSET_MAX = 15  # what onnxmltools allows when it converts on its own

# Of equal probabilities scikit-learn takes the first class; an even number of trees often ends in a tie, and their
# votes add up to a little more or less than a half in float32.
_AVERAGING = {"RandomForestClassifier", "ExtraTreesClassifier", "BaggingClassifier"}


class Way(StrEnum):
    """How the graph computes."""

    PLAIN = "float32"
    WIDE = "float64"  # between float32 inputs and outputs, as most of scikit-learn does
    CAST = "float32, scalers in float64"  # for scalers in front of trees, where WIDE has no converter for another part
    FLOORED = "floored"  # float32, with float64 thresholds of trees lowered to the next float32


@dataclass(frozen=True, slots=True)
class Job:
    """What is to be converted; `inputs`: name, whether it holds texts, and width, for each ONNX input."""

    model: Any
    inputs: tuple[tuple[str, bool, int], ...]
    target_opset: Mapping[str, int]
    way: Way


def convert(job: Job) -> bytes:
    """Return the ONNX file; raise NotConvertible naming the class for which there is no way."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            for part in [job.model, *parts(job.model)]:
                _prepare(part, job.way)
            onnx_model = _converted_booster(job) if isinstance(job.model, LightGBMBooster) else _converted(job)
        except NotConvertible:
            raise
        except Exception as error:
            raise NotConvertible(*_explained(job.model, error)) from error
    if type(final_estimator(job.model)).__name__ in _AVERAGING:
        graph.label_first_of_equals(onnx_model, job.model.classes_)
    return graph.finished(onnx_model, [name for name, _, _ in job.inputs], wide=job.way is Way.WIDE)


def _prepare(part: Any, way: Way) -> None:
    _by_position(part)
    _as_boosted(part)
    if type(part).__name__ == "Pipeline":
        acting = [step for step in part.steps if step[1] is not None and step[1] != "passthrough"]
        part.steps = acting or part.steps  # skl2onnx knows no step that does nothing
    if type(part).__name__ == "VotingClassifier":
        part.flatten_transform = False  # a matter of `transform` alone, but the converter refuses the default
    if way is Way.FLOORED and has_float64_thresholds(part):
        floor_thresholds(part)


def _converted(job: Job) -> Any:
    from skl2onnx import convert_sklearn
    from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType, StringTensorType

    register_boosters()
    register_imputer()
    remember_missing()
    final = final_estimator(job.model)
    if job.way is Way.WIDE and is_discontinuous(final):
        _cast_before_last(job.model)
    number = DoubleTensorType if job.way is Way.WIDE else FloatTensorType
    types = [(name, (StringTensorType if texts else number)([None, width])) for name, texts, width in job.inputs]
    opset = dict(job.target_opset)
    exact = _exact_scalers(job.model) if job.way in (Way.CAST, Way.FLOORED) else {}
    for options in _options(job.model):
        try:
            chosen = exact | {id(final): options}
            return convert_sklearn(job.model, initial_types=types, target_opset=opset, options=chosen)
        except NameError:  # a classifier refuses an option that it does not have
            continue
    return convert_sklearn(job.model, initial_types=types, target_opset=opset, options=exact or None)


def _exact_scalers(model: Any) -> dict[int, dict[str, Any]]:
    """Return what makes scalers subtract and divide in float64, as scikit-learn does, and round what comes out."""
    scalers = ("StandardScaler", "RobustScaler", "MaxAbsScaler")
    return {id(part): {"div": "div_cast"} for part in parts(model) if type(part).__name__ in scalers}


def _options(model: Any) -> list[dict[str, bool]]:
    """Return what to ask of the converter of the final estimator, best first."""
    if not hasattr(model, "classes_"):
        return []
    if hasattr(model, "predict_proba"):
        return [{"zipmap": False}]
    # Without raw_scores the decision value of two classes comes out with its sign turned, for SVC.
    return [{"zipmap": False, "raw_scores": True}, {"zipmap": False}, {"raw_scores": True}, {"nocl": False}]


def _converted_booster(job: Job) -> Any:
    from onnxmltools import convert_lightgbm
    from onnxmltools.convert.common.data_types import FloatTensorType

    ((name, _, width),) = job.inputs
    types = [(name, FloatTensorType([None, width]))]
    return convert_lightgbm(
        job.model.booster,
        initial_types=types,
        target_opset=min(job.target_opset[""], _ONNXMLTOOLS_OPSET_MAX),
        zipmap=False,
    )


def register_boosters() -> None:
    """Teach skl2onnx the models of XGBoost and LightGBM, where they are installed."""
    from skl2onnx import update_registered_converter
    from skl2onnx.common import shape_calculator

    classifier = shape_calculator.calculate_linear_classifier_output_shapes
    regressor = shape_calculator.calculate_linear_regressor_output_shapes

    options = {"nocl": [True, False], "zipmap": [True, False, "columns"]}
    try:
        import xgboost
        from onnxmltools.convert.xgboost.operator_converters.XGBoost import convert_xgboost

        for kind in (xgboost.XGBClassifier, xgboost.XGBRFClassifier):
            update_registered_converter(kind, f"Serval{kind.__name__}", classifier, convert_xgboost, options=options)
        for kind in (xgboost.XGBRegressor, xgboost.XGBRFRegressor):
            update_registered_converter(kind, f"Serval{kind.__name__}", regressor, convert_xgboost)
    except ImportError:
        pass
    try:
        import lightgbm
        from onnxmltools.convert.lightgbm.operator_converters.LightGbm import convert_lightgbm

        name = "ServalLGBM"
        update_registered_converter(
            lightgbm.LGBMClassifier, name + "Classifier", classifier, convert_lightgbm, options=options
        )
        for kind in (lightgbm.LGBMRegressor, lightgbm.LGBMRanker):
            update_registered_converter(
                kind, f"Serval{kind.__name__}", regressor, convert_lightgbm, options={"split": None}
            )
    except ImportError:
        pass


def _by_position(part: Any) -> None:
    """Let a ColumnTransformer find its columns by position: a name may not survive as the name of an ONNX input."""
    if type(part).__name__ != "ColumnTransformer" or not hasattr(part, "transformers_"):
        return
    names = {name: index for index, name in enumerate(getattr(part, "feature_names_in_", ()))}
    part.transformers_ = [(name, step, _positions(columns, names)) for name, step, columns in part.transformers_]


def _positions(columns: Any, names: Mapping[str, int]) -> Any:
    if isinstance(columns, str):
        return names[columns]
    if isinstance(columns, slice) and isinstance(columns.start or columns.stop, str):
        start = names[columns.start] if columns.start is not None else 0
        stop = names[columns.stop] + 1 if columns.stop is not None else len(names)
        return list(range(start, stop))
    if isinstance(columns, slice | int):
        return columns
    listed = list(columns)
    if listed and all(type(item).__name__ in ("bool", "bool_") for item in listed):
        return [index for index, chosen in enumerate(listed) if chosen]
    return [names[item] if isinstance(item, str) else int(item) for item in listed]


def _as_boosted(part: Any) -> None:
    """Bring an XGBoost model into the form its converter reads: features by number, no trees after the best."""
    if not type(part).__module__.startswith("xgboost"):
        return
    booster = part.get_booster()
    if booster.attr("best_iteration") is not None and booster.num_boosted_rounds() > booster.best_iteration + 1:
        booster = booster[: booster.best_iteration + 1]
        part._Booster = booster
    booster.feature_names = None
    booster.feature_types = None


def _cast_before_last(model: Any) -> None:
    """Round to float32 in front of trees: they do so in scikit-learn, and ONNX Runtime has no others."""
    import numpy as np
    from skl2onnx.sklapi import CastTransformer

    steps = getattr(model, "steps", None)
    if not steps:
        raise NotConvertible(class_name(model), "ONNX Runtime has no such model in float64")
    steps.insert(len(steps) - 1, ("serval_cast", CastTransformer(dtype=np.float32)))


def _explained(model: Any, error: Exception) -> tuple[str, str]:
    """Return the class that is to blame, and why."""
    text = shortened(f"{type(error).__name__}: {error}")
    named = _class_in_text(model, str(error)) or _class_in_frames(model, error) or class_name(model)
    return named, text


def _class_in_text(model: Any, text: str) -> str | None:
    """Return a part whose class the text names, as the messages about missing converters do."""
    for part in parts(model):
        kind = type(part)
        if f"<class '{kind.__module__}.{kind.__qualname__}'>" in text:
            return kind.__name__
    return None


def _class_in_frames(model: Any, error: Exception) -> str | None:
    """Return the class whose converter was at work, from the innermost call that knows its operator."""
    own = {id(part) for part in parts(model)}
    found = None
    trace = error.__traceback__
    while trace is not None:
        raw = getattr(trace.tb_frame.f_locals.get("operator"), "raw_operator", None)
        if id(raw) in own:
            found = type(raw).__name__
        trace = trace.tb_next
    return found
