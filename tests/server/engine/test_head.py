"""What a session answers with an Imputer and a Scaler taken out, against ONNX Runtime with the whole graph."""

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from onnx import TensorProto, helper
from serval_registry.errors import InvalidArgument
from serval_server.engine.head import taken_out
from serval_server.engine.session import Session
from serval_server.errors import ModelRunFailed
from serval_sessions import same_run_and_bound
from skl2onnx import to_onnx
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import RobustScaler, StandardScaler

WIDTH = 3
OFFSET, SCALE = [1.0, -2.5, 0.1], [0.3, 4.0, 1e-3]
NEG = helper.make_node("Neg", ["scaled"], ["y"])


def scaler(source="x", target="scaled", offset=OFFSET, scale=SCALE):
    return helper.make_node("Scaler", [source], [target], domain="ai.onnx.ml", offset=offset, scale=scale)


def imputer(source="x", target="scaled", values=(7.0, -1.0, 0.5), replaced=np.nan, **more):
    given = {"imputed_value_floats": values, "replaced_value_float": replaced, **more}
    given = {name: value for name, value in given.items() if value is not None}
    return helper.make_node("Imputer", [source], [target], domain="ai.onnx.ml", **given)


def artifact_of(*nodes, given=TensorProto.FLOAT, shape=("N", WIDTH), outputs=("y",), inner=()):
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", given, shape)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        initializer=list(inner),
    )
    opsets = [helper.make_opsetid("", 15), helper.make_opsetid("ai.onnx.ml", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()


def whole(artifact, rows):
    session = onnxruntime.InferenceSession(artifact, providers=["CPUExecutionProvider"])
    return session.run(None, {"x": rows})


def same(left, right):
    assert len(left) == len(right)
    for one, other in zip(left, right, strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)


@pytest.fixture(scope="module", params=[(StandardScaler,), (SimpleImputer, RobustScaler), (SimpleImputer,)])
def pipeline(request):
    random = np.random.default_rng(5)
    rows = random.normal(random.normal(size=30) * 50, 1 + random.random(30) * 9, (400, 30)).astype(np.float32)
    model = make_pipeline(*(step() for step in request.param), LogisticRegression(max_iter=10_000))
    model.fit(rows, rows[:, 0] > rows[:, 0].mean())
    if SimpleImputer in request.param:
        rows[random.random(rows.shape) < 0.1] = np.nan
    return to_onnx(model, rows[:1], options={"zipmap": False}, naming=None).SerializeToString(), rows


@pytest.mark.parametrize("count", [1, 2, 19, 255, 400])
def test_a_pipeline_answers_the_same_bits_run_and_bound(pipeline, count):
    artifact, rows = pipeline
    name = onnx.load_from_string(artifact).graph.input[0].name
    given = rows[:count]
    reference = onnxruntime.InferenceSession(artifact, providers=["CPUExecutionProvider"])
    expected = reference.run(None, {name: given})
    graph, found = taken_out(artifact)
    assert found is not None
    assert b"Scaler" not in graph
    assert b"Imputer" not in graph
    same_run_and_bound(Session(artifact), {name: given}, expected, same)


def test_runs_that_are_bound_share_their_room_and_keep_their_answers(pipeline):
    artifact, rows = pipeline
    name = onnx.load_from_string(artifact).graph.input[0].name
    session = Session(artifact)
    runs = []
    for count in (3, 200, 7, 400):
        given = rows[400 - count :].copy()
        expected = session.run(session.output_names, {name: given})
        outputs = [np.zeros_like(output) for output in expected]
        runs.append(
            (session.bind({name: given}, dict(zip(session.output_names, outputs, strict=True))), outputs, expected)
        )
    for run, outputs, expected in (*runs, *reversed(runs)):
        for output in outputs:
            output[:] = 0
        run()
        same(outputs, expected)


@settings(max_examples=60, deadline=None)
@given(
    hnp.arrays(np.float32, st.tuples(st.integers(1, 40), st.just(WIDTH)), elements=st.floats(width=32)),
    st.sampled_from(
        [(OFFSET, SCALE), ([0.0] * WIDTH, [1.0] * WIDTH), ([2.0], [0.5]), ([3e38] * WIDTH, [-1e30] * WIDTH)]
    ),
)
def test_any_value_comes_out_as_of_onnx_runtime(rows, columns):
    artifact = artifact_of(scaler(offset=columns[0], scale=columns[1]), helper.make_node("Neg", ["scaled"], ["y"]))
    assert taken_out(artifact)[1] is not None
    same(Session(artifact).run(["y"], {"x": rows}), whole(artifact, rows))


@settings(max_examples=60, deadline=None)
@given(
    hnp.arrays(
        np.float32, st.tuples(st.integers(1, 40), st.just(WIDTH)), elements=st.floats(width=32) | st.just(np.nan)
    ),
    st.lists(st.sampled_from([0.0, -0.0, 1.5, 3e38, np.inf]), min_size=WIDTH, max_size=WIDTH) | st.just([2.5]),
)
def test_what_is_filled_in_is_as_of_onnx_runtime(rows, values):
    nodes = imputer(target="filled", values=values), scaler("filled"), NEG
    artifact = artifact_of(*nodes)
    graph, _ = taken_out(artifact)
    assert b"Imputer" not in graph
    assert b"Scaler" not in graph
    same(Session(artifact).run(["y"], {"x": rows}), whole(artifact, rows))


def test_all_that_read_the_scaled_rows_read_them_still():
    artifact = artifact_of(scaler(), helper.make_node("Mul", ["scaled", "scaled"], ["y"]))
    rows = np.arange(6, dtype=np.float32).reshape(2, WIDTH)
    assert taken_out(artifact)[1] is not None
    same(Session(artifact).run(["y"], {"x": rows}), whole(artifact, rows))


BRANCH = helper.make_graph(
    [helper.make_node("Neg", ["scaled"], ["b"])], "b", [], [helper.make_tensor_value_info("b", TensorProto.FLOAT, None)]
)
YES = helper.make_tensor("yes", TensorProto.BOOL, [], [True])


@pytest.mark.parametrize(
    "artifact",
    [
        pytest.param(
            artifact_of(scaler(), helper.make_node("Add", ["scaled", "x"], ["y"])), id="another-reads-the-rows"
        ),
        pytest.param(artifact_of(scaler(), NEG, outputs=("y", "scaled")), id="the-scaled-rows-are-an-output"),
        pytest.param(
            artifact_of(
                scaler(), helper.make_node("If", ["yes"], ["y"], then_branch=BRANCH, else_branch=BRANCH), inner=[YES]
            ),
            id="a-graph-within-may-read-them",
        ),
        pytest.param(artifact_of(scaler(), NEG, shape=("N", "M")), id="unknown-width"),
        pytest.param(
            artifact_of(helper.make_node("Neg", ["x"], ["negated"]), scaler("negated"), NEG), id="not-at-the-head"
        ),
        pytest.param(artifact_of(scaler(), NEG, given=TensorProto.INT64), id="whole-numbers"),
        pytest.param(artifact_of(scaler(), NEG, given=TensorProto.DOUBLE), id="float64"),
        pytest.param(artifact_of(imputer(replaced=3.0), NEG), id="another-number-is-replaced"),
        pytest.param(artifact_of(imputer(replaced=None), NEG), id="zeros-are-replaced"),
    ],
)
def test_a_scaler_that_something_else_can_tell_stays(artifact):
    graph, found = taken_out(artifact)
    assert found is None
    assert graph is artifact
    kind = onnx.load_from_string(artifact).graph.input[0].type.tensor_type.elem_type
    rows = np.arange(6).reshape(2, WIDTH).astype(helper.tensor_dtype_to_np_dtype(kind))
    session = Session(artifact)
    same(session.run(session.output_names, {"x": rows}), whole(artifact, rows))


def test_a_scaler_of_other_sizes_fails_as_it_does_in_onnx_runtime():
    artifact = artifact_of(scaler(offset=[1.0, 2.0], scale=[1.0, 2.0]), NEG)
    assert taken_out(artifact) == (artifact, None)


@pytest.mark.parametrize(
    "rows", [np.zeros((2, WIDTH)), np.zeros((2, WIDTH + 1), np.float32), np.zeros(WIDTH, np.float32)]
)
def test_rows_that_do_not_fit_are_refused_by_onnx_runtime(rows):
    session = Session(artifact_of(scaler(), NEG))
    with pytest.raises(ModelRunFailed, match=r"(?i)invalid|unexpected"):
        session.run(["y"], {"x": rows})


def test_what_is_no_model_is_refused_by_onnx_runtime():
    with pytest.raises(InvalidArgument, match="cannot load"):
        Session(b"\xffScaler\xff")
