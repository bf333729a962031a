"""Many models' answers side by side, so that comparing one with all of them is a few operations over arrays.

It says what `agreement` says, but for the probabilities, which are not here.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from serval_registry.behaviour.agreement import DEVIATIONS, SINGLE, places_of
from serval_registry.behaviour.answers import UNANSWERED, Answers, Kind
from serval_registry.spaces.living import Stamp

# Models compared in one operation: of values some 2 MiB a column.
_TOGETHER = 256


class Gathered(NamedTuple):
    """Models of one kind of answer and, of classes, the same ones: uint16 [models, n], float32 [models, n, columns]."""

    owners: Sequence[Stamp]
    kind: Kind
    labels: tuple[str, ...]
    decisions: npt.NDArray[np.uint16]
    values: npt.NDArray[np.float32]


class Compared(NamedTuple):
    """A model's share of agreement with an example, and the correlation where values have one, else 0."""

    owner: Stamp
    share: float
    correlation: float


def compared(example: Answers, gathered: Gathered) -> Iterator[Compared]:
    """Yield how alike each model decides; nothing of those that cannot be compared."""
    if example.kind is not gathered.kind or example.values.shape[1] != gathered.values.shape[2]:
        return
    for start in range(0, len(gathered.owners), _TOGETHER):
        part = slice(start, start + _TOGETHER)
        both = example.answered & (gathered.decisions[part] != UNANSWERED)
        if example.kind is Kind.CLASSES:
            agreed = _same_class(example, gathered, part)
            correlation = np.zeros(len(both))
        else:
            agreed, correlation = _near(example.values, gathered.values[part], both)
        if agreed is None:
            return
        shares = (agreed & both).sum(axis=1) / np.maximum(both.sum(axis=1), 1)
        rows = zip(gathered.owners[part], both.any(axis=1), shares.tolist(), correlation.tolist(), strict=True)
        yield from (Compared(owner, share, r) for owner, some, share, r in rows if some)


def _same_class(example: Answers, gathered: Gathered, part: slice) -> npt.NDArray[np.bool_] | None:
    places = places_of(example.labels, gathered.labels)
    if places is None:
        return None
    theirs = places[np.minimum(gathered.decisions[part], len(gathered.labels))]
    return np.asarray(theirs == example.decisions)


def _near(
    x: npt.NDArray[np.float32], y: npt.NDArray[np.float32], both: npt.NDArray[np.bool_]
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.float64]]:
    """Return which probes agree, [models, n], and the mean correlation of each model, 0 where one side is constant."""
    weight = both[:, :, None].astype(np.float64)
    count = np.maximum(weight.sum(axis=1, keepdims=True), 1.0)
    ours = np.nan_to_num(np.broadcast_to(x, y.shape).astype(np.float64))
    theirs = np.nan_to_num(y.astype(np.float64))
    a = (ours - (ours * weight).sum(axis=1, keepdims=True) / count) * weight
    b = (theirs - (theirs * weight).sum(axis=1, keepdims=True) / count) * weight
    squares = (a * a).sum(axis=1), (b * b).sum(axis=1)
    deviation = np.sqrt((squares[0] + squares[1]) / count[:, 0] / 2.0)[:, None, :]
    allowed = DEVIATIONS * deviation + SINGLE * np.maximum(np.abs(ours), np.abs(theirs))
    lengths = np.sqrt(squares[0] * squares[1])
    ratios = np.divide((a * b).sum(axis=1), lengths, out=np.zeros_like(lengths), where=lengths > 0)
    whole = (lengths > 0).all(axis=1)
    return (np.abs(ours - theirs) <= allowed).all(axis=2), np.where(whole, np.clip(ratios, -1.0, 1.0).mean(axis=1), 0.0)
