"""Calls of many models at once: what a turn of the loop has no time for is run in the turns after it."""

import time
from pathlib import Path

import numpy as np
import pytest
import serval_frames as h2f
from onnx import TensorProto, helper, numpy_helper
from serval_lanes import PATIENCE, serving
from serval_protos.inference import open_inference_pb2 as inference
from serval_server.batching import deferred
from serval_server.batching.backlog import Backlog
from serval_server.batching.budget import SHORT_RUN_NS, TurnTime
from serval_server.batching.deferred import Deferred

MODELS = 8
INFER = "/inference.GRPCInferenceService/ModelInfer"


class Noted:
    """What `Deferred` sees of a backlog."""

    def __init__(self, name: str, went_on: list[str]) -> None:
        self.name, self._went_on = name, went_on

    def go_on(self, _turn: int) -> None:
        self._went_on.append(self.name)


def deferred_ones(went_on: list[str]) -> Deferred:
    waiting = Deferred()
    noted = {name: Noted(name, went_on) for name in "abcdef"}
    for connection, names in [(7, "abac"), (3, "de"), (5, "f")]:
        for name in names:
            waiting.add(connection, noted[name])  # type: ignore[arg-type]
    return waiting


def test_connections_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deferred, "TURN_NS", int(PATIENCE * 1e9))
    went_on: list[str] = []
    waiting = deferred_ones(went_on)
    waiting.run(1)
    assert went_on == ["a", "d", "f", "b", "e", "c"]
    assert not waiting


def test_a_turn_goes_on_with_one_at_least(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deferred, "TURN_NS", 0)
    went_on: list[str] = []
    waiting = deferred_ones(went_on)
    for turn in range(1, 7):
        assert waiting
        waiting.run(turn)
        assert len(went_on) == turn
    assert not waiting


def test_a_turn_is_over_when_its_runs_have_taken_long_together() -> None:
    turn = TurnTime()
    for number in (1, 2):
        turn.begin()
        assert turn.turn == number
        assert not turn.is_over()
        turn.spent_ns += SHORT_RUN_NS - 1
        assert not turn.is_over()
        turn.spent_ns += 1
        assert turn.is_over()


def adding(number: int) -> bytes:
    """A model that adds a number."""
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node("Add", ["X", "number"], ["Y"])],
        "g",
        [value("X", TensorProto.FLOAT, [None, 1])],
        [value("Y", TensorProto.FLOAT, [None, 1])],
        [numpy_helper.from_array(np.float32(number), "number")],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    return bytes(made.SerializeToString())


def asks(number: int) -> bytes:
    request = inference.ModelInferRequest(model_name=f"m{number}", raw_input_contents=[np.float32(0.5).tobytes()])
    request.inputs.add(name="X", datatype="FP32", shape=[1, 1])
    return request.SerializeToString()


def answer(reply: h2f.Reply) -> float:
    assert reply.grpc_status == 0
    said = inference.ModelInferResponse.FromString(reply.body[5:])
    return float(np.frombuffer(said.raw_output_contents[0], np.float32)[0])


def test_models_that_wait_for_later_turns_answer_as_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TurnTime, "is_over", lambda self: self.spent_ns > 0)
    monkeypatch.setattr(deferred, "TURN_NS", 0)
    waited: set[Backlog] = set()
    go_on = Backlog.go_on

    def noted(self: Backlog, turn: int) -> None:
        waited.add(self)
        go_on(self, turn)

    monkeypatch.setattr(Backlog, "go_on", noted)
    with serving(tmp_path, adding(0)) as (app, sdk), h2f.FrameClient(h2f.Address("127.0.0.1", app.port)) as client:
        for number in range(MODELS):
            sdk.register(adding(number), f"m{number}")
        client.timeout, deadline, stream = PATIENCE, time.monotonic() + PATIENCE, 1
        while len(waited) < MODELS - 1:  # all but the first of a turn; before they have lanes, none
            assert time.monotonic() < deadline
            asked = [(stream + 2 * place, place % MODELS) for place in range(3 * MODELS)]
            stream += 2 * len(asked)
            client.send(b"".join(client.grpc_request(on, INFER, asks(number)) for on, number in asked))
            client.until(lambda asked=asked: all(client.reply(on).over for on, _ in asked), "answers")  # type: ignore[misc]
            assert [answer(client.reply(on)) for on, _ in asked] == [number + 0.5 for _, number in asked]
