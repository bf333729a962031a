"""Trees that ONNX Runtime would not come back from, found before it sees them."""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnx
from serval_registry.errors import InvalidArgument

from serval_server.engine.ensemble import CLASSIFIER, REGRESSOR
from serval_server.engine.graph import TREES, is_of_trees, parsed

# Comparisons. ONNX Runtime calls itself for each, and some 15,000 are more than a stack holds.
_WAY_MAX: Final = 1 << 12
_WAYS: Final = tuple(
    f"nodes_{name}"
    for name in ("treeids", "nodeids", "modes", "truenodeids", "falsenodeids", "trueleafs", "falseleafs")
)
_RANK: Final = 2


def check(artifact: bytes) -> None:
    """Raise InvalidArgument for trees with a way that is endless or too long, wherever in a model they are."""
    model = parsed(artifact, [TREES])
    if model is None:
        return
    graphs = [model.graph.node, *(function.node for function in model.functions)]
    for nodes in graphs:
        for node in nodes:
            if is_of_trees(node) and not _ends(node):
                raise InvalidArgument(
                    f"artifact: a way through the trees of {node.op_type} {node.name[:60]!r} is endless or too long"
                )
            for attribute in node.attribute:
                graphs += [graph.node for graph in (attribute.g, *attribute.graphs)]


def _ends(node: onnx.NodeProto) -> bool:
    """Tell whether every way through the trees of a node comes to a leaf, and that after 4,096 comparisons at most.

    ONNX Runtime asks neither: a long way ends the process, and nothing ends a run that goes round in a circle. True as
    well for lists that do not fit each other, which it refuses; False for what a function is only given where it is
    called, and for what is given twice.
    """
    given = {each.name: each for each in node.attribute if each.name in _WAYS}
    if any(each.ref_attr_name for each in given.values()) or len(given) < sum(
        each.name in _WAYS for each in node.attribute
    ):
        return False
    try:
        listed = {name: onnx.helper.get_attribute_value(each) for name, each in given.items()}
        below = _below(listed, by_ids=node.op_type in (CLASSIFIER, REGRESSOR))
    except (KeyError, TypeError, ValueError):
        return True
    # Take away the nodes that have none above them, until none has.
    above = np.bincount(below[below >= 0], minlength=len(below))
    if node.op_type not in (CLASSIFIER, REGRESSOR) and (above > 1).any():
        return False  # one that has two above it is read as often as there are ways to it
    tops, seen = np.flatnonzero(above == 0), 0
    for _ in range(_WAY_MAX + 1):
        seen += len(tops)
        children = below[tops][below[tops] >= 0]
        np.subtract.at(above, children, 1)
        tops = np.unique(children[above[children] == 0])
    return seen == len(below)


def _below(given: Mapping[str, Any], *, by_ids: bool) -> npt.NDArray[np.int64]:
    """Return the places of the two nodes below each node, (nodes, 2); -1 where a leaf is below or nothing."""
    ways = given["nodes_truenodeids"], given["nodes_falsenodeids"]
    if by_ids:
        owners = given["nodes_treeids"]
        where = {key: at for at, key in enumerate(zip(owners, given["nodes_nodeids"], strict=True))}
        is_leaf = np.array([mode == b"LEAF" for mode in given["nodes_modes"]])
        places = [[where.get(key, -1) for key in zip(owners, way, strict=True)] for way in ways]
        below = np.where(is_leaf, -1, np.array(places, np.int64))
    else:
        leaves = np.array([given["nodes_trueleafs"], given["nodes_falseleafs"]], np.int64)
        below = np.where(leaves != 0, -1, np.array(ways, np.int64))
    if below.ndim != _RANK or (below >= below.shape[1]).any():
        raise ValueError("lists that do not fit each other")
    return below.T
