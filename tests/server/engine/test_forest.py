"""What a session answers with the trees taken out of its graph, against ONNX Runtime with the whole graph."""

from concurrent.futures import ThreadPoolExecutor

import lightgbm
import numpy as np
import pytest
import xgboost
from serval_client.export import export
from serval_ensembles import around, changed, same, whole
from serval_kernels import trees
from serval_server.engine.session import Session
from serval_server.engine.taken import taken_out
from serval_server.errors import ModelRunFailed
from serval_sessions import same_run_and_bound
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
        same_run_and_bound(session, {name: rows}, expected, same)


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


@pytest.mark.parametrize(
    "inputs",
    [
        {},
        {"x": np.zeros((2, 3), np.float32), "y": np.zeros(1)},
        {"x": np.zeros((2, 4), np.float32)},
        {"x": np.zeros((2, 3))},
        {"x": np.zeros(3, np.float32)},
    ],
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

    def wrong(*arguments):
        sums(*arguments)
        arguments[-2][:] += np.float32(1e-7)

    monkeypatch.setattr(trees, "sums", wrong)
    session = Session(artifact)
    assert session._taken is None
    assert "ONNX Runtime, which keeps the model" in caplog.text
    rows = np.zeros((4, 3), np.float32)
    same(session.run(session.output_names, {"x": rows}), whole(artifact).run(None, {"x": rows}))


def test_the_comparison_asks_at_the_thresholds_themselves():
    forest = taken_out(changed()).part
    rows = np.concatenate([forest.probes(count) for count in forest.probed])
    near = np.array([np.nextafter(np.float32(1), np.float32(towards)) for towards in (0, 1, 2)])
    assert {float(value) for value in near} <= set(rows[:, 0].tolist())
    assert np.isnan(rows).any()
    assert np.isinf(rows).any()


def test_outputs_of_another_shape_or_type_cannot_be_bound():
    rows = np.zeros((5, 3), np.float32)
    session, label, score = Session(changed()), np.zeros(5, np.int64), np.zeros((5, 2), np.float32)
    for wrong in ({"label": label[:4]}, {"label": label.astype(np.int32)}, {"score": np.zeros((5, 7), np.float32)}):
        with pytest.raises(RuntimeError, match=r"is (int64|float32)"):
            session.bind({"x": rows}, {"label": label, "score": score} | wrong)


def test_many_threads_run_a_session_at_once_while_bound_runs_go_on():
    artifact = changed()
    session, reference = Session(artifact), whole(artifact)
    sizes = (1, 7, 23, 24, 64, 65, 200, 500)
    rows = {count: np.random.default_rng(count).normal(1, 1, (count, 3)).astype(np.float32) for count in sizes}
    expected = {count: reference.run(None, {"x": rows[count]}) for count in sizes}
    outputs = [np.zeros_like(output) for output in expected[65]]
    bound = session.bind({"x": rows[65]}, dict(zip(session.output_names, outputs, strict=True)))

    def run(count):
        for _ in range(100):
            same(session.run(session.output_names, {"x": rows[count]}), expected[count])

    with ThreadPoolExecutor(len(sizes)) as threads:
        running = [threads.submit(run, count) for count in sizes]
        while not all(each.done() for each in running):
            bound()
            same(outputs, expected[65])
        for each in running:
            each.result()
