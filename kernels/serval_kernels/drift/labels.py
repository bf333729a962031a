"""How often each whole number came: class labels, in a table that is filled as they come and does not grow.

Rules. A table has room for `room` labels, a power of two; once three quarters of it are taken, labels that are not in
it yet are counted together. So counts are exact, and add up in any order, up to that many different labels.
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
    """Return an empty table."""
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
def _place_of(label: int, labels: Whole, counts: Whole) -> Any:
    """Return where a label is, or the free place where it would be."""
    mask = labels.size - 1
    place = ((label * _SPREAD) >> np.int64(32)) & mask
    while counts[place] and labels[place] != label:
        place = (place + 1) & mask
    return place


_WHOLE = numba.types.Array(numba.int64, 1, "C", readonly=True)
_TABLE = numba.types.Array(numba.int64, 1, "C")


@kernel_for(numba.void(_WHOLE, _WHOLE, _TABLE, _TABLE, _TABLE))
def _add(values: Whole, weights: Whole, labels: Whole, counts: Whole, rest: Whole) -> None:
    """Count values[i] weights[i] times; one weight is for all."""
    taken = 0
    for place in range(labels.size):
        taken += counts[place] > 0
    for i in range(values.size):
        weight = weights[i] if weights.size > 1 else weights[0]
        place = _place_of(values[i], labels, counts)
        if counts[place] == 0:
            if taken >= labels.size * 3 // 4:
                rest[0] += weight
                continue
            taken += 1
            labels[place] = values[i]
        counts[place] += weight
