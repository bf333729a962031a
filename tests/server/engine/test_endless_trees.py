"""Trees that would end ONNX Runtime's process, or that it would not come back from, are refused before it sees them."""

import numpy as np
import onnx
import pytest
from onnx import helper
from serval_ensembles import STUMP, chain, ensemble_of, model_of, same, votes_of, whole
from serval_registry.errors import InvalidArgument
from serval_server.engine.session import Session

LEAF = STUMP[1][2:]
ROUND = [(0, 0, "BRANCH_LEQ", 0, 1.0, 0, 1, 2), (0, 1, "BRANCH_LEQ", 1, 0.0, 0, 0, 2), (0, 2, *LEAF)]
FIRST = [(1, 0, *LEAF)]  # ONNX Runtime sees a circle that leads to the very first node
SHARED = [(0, 0, "BRANCH_LEQ", 0, 1.0, 0, 1, 1), (0, 1, "BRANCH_LEQ", 0, 1.0, 0, 2, 2), (0, 2, *LEAF)]


def ways_of(nodes):
    """The attributes of the operator that has nodes by their places, for the nodes of one tree."""
    yes, no = zip(*(node[6:] for node in nodes), strict=True)
    leaves = [int(node[2] == "LEAF") for node in nodes]
    return {
        "nodes_truenodeids": yes,
        "nodes_falsenodeids": no,
        "nodes_trueleafs": [leaves[place] for place in yes],
        "nodes_falseleafs": [leaves[place] for place in no],
    }


def inside(artifact):
    """The model in a branch of another."""
    model = onnx.load_from_string(artifact)
    branch = helper.make_graph(model.graph.node, "b", [], model.graph.output)
    node = helper.make_node("If", ["c"], ["score"], then_branch=branch, else_branch=branch)
    model.graph.node[0].CopyFrom(node)
    return model.SerializeToString()


def regressor(nodes, **more):
    return ensemble_of(nodes, votes_of(nodes), "Regressor", n_targets=1, **more)


def fifth(nodes):
    node = helper.make_node("TreeEnsemble", ["x"], ["score"], domain="ai.onnx.ml", **ways_of(nodes))
    return model_of([node], ["score"])


@pytest.mark.parametrize(
    "artifact",
    [
        pytest.param(regressor(chain(4098)), id="long"),
        pytest.param(regressor(chain(30_000)), id="very-long"),
        pytest.param(regressor(FIRST + ROUND), id="round"),
        pytest.param(inside(regressor(FIRST + ROUND)), id="round-in-a-branch"),
        pytest.param(fifth(chain(4098)), id="long-by-places"),
        pytest.param(fifth(ROUND), id="round-by-places"),
        pytest.param(fifth(SHARED), id="shared-by-places"),
    ],
)
def test_ways_that_do_not_end_are_refused_before_onnx_runtime_goes_them(artifact):
    with pytest.raises(InvalidArgument, match="endless or too long"):
        Session(artifact)


def test_ways_of_some_thousands_are_gone():
    artifact = regressor(chain(4097))
    rows = np.array([[-1, 0, 0], [2000.5, 0, 0], [1e9, 0, 0]], np.float32)
    same(Session(artifact).run(["score"], {"x": rows}), whole(artifact).run(None, {"x": rows}))


def within_a_function(*references):
    """A model whose trees are in a function, which is given some of their attributes where it is called."""
    model = onnx.load_from_string(regressor(STUMP))
    node, opsets = model.graph.node[0], [helper.make_opsetid("ai.onnx.ml", 3)]
    given = [each for each in node.attribute if each.name in references]
    inner = onnx.NodeProto()
    inner.CopyFrom(node)
    for each in inner.attribute:
        if each.name in references:
            each.CopyFrom(onnx.AttributeProto(name=each.name, type=each.type, ref_attr_name=each.name))
    model.functions.append(helper.make_function("own", "Trees", ["x"], ["score"], [inner], opsets, list(references)))
    model.opset_import.append(helper.make_opsetid("own", 1))
    node.CopyFrom(helper.make_node("Trees", ["x"], ["score"], domain="own"))
    node.attribute.extend(given)
    return model.SerializeToString()


def test_trees_in_a_function_have_to_be_known_there():
    rows = np.array([[0, 0, 0], [2, 0, 0]], np.float32)
    artifact = within_a_function()
    same(Session(artifact).run(["score"], {"x": rows}), whole(artifact).run(None, {"x": rows}))
    artifact = within_a_function("nodes_values")
    same(Session(artifact).run(["score"], {"x": rows}), whole(artifact).run(None, {"x": rows}))
    with pytest.raises(InvalidArgument, match="endless or too long"):
        Session(within_a_function("nodes_truenodeids"))
