"""Ensembles of decision trees: what the leaves that a row comes to add up to, and what is answered for it.

Rules. Few rows walk from comparison to comparison. For many at once all comparisons of a tree are made, which vector
registers do faster than a processor can guess where a walk goes next. Leaves are numbered from left to right, and a bit
stands for each. A comparison that fails takes away the bits of the leaves on its left; the lowest bit that stays is
that of the leaf that a walk comes to. Source: Lucchese et al., "QuickScorer: a fast algorithm to rank documents with
additive ensembles of regression trees", SIGIR 2015.

Sums are float32 and in the order of the trees, and the rest is in the order of operations of ONNX Runtime's
TreeEnsembleClassifier and TreeEnsembleRegressor (ai.onnx.ml), so that the bits are the same. Compiled at import for
mutable and read-only rows, since this stands on the way of every prediction.

Who makes the arrays of an `Ensemble` has checked them: nothing here is checked.
"""

import math
from typing import Any, Final, NamedTuple

import numba
import numpy as np
import numpy.typing as npt
from numba.cpython.unsafe.numbers import trailing_zeros

from serval_kernels.compile import inlined, kernel, kernel_for

BLOCK: Final = 64  # rows side by side
_FEW: Final = 3  # of which fewer walk, times the octets of a mask: a block costs the same however few rows it holds

NONE: Final = 0
LOGISTIC: Final = 1
SOFTMAX: Final = 2

Singles = npt.NDArray[np.float32]
Places = npt.NDArray[np.int32]
Labels = npt.NDArray[np.int64]


class Ensemble(NamedTuple):
    """The trees, their comparisons and their leaves, side by side.

    columns: (columns,) int32, those of which `compared` has one at least.
    trees: (trees, 5) int32, for each the first of its comparisons, the first of those that hold for NaN, the end of
    both, the end of its votes, which begin where those of the tree before end, and where a walk begins, as in `ways`.
    compared: (comparisons,) int32, the column.
    thresholds: (comparisons,) float32; a comparison holds where the value is at most this.
    masks: (comparisons,) int32 or int64, without the bits of the leaves on the left.
    ways: (comparisons, 2) int32, the next comparison where one does not hold, and where it does; for a leaf its
    complement, which is negative.
    places: (votes,) int32, where in a row of the sums a vote is added.
    values: (votes, 32 or 64) float32, of each leaf.
    """

    columns: Places
    trees: Places
    compared: Places
    thresholds: Singles
    masks: npt.NDArray[np.signedinteger[Any]]
    ways: Places
    places: Places
    values: Singles


_FLOATS = numba.types.Array(numba.float32, 1, "C")
_LONGS = numba.types.Array(numba.int64, 1, "C")
_INTS = numba.types.Array(numba.int32, 1, "C")
_TABLE = numba.types.Array(numba.int32, 2, "C")
_VALUES = numba.types.Array(numba.float32, 2, "C")


@inlined
def _bring(x: Singles, width: int, columns: Places, first: int, count: int, block: Singles) -> None:
    for column in columns:
        values = block[column]
        for j in range(count):
            values[j] = x[(first + j) * width + column]


@inlined
def _compare(ensemble: Any, tree: int, block: Singles, left: npt.NDArray[np.signedinteger[Any]]) -> None:
    """Write the bits of the leaves that are left of a tree for each row of a block."""
    _, trees, compared, thresholds, masks, _, _, _ = ensemble
    every = masks.dtype.type(-1)
    for j in range(BLOCK):
        left[j] = every
    for i in range(trees[tree, 0], trees[tree, 1]):
        values, threshold, mask = block[compared[i]], thresholds[i], masks[i]
        for j in range(BLOCK):
            left[j] &= every if values[j] <= threshold else mask
    for i in range(trees[tree, 1], trees[tree, 2]):
        values, threshold, mask = block[compared[i]], thresholds[i], masks[i]
        for j in range(BLOCK):
            left[j] &= mask if values[j] > threshold else every


@inlined
def _walk(ensemble: Any, tree: int, row: Singles) -> Any:
    """Return the leaf of a tree that a row comes to."""
    _, trees, compared, thresholds, _, ways, _, _ = ensemble
    tracked, at = trees[tree, 1], trees[tree, 4]
    while at >= 0:
        value = row[compared[at]]
        holds = value <= thresholds[at] or (value != value and at >= tracked)
        at = ways[at, 1] if holds else ways[at, 0]
    return ~at


@kernel
def _sum_walks(x: Singles, width: int, ensemble: Any, first: int, out: Singles, size: int) -> None:
    rows, vote = out.size // size, 0
    for tree in range(ensemble.trees.shape[0]):
        end = ensemble.trees[tree, 3]
        for r in range(first, rows):
            leaf = _walk(ensemble, tree, x[r * width : (r + 1) * width])
            for v in range(vote, end):
                out[r * size + ensemble.places[v]] += ensemble.values[v, leaf]
        vote = end


@kernel
def _sum_blocks(x: Singles, width: int, ensemble: Any, rows: int, out: Singles, size: int) -> None:
    block = np.zeros((width, BLOCK), np.float32)
    totals = np.empty((size, BLOCK), np.float32)
    left = np.empty(BLOCK, ensemble.masks.dtype)
    for first in range(0, rows, BLOCK):
        count, vote = min(BLOCK, rows - first), 0
        _bring(x, width, ensemble.columns, first, count, block)
        totals[:] = 0
        for tree in range(ensemble.trees.shape[0]):
            _compare(ensemble, tree, block, left)
            for v in range(vote, ensemble.trees[tree, 3]):
                total, leaves = totals[ensemble.places[v]], ensemble.values[v]
                for j in range(BLOCK):
                    total[j] += leaves[trailing_zeros(left[j])]  # type: ignore[call-arg]
            vote = ensemble.trees[tree, 3]
        for j in range(count):
            for k in range(size):
                out[(first + j) * size + k] = totals[k, j]


_SUMS = [
    numba.void(
        numba.types.Array(numba.float32, 1, "C", readonly=readonly),
        numba.int64,
        *(_INTS, _TABLE, _INTS, _FLOATS, numba.types.Array(masks, 1, "C"), _TABLE, _INTS, _VALUES),
        _FLOATS,
        numba.int64,
    )
    for masks in (numba.int32, numba.int64)
    for readonly in (False, True)
]


@kernel_for(*_SUMS)
def sums(
    x: Singles,
    width: int,
    columns: Places,
    trees: Places,
    compared: Places,
    thresholds: Singles,
    masks: npt.NDArray[np.signedinteger[Any]],
    ways: Places,
    places: Places,
    values: Singles,
    out: Singles,
    size: int,
) -> None:
    """Write into `out` what the leaves that each row comes to have voted for each place, 0 where none has.

    x: rows of `width` values one after the other, float32, one-dimensional and contiguous.
    columns to values: those of an `Ensemble`; to hand that over as one takes microseconds.
    out: rows of `size` sums, float32, one-dimensional and contiguous.
    """
    ensemble = Ensemble(columns, trees, compared, thresholds, masks, ways, places, values)
    rows = out.size // size
    out[:] = 0
    rest = rows % BLOCK
    alone = rest if rest < _FEW * ensemble.masks.itemsize else 0
    if rows > alone:
        _sum_blocks(x, width, ensemble, rows - alone, out, size)
    if alone:
        _sum_walks(x, width, ensemble, rows - alone, out, size)


@inlined
def _logistic(x: float) -> Any:
    one = np.float32(1)
    half = one / (one + math.exp(-abs(x)))
    return one - half if x < 0 else half


@kernel_for(numba.void(numba.float32, numba.boolean, numba.boolean, _LONGS, _FLOATS, _LONGS))
def answer_two(base: float, positive: bool, logistic: bool, labels: Labels, scores: Singles, label: Labels) -> None:
    """Make scores of two classes from sums, and write the label of the likelier one.

    scores: rows of two, the second of which is the sum.
    positive: whether no leaf has a negative vote. Then sums are probabilities, and 0.5 is even; else 0 is.
    """
    one, even = np.float32(1), np.float32(0.5 if positive else 0)
    for r in range(label.size):
        score = scores[2 * r + 1] + base
        label[r] = labels[1] if score > even else labels[0]
        if positive:
            scores[2 * r], scores[2 * r + 1] = one - score, score
        elif logistic:
            scores[2 * r], scores[2 * r + 1] = _logistic(-score), _logistic(score)
        else:
            scores[2 * r], scores[2 * r + 1] = -score, score


@inlined
def _softmax(values: Singles) -> None:
    largest, total = values[0], np.float32(0)
    for k in range(1, values.size):
        largest = max(largest, values[k])
    for k in range(values.size):
        values[k] = math.exp(values[k] - largest)
        total += values[k]
    for k in range(values.size):
        values[k] /= total


@kernel_for(numba.void(_FLOATS, numba.int64, _LONGS, _FLOATS, _LONGS))
def answer_many(base: Singles, transform: int, labels: Labels, scores: Singles, label: Labels) -> None:
    """Make scores of several classes from sums, and write the label of the first that has the largest sum.

    scores: rows of as many as there are labels. base: what is added to a row's sums.
    transform: NONE, LOGISTIC for each or SOFTMAX over all.
    """
    size = labels.size
    for r in range(label.size):
        values, first = scores[r * size : (r + 1) * size], 0
        for k in range(size):
            values[k] += base[k]
            if values[k] > values[first]:
                first = k
        label[r] = labels[first]
        if transform == SOFTMAX:
            _softmax(values)
        elif transform == LOGISTIC:
            for k in range(size):
                values[k] = _logistic(values[k])


@kernel_for(numba.void(_FLOATS, numba.float32, _FLOATS, _LONGS))
def answer_values(base: Singles, trees: float, values: Singles, _label: Labels) -> None:
    """Make values from sums: divide them by the number of trees, 1 where they are not to be averaged, and add `base`.

    values: rows of as many as `base` has. There is no label to write.
    """
    size = base.size
    for start in range(0, values.size, size):
        for k in range(size):
            values[start + k] = values[start + k] / trees + base[k]


@kernel_for(numba.void(numba.float32, _LONGS, _FLOATS, _LONGS))
def answer_first(slack: float, labels: Labels, scores: Singles, label: Labels) -> None:
    """Write the label of the first score that is as large as the largest but for `slack`.

    scores: rows of as many as there are labels.
    """
    size = labels.size
    for r in range(label.size):
        values, k = scores[r * size : (r + 1) * size], 0
        least = values.max() - slack
        while k < size - 1 and values[k] < least:
            k += 1
        label[r] = labels[k]
