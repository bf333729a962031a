"""What a model answers on the probes, read from the outputs of its graph.

Classes come from an output of one label a row (integers, booleans, texts), else from the largest of a row of scores
where the version names its classes. Anything else that is a number or a few numbers a row is values. A row of which
numbers are not finite counts as unanswered, and so does one that the graph fails on.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from serval_registry.errors import InvalidArgument
from serval_registry.model import Array

# Of a decision: the row was not answered.
UNANSWERED = np.uint16(65535)

# Columns of scores that are kept, and of values; beyond, decisions alone.
SCORES_MAX = 64
VALUES_MAX = 16

# How far from 1 the sum of a row of probabilities may be, and its numbers outside of 0 to 1.
_ROUNDING = 1e-3


class Kind(StrEnum):
    """What a model answers with."""

    CLASSES = "classes"
    VALUES = "values"


@dataclass(frozen=True, slots=True)
class Answers:
    """Answers on n probes.

    decisions: uint16 [n], places in `labels`, UNANSWERED where there is none. scores: float16 [n, len(labels)],
    probabilities in the order of `labels`; None where the model gives none. values: float32 [n, m], NaN where there is
    no answer. Of classes `values` is [n, 0]; of values there are no labels, and `decisions` tells what is answered.
    """

    kind: Kind
    labels: tuple[str, ...]
    decisions: npt.NDArray[np.uint16]
    scores: npt.NDArray[np.float16] | None
    values: npt.NDArray[np.float32]

    @property
    def answered(self) -> npt.NDArray[np.bool_]:
        """Which probes have an answer."""
        return np.asarray(self.decisions != UNANSWERED)


def read(outputs: Sequence[Array], answered: npt.NDArray[np.bool_], classes: Sequence[str]) -> Answers:
    """Return the answers in a graph's outputs, in the order of its signature, each [n, ...].

    answered: bool [n], the probes that the graph did not fail on; the others' rows mean nothing. InvalidArgument where
    no output has an answer a row.
    """
    flat = [array.reshape(len(answered), -1) for array in outputs if array.shape[:1] == answered.shape]
    labels = next((array[:, 0] for array in flat if array.shape[1] == 1 and array.dtype.kind in "iubOU"), None)
    floats = [array for array in flat if array.dtype.kind == "f" and array.shape[1]]
    scores = _scores(floats, classes, labels is not None)
    if labels is None and scores is None:
        return _of_values(floats, answered)
    if scores is not None:
        answered = answered & np.isfinite(scores).all(axis=1)
    return _of_classes(labels, scores, answered, tuple(classes))


def _scores(floats: Sequence[Array], classes: Sequence[str], labelled: bool) -> npt.NDArray[np.float64] | None:
    """Return the first output that can be one score a class: float64 [n, classes]."""
    for array in floats:
        width = array.shape[1]
        if width >= 2 and (width == len(classes) or (labelled and not classes)):
            return array.astype(np.float64)
        if width == 1 and len(classes) == 2:
            one = array.astype(np.float64)
            if ((one >= 0) & (one <= 1) | np.isnan(one)).all():
                return np.hstack([1.0 - one, one])
    return None


def _of_values(floats: Sequence[Array], answered: npt.NDArray[np.bool_]) -> Answers:
    values = next((array.astype(np.float32) for array in floats if array.shape[1] <= VALUES_MAX), None)
    if values is None:
        raise InvalidArgument(f"no output has a label, scores of the classes, or 1 to {VALUES_MAX} numbers a row")
    answered = answered & np.isfinite(values).all(axis=1)
    values[~answered] = np.nan
    decisions = np.where(answered, np.uint16(0), UNANSWERED)
    return Answers(Kind.VALUES, (), decisions, None, values)


def _of_classes(
    labels: Array | None,
    scores: npt.NDArray[np.float64] | None,
    answered: npt.NDArray[np.bool_],
    classes: tuple[str, ...],
) -> Answers:
    chosen = _texts(labels, classes) if labels is not None else [classes[place] for place in _best(scores)]
    names = classes
    if not names and scores is not None:
        counted = tuple(str(place) for place in range(scores.shape[1]))
        names = counted if set(chosen) <= set(counted) else ()
    scored = bool(names)
    names = (*names, *sorted({text for text, whole in zip(chosen, answered, strict=True) if whole} - set(names)))
    if len(names) >= UNANSWERED:
        raise InvalidArgument(f"{len(names)} classes; wanted fewer than {UNANSWERED}")
    places = {name: place for place, name in enumerate(names)}
    decisions = np.array([places.get(text, UNANSWERED) for text in chosen], np.uint16)
    decisions[~answered] = UNANSWERED
    kept = _probabilities(scores, answered, len(names)) if scored and scores is not None else None
    return Answers(Kind.CLASSES, names, decisions, kept, np.empty((len(answered), 0), np.float32))


def _best(scores: npt.NDArray[np.float64] | None) -> list[int]:
    return [] if scores is None else np.argmax(np.nan_to_num(scores), axis=1).tolist()


def _texts(labels: Array, classes: Sequence[str]) -> list[str]:
    """Return labels as the texts that name classes: exports turn booleans and floats into whole numbers."""
    known = set(classes)

    def text(label: object) -> str:
        if str(label) not in known and isinstance(label, int) and 0 <= label < len(classes):
            return classes[label]
        return str(label)

    return [text(label) for label in labels.tolist()]


def _probabilities(
    scores: npt.NDArray[np.float64], answered: npt.NDArray[np.bool_], width: int
) -> npt.NDArray[np.float16] | None:
    """Return scores that are probabilities as they are kept, zeros for classes without; None where they are none."""
    known = scores[answered]
    within = (known >= -_ROUNDING) & (known <= 1 + _ROUNDING)
    if width > SCORES_MAX or not within.all() or (np.abs(known.sum(axis=1) - 1.0) > _ROUNDING).any():
        return None
    kept = np.zeros((len(scores), width), np.float16)
    kept[answered, : scores.shape[1]] = known
    return kept


def packed(answers: Answers) -> Mapping[str, bytes | None]:
    """Return the columns that hold the arrays, little-endian; `unpacked` reads them."""
    return {
        "decisions": answers.decisions.astype("<u2").tobytes(),
        "scores": None if answers.scores is None else answers.scores.astype("<f2").tobytes(),
        "values": answers.values.astype("<f4").tobytes(),
    }


def unpacked(kind: str, labels: Sequence[str], decisions: bytes, scores: bytes | None, values: bytes) -> Answers:
    """Return what `packed` was made of."""
    chosen = np.frombuffer(decisions, "<u2").astype(np.uint16)
    rows = len(chosen)
    kept = None if scores is None else np.frombuffer(scores, "<f2").astype(np.float16).reshape(rows, len(labels))
    numbers = np.frombuffer(values, "<f4").astype(np.float32).reshape(rows, -1)
    return Answers(Kind(kind), tuple(labels), chosen, kept, numbers)
