"""What happens to calls while things change: new versions, promotions, eviction, drain, workers, kill -9."""

import multiprocessing
import os
import signal
import threading
import time

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from serval_e2e import Stubs, connect, register_many, registration, tensor_rows
from serval_protos.v1 import common_pb2, prediction_pb2, registry_pb2

pytestmark = pytest.mark.slow("both")

TIMEOUT = 60.0


def predict(stubs: Stubs, model: str, row: np.ndarray) -> prediction_pb2.PredictReply:
    return stubs.prediction.Predict(prediction_pb2.PredictRequest(model=model, values=row.tolist()), timeout=TIMEOUT)


def register(stubs: Stubs, name: str, artifact: bytes, **header: object) -> registry_pb2.ModelVersion:
    return stubs.registry.RegisterModel(registration(name, artifact, **header), timeout=TIMEOUT)


def set_stage(stubs: Stubs, model: str, stage: int) -> registry_pb2.SetStageReply:
    return stubs.registry.SetStage(registry_pb2.SetStageRequest(model=model, stage=stage), timeout=TIMEOUT)


class Caller(threading.Thread):
    """Calls a model without a pause on a channel of its own; notes who answered and what failed."""

    def __init__(self, address: str, model: str, row: np.ndarray) -> None:
        super().__init__(daemon=True)
        self.stubs = connect(address)
        self.model, self.row = model, row
        self.stopping = threading.Event()
        self.versions: list[int] = []
        self.errors: list[grpc.RpcError] = []

    def run(self) -> None:
        while not self.stopping.is_set():
            try:
                self.versions.append(predict(self.stubs, self.model, self.row).version)
            except grpc.RpcError as error:
                self.errors.append(error)

    def stop(self) -> None:
        self.stopping.set()
        self.join(TIMEOUT)
        self.stubs.channel.close()


def await_answers(callers: list[Caller], version: int) -> None:
    """Wait until a version has answered each caller last."""
    deadline = time.monotonic() + TIMEOUT
    while any(caller.versions[-1:] != [version] for caller in callers):
        assert time.monotonic() < deadline, [caller.versions[-1:] for caller in callers]
        time.sleep(0.02)


def test_the_newest_answers_until_one_is_in_production(stubs, trained) -> None:
    row = trained["cancer"].rows[0]
    assert register(stubs, "stages", trained["cancer"].onnx).version == 1
    assert predict(stubs, "stages", row).version == 1
    assert register(stubs, "stages", trained["forest"].onnx).version == 2
    assert predict(stubs, "stages", row).version == 2
    set_stage(stubs, "stages@1", common_pb2.PRODUCTION)
    assert predict(stubs, "stages", row).version == 1
    assert predict(stubs, "stages@production", row).version == 1
    assert predict(stubs, "stages@2", row).version == 2
    change = set_stage(stubs, "stages@2", common_pb2.PRODUCTION)
    assert change.archived_version == 1
    assert predict(stubs, "stages", row).version == 2
    assert predict(stubs, "stages@archived", row).version == 1


def test_a_version_in_production_is_not_deleted_and_a_number_is_never_used_again(stubs, trained) -> None:
    row = trained["cancer"].rows[0]
    register(stubs, "deleted", trained["cancer"].onnx)
    register(stubs, "deleted", trained["forest"].onnx)
    set_stage(stubs, "deleted@1", common_pb2.PRODUCTION)
    with pytest.raises(grpc.RpcError) as caught:
        stubs.registry.DeleteVersion(registry_pb2.DeleteVersionRequest(model="deleted@1"), timeout=TIMEOUT)
    assert caught.value.code() == grpc.StatusCode.FAILED_PRECONDITION
    assert predict(stubs, "deleted@2", row).version == 2
    stubs.registry.DeleteVersion(registry_pb2.DeleteVersionRequest(model="deleted@2"), timeout=TIMEOUT)
    with pytest.raises(grpc.RpcError) as caught:
        predict(stubs, "deleted@2", row)
    assert caught.value.code() == grpc.StatusCode.NOT_FOUND
    assert register(stubs, "deleted", trained["cancer"].onnx).version == 3


def test_registering_and_promoting_under_traffic_fails_no_call(server, stubs, trained) -> None:
    register(stubs, "traffic", trained["cancer"].onnx)
    callers = [Caller(server.address, "traffic", trained["cancer"].rows[0]) for _ in range(4)]
    for caller in callers:
        caller.start()
    await_answers(callers, 1)
    register(stubs, "traffic", trained["forest"].onnx)
    await_answers(callers, 2)
    set_stage(stubs, "traffic@1", common_pb2.PRODUCTION)
    await_answers(callers, 1)
    set_stage(stubs, "traffic@2", common_pb2.PRODUCTION)
    await_answers(callers, 2)
    for caller in callers:
        caller.stop()
    for caller in callers:
        assert not caller.errors
        changes = [version for i, version in enumerate(caller.versions) if caller.versions[i - 1 : i] != [version]]
        assert changes == [1, 2, 1, 2]


def test_an_artifact_comes_back_as_it_was_sent(stubs, models) -> None:
    parts = list(stubs.registry.DownloadArtifact(registry_pb2.DownloadArtifactRequest(model="cancer"), timeout=TIMEOUT))
    assert b"".join(part.chunk for part in parts[1:]) == models["cancer"].onnx
    assert parts[0].header.bytes == len(models["cancer"].onnx)


@pytest.mark.slow
def test_models_over_the_memory_limit_are_dropped_and_come_back(serve, trained) -> None:
    server = serve("--memory", "1MiB")
    stubs = connect(server.address)
    names = [f"model-{i}" for i in range(20)]
    for name in names:
        register(stubs, name, trained["forest"].onnx)
    for _ in range(2):
        for name in names:
            assert predict(stubs, name, trained["forest"].rows[0]).name == name
    from serval_protos.inference import open_inference_pb2 as pb

    loaded = stubs.inference.ModelStatistics(pb.ModelStatisticsRequest(), timeout=TIMEOUT).model_stats
    assert sum(model.memory_usage[0].byte_size for model in loaded) <= 1 << 20
    assert 0 < len(loaded) < 20
    stubs.channel.close()


@pytest.mark.slow
def test_drain(serve, trained) -> None:
    """SIGTERM: health says NOT_SERVING first, what is in flight ends well, the process ends with 0."""
    server = serve("--grace", "3")
    stubs = connect(server.address)
    register(stubs, "cancer", trained["cancer"].onnx)
    health = health_pb2_grpc.HealthStub(stubs.channel)
    states = health.Watch(health_pb2.HealthCheckRequest(service=""), timeout=TIMEOUT)
    assert next(states).status == health_pb2.HealthCheckResponse.SERVING
    caller = Caller(server.address, "cancer", trained["cancer"].rows[0])
    caller.start()
    time.sleep(0.2)
    server.process.send_signal(signal.SIGTERM)
    assert next(states).status == health_pb2.HealthCheckResponse.NOT_SERVING
    assert server.wait() == 0
    caller.stop()
    assert len(caller.versions) > 10
    # grpcio cancels a call that has arrived but has not been taken from its queue when it stops.
    assert {error.code() for error in caller.errors} <= {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}
    stubs.channel.close()


@pytest.mark.slow
def test_a_port_in_use_is_said_to_be(server) -> None:
    import subprocess

    from serval_e2e import SERVAL

    for workers in ("1", "2"):
        other = subprocess.run(
            [SERVAL, "serve", "--data", server.data / "other", "--listen", server.address, "--workers", workers],
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            check=False,
        )
        assert other.returncode == 1
        assert server.address in other.stderr
        assert "Traceback" not in other.stderr


@pytest.mark.slow
def test_workers_share_a_port_and_see_each_others_changes(serve, trained) -> None:
    server = serve("--workers", "2")
    row = trained["cancer"].rows[0]
    clients = [connect(server.address) for _ in range(12)]
    register(clients[0], "shared", trained["cancer"].onnx)
    for stubs in clients:  # unknown names are looked up once more before NOT_FOUND, so nobody waits for a poll
        assert predict(stubs, "shared", row).version == 1
    register(clients[3], "shared", trained["forest"].onnx)
    for number in (2, 1, 2, 1, 2):  # once of some, as the machine may pause
        set_stage(clients[5], f"shared@{number}", common_pb2.PRODUCTION)
        began = time.monotonic()
        while any(predict(stubs, "shared", row).version != number for stubs in clients):
            assert time.monotonic() - began < TIMEOUT
        if time.monotonic() - began < 1.0:
            break
    else:
        pytest.fail("each change took more than a second to reach every worker")
    children = children_of(server.process.pid)
    assert len(children) == 2
    os.kill(children[0], signal.SIGKILL)
    deadline = time.monotonic() + TIMEOUT
    while len(children_of(server.process.pid)) < 2 or children[0] in children_of(server.process.pid):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    for stubs in clients:
        stubs.channel.close()
    assert server.terminate() == 0
    assert not any(alive(child) for child in children)


@pytest.mark.slow
def test_workers_end_when_their_parent_is_killed(serve) -> None:
    server = serve("--workers", "2")
    children = children_of(server.process.pid)
    assert len(children) == 2
    server.kill()
    deadline = time.monotonic() + 30
    while any(alive(child) for child in children):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def children_of(pid: int) -> list[int]:
    with open(f"/proc/{pid}/task/{pid}/children") as file:
        return [int(child) for child in file.read().split()]


def alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.slow
@pytest.mark.skipif("SERVAL_LONG" not in os.environ, reason="takes long, and the registry has the same: SERVAL_LONG=1")
def test_four_processes_register_one_name_and_nothing_is_lost(serve, trained) -> None:
    server = serve("--workers", "2")
    spawn = multiprocessing.get_context("spawn")
    numbers = spawn.Queue()
    artifact = trained["cancer"].onnx
    processes = [
        spawn.Process(target=register_many, args=(server.address, "contested", artifact, 50, numbers)) for _ in range(4)
    ]
    for process in processes:
        process.start()
    answered = sorted(numbers.get(timeout=120) for _ in range(200))
    for process in processes:
        process.join(TIMEOUT)
    assert answered == list(range(1, 201))
    children = children_of(server.process.pid)
    for pid in children:
        os.kill(pid, signal.SIGKILL)
    server.kill()

    again = serve(data=server.data)
    stubs = connect(again.address)
    listed = stubs.registry.ListModels(
        registry_pb2.ListModelsRequest(name="contested", page_size=1000), timeout=TIMEOUT
    ).versions
    assert [version.version for version in listed] == list(range(1, 201))
    for number in range(1, 201):
        parts = stubs.registry.DownloadArtifact(
            registry_pb2.DownloadArtifactRequest(model=f"contested@{number}"), timeout=TIMEOUT
        )
        assert b"".join(part.chunk for part in parts) == artifact
    assert predict(stubs, "contested", trained["cancer"].rows[0]).version == 200
    stubs.channel.close()


def test_two_versions_serve_at_once(stubs, trained) -> None:
    rows = trained["cancer"].rows[:50]
    register(stubs, "both", trained["cancer"].onnx, sample=tensor_rows(trained["cancer"].train))
    register(stubs, "both", trained["forest"].onnx)
    for version, name in ((1, "cancer"), (2, "forest")):
        for row in rows[:5]:
            reply = predict(stubs, f"both@{version}", row)
            assert reply.version == version
            assert reply.outputs[0].integers[0] == trained[name].estimator.predict(row[None])[0]


@pytest.mark.slow
def test_what_is_warm_is_loaded_before_the_server_is_ready(serve, trained) -> None:
    from serval_protos.inference import open_inference_pb2 as pb

    first = serve()
    stubs = connect(first.address)
    for name in ("lazy", "hot"):
        register(stubs, name, trained["cancer"].onnx)
    set_stage(stubs, "hot@1", common_pb2.PRODUCTION)
    stubs.channel.close()
    first.terminate()
    for warm, wanted in (("production", ["hot"]), ("all", ["hot", "lazy"])):
        server = serve("--warm", warm, data=first.data)
        stubs = connect(server.address)
        loaded = stubs.inference.ModelStatistics(pb.ModelStatisticsRequest(), timeout=TIMEOUT).model_stats
        assert [model.name for model in loaded] == wanted
        assert predict(stubs, "lazy", trained["cancer"].rows[0]).version == 1
        stubs.channel.close()
        server.terminate()
