"""How often each whole number came: class labels, in a table that does not grow.

Rules. A table has room for `room` labels, a power of two, and tells three quarters as many apart; of more, those that
come first in an order without meaning, the others being counted together. A label that is among the first of all is
among the first of any part, so that it was never one of the others: its count is exact, and what a table holds follows
from what was counted alone, in whatever order, and in whatever parts (bottom-k, E. Cohen and H. Kaplan, PODC 2007).
"""

from typing import Any, Final, NamedTuple

import numba
import numpy as np
import numpy.typing as npt

from serval_kernels.compile import kernel, kernel_for

Whole = npt.NDArray[np.int64]

ROOM: Final = 1024

_SPREAD: Any = np.int64(0x1E3779B97F4A7C15)  # Fibonacci hashing: neighbours land far apart


class Labels(NamedTuple):
    """Labels and their counts; a place is free where its count is 0. `rest[0]`: how many were not told apart."""

    labels: Whole  # [room]
    counts: Whole  # [room]
    rest: Whole  # [1]


def new_labels(room: int = ROOM) -> Labels:
    """Return an empty table; ValueError where `room` is no power of two, 4 or more."""
    if room < 4 or room & (room - 1):
        raise ValueError(f"room: {room}; wanted a power of two, 4 or more")
    return Labels(np.zeros(room, np.int64), np.zeros(room, np.int64), np.zeros(1, np.int64))


def clear(table: Labels) -> None:
    """Make a table an empty one again."""
    table.counts[:] = 0
    table.rest[:] = 0


def count(values: Whole, table: Labels) -> None:
    """Count each of `values`: int64[n], contiguous (else TypeError)."""
    _add(values, np.ones(1, np.int64), *table)


def merge(into: Labels, part: Labels) -> None:
    """Add the counts of a part."""
    taken = part.counts > 0
    if taken.any():
        _add(part.labels[taken], part.counts[taken], *into)
    into.rest[0] += part.rest[0]


@kernel
def _home_of(label: int, mask: int) -> Any:
    """Return the place where a search for a label begins."""
    return ((label * _SPREAD) >> np.int64(32)) & mask


@kernel
def _place_of(label: int, labels: Whole, counts: Whole) -> Any:
    """Return where a label is, or the free place where it would be."""
    mask = labels.size - 1
    place = _home_of(label, mask)
    while counts[place] and labels[place] != label:
        place = (place + 1) & mask
    return place


@kernel
def _order_of(label: int) -> Any:
    """Return the label's place in the order: the finalizer of SplitMix64 (G. L. Steele and others, OOPSLA 2014)."""
    x = np.uint64(label) + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


@kernel
def _last_of(labels: Whole, counts: Whole) -> int:
    """Return where the label is that comes last in the order; there is one."""
    last, highest = -1, np.uint64(0)
    for place in range(labels.size):
        if counts[place] and _order_of(labels[place]) >= highest:
            last, highest = place, _order_of(labels[place])
    return last


@kernel
def _taken(counts: Whole) -> int:
    """Return how many places are taken."""
    taken = 0
    for place in range(counts.size):
        taken += counts[place] > 0
    return taken


@kernel
def _remove(place: int, labels: Whole, counts: Whole) -> None:
    """Free a place; labels behind it that were kept from it move up (Knuth, TAOCP 3, 6.4, algorithm R)."""
    mask = labels.size - 1
    free = following = place
    while True:
        following = (following + 1) & mask
        if not counts[following]:
            break
        if (following - _home_of(labels[following], mask)) & mask >= (following - free) & mask:
            labels[free], counts[free] = labels[following], counts[following]
            free = following
    counts[free] = 0


_WHOLE = numba.types.Array(numba.int64, 1, "C", readonly=True)
_TABLE = numba.types.Array(numba.int64, 1, "C")


@kernel_for(numba.void(_WHOLE, _WHOLE, _TABLE, _TABLE, _TABLE))
def _add(values: Whole, weights: Whole, labels: Whole, counts: Whole, rest: Whole) -> None:
    """Count values[i] weights[i] times; one weight is for all."""
    taken, last = -1, -1  # not known yet
    for i in range(values.size):
        weight = weights[i] if weights.size > 1 else weights[0]
        place = _place_of(values[i], labels, counts)
        if counts[place] == 0:
            taken = taken if taken >= 0 else _taken(counts)
            if taken >= labels.size * 3 // 4:
                last = last if last >= 0 else _last_of(labels, counts)
                if _order_of(values[i]) > _order_of(labels[last]):
                    rest[0] += weight
                    continue
                rest[0] += counts[last]
                _remove(last, labels, counts)
                place, last, taken = _place_of(values[i], labels, counts), -1, taken - 1
            taken += 1
            labels[place] = values[i]
        counts[place] += weight
