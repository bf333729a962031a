"""Answers as a vector, so that models which decide alike lie near each other: candidates for an exact comparison.

Classes: every pair of a probe and the class it was given stands for signs of its own (feature hashing, as in
`embedding`), so the cosine of two vectors estimates the share of probes with the same class, s, with a standard error
of about sqrt((1 - s^2) / 128). Values: their differences from the model's own mean, in its own deviations, times a
matrix of random signs (Achlioptas 2003), so the cosine estimates the correlation: what differs by a constant alone
cannot be told apart here, and is by the comparison.
"""

import numpy as np

from serval_registry.behaviour.answers import UNANSWERED, Answers, Kind
from serval_registry.embedding import DIMENSION, Vector, fold

_SEED = 20_261


def projected(answers: Answers) -> Vector:
    """Return the vector of a model's answers: float32 [128], of length 1."""
    vector = _of_classes(answers) if answers.kind is Kind.CLASSES else _of_values(answers)
    norm = float(np.linalg.norm(vector))
    return NOWHERE if norm < _LEAST else np.asarray(vector / norm, np.float32)


def _of_classes(answers: Answers) -> Vector:
    pairs = ((probe, place) for probe, place in enumerate(answers.decisions.tolist()) if place != UNANSWERED)
    return fold({f"#probe {probe} {answers.labels[place]}": 1.0 for probe, place in pairs})


def _of_values(answers: Answers) -> Vector:
    values = answers.values.astype(np.float64)
    if not answers.answered.any():
        return NOWHERE
    known = values[answers.answered]
    deviation = known.std(axis=0)
    centred = np.nan_to_num((values - known.mean(axis=0)) / np.where(deviation > 0, deviation, 1.0))
    signs = np.random.default_rng(_SEED).integers(0, 2, (centred.size, DIMENSION)) * 2.0 - 1.0
    return np.asarray(centred.reshape(-1) @ signs, np.float32)


_LEAST = 1e-6

# Where models lie that answer nothing, or a constant: LanceDB never finds a vector of zeros.
NOWHERE = fold({"#nowhere": 1.0})
