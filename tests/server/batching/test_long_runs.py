"""Runs that take long, or for ever, and threads that cannot be had: the loop waits for none, and calls are answered."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from serval_client import errors
from serval_lanes import PATIENCE, WIDTH, model_of, plain, rows, serving, until, until_batched
from serval_server.batching import budget, lane, methods
from serval_server.batching.backlog import Backlog
from serval_server.batching.inputs import rows_are_independent
from serval_server.engine.loaded import LoadedModel
from serval_server.engine.session import BoundRun


def choosing(scale: float = 1.0) -> bytes:
    """Rows, and nothing added to them as many times as the largest value says: a caller chooses how long a run is."""
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["on"]), helper.make_node("Mul", ["z", "none"], ["zero"])],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("z", TensorProto.FLOAT, []),
        ],
        [
            helper.make_tensor_value_info("on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("zero", TensorProto.FLOAT, []),
        ],
    )
    nodes = [
        helper.make_node("ReduceMax", ["X"], ["most"], keepdims=0),
        helper.make_node("Mul", ["most", "scale"], ["scaled"]),
        helper.make_node("Cast", ["scaled"], ["times"], to=TensorProto.INT64),
        helper.make_node("Loop", ["times", "", "none"], ["nothing"], body=body),
        helper.make_node("Add", ["X", "nothing"], ["Y"]),
    ]
    held = {"none": np.float32(0), "scale": np.float32(scale)}
    return model_of(nodes, [numpy_helper.from_array(value, name) for name, value in held.items()])


def weighing() -> bytes:
    """Rows; a run is long where there is any number but zeros among them, and then fails where one is above 50."""
    nodes = [
        helper.make_node("NonZero", ["X"], ["there"]),
        helper.make_node("Shape", ["there"], ["count"], start=1),
        helper.make_node("Concat", ["count", "many"], ["size"], axis=0),
        helper.make_node("ConstantOfShape", ["size"], ["one"], value=numpy_helper.from_array(np.ones(1, np.float32))),
        *(helper.make_node("Tan", [given], [made]) for given, made in zip(["one", *"abc"], "abcd", strict=True)),
        helper.make_node("ReduceSum", ["d"], ["sum"], keepdims=0),
        helper.make_node("Mul", ["sum", "none"], ["nothing"]),
        helper.make_node("ReduceMax", ["X"], ["most"], keepdims=0),
        helper.make_node("Mul", ["most", "fiftieth"], ["rest"]),
        helper.make_node("Add", ["rest", "nothing"], ["index"]),
        helper.make_node("Cast", ["index"], ["place"], to=TensorProto.INT64),
        helper.make_node("Gather", ["table", "place"], ["zero"]),
        helper.make_node("Add", ["X", "zero"], ["Y"]),
    ]
    held = {
        "many": np.array([1 << 20], np.int64),
        "none": np.float32(0),
        "fiftieth": np.float32(0.02),
        "table": np.zeros(1, np.float32),
    }
    return model_of(nodes, [numpy_helper.from_array(value, name) for name, value in held.items()])


@pytest.mark.parametrize(("artifact", "in_the_loop"), [(plain(), True), (choosing(), False)])
def test_a_run_whose_length_its_values_choose_is_not_made_in_the_loop(
    tmp_path: Path, lanes: list[lane.Lane], artifact: bytes, in_the_loop: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(budget, "SHORT_RUN_NS", 1_000_000_000)
    with serving(tmp_path, artifact) as (_, client):
        found = until_batched(lambda: client.predict("m", rows(1)), lanes)
        assert found._budget.is_short(1) == in_the_loop
        np.testing.assert_array_equal(client.predict("m", rows(2)).outputs["Y"], rows(2))


@pytest.fixture
def checked(monkeypatch: pytest.MonkeyPatch) -> list[Backlog]:
    """The backlogs whose runs in the loop were doubted, and have been made again."""
    again: list[Backlog] = []
    check = Backlog._check

    def noted(self: Backlog, octets: np.ndarray, count: int) -> None:
        check(self, octets, count)
        again.append(self)

    monkeypatch.setattr(Backlog, "_check", noted)
    return again


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("deferred", [False, True])
def test_a_model_that_has_taken_long_of_the_loop_is_not_run_there_again(
    tmp_path: Path,
    lanes: list[lane.Lane],
    checked: list[Backlog],
    deferred: bool,
    fails: bool,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(budget, "SHORT_RUN_NS", 1_000_000_000)
    monkeypatch.setattr(methods, "PREPARE_SECONDS", PATIENCE)
    monkeypatch.setattr(budget.TurnTime, "is_over", lambda _: deferred)
    nothing = np.zeros((1, WIDTH), np.float32)
    with serving(tmp_path, weighing()) as (_, client):
        found = until_batched(lambda: client.predict("m", nothing), lanes)
        assert found._budget.is_short(1)
        if fails:
            with pytest.raises(errors.Internal, match="idx=2"):
                client.predict("m", 100 * rows(1))
        else:
            np.testing.assert_array_equal(client.predict("m", rows(1)).outputs["Y"], rows(1))
        until(lambda: checked == [found._backlog])
        assert not found._budget.is_short(1)
        np.testing.assert_array_equal(client.predict("m", nothing).outputs["Y"], nothing)
        assert "no run of it is made in the loop any more" in caplog.text


def test_a_run_that_stood_still_keeps_no_model_out_of_the_loop(
    tmp_path: Path, lanes: list[lane.Lane], checked: list[Backlog], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(budget, "SHORT_RUN_NS", 1_000_000_000)
    stalls = [2 * budget.LONG_RUN_NS / 1e9]
    run = BoundRun.__call__

    def stalled(self: BoundRun) -> None:
        if stalls and lanes:
            time.sleep(stalls.pop())
        run(self)

    monkeypatch.setattr(BoundRun, "__call__", stalled)
    with serving(tmp_path, plain()) as (_, client):
        found = until_batched(lambda: client.predict("m", rows(1)), lanes)
        until(lambda: checked == [found._backlog])
        assert found._budget.is_short(1)


def test_a_model_that_takes_for_ever_to_prepare_keeps_no_other_from_its_lane(
    tmp_path: Path, lanes: list[lane.Lane], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(methods, "PREPARE_SECONDS", 2.0)
    nothing = np.zeros((1, WIDTH), np.float32)
    begun: list[str] = []

    def noted(model: LoadedModel, *more: Any) -> bool:
        begun.append(model.name)
        return rows_are_independent(model, *more)

    monkeypatch.setattr(methods, "rows_are_independent", noted)
    with serving(tmp_path, choosing(1e15)) as (_, client):
        until(lambda: len(client.predict("m", nothing).outputs["Y"]) == 1 and begun == ["m"])
        client.register(plain(), "n")
        found = until_batched(lambda: client.predict("n", rows(1)), lanes)
        np.testing.assert_array_equal(client.predict("m", nothing).outputs["Y"], nothing)
        assert {each.model.name for each in lanes} == {found.model.name} == {"n"}


@pytest.mark.parametrize("short_run_ns", [0, 1_000_000_000], ids=["on a worker", "in the loop"])
def test_where_no_thread_can_be_started_those_that_there_are_answer(
    tmp_path: Path, lanes: list[lane.Lane], short_run_ns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(budget, "SHORT_RUN_NS", short_run_ns)
    start = threading.Thread.start

    def start_few(self: threading.Thread) -> None:
        if self.name.startswith(("serval-prepare", "serval-run")):
            raise RuntimeError("can't start new thread")
        start(self)

    with serving(tmp_path, plain()) as (app, client):
        client.register(plain(), "n")
        monkeypatch.setattr(threading.Thread, "start", start_few)
        for model in ("m", "n"):
            until_batched(lambda model=model: client.predict(model, rows(1)), lanes)  # type: ignore[misc]
            lanes.clear()
        given = np.arange(60 * WIDTH, dtype=np.float32).reshape(60, WIDTH)
        with ThreadPoolExecutor(2) as callers:
            for each in callers.map(lambda model: client.predict_each(model, given), ("m", "n")):
                assert not each.errors
                np.testing.assert_array_equal(each.outputs["Y"], given)
        until(lambda: not any(each._answering.answers.working for each in lanes))
        assert not app.has_ended()
