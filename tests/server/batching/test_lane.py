"""What goes wrong with one model's batches is its callers' alone: models that do not keep to their rows, served."""

import contextlib
import gc
import time
import weakref
from pathlib import Path

import grpc
import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from serval_client import errors
from serval_kernels.drift import sketch
from serval_kernels.wire import batch
from serval_kernels.wire.plan import Plan
from serval_lanes import GONE, PATIENCE, WIDTH, model_of, plain, rows, serving, until, until_batched
from serval_protos.inference import open_inference_pb2 as inference
from serval_protos.inference import open_inference_pb2_grpc as inference_grpc
from serval_registry import onnx_check
from serval_registry.model import Draft
from serval_registry.registry import Registry
from serval_server.app import App
from serval_server.batching import backlog, budget, lane
from serval_server.batching.answering import Answering
from serval_server.batching.backlog import Backlog
from serval_server.batching.chunks import Chunk, Group
from serval_server.batching.estimate import Estimate
from serval_server.batching.inputs import batch_input, rows_are_independent
from serval_server.codec.features import features_of
from serval_server.config import BatchRows, Transport
from serval_server.engine.loaded import LoadedModel
from serval_server.engine.session import Session
from serval_server.monitor import observer
from serval_server.monitor.layout import Layouts


def reshaping() -> bytes:
    """A row for each number, though each row by itself says the same together and apart."""
    shape = numpy_helper.from_array(np.array([-1, 1], np.int64), "shape")
    return model_of([helper.make_node("Reshape", ["X", "shape"], ["Y"])], [shape], 1)


def filtering() -> bytes:
    """Only rows that do not begin with less than GONE."""
    nodes = [
        helper.make_node("Gather", ["X", "first"], ["begins"], axis=1),
        helper.make_node("Greater", ["begins", "gone"], ["stays"]),
        helper.make_node("Compress", ["X", "stays"], ["Y"], axis=0),
    ]
    held = [numpy_helper.from_array(np.array(0, np.int64), "first"), numpy_helper.from_array(np.float32(GONE), "gone")]
    return model_of(nodes, held)


def looking_up() -> bytes:
    """What a table of five says of the first number of a row; it fails for any other than 0 to 4."""
    nodes = [
        helper.make_node("Gather", ["X", "first"], ["begins"], axis=1),
        helper.make_node("Cast", ["begins"], ["place"], to=TensorProto.INT64),
        helper.make_node("Gather", ["table", "place"], ["Y"], axis=0),
    ]
    table = numpy_helper.from_array(np.arange(5, dtype=np.float32), "table")
    return model_of(nodes, [numpy_helper.from_array(np.array([0], np.int64), "first"), table], 1)


@pytest.mark.parametrize(("artifact", "independent"), [(plain(), True), (filtering(), True), (reshaping(), False)])
def test_an_output_has_a_row_for_each_row(tmp_path: Path, artifact: bytes, independent: bool) -> None:
    with Registry.open(tmp_path) as registry:
        signature = onnx_check.check(artifact, 1 << 20)
        draft = Draft(name="m", features=features_of((), signature))
        version = registry.register(draft, signature, artifact, baseline=None, sample=None)
    model = LoadedModel(version, Session(artifact))
    given = batch_input(model)
    assert given is not None
    assert rows_are_independent(model, given) == independent


@pytest.mark.slow
@pytest.mark.parametrize(
    ("short_run_ns", "bound_rows"),
    [(0, 0), (1_000_000_000, 0), (1_000_000_000, 256)],
    ids=["on a worker", "in the loop", "in the loop, bound"],
)
def test_an_output_that_loses_rows_fails_its_callers_alone(
    tmp_path: Path,
    lanes: list[lane.Lane],
    short_run_ns: int,
    bound_rows: int,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(budget, "SHORT_RUN_NS", short_run_ns)
    monkeypatch.setattr(lane, "BOUND_ROWS_MAX", bound_rows)
    with serving(tmp_path, filtering()) as (app, client):
        until_batched(lambda: client.predict("m", rows(1)), lanes)
        lanes.clear()
        with contextlib.suppress(errors.ServalError):  # by itself the model may answer what it likes
            client.predict("m", rows(2, without=1))
        assert lanes
        assert "a batch of 2 rows failed" in caplog.text
        assert len(client.predict("m", rows(2)).outputs["Y"]) == 2
        assert not app.has_ended()


def test_replies_that_cannot_be_written_are_refused(
    tmp_path: Path, lanes: list[lane.Lane], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(budget, "SHORT_RUN_NS", 0)

    def sizes(*_: object) -> None:
        raise OverflowError("reply: longer than protobuf allows")

    with serving(tmp_path, plain()) as (app, client):
        found = until_batched(lambda: client.predict("m", rows(1)), lanes)
        with monkeypatch.context() as patch:
            patch.setattr(found._answering, "codec", found._answering.codec._replace(sizes=sizes))
            with pytest.raises(errors.Internal, match="the model failed"):
                client.predict("m", rows(1))
        assert found.model.statistics.fail_count == 1
        assert len(client.predict("m", rows(1)).outputs["Y"]) == 1
        assert not app.has_ended()


@pytest.mark.slow
def test_a_message_that_fails_on_a_worker_is_told_why_and_counted(
    tmp_path: Path, lanes: list[lane.Lane], monkeypatch: pytest.MonkeyPatch
) -> None:
    given = np.zeros((200, WIDTH), np.float32)
    given[:, 0] = np.arange(200) % 5
    given[::50, 0] = 99
    with serving(tmp_path / "other", looking_up(), Transport.GRPCIO) as (_, client):
        reference = client.predict_each("m", given)
    monkeypatch.setattr(budget, "SHORT_RUN_NS", 0)
    with serving(tmp_path / "data", looking_up()) as (_, client):
        statistics = until_batched(lambda: client.predict("m", given[1]), lanes).model.statistics
        statistics.settle()
        before = statistics.success.count, statistics.inference_count
        each = client.predict_each("m", given, in_flight=100)
        statistics.settle()
        assert {row: (type(error), str(error)) for row, error in each.errors.items()} == {
            row: (type(error), str(error)) for row, error in reference.errors.items()
        }
        assert list(each.errors) == [0, 50, 100, 150]
        assert "idx=99" in str(each.errors[50])
        np.testing.assert_array_equal(each.outputs["Y"], reference.outputs["Y"])
        assert statistics.fail_count == 4
        assert (statistics.success.count - before[0], statistics.inference_count - before[1]) == (196, 196)


def test_a_worker_without_memory_fails_its_batch_and_takes_the_next(
    tmp_path: Path, lanes: list[lane.Lane], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(budget, "SHORT_RUN_NS", 0)
    with serving(tmp_path, plain()) as (_, client):
        until_batched(lambda: client.predict("m", rows(1)), lanes)
        with monkeypatch.context() as patch:
            patch.setattr(Plan, "size", lambda *_: 1 << 60)
            with pytest.raises(errors.Internal, match="the model failed"):
                client.predict("m", rows(1))
        assert len(client.predict("m", rows(1)).outputs["Y"]) == 1


def test_request_ids_that_wait_are_counted(
    tmp_path: Path, lanes: list[lane.Lane], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(budget, "SHORT_RUN_NS", 0)
    monkeypatch.setattr(backlog, "WAITING_OCTETS_MAX", 10_000)
    with serving(tmp_path, plain()) as (app, _), grpc.insecure_channel(f"127.0.0.1:{app.port}") as channel:
        stub = inference_grpc.GRPCInferenceServiceStub(channel)

        def infer(name: str) -> inference.ModelInferResponse:
            request = inference.ModelInferRequest(model_name="m", id=name)
            request.inputs.add(name="X", datatype="FP32", shape=[1, WIDTH])
            request.raw_input_contents.append(rows(1).tobytes())
            return stub.ModelInfer(request, timeout=PATIENCE)

        found = until_batched(lambda: infer("short"), lanes)
        with pytest.raises(grpc.RpcError) as caught:
            infer("i" * 10_000)
        assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        assert infer("i" * 9_000).id == "i" * 9_000
        assert found._backlog._waiting.octets == 0


def infer(app: App, model: str, given: np.ndarray) -> np.ndarray:
    with grpc.insecure_channel(f"127.0.0.1:{app.port}") as channel:
        request = inference.ModelInferRequest(model_name=model)
        request.inputs.add(name="X", datatype="FP32", shape=given.shape)
        request.raw_input_contents.append(given.tobytes())
        reply = inference_grpc.GRPCInferenceServiceStub(channel).ModelInfer(request, timeout=PATIENCE)
    return np.frombuffer(reply.raw_output_contents[0], np.float32).reshape(-1, WIDTH)


@pytest.mark.parametrize("method", ["Predict", "ModelInfer"])
def test_rows_that_are_gathered_as_they_are_decoded_are_those_of_the_call(
    tmp_path: Path, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lane, "_FIRST_OCTETS", 3 * WIDTH * 4)
    groups: list[tuple[lane.Lane, Group]] = []
    take = lane.Lane.take

    def noted(self: lane.Lane, group: Group) -> None:
        groups.append((self, group))
        take(self, group)

    monkeypatch.setattr(lane.Lane, "take", noted)
    numbers = iter(range(1, 1_000_000))

    def ask(model: str, given: np.ndarray) -> np.ndarray:
        return client.predict(model, given).outputs["Y"] if method == "Predict" else infer(app, model, given)

    def check(model: str, count: int) -> bool:
        """Ask for rows that were not there before; tell whether they were gathered where their lane wants them."""
        given = np.array([[next(numbers) for _ in range(WIDTH)] for _ in range(count)], np.float32)
        groups.clear()
        np.testing.assert_array_equal(ask(model, given), given)
        return bool(groups) and groups[-1][1].gathered is groups[-1][0]._rows

    with serving(tmp_path, plain()) as (app, client):
        client.register(plain(), "n")
        for model in ("m", "n"):
            until(lambda model=model: not check(model, 1) and bool(groups))
        until(lambda: check("m", 1))
        assert check("m", 3)  # all that there is room for
        assert not check("n", 1)  # another layout
        assert check("m", 2)
        assert not check("m", 4)  # more room is made, elsewhere
        until(lambda: check("m", 4))
        with pytest.raises((errors.InvalidArgument, grpc.RpcError), match="NaN"):
            ask("m", np.full((1, WIDTH), np.nan, np.float32))
        assert check("m", 1)
        client.register(plain(), "m")  # what is newer has a lane of its own
        until(lambda: check("m", 4))
        for turn in range(20):
            check("mn"[turn % 2], 1 + turn % 5)


@pytest.mark.parametrize("method", ["Predict", "ModelInfer"])
def test_a_turn_that_fills_blocks_leaves_all_its_rows_to_the_monitor(
    tmp_path: Path, lanes: list[lane.Lane], method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(observer, "BLOCK_ROWS", (1, 5))
    monkeypatch.setattr(observer, "BLOCKS_MAX", 1000)
    with serving(tmp_path, plain()) as (app, client):

        def ask(given: np.ndarray) -> np.ndarray:
            return client.predict("m", given).outputs["Y"] if method == "Predict" else infer(app, "m", given)

        model = until_batched(lambda: ask(rows(1)), lanes).model
        watching = observer.Observer(Layouts(Registry.open(tmp_path)).of(model.version), lambda: None)
        model.observer = watching
        sent = [np.full((count, WIDTH), number, np.float32) for number, count in enumerate((1, 4, 3, 12, 7, 1))]
        for given in sent:
            np.testing.assert_array_equal(ask(given), given)
        model.observer = None
        seen = watching.take()
    whole = np.concatenate(sent)
    assert seen is not None
    assert (seen.rows, seen.unobserved) == (len(whole), 0)
    moments = seen.numbers.moments[: 2 * WIDTH]  # inputs, and outputs that are the same
    np.testing.assert_allclose(moments[:, sketch.MEAN], whole.mean(), rtol=1e-6)
    np.testing.assert_allclose(moments[:, sketch.M2], whole[:, 0].var(dtype=np.float64) * len(whole), rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("short_run_ns", [0, 1_000_000_000])
def test_many_large_messages_are_run_by_the_cachefull(
    tmp_path: Path, lanes: list[lane.Lane], short_run_ns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(budget, "SHORT_RUN_NS", short_run_ns)
    monkeypatch.setattr(Estimate, "is_short", lambda *_: True)
    ran: list[int] = []
    worked: list[int] = []
    run, work = Answering.run, Backlog._work

    def noted(self: Answering, octets: np.ndarray, count: int) -> list[np.ndarray]:
        ran.append(count)
        return run(self, octets, count)

    def noted_work(self: Backlog, chunk: Chunk) -> None:
        worked.append(len(chunk.calls))
        work(self, chunk)

    size = batch.GROUP_OCTETS // (WIDTH * 4) // 2 + 1  # two fill a group

    def infer(stub: inference_grpc.GRPCInferenceServiceStub, number: int) -> grpc.Future:
        request = inference.ModelInferRequest(model_name="m")
        request.inputs.add(name="X", datatype="FP32", shape=[size, WIDTH])
        request.raw_input_contents.append(np.full((size, WIDTH), number, np.float32).tobytes())
        return stub.ModelInfer.future(request, timeout=PATIENCE)

    server = serving(tmp_path, plain(), max_batch_rows=BatchRows(1 << 20))
    with server as (app, _), grpc.insecure_channel(f"127.0.0.1:{app.port}") as channel:
        stub = inference_grpc.GRPCInferenceServiceStub(channel)
        until_batched(lambda: infer(stub, 0).result(), lanes)
        monkeypatch.setattr(Answering, "run", noted)
        monkeypatch.setattr(Backlog, "_work", noted_work)
        for number, call in enumerate([infer(stub, number) for number in range(60)]):
            answered = np.frombuffer(call.result().raw_output_contents[0], np.float32)
            assert answered.size == size * WIDTH
            assert (answered == number).all()
    assert sum(ran) == 60 * size
    assert max(ran) <= 3 * size  # on a worker, one that is not full takes another that is
    assert bool(worked) == (short_run_ns == 0)


def test_a_run_in_the_loop_is_a_use_of_its_model(tmp_path: Path, lanes: list[lane.Lane]) -> None:
    with serving(tmp_path, plain()) as (_, client):
        found = until_batched(lambda: client.predict("m", rows(1)), lanes)
        lanes.clear()
        before = time.monotonic()
        client.predict("m", rows(1))
        assert lanes
        assert found.model.last_used > before


def test_a_model_that_is_unloaded_is_let_go(tmp_path: Path, lanes: list[lane.Lane]) -> None:
    with serving(tmp_path, plain()) as (app, client):
        model = weakref.ref(until_batched(lambda: client.predict("m", rows(1)), lanes).model)
        lanes.clear()
        app.router.unload("m")
        until(lambda: gc.collect() >= 0 and model() is None)
