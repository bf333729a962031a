"""Linear models done by kernels, against ONNX Runtime with the whole graph."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper
from serval_client.export import export
from serval_ensembles import model_of, same, whole
from serval_kernels import linear
from serval_server.engine.session import Session
from serval_server.engine.taken import taken_out
from serval_sessions import same_run_and_bound
from skl2onnx import to_onnx
from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

# Few rows and as many as make a block, a block, and blocks with a rest. One row ONNX Runtime adds up in another order.
COUNTS = (2, 7, 8, 9, 63, 64, 65, 150)
ULPS = 40  # of one row's sums, in either order

TWO, VALUES = (load(return_X_y=True) for load in (load_breast_cancer, load_diabetes))
MODELS = {
    "logistic-two": (LogisticRegression(max_iter=5000), TWO),
    "ridge-values": (Ridge(), VALUES),
    "linear-values": (LinearRegression(), VALUES),
    "linear-several": (LinearRegression(), (VALUES[0], np.stack([VALUES[1], -(VALUES[1] ** 2), VALUES[0][:, 1]], 1))),
}


def node_of(kind="Classifier", weights=((1.0, 2.0, 3.0), (-1.0, 0.5, 2.0)), **more):
    """Return an artifact of one node over three columns."""
    given = {"coefficients": np.ravel(weights).tolist(), "intercepts": [0.25] * len(weights)}
    if kind == "Classifier":
        given |= {"classlabels_ints": list(range(len(weights))), "post_transform": "LOGISTIC"}
    given = {name: value for name, value in (given | more).items() if value is not None}
    outputs = ["label", "score"] if kind == "Classifier" else ["score"]
    return model_of([helper.make_node(f"Linear{kind}", ["x"], outputs, domain="ai.onnx.ml", **given)], outputs)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("scaled", [False, True])
def test_models_answer_the_same_bits_run_and_bound(name, scaled):
    model, (X, y) = MODELS[name]
    X = X.astype(np.float32)
    model = make_pipeline(StandardScaler(), model) if scaled else model
    artifact = to_onnx(model.fit(X, y), X[:1], options={"zipmap": False} if hasattr(model, "classes_") else None)
    artifact = artifact.SerializeToString()
    reference, session = whole(artifact), Session(artifact)
    assert session._session is None  # nothing is left to ONNX Runtime
    for count in COUNTS:
        rows = X[np.random.default_rng(count).integers(0, len(X), count)]
        same_run_and_bound(session, {"X": rows}, reference.run(None, {"X": rows}), same)
    found, expected = session.run(session.output_names, {"X": X[:1]}), reference.run(None, {"X": X[:1]})
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=ULPS * np.finfo(np.float32).eps, atol=1e-5)


def test_what_is_exported_for_registering_is_done_whole():
    X, y = TWO[0].astype(np.float32), TWO[1]
    artifact = export(make_pipeline(StandardScaler(), LogisticRegression(max_iter=5000)).fit(X, y), X).onnx
    session, reference = Session(artifact), whole(artifact)
    assert session._session is None
    name = reference.get_inputs()[0].name
    same_run_and_bound(session, {name: X[:100]}, reference.run(None, {name: X[:100]}), same)


values = st.floats(-100, 100, width=32)


@settings(max_examples=150, deadline=None)
@given(st.data(), st.sampled_from(["NONE", "LOGISTIC", "values"]), st.integers(1, 8))
def test_any_node_answers_the_same_bits(data, kind, size):
    size = max(size, 2) if kind != "values" else size
    weights = np.array(data.draw(st.lists(values, min_size=3 * size, max_size=3 * size)), np.float32).reshape(size, 3)
    intercepts = data.draw(st.lists(values, min_size=size, max_size=size))
    if kind == "values":
        artifact = node_of("Regressor", weights, intercepts=intercepts, targets=size)
    else:
        artifact = node_of("Classifier", weights, intercepts=intercepts, post_transform=kind)
    count = data.draw(st.integers(2, 70))
    rows = np.random.default_rng(count).normal(size=(count, 3)).astype(np.float32)
    rows[0] = data.draw(st.lists(st.sampled_from([0.0, -0.0, 1e-45, 3e38, -3e38, np.inf, 1.0]), min_size=3, max_size=3))
    session, expected = Session(artifact), whole(artifact).run(None, {"x": rows})
    assert taken_out(artifact) is not None
    found = session.run(session.output_names, {"x": rows})
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)  # which NaN is not said


@pytest.mark.parametrize(
    "artifact",
    [
        node_of(post_transform="SOFTMAX"),
        node_of(post_transform="PROBIT"),
        node_of(weights=((1.0, 2.0, 3.0),), classlabels_ints=[0, 1]),  # two scores of one sum
        node_of(weights=np.ones((9, 3))),  # many sums
        node_of("Regressor", targets=2, post_transform="SOFTMAX"),
        node_of("Regressor", weights=((1.0, 2.0, 3.0),), targets=1, intercepts=None),
    ],
    ids=range(6),
)
def test_what_the_kernels_do_not_do_stays_in_its_graph(artifact):
    session = Session(artifact)
    assert session._taken is None
    rows = np.random.default_rng(0).normal(size=(9, 3)).astype(np.float32)
    same(session.run(session.output_names, {"x": rows}), whole(artifact).run(None, {"x": rows}))


@pytest.mark.parametrize(
    "odd",
    [
        {"coefficients": [1.0] * 5},
        {"coefficients": [np.nan] + [1.0] * 5},
        {"intercepts": [1.0]},
        {"classlabels_ints": 3},
        {"classlabels_ints": [1, 2, 3]},
        {"classlabels_ints": None, "classlabels_strings": ["a", "b"]},
        {"classlabels_strings": ["a", "b"]},
        {"post_transform": "OTHER"},
        {"coefficients": ["a"] * 6},
    ],
    ids=range(9),
)
def test_odd_nodes_are_not_taken_out(odd):
    assert taken_out(node_of(**odd)) is None


def test_where_the_kernels_answer_otherwise_onnx_runtime_keeps_the_model(monkeypatch, caplog):
    def wrong(*arguments):
        classify(*arguments)
        scores = arguments[-1]
        scores[0] = np.nextafter(scores[0], np.float32(2))

    classify = linear.classify
    monkeypatch.setattr(linear, "classify", wrong)
    session = Session(node_of())
    assert session._taken is None
    assert "ONNX Runtime, which keeps the model" in caplog.text
