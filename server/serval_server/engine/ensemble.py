"""An ensemble of trees as a node of a graph describes it, in the arrays of the kernels.

What is read has no more than 64 leaves a tree, one vote of a leaf for a class or target, and asks whether a value is at
most, or less than, a threshold. Labels are whole numbers, and sums float32 and finite. The rest is left to ONNX
Runtime: whatever the graph of a stranger says, what is read here takes no more memory and time than the limits below.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import onnx
from serval_kernels import trees

from serval_server.engine.graph import attributes_of
from serval_server.engine.part import Step

Attributes = Mapping[str, Any]

CLASSIFIER: Final = "TreeEnsembleClassifier"
REGRESSOR: Final = "TreeEnsembleRegressor"

_MASKS: Final = (np.int32, np.int64)  # a bit for each leaf of the largest tree; the second for more than _BITS
_BITS: Final = 32
_LEAVES_MAX: Final = 64
_NODES_MAX: Final = 1 << 17  # what more of them take to be read is seen when a model is loaded
_SIZE_MAX: Final = 1 << 10  # classes or targets
_VALUES_MAX: Final = 1 << 24  # of leaves that have voted: 64 MiB
_SUM_MAX: Final = 1e38  # far from inf, of which NaN comes: which of several is the largest, each answers in its own way
_IDS: Final = range(1 << 31)  # those of trees and nodes; ONNX Runtime takes some of the others for something else
_TWO: Final = 2
_TRANSFORMS: Final = {b"NONE": trees.NONE, b"LOGISTIC": trees.LOGISTIC, b"SOFTMAX": trees.SOFTMAX}


class Read(NamedTuple):
    """The trees, the values of a row's score, and what makes scores and labels of the sums, one after another."""

    ensemble: trees.Ensemble
    size: int
    steps: tuple[Step, ...]


def read(node: onnx.NodeProto, width: int) -> Read | None:
    """Return what a node does to rows of so many columns; None where it is left to ONNX Runtime."""
    try:
        given = attributes_of(node)
        _must(not any(name.endswith("_as_tensor") for name in given))
        if node.op_type == CLASSIFIER:
            return _classifier(given, width)
        if node.op_type == REGRESSOR:
            return _regressor(given, width)
    except (_Other, IndexError, KeyError, ValueError):  # the others: lists that do not fit each other, or a reference
        pass
    return None


class _Other(Exception):
    """An ensemble of another kind, which stays in its graph."""


def _must(condition: bool) -> None:
    if not condition:
        raise _Other


def _classifier(given: Attributes, width: int) -> Read:
    labels = np.array(given.get("classlabels_int64s", ()), np.int64)
    transform = given.get("post_transform", b"NONE")
    _must(_TWO <= len(labels) <= _SIZE_MAX and transform in _TRANSFORMS and "classlabels_strings" not in given)
    if len(labels) > _TWO:
        base = _base(given, len(labels))
        answer: Step = partial(trees.answer_many, base, _TRANSFORMS[transform], labels)
        return Read(_ensemble(given, "class", width, range(len(labels))), len(labels), (answer,))
    is_positive = min(given["class_weights"]) >= 0
    _must(set(given["class_ids"]) == {0} and transform in ((b"NONE",) if is_positive else (b"NONE", b"LOGISTIC")))
    answer = partial(trees.answer_two, _base(given, 1)[0], is_positive, transform == b"LOGISTIC", labels)
    return Read(_ensemble(given, "class", width, [1]), _TWO, (answer,))


def _regressor(given: Attributes, width: int) -> Read:
    size, aggregate = given.get("n_targets", 1), given.get("aggregate_function", b"SUM")
    _must(given.get("post_transform", b"NONE") == b"NONE" and aggregate in (b"SUM", b"AVERAGE"))
    _must(0 < size <= _SIZE_MAX)
    ensemble = _ensemble(given, "target", width, range(size))
    divisor = float(len(ensemble.trees)) if aggregate == b"AVERAGE" else 1.0
    return Read(ensemble, size, (partial(trees.answer_values, _base(given, size), divisor),))


def _base(given: Attributes, size: int) -> npt.NDArray[np.float32]:
    base = np.array(given.get("base_values") or [0.0] * size, np.float32)
    _must(len(base) == size and np.abs(base).max() < _SUM_MAX)
    return base


class _Comparison(NamedTuple):
    """Whether a value of a column is at most a threshold; `ways`: the next one where it is not, and where it is.

    A way is a place among the comparisons of a tree or the complement of a leaf's number. gone: the bits of the leaves
    on its left.
    """

    column: int
    threshold: float
    tracked: bool  # it holds for NaN
    gone: int
    ways: tuple[int, int]


class _Tree(NamedTuple):
    """The comparisons of a tree, where a walk begins, as a way, and the leaves from left to right."""

    comparisons: list[_Comparison]
    root: int
    leaves: list[int]


def _ensemble(given: Attributes, kind: str, width: int, places: Sequence[int]) -> trees.Ensemble:
    """Return the trees of a node; its class or target `i` is added to the place `places[i]` of a row."""
    owners, numbers = given["nodes_treeids"], given["nodes_nodeids"]
    _must(len(owners) <= _NODES_MAX and all(min(ids) in _IDS and max(ids) in _IDS for ids in (owners, numbers)))
    where = {key: at for at, key in enumerate(zip(owners, numbers, strict=True))}
    begins = [at for at, owner in enumerate(owners) if not at or owners[at - 1] != owner]
    _must(len(where) == len(owners) and len({owners[at] for at in begins}) == len(begins))
    found = [_tree(given, where, at) for at in begins]
    _must(sum(len(tree.leaves) + len(tree.comparisons) for tree in found) == len(owners))
    compared = [comparison for tree in found for comparison in tree.comparisons]
    columns = sorted({comparison.column for comparison in compared})
    _must(not columns or 0 <= columns[0] <= columns[-1] < width)
    masks = _MASKS[max(len(tree.leaves) for tree in found) > _BITS]
    votes = _votes(given, kind, where, found, len(places), np.dtype(masks).itemsize * 8)
    return trees.Ensemble(
        columns=np.array(columns, np.int32),
        trees=_rows(found, votes.ends),
        compared=np.array([comparison.column for comparison in compared], np.int32),
        thresholds=np.array([comparison.threshold for comparison in compared], np.float32),
        masks=np.array([~comparison.gone for comparison in compared], masks),
        ways=_ways(found),
        places=np.array(places, np.int32)[votes.targets],
        values=votes.values,
    )


def _rows(found: Sequence[_Tree], voted: npt.NDArray[np.int64]) -> npt.NDArray[np.int32]:
    """Return the table `trees` of an ensemble; `voted`: the end of each one's votes."""
    ends = np.cumsum([len(tree.comparisons) for tree in found])
    begins = ends - [len(tree.comparisons) for tree in found]
    tracked = ends - [sum(comparison.tracked for comparison in tree.comparisons) for tree in found]
    roots = [_moved(tree.root, begin) for tree, begin in zip(found, begins.tolist(), strict=True)]
    return np.stack([begins, tracked, ends, voted, roots], axis=1).astype(np.int32)


def _ways(found: Sequence[_Tree]) -> npt.NDArray[np.int32]:
    """Return the table `ways` of an ensemble."""
    ways, begin = list[list[int]](), 0
    for tree in found:
        ways += [[_moved(way, begin) for way in comparison.ways] for comparison in tree.comparisons]
        begin += len(tree.comparisons)
    return np.array(ways, np.int32).reshape(-1, 2)


def _moved(way: int, begin: int) -> int:
    """Return a way among the comparisons of all trees."""
    return way + begin if way >= 0 else way


def _tree(given: Attributes, where: Mapping[tuple[int, int], int], root: int) -> _Tree:
    """Return a tree by the place of its root among the nodes, its leaves by their places."""
    modes, owner = given["nodes_modes"], given["nodes_treeids"][root]
    tracks = given.get("nodes_missing_value_tracks_true", ())
    comparisons, leaves = list[_Comparison](), list[int]()

    def walk(at: int | None, depth: int) -> int:
        """Note what is below a node, and return the way to it."""
        _must(at is not None and depth < _LEAVES_MAX and len(leaves) < _LEAVES_MAX)
        assert at is not None
        if modes[at] == b"LEAF":
            leaves.append(at)
            return ~(len(leaves) - 1)
        threshold = _threshold(modes[at], given["nodes_values"][at])
        begin = len(leaves)
        holds = walk(where.get((owner, given["nodes_truenodeids"][at])), depth + 1)
        gone = (1 << len(leaves)) - (1 << begin)
        fails = walk(where.get((owner, given["nodes_falsenodeids"][at])), depth + 1)
        tracked = at < len(tracks) and tracks[at] == 1  # any other number is no
        comparisons.append(_Comparison(given["nodes_featureids"][at], threshold, tracked, gone, (fails, holds)))
        return len(comparisons) - 1

    way = walk(root, 0)
    _must(len(set(leaves)) == len(leaves))  # no node has two above it
    # Those that hold for NaN come last.
    order = sorted(range(len(comparisons)), key=lambda place: comparisons[place].tracked)
    place_of = {before: now for now, before in enumerate(order)}

    def moved(way: int) -> int:
        return place_of[way] if way >= 0 else way

    sorted_ones = [comparisons[place] for place in order]
    return _Tree(
        [each._replace(ways=(moved(each.ways[0]), moved(each.ways[1]))) for each in sorted_ones], moved(way), leaves
    )


def _threshold(mode: bytes, value: float) -> float:
    """Return the largest float32 for which a comparison holds."""
    if mode == b"BRANCH_LT":
        _must(value > -np.inf)
        with np.errstate(all="ignore"):
            return float(np.nextafter(np.float32(value), np.float32(-np.inf)))
    _must(mode == b"BRANCH_LEQ" and not np.isnan(value))
    return value


class _Votes(NamedTuple):
    """What leaves vote, for each tree and each class or target that one of its leaves votes for, by the trees' order.

    ends: (trees,), where each tree's end. targets: (votes,). values: (votes, leaves) float32, 0 where one says nothing.
    """

    ends: npt.NDArray[np.int64]
    targets: npt.NDArray[np.int64]
    values: npt.NDArray[np.float32]


def _votes(
    given: Attributes, kind: str, where: Mapping[tuple[int, int], int], found: Sequence[_Tree], size: int, bits: int
) -> _Votes:
    """Return what leaves vote for so many classes or targets, each tree's in room for so many leaves."""
    owners, nodes, ids, weights = (given[f"{kind}_{name}"] for name in ("treeids", "nodeids", "ids", "weights"))
    leaf_of = {at: (number, leaf) for number, tree in enumerate(found) for leaf, at in enumerate(tree.leaves)}
    voters = [leaf_of[where[key]] for key in zip(owners, nodes, strict=True)]
    numbers, leaves = np.array(voters, np.int64).reshape(-1, 2).T
    targets = np.array(ids, np.int64)
    _must(len(voters) == len(ids) == len(weights) and bool(((targets >= 0) & (targets < size)).all()))
    votes, vote_of, said = np.unique(numbers * size + targets, return_inverse=True, return_counts=True)
    _must(votes.size * bits <= _VALUES_MAX)
    _must(len(np.unique(vote_of * bits + leaves)) == len(voters))  # none says anything twice, and all say something:
    _must(len(set(voters)) == len(leaf_of))
    # ONNX Runtime tells a class that nobody votes for from one whose votes are 0.
    in_tree = np.array([len(tree.leaves) for tree in found])
    _must(len(np.unique(votes[said == in_tree[votes // size]] % size)) == size)
    values = np.zeros((votes.size, bits), np.float32)
    values[vote_of, leaves] = weights
    _must(np.abs(values).max(axis=1).sum(dtype=np.float64) < _SUM_MAX)
    return _Votes(np.searchsorted(votes // size, np.arange(len(found)), "right"), votes % size, values)
