"""The Open Inference Protocol, message by message."""

import struct

import grpc
import numpy as np
import pytest
from serval_protos.inference import open_inference_pb2 as pb

TIMEOUT = 30.0


def tensor(name: str, datatype: str, shape: object, **contents: object) -> pb.ModelInferRequest.InferInputTensor:
    message = pb.ModelInferRequest.InferInputTensor(name=name, datatype=datatype, shape=shape)
    if contents:
        message.contents.CopyFrom(pb.InferTensorContents(**contents))
    return message


def request(rows: np.ndarray, **more: object) -> pb.ModelInferRequest:
    values = {"model_name": "cancer", "inputs": [tensor("X", "FP32", rows.shape)], **more}
    return pb.ModelInferRequest(raw_input_contents=[np.ascontiguousarray(rows, np.float32).tobytes()], **values)


def outputs(response: pb.ModelInferResponse) -> dict[str, np.ndarray]:
    dtypes = {"FP32": np.float32, "INT64": np.int64}
    assert len(response.outputs) == len(response.raw_output_contents)
    return {
        output.name: np.frombuffer(raw, dtypes[output.datatype]).reshape(output.shape)
        for output, raw in zip(response.outputs, response.raw_output_contents, strict=True)
    }


def bytes_tensor(*elements: bytes) -> bytes:
    return b"".join(struct.pack("<I", len(element)) + element for element in elements)


@pytest.fixture(scope="module")
def inference(stubs, models):  # noqa: ARG001
    return stubs.inference


def test_the_server(inference) -> None:
    assert inference.ServerLive(pb.ServerLiveRequest(), timeout=TIMEOUT).live
    assert inference.ServerReady(pb.ServerReadyRequest(), timeout=TIMEOUT).ready
    metadata = inference.ServerMetadata(pb.ServerMetadataRequest(), timeout=TIMEOUT)
    assert metadata.name == "serval"
    assert {"model_repository", "statistics", "classification"} <= set(metadata.extensions)


def test_metadata_and_configuration(inference) -> None:
    metadata = inference.ModelMetadata(pb.ModelMetadataRequest(name="cancer"), timeout=TIMEOUT)
    assert list(metadata.versions) == ["1"]
    assert [(t.name, t.datatype, list(t.shape)) for t in metadata.inputs] == [("X", "FP32", [-1, 30])]
    assert [t.datatype for t in metadata.outputs] == ["INT64", "FP32"]
    mixed = inference.ModelMetadata(pb.ModelMetadataRequest(name="mixed", version="1"), timeout=TIMEOUT)
    assert [(t.name, t.datatype) for t in mixed.inputs] == [("numbers", "FP32"), ("colour", "BYTES")]
    config = inference.ModelConfig(pb.ModelConfigRequest(name="cancer"), timeout=TIMEOUT).config
    assert (config.name, config.max_batch_size, config.input[0].data_type) == ("cancer", 0, pb.TYPE_FP32)
    assert list(config.input[0].dims) == [-1, 30]


def test_raw_in_raw_out_with_the_id_echoed(inference, models) -> None:
    rows = models["cancer"].rows
    response = inference.ModelInfer(request(rows, id="abc"), timeout=TIMEOUT)
    assert (response.model_name, response.model_version, response.id) == ("cancer", "1", "abc")
    got = outputs(response)
    np.testing.assert_array_equal(got["label"], models["cancer"].estimator.predict(rows))
    np.testing.assert_allclose(got["probabilities"], models["cancer"].estimator.predict_proba(rows), atol=1e-5)


def test_typed_contents_get_the_same_answer(inference, models) -> None:
    rows = models["cancer"].rows[:3]
    typed = pb.ModelInferRequest(
        model_name="cancer", inputs=[tensor("X", "FP32", rows.shape, fp32_contents=rows.reshape(-1).tolist())]
    )
    assert inference.ModelInfer(typed, timeout=TIMEOUT) == inference.ModelInfer(request(rows), timeout=TIMEOUT)


def test_bf16_is_the_upper_half_of_a_float(inference, models) -> None:
    rows = models["cancer"].rows[:3]
    halves = (rows.view(np.uint32) >> 16).astype(np.uint16)
    truncated = (halves.astype(np.uint32) << 16).view(np.float32)
    sent = pb.ModelInferRequest(
        model_name="cancer", inputs=[tensor("X", "BF16", rows.shape)], raw_input_contents=[halves.tobytes()]
    )
    assert inference.ModelInfer(sent, timeout=TIMEOUT) == inference.ModelInfer(request(truncated), timeout=TIMEOUT)


def test_a_tensor_without_elements(inference) -> None:
    got = outputs(inference.ModelInfer(request(np.empty((0, 30), np.float32)), timeout=TIMEOUT))
    assert got["label"].shape == (0,)
    assert got["probabilities"].shape == (0, 2)


def test_bytes_raw_and_typed(inference, models) -> None:
    model = models["mixed"]
    numbers, colours = model.rows[:5, :2].astype(np.float32), [text.encode() for text in model.rows[:5, 2]]
    raw = pb.ModelInferRequest(
        model_name="mixed",
        inputs=[tensor("numbers", "FP32", [5, 2]), tensor("colour", "BYTES", [5, 1])],
        raw_input_contents=[numbers.tobytes(), bytes_tensor(*colours)],
    )
    typed = pb.ModelInferRequest(
        model_name="mixed",
        inputs=[
            tensor("numbers", "FP32", [5, 2], fp32_contents=numbers.reshape(-1).tolist()),
            tensor("colour", "BYTES", [5, 1], bytes_contents=colours),
        ],
    )
    response = inference.ModelInfer(raw, timeout=TIMEOUT)
    assert response == inference.ModelInfer(typed, timeout=TIMEOUT)
    assert response.outputs[0].datatype == "BYTES"
    wanted = [label.encode() for label in model.estimator.predict(model.rows[:5])]
    assert response.raw_output_contents[0] == bytes_tensor(*wanted)


def test_an_empty_string_is_a_value(inference) -> None:
    sent = pb.ModelInferRequest(
        model_name="mixed",
        inputs=[tensor("numbers", "FP32", [1, 2]), tensor("colour", "BYTES", [1, 1])],
        raw_input_contents=[np.zeros(2, np.float32).tobytes(), bytes_tensor(b"")],
    )
    assert len(inference.ModelInfer(sent, timeout=TIMEOUT).outputs) == 2


def test_outputs_as_asked_for_and_classification(inference, models) -> None:
    asked = pb.ModelInferRequest.InferRequestedOutputTensor
    rows = models["cancer"].rows[:2]
    response = inference.ModelInfer(
        request(rows, outputs=[asked(name="probabilities"), asked(name="label")]), timeout=TIMEOUT
    )
    assert [output.name for output in response.outputs] == ["probabilities", "label"]
    top = asked(name="probabilities")
    top.parameters["classification"].int64_param = 1
    response = inference.ModelInfer(request(rows, outputs=[top]), timeout=TIMEOUT)
    assert (response.outputs[0].datatype, list(response.outputs[0].shape)) == ("BYTES", [2, 1])
    best = models["cancer"].estimator.predict_proba(rows).argmax(axis=1)
    (length,) = struct.unpack_from("<I", response.raw_output_contents[0])
    assert response.raw_output_contents[0][4 : 4 + length].decode().split(":")[1] == str(best[0])


def test_unknown_parameters_are_tolerated(inference, models) -> None:
    sent = request(models["cancer"].rows[:1])
    sent.parameters["sequence_id"].int64_param = 7
    sent.parameters["priority"].uint64_param = 1
    sent.parameters["anything"].double_param = 0.5
    sent.inputs[0].parameters["binary_data_size"].int64_param = 120
    assert inference.ModelInfer(sent, timeout=TIMEOUT).model_version == "1"


def test_versions_by_number_and_by_stage(inference, models) -> None:
    rows = models["wine"].rows[:1]
    pinned = request(rows, model_name="wine", model_version="1")
    assert inference.ModelInfer(pinned, timeout=TIMEOUT).model_version == "1"
    with pytest.raises(grpc.RpcError) as caught:
        inference.ModelInfer(request(rows, model_name="wine", model_version="staging"), timeout=TIMEOUT)
    assert caught.value.code() == grpc.StatusCode.NOT_FOUND


def test_model_ready(inference) -> None:
    assert inference.ModelReady(pb.ModelReadyRequest(name="cancer"), timeout=TIMEOUT).ready
    with pytest.raises(grpc.RpcError) as caught:
        inference.ModelReady(pb.ModelReadyRequest(name="nobody"), timeout=TIMEOUT)
    assert caught.value.code() == grpc.StatusCode.NOT_FOUND


def test_a_stream_reports_failures_in_their_replies(inference, models) -> None:
    rows = models["cancer"].rows[:1]
    bad = request(rows, id="bad")
    bad.inputs[0].name = "Y"
    final = request(rows, id="final")
    final.parameters["triton_enable_empty_final_response"].bool_param = True
    answers = list(inference.ModelStreamInfer(iter([request(rows, id="good"), bad, final]), timeout=TIMEOUT))
    assert [answer.infer_response.id for answer in answers] == ["good", "bad", "final"]
    assert [bool(answer.error_message) for answer in answers] == [False, True, False]
    assert "'Y'" in answers[1].error_message
    assert answers[2].infer_response.parameters["triton_final_response"].bool_param


def statistics(inference, name: str) -> pb.ModelStatistics:
    return inference.ModelStatistics(pb.ModelStatisticsRequest(name=name), timeout=TIMEOUT).model_stats[0]


def test_statistics_count_rows_runs_and_failures(inference, models) -> None:
    rows = models["forest"].rows
    inference.ModelInfer(request(rows[:1], model_name="forest"), timeout=TIMEOUT)
    before = statistics(inference, "forest")
    inference.ModelInfer(request(rows[:9], model_name="forest"), timeout=TIMEOUT)
    with pytest.raises(grpc.RpcError):
        inference.ModelInfer(request(rows[:9, :5], model_name="forest"), timeout=TIMEOUT)
    after = statistics(inference, "forest")
    assert after.inference_count - before.inference_count == 9
    assert after.execution_count - before.execution_count == 1
    assert after.inference_stats.success.count - before.inference_stats.success.count == 1
    assert after.inference_stats.fail.count - before.inference_stats.fail.count == 1
    assert after.inference_stats.compute_infer.ns > before.inference_stats.compute_infer.ns
    assert 9 in {batch.batch_size for batch in after.batch_stats}
    assert after.last_inference >= before.last_inference > 0


def test_the_repository(inference, models) -> None:
    index = inference.RepositoryIndex(pb.RepositoryIndexRequest(), timeout=TIMEOUT).models
    assert {(model.name, model.version, model.state) for model in index} >= {("diabetes", "1", "READY")}
    infer = request(models["diabetes"].rows[:1], model_name="diabetes")
    assert inference.ModelInfer(infer, timeout=TIMEOUT).model_version == "1"
    inference.RepositoryModelUnload(pb.RepositoryModelUnloadRequest(model_name="diabetes"), timeout=TIMEOUT)
    for call, message in (
        (inference.ModelInfer, infer),
        (inference.ModelReady, pb.ModelReadyRequest(name="diabetes")),
    ):
        with pytest.raises(grpc.RpcError) as caught:
            call(message, timeout=TIMEOUT)
        assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
    states = {m.name: m.state for m in inference.RepositoryIndex(pb.RepositoryIndexRequest(), timeout=TIMEOUT).models}
    assert states["diabetes"] == "UNAVAILABLE"
    ready = inference.RepositoryIndex(pb.RepositoryIndexRequest(ready=True), timeout=TIMEOUT).models
    assert "diabetes" not in {model.name for model in ready}
    # KServe names the model in field 1 and reads the reply's fields.
    loaded = inference.RepositoryModelLoad(pb.RepositoryModelLoadRequest(repository_name="diabetes"), timeout=TIMEOUT)
    assert (loaded.model_name, loaded.is_loaded) == ("diabetes", True)
    assert inference.ModelInfer(infer, timeout=TIMEOUT).model_version == "1"
