"""Which trees are taken out of a graph: of any ensemble that kernels can do, and of none that only looks like one."""

import numpy as np
import onnx
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from serval_client.export import export
from serval_ensembles import LABELS, STUMP, VOTES, around, chain, changed, ensemble_of, model_of, same, votes_of, whole
from serval_registry.errors import InvalidArgument
from serval_server.engine.session import ONNX_RUNTIME_ERRORS, Session
from serval_server.engine.taken import taken_out
from serval_server.errors import ModelRunFailed
from serval_sessions import same_run_and_bound
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier


def nodes_of(draw, tree, depth):
    """Draw the nodes of a tree from its root on, as rows of (mode, column, value, tracks, true, false)."""
    nodes = []

    def grow(left):
        place = len(nodes)
        nodes.append(None)
        if not left or (place and draw(st.integers(0, 3)) == 0):
            nodes[place] = ("LEAF", 0, 0.0, 0, 0, 0)
            return place
        value = draw(st.sampled_from([0.0, -0.0, 1.0, 1.5, -2.0, 1e-45, -1e-45, 3e38, np.inf]))
        mode, tracks = draw(st.sampled_from(["BRANCH_LEQ", "BRANCH_LT"])), draw(st.integers(0, 1))
        first, second = grow(left - 1), grow(left - 1)
        nodes[place] = (mode, draw(st.integers(0, 2)), value, tracks, first, second)
        return place

    grow(depth)
    return [(tree, number, *node) for number, node in enumerate(nodes)]


@st.composite
def ensembles(draw):
    kind = draw(st.sampled_from(["two", "many", "value", "values"]))
    size = {"two": 1, "many": 3, "value": 1, "values": 2}[kind]
    nodes = [node for tree in range(draw(st.integers(1, 4))) for node in nodes_of(draw, tree, draw(st.integers(0, 6)))]
    weights = st.sampled_from([0.0, -0.0, 0.25, 1 / 3, 0.1, 7.5, 1e-8, *draw(st.sampled_from([[], [-0.5, -1e8]]))])
    votes = [
        (tree, number, target, draw(weights))
        for tree, number, mode, *_ in nodes
        for target in range(size)
        if mode == "LEAF"
    ]
    base = draw(st.sampled_from([[], [0.5, -1.0, 0.1][:size]]))
    if kind in ("two", "many"):
        labels = [3, -7, 2**40][: max(size, 2)]
        transform = draw(st.sampled_from(["NONE", "LOGISTIC", "SOFTMAX"]))
        return ensemble_of(nodes, votes, classlabels_int64s=labels, post_transform=transform, base_values=base)
    aggregate = draw(st.sampled_from(["SUM", "AVERAGE"]))
    return ensemble_of(nodes, votes, "Regressor", n_targets=size, aggregate_function=aggregate, base_values=base)


@settings(max_examples=300, deadline=None)
@given(ensembles(), st.sampled_from([1, 11, 64, 65, 90, 130]), st.data())
def test_any_ensemble_answers_the_same_bits(artifact, count, data):
    special = np.array([0, -0.0, 1, 1.5, -2, 1e-45, -1e-45, 3e38, np.inf, -np.inf, np.nan, 0.7], np.float32)
    seed = data.draw(st.integers(0, 2**32))
    rows = np.random.default_rng(seed).choice(special, (count, 3))
    assume(taken_out(artifact) is not None)
    session = Session(artifact)
    assert session._session is None
    same(session.run(session.output_names, {"x": rows}), whole(artifact).run(None, {"x": rows}))


STUMP_NODE = onnx.load_from_string(ensemble_of(STUMP, VOTES, **LABELS)).graph.node[0]


@pytest.mark.parametrize("leaves", [1, 2, 32, 33, 64])
def test_trees_of_up_to_64_leaves_are_taken_out(leaves):
    nodes = chain(leaves)
    artifact = ensemble_of(nodes, votes_of(nodes), "Regressor", n_targets=1)
    session = Session(artifact)
    assert session._session is None
    rows = np.linspace(-1, 70, 3 * 200, dtype=np.float32).reshape(200, 3)
    same(session.run(["score"], {"x": rows}), whole(artifact).run(None, {"x": rows}))


def stump(place, field, value):
    nodes = [list(node) for node in STUMP]
    nodes[place][field] = value
    return ensemble_of(nodes, VOTES, **LABELS)


@pytest.mark.parametrize(
    "artifact",
    [
        pytest.param(ensemble_of(chain(65), votes_of(chain(65)), "Regressor", n_targets=1), id="65-leaves"),
        pytest.param(stump(0, 2, "BRANCH_GT"), id="greater"),
        pytest.param(stump(0, 2, "BRANCH_EQ"), id="equal"),
        pytest.param(stump(0, 4, np.nan), id="a-threshold-is-nan"),
        pytest.param(changed(classlabels_int64s=[], classlabels_strings=["a", "b"]), id="text-labels"),
        pytest.param(ensemble_of(STUMP, [*VOTES, (0, 2, 0, 0.5)], **LABELS), id="two-votes-of-a-leaf"),
        pytest.param(
            ensemble_of(STUMP, [(0, 1, 0, 0.25), (0, 2, 1, 1.0)], classlabels_int64s=[0, 1, 2]),
            id="nobody-votes-for-one",
        ),
        pytest.param(ensemble_of(STUMP, VOTES, "Regressor", n_targets=1, aggregate_function="MAX"), id="maximum"),
        pytest.param(
            model_of([STUMP_NODE, helper.make_node("Add", ["x", "x"], ["other"])], ["label", "score", "other"]),
            id="another-reads-the-rows",
        ),
        pytest.param(
            model_of(
                [
                    STUMP_NODE,
                    helper.make_node("Identity", ["score"], ["again"]),
                ],
                ["label", "score", "again"],
            ),
            id="an-output-by-two-names",
        ),
        pytest.param(model_of([helper.make_node("Neg", ["x"], ["y"])], ["y"]), id="no-trees"),
    ],
)
def test_what_is_another_kind_stays_in_its_graph(artifact):
    assert taken_out(artifact) is None
    rows = np.array([[0.5, 1, 2], [3, 4, 5], [np.nan, 1, 1]], np.float32)
    session = Session(artifact)
    found, expected = session.run(session.output_names, {"x": rows}), whole(artifact).run(None, {"x": rows})
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


def test_what_is_behind_the_trees_is_done_by_onnx_runtime():
    held = numpy_helper.from_array(np.float32(2), "two")
    tail = [helper.make_node("Identity", ["score"], ["copy"]), helper.make_node("Mul", ["copy", "two"], ["double"])]
    artifact = model_of([STUMP_NODE, *tail], ["double", "label"], [held])
    session = Session(artifact)
    assert session._session is not None
    assert session._taken is not None
    rows = np.random.default_rng(0).normal(1, 1, (100, 3)).astype(np.float32)
    expected = whole(artifact).run(None, {"x": rows})
    same(session.run(["label"], {"x": rows}), expected[1:])
    same_run_and_bound(session, {"x": rows}, expected, same)


def test_all_outputs_may_be_made_behind_the_trees():
    held = numpy_helper.from_array(np.float32(2), "two")
    artifact = model_of([STUMP_NODE, helper.make_node("Mul", ["score", "two"], ["double"])], ["double"], [held])
    rows = np.random.default_rng(0).normal(1, 1, (100, 3)).astype(np.float32)
    same(Session(artifact).run(["double"], {"x": rows}), whole(artifact).run(None, {"x": rows}))


# What nobody would export


def edited(change, artifact=None):
    """An artifact, that of the stump where none is given, after a change to its model."""
    model = onnx.load_from_string(artifact or changed())
    change(model)
    return model.SerializeToString()


def attribute(name, **fields):
    return lambda model: model.graph.node[0].attribute.add(name=name, **fields)


def two_trees(first, second, apart=0):
    nodes = [
        (tree, number + by, mode, column, value, tracks, yes + by, no + by)
        for tree, by in ((first, 0), (second, apart))
        for _, number, mode, column, value, tracks, yes, no in STUMP
    ]
    votes = [
        (tree, number + by, 0, value) for tree, by in ((first, 0), (second, apart)) for _, number, _, value in VOTES
    ]
    return ensemble_of(nodes, votes, "Regressor", n_targets=1)


# The root asks twice, and one leaf of four is below both; a node is below none.
SHARED = [
    (0, 0, "BRANCH_LEQ", 0, 1.0, 0, 1, 2),
    (0, 1, "BRANCH_LEQ", 1, 0.0, 0, 3, 4),
    (0, 2, "BRANCH_LEQ", 2, 0.0, 0, 3, 5),
    *((0, number, "LEAF", 0, 0.0, 0, 0, 0) for number in (3, 4, 5, 6)),
]
SHARED_VOTES = [(0, 3, 0, 0.1), (0, 4, 0, 0.2), (0, 5, 0, 0.3)]


def with_function(node):
    """A model behind whose trees stands a function of its own, by the name of an operator."""

    def change(model):
        body = [helper.make_node("Neg" if node.input else "Constant", node.input, ["b"])]
        if not node.input:
            body[0].attribute.append(helper.make_attribute("value_float", 1.0))
        opsets = [helper.make_opsetid("", 15)]
        model.functions.append(helper.make_function("own", "Identity", node.input, ["b"], body, opsets))
        model.opset_import.append(helper.make_opsetid("own", 1))

    return edited(change, model_of([STUMP_NODE, node, helper.make_node("Neg", ["z"], ["y"])], ["label", "y"]))


def has_sparse_rows(model):
    values, places = helper.make_tensor("x", 1, [1], [1.0]), helper.make_tensor("", 7, [1], [1])
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, places, [4, 3]))
    model.graph.input.add().CopyFrom(helper.make_tensor_value_info("y", 1, [4, 3]))


def of_width(width):
    def change(model):
        model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = width

    return edited(change)


ODD = {
    "a-leaf-below-two": ensemble_of(SHARED[:-1], SHARED_VOTES, "Regressor", n_targets=1),
    "a-leaf-below-two-and-one-below-none": ensemble_of(SHARED, SHARED_VOTES, "Regressor", n_targets=1),
    "one-way": ensemble_of([(*STUMP[0][:6], 1, 1), STUMP[1]], VOTES[:1], "Regressor", n_targets=1),
    "tree-below-zero": two_trees(-1, 0),
    "tree-numbers-that-are-one-in-32-bits": two_trees(0, 2**32, 3),
    "a-weight-is-nan": ensemble_of(STUMP, [(0, 1, 0, np.nan), VOTES[1]], **LABELS),
    "a-weight-is-infinite": ensemble_of(STUMP, [(0, 1, 0, -np.inf), VOTES[1]], "Regressor", n_targets=1),
    "sums-overflow": ensemble_of(STUMP, [(0, 1, 0, -3e38), VOTES[1]], base_values=[-3e38], **LABELS),
    "base-is-nan": changed(base_values=[np.nan]),
    "labels-of-both-kinds": changed(classlabels_strings=["a", "b"]),
    "targets-2**31": ensemble_of(STUMP, VOTES, "Regressor", n_targets=2**31),
    "the-last-of-targets-2**62": ensemble_of(STUMP, [(0, 1, 2**62 - 1, 1.0)], "Regressor", n_targets=2**62),
    "each-tree-has-a-target": ensemble_of(
        [(tree, *STUMP[1][1:]) for tree in range(30_000)],
        [(tree, 1, tree, 1.0) for tree in range(30_000)],
        "Regressor",
        n_targets=30_000,
    ),
    "columns-2**20": of_width(2**20),
    "columns-2**62": of_width(2**62),
    "attribute-by-reference": edited(attribute("base_values", ref_attr_name="other", type=6)),
    "attribute-twice": edited(attribute("base_values", floats=[1.0], type=6), changed(base_values=[0.5])),
    "own-identity": with_function(helper.make_node("Identity", ["score"], ["z"], domain="own")),
    "own-identity-of-nothing": with_function(helper.make_node("Identity", [], ["z"], domain="own")),
    "the-rows-have-a-default": edited(has_sparse_rows),
}


@pytest.mark.parametrize("artifact", ODD.values(), ids=ODD)
def test_what_is_odd_stays_in_its_graph_before_anything_is_compared(artifact):
    try:
        reference = whole(artifact)
    except ONNX_RUNTIME_ERRORS:
        with pytest.raises(InvalidArgument):
            Session(artifact)
    else:
        session = Session(artifact)
        assert session.output_names == [output.name for output in reference.get_outputs()]
    assert taken_out(artifact) is None


@pytest.mark.parametrize("tracks", [-1, 0, 1, 2, 2**40])
def test_missing_values_hold_for_1_alone(tracks):
    artifact = stump(0, 5, tracks)
    rows = np.array([[np.nan, 0, 0], [2, 0, 0]], np.float32)
    assert taken_out(artifact) is not None
    assert Session(artifact)._taken is not None
    same(Session(artifact).run(["label", "score"], {"x": rows}), whole(artifact).run(None, {"x": rows}))


def test_the_trees_of_a_batch_of_one_size_stay_in_their_graph():
    def change(model):
        model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 5

    session = Session(edited(change))
    assert session._taken is None
    with pytest.raises(ModelRunFailed):
        session.run(["label"], {"x": np.zeros((4, 3), np.float32)})


@pytest.fixture(scope="module")
def with_tail():
    X, y = load_iris(return_X_y=True)
    return export(RandomForestClassifier(20, max_leaf_nodes=12, random_state=1).fit(X, y), X.astype(np.float32)).onnx


def setting(place, name, value):
    """A change of an attribute of the node at a place behind the trees."""

    def change(model):
        given = [each for each in model.graph.node[place].attribute if each.name != name]
        del model.graph.node[place].attribute[:]
        model.graph.node[place].attribute.extend([*given, helper.make_attribute(name, value)])

    return change


def holding(name, *values):
    def change(model):
        kept = [each for each in model.graph.initializer if each.name != name]
        del model.graph.initializer[:]
        model.graph.initializer.extend([*kept, *(numpy_helper.from_array(value, name) for value in values)])

    return change


def reading(place, *names):
    def change(model):
        model.graph.node[place].input[:] = names

    return change


def in_halves(model):
    setting(1, "to", TensorProto.FLOAT16)(model)
    holding("serval_slack", np.float16(5e-6))(model)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(in_halves, id="half-precision"),
        pytest.param(setting(6, "to", TensorProto.INT32), id="candidates-are-whole"),
        pytest.param(setting(7, "select_last_index", 1), id="last-of-equals"),
        pytest.param(setting(7, "keepdims", 1), id="labels-in-a-column"),
        pytest.param(holding("serval_slack", np.float32(-1e-6)), id="slack-below-zero"),
        pytest.param(holding("serval_slack", np.array([1e-3, 0, 0], np.float32)), id="a-slack-for-each"),
        pytest.param(holding("serval_labels", np.arange(4)), id="labels-of-another-length"),
        pytest.param(holding("serval_labels", np.arange(3), np.arange(3)[::-1]), id="labels-twice"),
        pytest.param(reading(4, "serval_least", "serval_score"), id="the-other-way-round"),
        pytest.param(reading(3, "serval_slack", "serval_largest"), id="the-slack-less-the-largest"),
    ],
)
def test_what_is_not_quite_the_tail_of_an_export_is_done_by_onnx_runtime(with_tail, change):
    artifact = edited(change, with_tail)
    reference, session = whole(artifact), Session(artifact)
    assert session._session is not None
    name, rows = reference.get_inputs()[0].name, around(load_iris().data, 200)
    same(session.run(session.output_names, {name: rows}), reference.run(None, {name: rows}))
