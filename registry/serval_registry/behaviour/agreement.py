"""How alike two models decide on the same probes.

Rules. Only probes that both answer count; where there are none, or where the answers are of another kind, of another
width, or without a class in common, the two cannot be compared. Classes are the same where their names are.

Classes: the share of probes with the same class; and, where both give probabilities, the mean of the total variation
sum |p - q| / 2 over the classes of either, 0 where a model does not know a class (probabilities are kept as float16: up
to 0.0005 off).

Values: the share of probes on which they differ by at most a tenth of a standard deviation, in every column: the root
of the mean of both models' variances over these probes, so that a and b agree as b and a do; and the mean over columns
of Pearson's correlation. Models that answer a constant agree where these are equal, to single precision.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from serval_registry.behaviour.answers import UNANSWERED, Answers, Kind

DEVIATIONS = 0.1

SINGLE = 1e-6


@dataclass(frozen=True, slots=True)
class Agreement:
    """Over `probes` answered by both: `share` 0 to 1, and what else is known; see the module."""

    probes: int
    share: float
    total_variation: float | None = None
    correlation: float | None = None

    @property
    def rank(self) -> tuple[float, float, float]:
        """The order of likeness: the smaller, the more alike."""
        variation = 1.0 if self.total_variation is None else self.total_variation
        return -self.share, variation, -(self.correlation or 0.0)


def agreement(a: Answers, b: Answers) -> Agreement | None:
    """Return how alike two models decide; None where they cannot be compared."""
    both = a.answered & b.answered
    if a.kind is not b.kind or not both.any():
        return None
    return _of_classes(a, b, both) if a.kind is Kind.CLASSES else _of_values(a, b, both)


def _of_classes(a: Answers, b: Answers, both: npt.NDArray[np.bool_]) -> Agreement | None:
    theirs = b.decisions
    if a.labels != b.labels:
        places = places_of(a.labels, b.labels)
        if places is None:
            return None
        theirs = places[np.minimum(b.decisions, len(b.labels))]
    share = float(np.mean(a.decisions[both] == theirs[both]))
    return Agreement(int(both.sum()), share, total_variation=_variation(a, b, both))


def places_of(ours: Sequence[str], theirs: Sequence[str]) -> npt.NDArray[np.uint16] | None:
    """Return the place among our labels of each of theirs, and UNANSWERED behind these; None without one in common."""
    place = {label: number for number, label in enumerate(ours)}
    if not place.keys() & set(theirs):
        return None
    # A class that we do not know is none of ours, and not unanswered either.
    return np.array([*(place.get(label, int(UNANSWERED) - 1) for label in theirs), UNANSWERED], np.uint16)


def _variation(a: Answers, b: Answers, both: npt.NDArray[np.bool_]) -> float | None:
    if a.scores is None or b.scores is None:
        return None
    names = {label: number for number, label in enumerate(dict.fromkeys([*a.labels, *b.labels]))}
    difference = np.zeros((int(both.sum()), len(names)))
    difference[:, [names[label] for label in a.labels]] += a.scores[both]
    difference[:, [names[label] for label in b.labels]] -= b.scores[both]
    return float(np.abs(difference).sum(axis=1).mean() / 2.0)


def _of_values(a: Answers, b: Answers, both: npt.NDArray[np.bool_]) -> Agreement | None:
    if a.values.shape[1] != b.values.shape[1]:
        return None
    x, y = a.values[both].astype(np.float64), b.values[both].astype(np.float64)
    deviation = np.sqrt((x.var(axis=0) + y.var(axis=0)) / 2.0)
    allowed = DEVIATIONS * deviation + SINGLE * np.maximum(np.abs(x), np.abs(y))
    share = float((np.abs(x - y) <= allowed).all(axis=1).mean())
    return Agreement(int(both.sum()), share, correlation=_correlation(x, y))


def _correlation(x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]) -> float | None:
    x, y = x - x.mean(axis=0), y - y.mean(axis=0)
    lengths = np.sqrt((x * x).sum(axis=0) * (y * y).sum(axis=0))
    if not (lengths > 0).all():
        return None
    return float(np.clip((x * y).sum(axis=0) / lengths, -1.0, 1.0).mean())
