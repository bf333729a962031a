"""Questions about a fitted model: what kind it is, what it is made of, how it answers.

Nothing here imports scikit-learn, XGBoost or LightGBM before a model of theirs is at hand.
"""

import json
import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt

from serval_client.export.errors import ExportError, shortened

Array = npt.NDArray[Any]

FRAMEWORKS = {"sklearn": "scikit-learn", "xgboost": "xgboost", "lightgbm": "lightgbm"}
HYPERPARAMETERS_MAX = 128
HYPERPARAMETER_LENGTH_MAX = 512
_DEPTH_MAX = 12


class Kind(StrEnum):
    """What a model answers with."""

    CLASSIFIER = "classifier"  # labels; probabilities or decision values
    REGRESSOR = "regressor"  # values
    CLUSTERER = "clusterer"  # labels; distances
    OUTLIER_DETECTOR = "outlier detector"  # labels 1 and -1; decision values
    DENSITY = "density estimator"  # labels; probabilities
    TRANSFORMER = "transformer"  # values


@dataclass(frozen=True, slots=True)
class Answer:
    """Labels of shape [rows] and scores of shape [rows, width], either may be None.

    `relative`: the scores have no fixed scale, so that differences count in relation to them.
    """

    labels: Array | None
    scores: Array | None
    relative: bool


class LightGBMBooster:
    """A lightgbm.Booster with the methods of a scikit-learn model."""

    def __init__(self, booster: Any) -> None:
        self.booster = booster
        objective = booster.dump_model(num_iteration=1).get("objective", "").split(" ")[0]
        self._estimator_type = "regressor"
        if objective in ("binary", "multiclass", "multiclassova"):
            self._estimator_type = "classifier"
            self.classes_ = np.arange(max(2, booster.num_model_per_iteration()))

    def predict_scores(self, rows: Any) -> Array:
        """Return [rows] values of a regression, [rows, classes] probabilities of a classifier."""
        scores = np.asarray(self.booster.predict(np.asarray(rows)))
        if self._estimator_type == "classifier" and scores.ndim == 1:
            return np.column_stack([1.0 - scores, scores])
        return scores


def unwrapped(model: Any) -> Any:
    """Return the model that answers: out of a search its best one, out of a Booster one of the scikit-learn form."""
    if hasattr(model, "best_estimator_"):
        return unwrapped(model.best_estimator_)
    root = type(model).__module__.split(".")[0]
    if type(model).__name__ == "Booster" and root == "xgboost":
        return _from_xgboost_booster(model)
    if type(model).__name__ == "Booster" and root == "lightgbm":
        return LightGBMBooster(model)
    return model


def _from_xgboost_booster(booster: Any) -> Any:
    import xgboost

    objective = json.loads(booster.save_config())["learner"]["objective"]["name"]
    family = objective.split(":")[0]
    if family in ("binary", "multi"):
        model = xgboost.XGBClassifier()
    elif family in ("reg", "count"):
        model = xgboost.XGBRegressor()
    elif family == "rank":
        model = xgboost.XGBRanker()
    else:
        raise ExportError(f"model: an XGBoost Booster with objective {objective!r}; wanted binary, multi, reg or rank")
    model.load_model(booster.save_raw())
    return model


def check_fitted(model: Any) -> None:
    """Raise ExportError unless the model is a fitted estimator."""
    if isinstance(model, LightGBMBooster):
        return
    from sklearn.exceptions import NotFittedError
    from sklearn.utils.validation import check_is_fitted

    try:
        check_is_fitted(model)
    except NotFittedError:
        raise ExportError(f"model: {class_name(model)} is not fitted; call its fit first") from None
    except TypeError:
        raise ExportError(
            f"model: got {type(model).__name__}, wanted a fitted estimator of scikit-learn, XGBoost or LightGBM"
        ) from None


def final_estimator(model: Any) -> Any:
    """Return the last step of a pipeline that does anything, at any depth; any other model as it is."""
    steps = getattr(model, "steps", None)
    if not steps:
        return model.booster if isinstance(model, LightGBMBooster) else model
    acting = [step for _, step in steps if step is not None and step != "passthrough"]
    return final_estimator(acting[-1]) if acting else model


def class_name(model: Any) -> str:
    """Return the class of the final estimator."""
    return type(final_estimator(model)).__name__


def framework_of(model: Any) -> str:
    """Return the library that the final estimator comes from."""
    root = type(final_estimator(model)).__module__.split(".")[0]
    return FRAMEWORKS.get(root, root)


def parts(model: Any) -> Iterator[Any]:
    """Yield the model and every estimator within it, outermost first, each once."""
    seen: set[int] = set()

    def walk(value: Any, depth: int) -> Iterator[Any]:
        if depth > _DEPTH_MAX or id(value) in seen:
            return
        if isinstance(value, dict):
            inner = list(value.values())
        elif isinstance(value, list | tuple):
            inner = list(value)
        elif isinstance(value, np.ndarray) and value.dtype == object and value.size <= 100_000:
            inner = list(value.reshape(-1))
        elif hasattr(value, "get_params") and not isinstance(value, type):
            seen.add(id(value))
            yield value
            inner = list(vars(value).values())
        else:
            return
        for item in inner:
            yield from walk(item, depth + 1)

    yield from walk(model, 0)


def is_discontinuous(model: Any) -> bool:
    """Whether a hair's breadth in an input may move an answer: trees, neighbours and bins."""
    return any(
        hasattr(part, "tree_")
        or type(part).__module__.startswith(("xgboost", "lightgbm", "sklearn.neighbors"))
        or type(part).__name__.startswith(("HistGradientBoosting", "KBinsDiscretizer", "Binarizer"))
        for part in parts(model)
    )


def kind_of(model: Any) -> Kind:
    """Return what the model answers with; raise ExportError where it answers nothing that can be compared."""
    if isinstance(model, LightGBMBooster):
        return Kind(model._estimator_type)
    from sklearn.base import is_classifier, is_clusterer, is_outlier_detector, is_regressor

    final = final_estimator(model)
    if is_classifier(model):
        return Kind.CLASSIFIER
    if is_regressor(model) or type(final).__name__ in ("XGBRanker", "LGBMRanker"):
        return Kind.REGRESSOR
    if is_outlier_detector(model):
        return Kind.OUTLIER_DETECTOR
    if is_clusterer(model) and hasattr(model, "predict"):
        return Kind.CLUSTERER
    if hasattr(model, "predict_proba"):
        return Kind.DENSITY
    if hasattr(model, "transform"):
        return Kind.TRANSFORMER
    raise ExportError(f"model: {type(final).__name__} has neither predict nor transform for new rows")


def classes_of(model: Any) -> list[str]:
    """Return the class labels in the order of the probabilities; empty where there are none."""
    classes = getattr(model, "classes_", None)
    if classes is None or kind_of(model) is not Kind.CLASSIFIER or isinstance(classes, list):
        return []
    return [str(label) for label in np.asarray(classes).tolist()]


def answer(model: Any, kind: Kind, rows: Any) -> Answer:
    """Return what the model says of the rows, in the form in which it wants them; ExportError where it says nothing."""
    try:
        with warnings.catch_warnings():
            # Rows without names go to a model that was fitted with names: each of many calls would say so.
            warnings.filterwarnings("ignore", "X does not have valid feature names")
            return _answered(model, kind, rows)
    except ExportError:
        raise
    except Exception as error:  # of a library, or of a caller's own class
        text = shortened(f"{type(error).__name__}: {error}")
        raise ExportError(f"sample: {class_name(model)} does not answer on it: {text}") from error


def _answered(model: Any, kind: Kind, rows: Any) -> Answer:
    if isinstance(model, LightGBMBooster):
        scores = model.predict_scores(rows)
        if kind is Kind.CLASSIFIER:
            return Answer(scores.argmax(axis=1), scores, relative=False)
        return Answer(None, _matrix(scores), relative=True)
    match kind:
        case Kind.REGRESSOR:
            return Answer(None, _matrix(model.predict(rows)), relative=True)
        case Kind.TRANSFORMER:
            return Answer(None, _matrix(model.transform(rows)), relative=True)
        case Kind.CLUSTERER:
            distances = _matrix(model.transform(rows)) if hasattr(model, "transform") else None
            return Answer(np.asarray(model.predict(rows)), distances, relative=True)
        case Kind.OUTLIER_DETECTOR:
            return Answer(np.asarray(model.predict(rows)), _matrix(model.decision_function(rows)), relative=True)
        case _:
            labels = np.asarray(model.predict(rows))
            if hasattr(model, "predict_proba"):
                return Answer(labels, _probabilities(model.predict_proba(rows)), relative=False)
            if hasattr(model, "decision_function"):
                return Answer(labels, _matrix(model.decision_function(rows)), relative=True)
            return Answer(labels, None, relative=False)


def _probabilities(scores: Any) -> Array:
    if isinstance(scores, list):
        raise ExportError(f"model: predicts {len(scores)} labels a row; wanted one: export one model for each")
    return _matrix(scores)


def _matrix(values: Any) -> Array:
    if hasattr(values, "toarray"):
        values = values.toarray()
    array = np.asarray(values, np.float64)
    return array.reshape(array.shape[0], -1) if array.ndim != 2 else array


def hyperparameters_of(model: Any) -> dict[str, str]:
    """Return the parameters as JSON texts by name: plain values only, at most HYPERPARAMETERS_MAX of them."""
    model = final_estimator(model) if isinstance(model, LightGBMBooster) else model
    parameters = model.get_params(deep=True) if hasattr(model, "get_params") else getattr(model, "params", {})
    found: dict[str, str] = {}
    for name in sorted(parameters):
        text = _as_json(parameters[name])
        if text is not None and len(text) <= HYPERPARAMETER_LENGTH_MAX and len(found) < HYPERPARAMETERS_MAX:
            found[name] = text
    return found


def _as_json(value: Any) -> str | None:
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        value = str(value)
    if hasattr(value, "get_params"):
        return json.dumps(type(value).__name__)
    if callable(value):
        return json.dumps(shortened(getattr(value, "__qualname__", repr(value))))
    try:
        return json.dumps(value, allow_nan=False)
    except (TypeError, ValueError):
        return None
