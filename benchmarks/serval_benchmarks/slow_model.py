"""A model that is slow on purpose: a run takes about as long as asked, for one row as for many."""

import time
from typing import Any

import numpy as np
from onnx import TensorProto, checker, helper, numpy_helper
from onnxruntime import InferenceSession, SessionOptions

WIDTH = 30
_SIDE = 256
_TRIAL_LINKS = 8
_TRIALS = 7
_SEED = 20_240_602


def build(seconds: float) -> tuple[bytes, float]:
    """Return an ONNX model whose run takes about `seconds` of one core, and what a run of it took here.

    Input `X` float32[n, 30], output `sum` float32[n]: the sum of each row, after a chain of products of 256 x 256
    matrices whose result is multiplied by zero.
    """
    trial = _chain(_TRIAL_LINKS)
    links = max(1, round(_TRIAL_LINKS * seconds / run_seconds(trial)))
    model = _chain(links)
    return model, run_seconds(model)


def run_seconds(model: bytes) -> float:
    """Return the least processor time of a run with one row, in seconds, on one thread."""
    options = SessionOptions()
    options.intra_op_num_threads = 1
    session = InferenceSession(model, options, providers=["CPUExecutionProvider"])
    row = {"X": np.ones((1, WIDTH), np.float32)}
    session.run(None, row)
    return min(_one_run(session, row) for _ in range(_TRIALS))


def _one_run(session: Any, row: dict[str, Any]) -> float:
    begin = time.thread_time()
    session.run(None, row)
    return time.thread_time() - begin


def _chain(links: int) -> bytes:
    # Orthogonal, so that the products neither overflow nor become subnormal.
    matrix = np.linalg.qr(np.random.default_rng(_SEED).standard_normal((_SIDE, _SIDE)))[0].astype(np.float32)
    # The number of rows enters by zero: with constants alone the products would be done once, when the model is loaded.
    nodes = [
        helper.make_node("Shape", ["X"], ["shape"]),
        helper.make_node("Cast", ["shape"], ["sizes"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMax", ["sizes"], ["size"], keepdims=0),
        helper.make_node("Mul", ["size", "zero"], ["nothing"]),
        helper.make_node("Add", ["matrix", "nothing"], ["product0"]),
        *(helper.make_node("MatMul", [f"product{i}", "matrix"], [f"product{i + 1}"]) for i in range(links)),
        helper.make_node("ReduceMax", [f"product{links}"], ["largest"], keepdims=0),
        helper.make_node("Mul", ["largest", "zero"], ["vanished"]),
        helper.make_node("ReduceSum", ["X", "columns"], ["sums"], keepdims=0),
        helper.make_node("Add", ["sums", "vanished"], ["sum"]),
    ]
    graph = helper.make_graph(
        nodes,
        "slow",
        [helper.make_tensor_value_info("X", TensorProto.FLOAT, ["rows", WIDTH])],
        [helper.make_tensor_value_info("sum", TensorProto.FLOAT, ["rows"])],
        [
            numpy_helper.from_array(matrix, "matrix"),
            numpy_helper.from_array(np.array(0, np.float32), "zero"),
            numpy_helper.from_array(np.array([1], np.int64), "columns"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    checker.check_model(model)
    return bytes(model.SerializeToString())
