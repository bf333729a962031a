"""What a session answers with the trees taken out of its graph, against ONNX Runtime with the whole graph."""

import lightgbm
import numpy as np
import onnx
import onnxruntime
import pytest
import xgboost
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from serval_client.export import export
from serval_kernels import trees
from serval_server.engine import session as module
from serval_server.engine.forest import taken_out
from serval_server.engine.session import Session
from serval_server.errors import ModelRunFailed
from skl2onnx import to_onnx
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris
from sklearn.ensemble import (
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

# One row, as many as walk and one more, one block, and blocks with either rest.
COUNTS = (0, 1, 2, 11, 12, 23, 24, 63, 64, 65, 64 + 23, 64 + 24, 500)

TWO, MANY, VALUES = (load(return_X_y=True) for load in (load_breast_cancer, load_iris, load_diabetes))
MODELS = {
    "forest-two": (RandomForestClassifier(30, max_depth=4, random_state=1), TWO),
    "forest-many": (RandomForestClassifier(20, max_leaf_nodes=12, random_state=1), MANY),
    "forest-values": (RandomForestRegressor(20, max_leaf_nodes=33, random_state=1), VALUES),
    "extra-two": (ExtraTreesClassifier(12, max_leaf_nodes=64, random_state=1), TWO),
    "tree-two": (DecisionTreeClassifier(max_depth=3, random_state=1), TWO),
    "tree-values": (DecisionTreeRegressor(max_leaf_nodes=32, random_state=1), VALUES),
    "boosting-two": (GradientBoostingClassifier(n_estimators=25, random_state=1), TWO),
    "boosting-many": (GradientBoostingClassifier(n_estimators=10, random_state=1), MANY),
    "boosting-values": (GradientBoostingRegressor(n_estimators=25, random_state=1), VALUES),
    "hist-two": (HistGradientBoostingClassifier(max_iter=20, random_state=1), TWO),
    "hist-many": (HistGradientBoostingClassifier(max_iter=10, random_state=1), MANY),
    "hist-values": (HistGradientBoostingRegressor(max_iter=20, random_state=1), VALUES),
    "xgboost-two": (xgboost.XGBClassifier(n_estimators=20, random_state=1), TWO),
    "xgboost-many": (xgboost.XGBClassifier(n_estimators=8, random_state=1), MANY),
    "xgboost-values": (xgboost.XGBRegressor(n_estimators=20, random_state=1), VALUES),
    "lightgbm-two": (lightgbm.LGBMClassifier(n_estimators=20, verbose=-1, random_state=1), TWO),
    "lightgbm-many": (lightgbm.LGBMClassifier(n_estimators=8, verbose=-1, random_state=1), MANY),
    "lightgbm-values": (lightgbm.LGBMRegressor(n_estimators=20, verbose=-1, random_state=1), VALUES),
}


def whole(artifact):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(artifact, options, providers=["CPUExecutionProvider"])


def same(found, expected):
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert (one.dtype, one.shape) == (other.dtype, other.shape)
        assert one.tobytes() == other.tobytes()


def around(X, count):
    """Rows like those of a sample, between them, missing and infinite."""
    random = np.random.default_rng(count)
    rows = X[random.integers(0, len(X), count)] * random.normal(1, 0.05, (count, X.shape[1]))
    rows[random.random(rows.shape) < 0.05] = np.nan
    rows[random.random(rows.shape) < 0.01] = np.inf
    rows[random.random(rows.shape) < 0.01] = -np.inf
    return rows.astype(np.float32)


@pytest.fixture(scope="module", params=MODELS)
def exported(request):
    model, (X, y) = MODELS[request.param]
    X = X.astype(np.float32)
    return export(model.fit(X, y), X).onnx, X


@pytest.mark.filterwarnings("ignore")
def test_models_answer_the_same_bits_run_and_bound(exported):
    artifact, X = exported
    reference, session = whole(artifact), Session(artifact)
    name = reference.get_inputs()[0].name
    taken = taken_out(artifact)
    assert taken is not None
    assert taken.rest is None
    for count in COUNTS:
        rows = around(X, count)
        expected = reference.run(None, {name: rows})
        same(session.run(session.output_names, {name: rows}), expected)
        outputs = [np.zeros_like(output) for output in expected]
        run = session.bind({name: rows}, dict(zip(session.output_names, outputs, strict=True)))
        for _ in range(2):
            run()
            same(outputs, expected)


def test_outputs_come_in_the_order_that_was_asked_for(exported):
    artifact, X = exported
    reference, session = whole(artifact), Session(artifact)
    name, rows = reference.get_inputs()[0].name, around(X, 20)
    for asked in (session.output_names[::-1], session.output_names[-1:]):
        same(session.run(asked, {name: rows}), reference.run(asked, {name: rows}))


def test_a_scaler_and_trees_are_both_taken_out():
    X, y = TWO
    X = X.astype(np.float32)
    model = make_pipeline(StandardScaler(), RandomForestClassifier(10, max_depth=4, random_state=1)).fit(X, y)
    artifact = to_onnx(model, X[:1], options={"zipmap": False}).SerializeToString()
    session = Session(artifact)
    assert session._session is None
    for count in (1, 30, 200):
        rows = X[:count]
        same(session.run(session.output_names, {"X": rows}), whole(artifact).run(None, {"X": rows}))


# Ensembles that no library makes


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


def ensemble_of(nodes, votes, kind="Classifier", **more):
    """Return an artifact of one node; votes: (tree, node, class or target, weight)."""
    listed = list(zip(*nodes, strict=True))
    names = ("treeids", "nodeids", "modes", "featureids", "values", "missing_value_tracks_true", "truenodeids")
    given = {f"nodes_{name}": values for name, values in zip((*names, "falsenodeids"), listed, strict=True)}
    target = "class" if kind == "Classifier" else "target"
    for name, values in zip(("treeids", "nodeids", "ids", "weights"), zip(*votes, strict=True), strict=True):
        given[f"{target}_{name}"] = values
    outputs = ["label", "score"] if kind == "Classifier" else ["score"]
    filled = {name: value for name, value in (given | more).items() if value not in ([], None)}
    node = helper.make_node(f"TreeEnsemble{kind}", ["x"], outputs, domain="ai.onnx.ml", **filled)
    return model_of([node], outputs, label=TensorProto.STRING if "classlabels_strings" in filled else TensorProto.INT64)


def model_of(nodes, outputs, held=(), label=TensorProto.INT64):
    kinds = {"label": label}
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3])],
        [helper.make_tensor_value_info(name, kinds.get(name, TensorProto.FLOAT), None) for name in outputs],
        initializer=list(held),
    )
    opsets = [helper.make_opsetid("", 15), helper.make_opsetid("ai.onnx.ml", 3)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()


@st.composite
def ensembles(draw):
    kind = draw(st.sampled_from(["two", "many", "value", "values"]))
    size = {"two": 1, "many": 3, "value": 1, "values": 2}[kind]
    nodes = [node for tree in range(draw(st.integers(1, 4))) for node in nodes_of(draw, tree, draw(st.integers(0, 6)))]
    weights = st.sampled_from([0.0, 0.25, 1 / 3, 0.1, 7.5, 1e-8, *draw(st.sampled_from([[], [-0.5, -1e8]]))])
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


STUMP = [(0, 0, "BRANCH_LEQ", 0, 1.0, 0, 1, 2), (0, 1, "LEAF", 0, 0.0, 0, 0, 0), (0, 2, "LEAF", 0, 0.0, 0, 0, 0)]
VOTES = [(0, 1, 0, 0.25), (0, 2, 0, 1.0)]
LABELS = {"classlabels_int64s": [0, 1]}
STUMP_NODE = onnx.load_from_string(ensemble_of(STUMP, VOTES, **LABELS)).graph.node[0]


def chain(length):
    """A tree with a leaf at each step of its way, and one at its end."""
    nodes = []
    for step in range(length - 1):
        at = 2 * step
        nodes += [(0, at, "BRANCH_LEQ", 0, float(step), 0, at + 1, at + 2), (0, at + 1, "LEAF", 0, 0.0, 0, 0, 0)]
    return [*nodes, (0, 2 * length - 2, "LEAF", 0, 0.0, 0, 0, 0)]


def votes_of(nodes):
    return [(tree, number, 0, float(number)) for tree, number, mode, *_ in nodes if mode == "LEAF"]


@pytest.mark.parametrize("leaves", [1, 2, 32, 33, 64])
def test_trees_of_up_to_64_leaves_are_taken_out(leaves):
    nodes = chain(leaves)
    artifact = ensemble_of(nodes, votes_of(nodes), "Regressor", n_targets=1)
    session = Session(artifact)
    assert session._session is None
    rows = np.linspace(-1, 70, 3 * 200, dtype=np.float32).reshape(200, 3)
    same(session.run(["score"], {"x": rows}), whole(artifact).run(None, {"x": rows}))


def changed(**attributes):
    return ensemble_of(STUMP, VOTES, **LABELS | attributes)


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
    assert session._trees is not None
    rows = np.random.default_rng(0).normal(1, 1, (100, 3)).astype(np.float32)
    expected = whole(artifact).run(None, {"x": rows})
    same(session.run(session.output_names, {"x": rows}), expected)
    same(session.run(["label"], {"x": rows}), expected[1:])
    outputs = [np.zeros_like(output) for output in expected]
    session.bind({"x": rows}, dict(zip(session.output_names, outputs, strict=True)))()
    same(outputs, expected)


@pytest.mark.parametrize(
    "inputs", [{}, {"x": np.zeros((2, 4), np.float32)}, {"x": np.zeros((2, 3))}, {"x": np.zeros(3, np.float32)}]
)
def test_rows_that_do_not_fit_are_refused(inputs):
    with pytest.raises(ModelRunFailed, match="invalid input"):
        Session(changed()).run(["label"], inputs)


def test_an_output_that_is_not_there_is_refused():
    with pytest.raises(ModelRunFailed, match="no output 'other'"):
        Session(changed()).run(["label", "other"], {"x": np.zeros((1, 3), np.float32)})


def test_where_the_kernels_answer_otherwise_onnx_runtime_keeps_the_model(monkeypatch, caplog):
    artifact = changed()
    sums = trees.sums

    def wrong(x, width, ensemble, out, size):
        sums(x, width, ensemble, out, size)
        out += np.float32(1e-7)

    monkeypatch.setattr(trees, "sums", wrong)
    session = Session(artifact)
    assert session._trees is None
    assert "ONNX Runtime, which keeps the model" in caplog.text
    rows = np.zeros((4, 3), np.float32)
    same(session.run(session.output_names, {"x": rows}), whole(artifact).run(None, {"x": rows}))


def test_the_comparison_asks_at_the_thresholds_themselves():
    forest = taken_out(changed()).forest
    rows = np.concatenate([forest.probes(count) for count in module.PROBES])
    near = np.array([np.nextafter(np.float32(1), np.float32(towards)) for towards in (0, 1, 2)])
    assert {float(value) for value in near} <= set(rows[:, 0].tolist())
    assert np.isnan(rows).any()
    assert np.isinf(rows).any()
