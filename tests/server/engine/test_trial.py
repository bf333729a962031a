"""A model's first run, before it is registered: what does not end, and what has more columns than anybody names."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from serval_registry import onnx_check
from serval_registry.errors import InvalidArgument
from serval_registry.model import DataType, Signature, TensorSpec
from serval_server.codec.features import COLUMNS_MAX, features_of
from serval_server.engine import session as sessions
from serval_server.engine.session import Session, passes_missing, trial


def counting(turns: int) -> bytes:
    """Return a model that adds to x what a loop of so many turns has counted."""
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["on"]), helper.make_node("Add", ["sum", "one"], ["more"])],
        "body",
        [
            helper.make_tensor_value_info("turn", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("sum", TensorProto.FLOAT, []),
        ],
        [
            helper.make_tensor_value_info("on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("more", TensorProto.FLOAT, []),
        ],
        [numpy_helper.from_array(np.float32(1), "one")],
    )
    graph = helper.make_graph(
        [
            helper.make_node("Loop", ["turns", "begin", "zero"], ["counted"], body=body),
            helper.make_node("Add", ["x", "counted"], ["y"]),
        ],
        "counting",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 3])],
        [
            numpy_helper.from_array(np.array(turns, np.int64), "turns"),
            numpy_helper.from_array(np.array(True), "begin"),
            numpy_helper.from_array(np.float32(0), "zero"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def test_a_model_that_does_not_end_is_refused(monkeypatch) -> None:
    monkeypatch.setattr(sessions, "TRIAL_SECONDS", 0.2)
    artifact = counting(1 << 62)
    signature = onnx_check.check(artifact, 1 << 20)
    session = Session(artifact)
    with pytest.raises(InvalidArgument, match=r"a trial run fails: the model does not end within 0\.2 s"):
        trial(session, signature, None)
    assert not passes_missing(session, signature)


def test_a_model_that_ends_is_run() -> None:
    artifact = counting(5)
    session = Session(artifact)
    trial(session, onnx_check.check(artifact, 1 << 20), None)
    (answer,) = session.run_within(60, {"x": np.zeros((1, 3), np.float32)})
    assert answer.tolist() == [[5, 5, 5]]


@pytest.mark.parametrize("width", [COLUMNS_MAX + 1, onnx_check.ELEMENTS_MAX, 1 << 40])
def test_columns_beyond_their_number_are_not_made_one_by_one(width: int) -> None:
    inputs, outputs = (TensorSpec("x", DataType.FP32, (-1, width)),), (TensorSpec("y", DataType.FP32, (-1,)),)
    signature = Signature(inputs=inputs, outputs=outputs, opsets={"": 18})
    assert features_of((), signature) == ()
