"""Clients of other projects, unmodified."""

import asyncio
import json
import queue
import re
import shutil
import subprocess
import sys
from pathlib import Path

import grpc
import numpy as np
import pytest
import serval_frames as h2
import serval_protos
import tritonclient.grpc as triton
import tritonclient.grpc.aio as triton_aio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from serval_protos.inference import open_inference_pb2 as pb
from serval_protos.services import SERVICES
from serval_protos.v1 import prediction_pb2
from tritonclient.utils import InferenceServerException

pytestmark = pytest.mark.slow("both")


def triton_input(module, rows: np.ndarray):
    tensor = module.InferInput("X", list(rows.shape), "FP32")
    tensor.set_data_from_numpy(np.ascontiguousarray(rows))
    return [tensor]


def agrees(model, rows: np.ndarray, result) -> None:
    np.testing.assert_array_equal(result.as_numpy("label"), model.estimator.predict(rows))
    np.testing.assert_allclose(result.as_numpy("probabilities"), model.estimator.predict_proba(rows), atol=1e-5)


def test_tritonclient(server, models) -> None:
    rows = models["cancer"].rows
    client = triton.InferenceServerClient(server.address)
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("cancer")
    with pytest.raises(InferenceServerException, match="NOT_FOUND"):
        client.is_model_ready("nobody")
    assert client.get_server_metadata().name == "serval"
    assert client.get_model_metadata("cancer", as_json=True)["inputs"][0]["shape"] == ["-1", "30"]
    assert client.get_model_config("cancer").config.backend == "onnxruntime"
    agrees(models["cancer"], rows, client.infer("cancer", triton_input(triton, rows)))
    agrees(models["cancer"], rows, client.infer("cancer", triton_input(triton, rows), model_version="1"))
    result = client.infer(
        "cancer",
        triton_input(triton, rows[:2]),
        request_id="7",
        outputs=[triton.InferRequestedOutput("probabilities", class_count=2)],
        priority=1,
        sequence_id=3,
        sequence_start=True,
    )
    assert result.get_response().id == "7"
    assert result.as_numpy("probabilities").shape == (2, 2)
    assert b":" in result.as_numpy("probabilities")[0, 0]
    with pytest.raises(InferenceServerException, match="nobody"):
        client.infer("nobody", triton_input(triton, rows))
    assert any(model.name == "cancer" for model in client.get_model_repository_index().models)
    assert int(client.get_inference_statistics("cancer").model_stats[0].inference_count) >= len(rows)
    client.close()


def test_tritonclient_with_strings(server, models) -> None:
    model = models["mixed"]
    numbers = triton.InferInput("numbers", [5, 2], "FP32")
    numbers.set_data_from_numpy(model.rows[:5, :2].astype(np.float32))
    colours = triton.InferInput("colour", [5, 1], "BYTES")
    colours.set_data_from_numpy(model.rows[:5, 2:].astype(object))
    client = triton.InferenceServerClient(server.address)
    labels = client.infer("mixed", [numbers, colours]).as_numpy("label")
    assert [label.decode() for label in labels] == list(model.estimator.predict(model.rows[:5]))
    client.close()


def test_tritonclient_with_callbacks(server, models) -> None:
    rows = models["cancer"].rows[:20]
    answers: queue.Queue[object] = queue.Queue()
    client = triton.InferenceServerClient(server.address)
    for _ in range(20):
        client.async_infer("cancer", triton_input(triton, rows), lambda result, error: answers.put(error or result))
    for _ in range(20):
        agrees(models["cancer"], rows, answers.get(timeout=30))
    client.close()


def test_tritonclient_streaming(server, models) -> None:
    rows = models["cancer"].rows[:4]
    answers: queue.Queue[tuple[object, object]] = queue.Queue()
    client = triton.InferenceServerClient(server.address)
    client.start_stream(lambda result, error: answers.put((result, error)))
    client.async_stream_infer("cancer", triton_input(triton, rows), request_id="1")
    client.async_stream_infer("nobody", triton_input(triton, rows), request_id="2")
    client.async_stream_infer("cancer", triton_input(triton, rows), request_id="3")
    first, second, third = (answers.get(timeout=30) for _ in range(3))
    client.stop_stream()
    client.close()
    agrees(models["cancer"], rows, first[0])
    assert first[1] is None
    assert "nobody" in str(second[1])
    agrees(models["cancer"], rows, third[0])


def test_tritonclient_asyncio(server, models) -> None:
    rows = models["cancer"].rows

    async def main() -> None:
        client = triton_aio.InferenceServerClient(server.address)
        results = await asyncio.gather(
            *(client.infer("cancer", triton_input(triton_aio, rows[i : i + 1])) for i in range(20))
        )
        for i, result in enumerate(results):
            agrees(models["cancer"], rows[i : i + 1], result)
        await client.close()

    asyncio.run(main())


KSERVE = """
import asyncio, sys
import numpy as np
from kserve import InferenceGRPCClient, InferInput, InferRequest

async def main(address):
    client = InferenceGRPCClient(url=address)
    assert await client.is_server_live() and await client.is_server_ready()
    assert await client.is_model_ready("cancer")
    rows = np.load(sys.argv[2])
    raw = InferInput(name="X", shape=list(rows.shape), datatype="FP32")
    raw.set_data_from_numpy(rows)
    typed = InferInput(name="X", shape=list(rows.shape), datatype="FP32", data=rows.reshape(-1).tolist())
    answers = []
    for tensor in (raw, typed):
        reply = await client.infer(InferRequest(model_name="cancer", infer_inputs=[tensor]))
        answers.append({output.name: output.as_numpy() for output in reply.outputs})
    for name in ("label", "probabilities"):
        np.testing.assert_array_equal(answers[0][name], answers[1][name])
    np.savez(sys.argv[3], **answers[0])
    await client.close()

asyncio.run(main(sys.argv[1]))
"""


def test_kserve(server, models, tmp_path) -> None:
    """In a process of its own: kserve and tritonclient cannot be imported into one."""
    model = models["cancer"]
    np.save(tmp_path / "rows.npy", model.rows)
    subprocess.run(
        [sys.executable, "-c", KSERVE, server.address, tmp_path / "rows.npy", tmp_path / "answers.npz"],
        check=True,
        timeout=120,
    )
    answers = np.load(tmp_path / "answers.npz")
    np.testing.assert_array_equal(answers["label"].reshape(-1), model.estimator.predict(model.rows))
    np.testing.assert_allclose(answers["probabilities"], model.estimator.predict_proba(model.rows), atol=1e-5)


def test_health(server) -> None:
    with grpc.insecure_channel(server.address) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        for name in ("", *(service.full_name for service in SERVICES)):
            reply = stub.Check(health_pb2.HealthCheckRequest(service=name), timeout=30)
            assert reply.status == health_pb2.HealthCheckResponse.SERVING
        with pytest.raises(grpc.RpcError) as caught:
            stub.Check(health_pb2.HealthCheckRequest(service="nothing"), timeout=30)
        assert caught.value.code() == grpc.StatusCode.NOT_FOUND


def test_reflection_lists_and_describes_every_service(server) -> None:
    with grpc.insecure_channel(server.address) as channel:
        database = ProtoReflectionDescriptorDatabase(channel)
        names = set(database.get_services())
        assert {service.full_name for service in SERVICES} <= names
        assert {"grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection"} <= names
        for service in SERVICES:
            file = database.FindFileContainingSymbol(service.full_name)
            assert service.name in [entry.name for entry in file.service]
        assert database.FindFileContainingSymbol("inference.ModelInferRequest").package == "inference"


MODEL_INFER = "/inference.GRPCInferenceService/ModelInfer"
MODEL_STREAM_INFER = "/inference.GRPCInferenceService/ModelStreamInfer"
PREDICT = "/serval.v1.PredictionService/Predict"


def infer_request(rows: np.ndarray, **more) -> pb.ModelInferRequest:
    tensor = pb.ModelInferRequest.InferInputTensor(name="X", datatype="FP32", shape=rows.shape)
    return pb.ModelInferRequest(model_name="cancer", inputs=[tensor], raw_input_contents=[rows.tobytes()], **more)


def labels_of(reply: pb.ModelInferResponse) -> np.ndarray:
    return np.frombuffer(reply.raw_output_contents[0], np.int64)


def command_of(program: str, body: Path, *octets: bytes) -> list[str]:
    """A command of nghttp2's that sends messages as gRPC does, but for its options and the address."""
    found = shutil.which(program)
    if found is None:
        pytest.skip(f"{program} is not installed")
    body.write_bytes(b"".join(map(h2.grpc_message, octets)))
    fields = ("content-type: application/grpc", "te: trailers")
    return [found, "-d", str(body), *(part for field in fields for part in ("-H", field))]


def nghttp(address: str, path: str, command: list[str]) -> list[bytes]:
    """The messages of the reply, which ended well."""
    url = f"http://{address}{path}"
    told = subprocess.run([*command, "-nv", url], capture_output=True, check=True, timeout=60).stdout
    assert b"grpc-status: 0" in re.sub(rb"\x1b\[[0-9;]*m", b"", told)
    body = subprocess.run([*command, url], capture_output=True, check=True, timeout=60).stdout
    return h2.Reply(body=body).messages


def test_nghttp(server, models, tmp_path) -> None:
    model = models["cancer"]
    rows = np.ascontiguousarray(model.rows)
    wanted = model.estimator.predict(rows)
    command = command_of("nghttp", tmp_path / "body", infer_request(rows).SerializeToString())
    (message,) = nghttp(server.address, MODEL_INFER, command)
    assert (labels_of(pb.ModelInferResponse.FromString(message)) == wanted).all()
    request = prediction_pb2.PredictRequest(model="cancer", values=rows[0])
    command = command_of("nghttp", tmp_path / "body", request.SerializeToString())
    (message,) = nghttp(server.address, PREDICT, command)
    assert prediction_pb2.PredictReply.FromString(message).outputs[0].integers[0] == wanted[0]
    parts = [infer_request(row[None], id=str(i)).SerializeToString() for i, row in enumerate(rows)]
    command = command_of("nghttp", tmp_path / "body", *parts)
    replies = [
        pb.ModelStreamInferResponse.FromString(part).infer_response
        for part in nghttp(server.address, MODEL_STREAM_INFER, command)
    ]
    assert [reply.id for reply in replies] == [str(i) for i in range(len(rows))]
    assert [labels_of(reply)[0] for reply in replies] == list(wanted)


@pytest.mark.parametrize("path", [MODEL_INFER, PREDICT, MODEL_STREAM_INFER])
def test_h2load(server, models, tmp_path, path) -> None:
    """Many calls over several connections: all of them are answered, with the sizes that one answer has."""
    row = np.ascontiguousarray(models["cancer"].rows[:1])
    request = prediction_pb2.PredictRequest(model="cancer", values=row[0]) if path == PREDICT else infer_request(row)
    command = command_of("h2load", tmp_path / "body", request.SerializeToString())
    count = 2000 if path != MODEL_STREAM_INFER else 400
    command += ["-n", str(count), "-c", "4", "-m", "50", f"http://{server.address}{path}"]
    told = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout
    assert f"{count} done, {count} succeeded, 0 failed, 0 errored, 0 timeout" in told
    assert f"status codes: {count} 2xx, 0 3xx, 0 4xx, 0 5xx" in told


@pytest.fixture(scope="session")
def node(tmp_path_factory) -> list[str]:
    """The command that runs the Node client, with what it needs installed beside a copy of it."""
    programs = shutil.which("node"), shutil.which("npm")
    if None in programs:
        pytest.skip("node or npm is not installed")
    folder = tmp_path_factory.mktemp("node")
    for name in ("package.json", "client.js"):
        shutil.copy(Path(__file__).parent / "node" / name, folder)
    arguments = ["install", "--ignore-scripts", "--no-audit", "--no-fund", "--fetch-retries", "0"]
    try:
        installed = subprocess.run([programs[1], *arguments], cwd=folder, capture_output=True, text=True, timeout=120)
    except subprocess.TimeoutExpired:
        pytest.skip("npm install took too long: the registry is not reachable")
    if installed.returncode:
        pytest.skip(f"npm install failed: {installed.stderr.strip().splitlines()[0]}")
    return [programs[0], str(folder / "client.js")]


@pytest.mark.slow
def test_grpc_js(server, models, node, tmp_path) -> None:
    model = models["cancer"]
    rows = np.ascontiguousarray(model.rows[:50])
    (tmp_path / "rows.json").write_text(json.dumps(rows.tolist()))
    protos = str(Path(serval_protos.__file__).parents[1])
    command = [*node, server.address, protos, str(tmp_path / "rows.json")]
    told = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert told.returncode == 0, told.stderr
    answers = json.loads(told.stdout)
    wanted = model.estimator.predict(rows).tolist()
    assert answers["predicted"] == answers["inferred"] == answers["streamed"] == wanted
    assert answers["ids"] == [str(i) for i in range(len(rows))]
    assert answers["id"] == "whole"
    assert answers["missing"] == grpc.StatusCode.NOT_FOUND.value[0]
