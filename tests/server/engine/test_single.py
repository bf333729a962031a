"""Calls of one row share their arrays one after another, and never at once."""

import threading

import numpy as np
import pytest
from onnx import TensorProto, helper
from serval_registry import onnx_check
from serval_registry.model import DataType, Draft, Feature, FeatureKind, Signature, TensorSpec
from serval_registry.registry import Registry
from serval_server.engine import single as module
from serval_server.engine.loaded import LoadedModel
from serval_server.engine.predict import predict
from serval_server.engine.session import Session
from serval_server.engine.single import Singles
from serval_server.errors import ModelRunFailed
from serval_server.monitor.layout import Layouts
from serval_server.monitor.observer import Observer

FLOATS, LONGS = TensorProto.FLOAT, TensorProto.INT64
X = TensorSpec("x", DataType.FP32, (-1, 3))


@pytest.fixture(autouse=True)
def busy(monkeypatch):
    """The first calls of a model are those of a busy one."""
    monkeypatch.setattr(module, "FIRST_CALLS", 0)


def artifact_of(*nodes, outputs, held=()):
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", FLOATS, ["N", 3])],
        [helper.make_tensor_value_info(name, *of) for name, of in outputs.items()],
        initializer=list(held),
    )
    opsets = [helper.make_opsetid("", 15), helper.make_opsetid("ai.onnx.ml", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()


def scaled_artifact():
    """A model with a head, whose outputs are twice a scaled row and the place of its largest value."""
    scaler = helper.make_node(
        "Scaler", ["x"], ["s"], domain="ai.onnx.ml", offset=[1.0, 2.0, 3.0], scale=[0.5, 2.0, 0.1]
    )
    nodes = [scaler, helper.make_node("Add", ["s", "s"], ["y"]), helper.make_node("ArgMax", ["s"], ["place"], axis=1)]
    return artifact_of(*nodes, outputs={"y": (FLOATS, ["N", 3]), "place": (LONGS, ["N", 1])})


def scaled():
    outputs = (TensorSpec("y", DataType.FP32, (-1, 3)), TensorSpec("place", DataType.INT64, (-1, 1)))
    session = Session(scaled_artifact())
    return session, Singles(session, Signature((X,), outputs, {"": 15}))


def test_a_run_of_one_row_answers_as_any_other():
    session, singles = scaled()
    random = np.random.default_rng(0)
    used = set()
    for _ in range(5):
        rows = random.normal(size=(1, 3)).astype(np.float32)
        rows.flags.writeable = False
        single = singles.run({"x": rows})
        for found, expected in zip(single.outputs, session.run(["y", "place"], {"x": rows}), strict=True):
            assert (found.dtype, found.shape, found.tobytes()) == (expected.dtype, expected.shape, expected.tobytes())
        used.add(id(single))
        singles.give_back(single)
    assert len(used) == 1


def test_threads_do_not_share_arrays():
    session, singles = scaled()
    wrong, begin = [], threading.Barrier(8)

    def call(seed):
        random = np.random.default_rng(seed)
        begin.wait()
        for _ in range(300):
            rows = random.normal(size=(1, 3)).astype(np.float32)
            single = singles.run({"x": rows})
            expected = session.run(["y", "place"], {"x": rows})
            wrong.extend(one for one, other in zip(single.outputs, expected, strict=True) if (one != other).any())
            singles.give_back(single)

    threads = [threading.Thread(target=call, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert len(singles._free) <= len(threads)


def test_a_model_that_is_seldom_called_holds_no_settled_run(monkeypatch):
    monkeypatch.setattr(module, "FIRST_CALLS", 3)
    _, singles = scaled()
    rows = {"x": np.ones((1, 3), np.float32)}
    assert [singles.run(rows) is None for _ in range(4)] == [True, True, True, False]


def loaded(tmp_path, artifact):
    features = [Feature(f"f{i}", FeatureKind.NUMERIC, "x", i) for i in range(3)]
    with Registry.open(tmp_path) as registry:
        draft, signature = Draft(name="m", features=features), onnx_check.check(artifact, 1 << 20)
        version = registry.register(draft, signature, artifact, baseline=None, sample=None)
        model = LoadedModel(version, Session(artifact))
        model.observer = Observer(Layouts(registry).of(version), lambda: None)
    return model


def test_an_output_of_other_rows_than_its_signature_says_is_run_as_ever(tmp_path):
    nodes = [helper.make_node("Concat", ["x", "x"], ["y"], axis=0)]
    model = loaded(tmp_path, artifact_of(*nodes, outputs={"y": (FLOATS, ["N", 3])}))
    for _ in range(2):
        outputs, single = model.run_single({"x": np.ones((1, 3), np.float32)})
        assert single is None
        assert outputs[0].shape == (2, 3)


@pytest.mark.parametrize(
    ("given", "come"),
    [
        (TensorSpec("x", DataType.STRING, (-1, 3)), TensorSpec("y", DataType.FP32, (-1, 3))),
        (X, TensorSpec("y", DataType.FP32, (-1, -1))),
        (X, TensorSpec("y", DataType.FP32, ())),
        (TensorSpec("x", DataType.FP32, (8, 3)), TensorSpec("y", DataType.FP32, (8, 3))),
    ],
)
def test_texts_and_sizes_that_are_not_known_or_not_one_have_no_such_runs(given, come):
    session = Session(artifact_of(helper.make_node("Neg", ["x"], ["y"]), outputs={"y": (FLOATS, None)}))
    assert Singles(session, Signature((given,), (come,), {"": 15})).run({"x": np.ones((1, 3), np.float32)}) is None


def test_a_run_that_fails_says_so_and_the_next_one_is_made(tmp_path):
    places = helper.make_tensor("places", LONGS, [1], [0])
    nodes = [
        helper.make_node("Cast", ["x"], ["where"], to=LONGS),
        helper.make_node("Gather", ["places", "where"], ["y"]),
    ]
    model = loaded(tmp_path, artifact_of(*nodes, outputs={"y": (LONGS, ["N", 3])}, held=[places]))
    for _ in range(2):
        with pytest.raises(ModelRunFailed, match="failed on this input"):
            model.run_single({"x": np.full((1, 3), 7, np.float32)})
        outputs, single = model.run_single({"x": np.zeros((1, 3), np.float32)})
        assert single is not None
        assert outputs[0].tolist() == [[0, 0, 0]]


def test_what_is_answered_and_observed_is_that_of_the_call(tmp_path):
    model = loaded(tmp_path, scaled_artifact())
    rows = np.array([[1, 2, 3], [40, 50, 60]], np.float32)

    def call(inputs, names):
        return predict(model, lambda: ({"x": inputs}, names), lambda _, arrays: [array.copy() for array in arrays])

    one, other, both = (call(inputs, ["y", "place"]) for inputs in (rows[:1], rows[1:], rows))
    part = call(rows[:1], ["place"])
    assert (np.concatenate([one[0], other[0]]) == both[0]).all()
    assert (part[0] == both[1][:1]).all()
    assert len(model.singles._free) == 1
    seen = model.observer.take()
    assert (seen.rows, seen.unobserved) == (5, 0)
    assert seen.numbers.moments[:3, 0] == pytest.approx((rows[0] * 3 + rows[1] * 2).astype(float) / 5)
    model.statistics.settle()
    assert model.statistics.success.count == 4
