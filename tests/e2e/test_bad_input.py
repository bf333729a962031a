"""Bad input through a socket: the right status, a message that says what is wrong, and a server that goes on."""

import io
import pickle
from collections.abc import Iterator
from dataclasses import dataclass, field

import grpc
import numpy as np
import onnx
import pyarrow as pa
import pytest
from onnx import TensorProto, helper
from serval_protos.inference import open_inference_pb2 as pb
from serval_protos.v1 import common_pb2, drift_pb2, prediction_pb2, registry_pb2

pytestmark = pytest.mark.slow("both")

INVALID = grpc.StatusCode.INVALID_ARGUMENT
NOT_FOUND = grpc.StatusCode.NOT_FOUND
TIMEOUT = 30.0


def rows(width: int, count: int = 1, value: float = 0.5) -> list[float]:
    return [value] * (width * count)


def tensor(array: np.ndarray, datatype: int, **override: object) -> common_pb2.Tensor:
    values = {"datatype": datatype, "shape": array.shape, "data": array.tobytes(), **override}
    return common_pb2.Tensor(**values)


def arrow(columns: dict[str, object]) -> bytes:
    table = pa.table(columns)
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


def named(**values: object) -> prediction_pb2.NamedRow:
    row = prediction_pb2.NamedRow()
    for name, value in values.items():
        kind = {str: "text", bool: "flag", float: "number"}[type(value)]
        row.features[name].CopyFrom(common_pb2.Value(**{kind: value}))
    return row


MATRIX = np.full((2, 30), 0.5, np.float32)
MIXED = {"height": [1.0, 2.0], "weight": [0.0, 1.0], "colour": ["red", "blue"]}


@dataclass
class Predict:
    """A Predict or BatchPredict that must be refused."""

    request: prediction_pb2.PredictRequest | prediction_pb2.BatchPredictRequest
    code: grpc.StatusCode
    says: list[str] = field(default_factory=list)


def predict(code: grpc.StatusCode, says: list[str], **request: object) -> Predict:
    return Predict(prediction_pb2.PredictRequest(**request), code, says)


def batch(code: grpc.StatusCode, says: list[str], model: str = "cancer", **rows: object) -> Predict:
    return Predict(prediction_pb2.BatchPredictRequest(model=model, rows=common_pb2.Rows(**rows)), code, says)


PREDICTIONS = {
    "wrong width": predict(INVALID, ["values", "29", "30", "cancer@1"], model="cancer", values=rows(29)),
    "no values": predict(INVALID, ["values", "0", "30"], model="cancer"),
    "NaN": predict(INVALID, ["mean texture", "row 0", "NaN"], model="cancer", values=[0.5, float("nan"), *rows(28)]),
    "unknown name": predict(NOT_FOUND, ["nobody"], model="nobody", values=rows(30)),
    "unknown version": predict(NOT_FOUND, ["cancer", "77"], model="cancer@77", values=rows(30)),
    "no such stage yet": predict(NOT_FOUND, ["wine", "staging"], model="wine@staging", values=rows(13)),
    "version that is no number": predict(INVALID, ["model", "1.x"], model="cancer@1.x", values=rows(30)),
    "alias that nobody has": predict(NOT_FOUND, ["cancer", "latest"], model="cancer@latest", values=rows(30)),
    "empty model": predict(INVALID, ["model"], model="", values=rows(30)),
    "SQL in the model": predict(INVALID, ["model"], model="x' OR '1'='1", values=rows(30)),
    "path in the model": predict(INVALID, ["model"], model="../../etc/passwd", values=rows(30)),
    "unknown output": predict(INVALID, ["outputs", "odds", "label"], model="cancer", values=rows(30), outputs=["odds"]),
    "output twice": predict(INVALID, ["outputs"], model="cancer", values=rows(30), outputs=["label", "label"]),
    "values and rows": predict(INVALID, ["rows"], model="cancer", values=rows(30), rows=[named(a=1.0)]),
    "missing column": predict(
        INVALID, ["rows[0]", "missing", "colour"], model="mixed", rows=[named(height=1.0, weight=2.0)]
    ),
    "unknown column": predict(
        INVALID,
        ["rows[1]", "unknown", "age"],
        model="mixed",
        rows=[named(height=1.0, weight=2.0, colour="red"), named(height=1.0, weight=2.0, colour="red", age=3.0)],
    ),
    "text for a number": predict(
        INVALID, ["rows[0]", "height", "text"], model="mixed", rows=[named(height="tall", weight=2.0, colour="red")]
    ),
    "number for a text": predict(
        INVALID, ["rows[0]", "colour", "number"], model="mixed", rows=[named(height=1.0, weight=2.0, colour=3.0)]
    ),
    "values for texts": predict(INVALID, ["values"], model="mixed", values=rows(3)),
    "empty batch": batch(INVALID, ["0 rows"], tensor=tensor(MATRIX[:0], common_pb2.FP32)),
    "no rows at all": Predict(prediction_pb2.BatchPredictRequest(model="cancer"), INVALID, ["rows", "empty"]),
    "batch of wrong width": batch(INVALID, ["[2, 29]", "30"], tensor=tensor(MATRIX[:, :29].copy(), common_pb2.FP32)),
    "batch of one dimension": batch(INVALID, ["[60]", "30"], tensor=tensor(MATRIX.reshape(-1), common_pb2.FP32)),
    "truncated bytes": batch(
        INVALID, ["239", "240"], tensor=tensor(MATRIX, common_pb2.FP32, data=MATRIX.tobytes()[:239])
    ),
    "negative shape": batch(INVALID, ["negative"], tensor=tensor(MATRIX, common_pb2.FP32, shape=[-2, -30])),
    "overflowing shape": batch(
        INVALID, ["overflows"], tensor=tensor(MATRIX, common_pb2.FP32, shape=[1 << 62, 1 << 62])
    ),
    "many dimensions": batch(INVALID, ["dimensions"], tensor=tensor(MATRIX, common_pb2.FP32, shape=[1] * 1000)),
    "no datatype": batch(INVALID, ["datatype"], tensor=tensor(MATRIX, common_pb2.DATA_TYPE_UNSPECIFIED)),
    "unknown datatype": batch(INVALID, ["datatype", "99"], tensor=tensor(MATRIX, 99)),
    "strings for numbers": batch(
        INVALID, ["FP32"], tensor=common_pb2.Tensor(datatype=common_pb2.STRING, shape=[1, 30], strings=["x"] * 30)
    ),
    "too few strings": batch(
        INVALID, ["strings"], tensor=common_pb2.Tensor(datatype=common_pb2.STRING, shape=[1, 30], strings=["x"])
    ),
    "NaN in a batch": batch(
        INVALID,
        ["row 1", "NaN"],
        tensor=tensor(np.where(np.arange(60).reshape(2, 30) == 40, np.nan, MATRIX).astype(np.float32), common_pb2.FP32),
    ),
    "truncated Arrow": batch(INVALID, ["arrow_ipc"], model="mixed", arrow_ipc=arrow(MIXED)[:-200]),
    "no Arrow": batch(INVALID, ["arrow_ipc"], model="mixed", arrow_ipc=b"not arrow at all"),
    "Arrow without a column": batch(
        INVALID, ["missing", "colour"], model="mixed", arrow_ipc=arrow({k: MIXED[k] for k in ("height", "weight")})
    ),
    "Arrow with another column": batch(
        INVALID, ["unknown", "age"], model="mixed", arrow_ipc=arrow({**MIXED, "age": [1, 2]})
    ),
    "Arrow of another type": batch(
        INVALID, ["height"], model="mixed", arrow_ipc=arrow({**MIXED, "height": ["a", "b"]})
    ),
    "Arrow with dates": batch(
        INVALID, ["colour"], model="mixed", arrow_ipc=arrow({**MIXED, "colour": pa.array([0, 1], pa.date32())})
    ),
    "Arrow with a missing text": batch(
        INVALID, ["colour", "missing"], model="mixed", arrow_ipc=arrow({**MIXED, "colour": ["red", None]})
    ),
    "Arrow without rows": batch(
        INVALID,
        ["0 rows"],
        model="mixed",
        arrow_ipc=arrow(
            {
                "height": pa.array([], pa.float64()),
                "weight": pa.array([], pa.float64()),
                "colour": pa.array([], pa.string()),
            }
        ),
    ),
}


@pytest.fixture(autouse=True)
def goes_on(stubs, models) -> Iterator[None]:
    """After every bad request the server answers a good one, and the registry is as it was."""
    before = stubs.registry.ListModels(registry_pb2.ListModelsRequest(page_size=1000), timeout=TIMEOUT)
    yield
    reply = stubs.prediction.Predict(
        prediction_pb2.PredictRequest(model="cancer", values=models["cancer"].rows[0].tolist()), timeout=TIMEOUT
    )
    assert reply.version == 1
    after = stubs.registry.ListModels(registry_pb2.ListModelsRequest(page_size=1000), timeout=TIMEOUT)
    assert after == before


def refused(call: grpc.UnaryUnaryMultiCallable, request: object, code: grpc.StatusCode, says: list[str]) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        call(request, timeout=TIMEOUT)
    error = caught.value
    assert error.code() == code, error.details()
    for part in says:
        assert part in error.details()
    assert "Traceback" not in error.details()
    assert len(error.details()) <= 2000


@pytest.mark.parametrize("name", PREDICTIONS)
def test_prediction(stubs, name: str) -> None:
    case = PREDICTIONS[name]
    single = isinstance(case.request, prediction_pb2.PredictRequest)
    refused(stubs.prediction.Predict if single else stubs.prediction.BatchPredict, case.request, case.code, case.says)


def infer_request(**override: object) -> pb.ModelInferRequest:
    values = {
        "model_name": "cancer",
        "inputs": [pb.ModelInferRequest.InferInputTensor(name="X", datatype="FP32", shape=[2, 30])],
        "raw_input_contents": [MATRIX.tobytes()],
    }
    return pb.ModelInferRequest(**{**values, **override})


def x(datatype: str = "FP32", shape: tuple[int, ...] = (2, 30), name: str = "X", **contents: object):
    tensor = pb.ModelInferRequest.InferInputTensor(name=name, datatype=datatype, shape=shape)
    if contents:
        tensor.contents.CopyFrom(pb.InferTensorContents(**contents))
    return tensor


INFERENCES = {
    "unknown name": (infer_request(model_name="nobody"), NOT_FOUND, ["nobody"]),
    "unknown version": (infer_request(model_version="9"), NOT_FOUND, ["cancer", "9"]),
    "version that is no number": (infer_request(model_version="1.x"), INVALID, ["model_version", "1.x"]),
    "alias that nobody has": (infer_request(model_version="newest"), NOT_FOUND, ["cancer", "newest"]),
    "unknown input": (infer_request(inputs=[x(name="Y")]), INVALID, ["'Y'", "'X'"]),
    "input twice": (infer_request(inputs=[x(), x()], raw_input_contents=[MATRIX.tobytes()] * 2), INVALID, ["twice"]),
    "no input": (infer_request(inputs=[], raw_input_contents=[]), INVALID, ["'X'", "missing"]),
    "wrong raw count": (infer_request(raw_input_contents=[b"", b""]), INVALID, ["raw_input_contents", "2"]),
    "typed and raw": (infer_request(inputs=[x(fp32_contents=[0.5] * 60)]), INVALID, ["contents"]),
    "neither typed nor raw": (infer_request(raw_input_contents=[]), INVALID, ["0 elements", "60"]),
    "too few typed": (
        infer_request(inputs=[x(fp32_contents=[0.5])], raw_input_contents=[]),
        INVALID,
        ["fp32_contents", "60"],
    ),
    "typed half floats": (
        infer_request(inputs=[x("FP16", fp32_contents=[0.5] * 60)], raw_input_contents=[]),
        INVALID,
        ["raw_input_contents"],
    ),
    "integer that does not fit": (
        infer_request(inputs=[x("INT8", int_contents=[1000] * 60)], raw_input_contents=[]),
        INVALID,
        ["INT8"],
    ),
    "wrong datatype": (
        infer_request(inputs=[x("FP64")], raw_input_contents=[MATRIX.astype(np.float64).tobytes()]),
        INVALID,
        ["float64", "FP32"],
    ),
    "unknown datatype": (infer_request(inputs=[x("FLOAT")]), INVALID, ["FLOAT", "FP32"]),
    "wrong width": (
        infer_request(inputs=[x(shape=(3, 20))]),
        INVALID,
        ["[3, 20]", "[-1, 30]"],
    ),
    "wrong rank": (infer_request(inputs=[x(shape=(60,))]), INVALID, ["[60]", "[-1, 30]"]),
    "negative shape": (infer_request(inputs=[x(shape=(-2, -30))]), INVALID, ["negative"]),
    "overflowing shape": (infer_request(inputs=[x(shape=(1 << 33, 1 << 31))]), INVALID, ["overflows"]),
    "truncated": (infer_request(raw_input_contents=[MATRIX.tobytes()[:-1]]), INVALID, ["239", "240"]),
    "NaN": (infer_request(raw_input_contents=[(MATRIX * np.nan).tobytes()]), INVALID, ["NaN", "row 0"]),
    "unknown output": (
        infer_request(outputs=[pb.ModelInferRequest.InferRequestedOutputTensor(name="odds")]),
        INVALID,
        ["outputs", "odds"],
    ),
    "BYTES with a length past the end": (
        infer_request(inputs=[x("BYTES")], raw_input_contents=[b"\xff\xff\xff\xff"]),
        INVALID,
        ["claims"],
    ),
    "BYTES with half a length": (infer_request(inputs=[x("BYTES")], raw_input_contents=[b"\0\0"]), INVALID, ["length"]),
    "BYTES that are not UTF-8": (
        infer_request(inputs=[x("BYTES", (1, 1))], raw_input_contents=[b"\x02\0\0\0\xff\xfe"]),
        INVALID,
        ["UTF-8"],
    ),
    "BYTES of another count": (
        infer_request(inputs=[x("BYTES", (1, 2))], raw_input_contents=[b"\x01\0\0\0a"]),
        INVALID,
        ["1 strings", "2"],
    ),
}


@pytest.mark.parametrize("name", INFERENCES)
def test_inference(stubs, name: str) -> None:
    request, code, says = INFERENCES[name]
    refused(stubs.inference.ModelInfer, request, code, says)


def test_shared_memory_is_said_not_to_be_there(stubs) -> None:
    request = infer_request(raw_input_contents=[])
    request.inputs[0].parameters["shared_memory_region"].string_param = "region"
    refused(stubs.inference.ModelInfer, request, grpc.StatusCode.UNIMPLEMENTED, ["shared memory"])


def linear(name: str = "bad", **attributes: object) -> onnx.ModelProto:
    """A small valid model, to be spoiled."""
    weights = helper.make_tensor("W", TensorProto.FLOAT, [3, 1], np.ones(3, np.float32).tobytes(), raw=True)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["X", "W"], ["Y"], **attributes)],
        name,
        [helper.make_tensor_value_info("X", TensorProto.FLOAT, [None, 3])],
        [helper.make_tensor_value_info("Y", TensorProto.FLOAT, [None, 1])],
        [weights],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def external() -> bytes:
    model = linear()
    weights = model.graph.initializer[0]
    weights.ClearField("raw_data")
    weights.data_location = TensorProto.EXTERNAL
    weights.external_data.add(key="location", value="/etc/passwd")
    return model.SerializeToString()


def custom() -> bytes:
    model = linear()
    model.graph.node[0].domain = "com.example.custom"
    model.opset_import.append(helper.make_opsetid("com.example.custom", 1))
    return model.SerializeToString()


def broken_graph() -> bytes:
    model = linear()
    model.graph.node[0].input[1] = "nothing"
    return model.SerializeToString()


GOOD = linear().SerializeToString()

ARTIFACTS = {
    "nothing": (b"", ["artifact"]),
    "pickle": (pickle.dumps({"a": 1}), ["artifact", "pickle"]),
    "text": (b"hello, this is not a model", ["artifact"]),
    "cut short": (GOOD[: len(GOOD) // 2], ["artifact"]),
    "external data": (external(), ["external"]),
    "custom operator": (custom(), ["com.example.custom"]),
    "broken graph": (broken_graph(), ["artifact"]),
}


def header(**values: object) -> registry_pb2.RegisterModelRequest:
    return registry_pb2.RegisterModelRequest(header=registry_pb2.RegisterHeader(**{"name": "bad", **values}))


def artifact(data: bytes = GOOD) -> registry_pb2.RegisterModelRequest:
    return registry_pb2.RegisterModelRequest(artifact_chunk=data)


def sample(rows: common_pb2.Rows) -> registry_pb2.RegisterModelRequest:
    return registry_pb2.RegisterModelRequest(sample_chunk=rows.SerializeToString())


@pytest.mark.parametrize("name", ARTIFACTS)
def test_artifact(stubs, name: str) -> None:
    data, says = ARTIFACTS[name]
    refused(stubs.registry.RegisterModel, iter([header(), artifact(data)]), INVALID, says)


FEATURE = {"name": "a", "kind": common_pb2.NUMERIC, "input": "X"}

REGISTRATIONS = {
    "no message": ([], ["header"]),
    "no header": ([artifact()], ["header", "artifact_chunk"]),
    "two headers": ([header(), header()], ["part", "header"]),
    "empty name": ([header(name=""), artifact()], ["header.name"]),
    "SQL in the name": ([header(name="a'; DROP TABLE versions"), artifact()], ["header.name"]),
    "metric that is not finite": ([header(metrics={"accuracy": float("inf")}), artifact()], ["accuracy", "finite"]),
    "digest of another file": ([header(artifact_sha256="0" * 64), artifact()], ["artifact_sha256"]),
    "fewer bytes than announced": ([header(artifact_bytes=10_000), artifact()], ["artifact_bytes", "10000"]),
    "vector of another dimension": ([header(vector=[1.0, 2.0]), artifact()], ["vector", "2", "128"]),
    "vector of zeros": ([header(vector=[0.0] * 128), artifact()], ["vector"]),
    "too few features": ([header(features=[FEATURE]), artifact()], ["features", "2"]),
    "feature of no column": ([header(features=[{**FEATURE, "column": 7}]), artifact()], ["features[0]", "7"]),
    "feature of another kind": (
        [header(features=[{**FEATURE, "kind": common_pb2.TEXT}]), artifact()],
        ["features[0]", "text"],
    ),
    "sample of another width": (
        [header(), artifact(), sample(common_pb2.Rows(tensor=tensor(MATRIX, common_pb2.FP32)))],
        ["sample", "30", "3"],
    ),
    "sample that is no message": (
        [header(), artifact(), registry_pb2.RegisterModelRequest(sample_chunk=b"\xff\xff\xff")],
        ["sample_chunk"],
    ),
}


@pytest.mark.parametrize("name", REGISTRATIONS)
def test_registration(stubs, name: str) -> None:
    messages, says = REGISTRATIONS[name]
    refused(stubs.registry.RegisterModel, iter(messages), INVALID, says)


def test_a_broken_registration_leaves_nothing(stubs) -> None:
    def messages() -> Iterator[registry_pb2.RegisterModelRequest]:
        yield header()
        yield artifact()
        raise RuntimeError("the client dies here")

    with pytest.raises(grpc.RpcError):
        stubs.registry.RegisterModel(messages(), timeout=TIMEOUT)


def test_an_announced_artifact_over_the_limit_is_refused_at_once(stubs) -> None:
    refused(
        stubs.registry.RegisterModel,
        iter([header(artifact_bytes=1 << 40)]),
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        ["artifact_bytes", str(1 << 40)],
    )


def test_an_oversized_message(stubs) -> None:
    data = np.zeros((65 << 20) // 4, np.float32).reshape(-1, 32)
    request = prediction_pb2.BatchPredictRequest(
        model="cancer", rows=common_pb2.Rows(tensor=tensor(data, common_pb2.FP32))
    )
    refused(stubs.prediction.BatchPredict, request, grpc.StatusCode.RESOURCE_EXHAUSTED, ["larger than max"])


REGISTRY = {
    "unknown model": ("GetModel", registry_pb2.GetModelRequest(model="nobody"), NOT_FOUND, ["nobody"]),
    "page of a negative size": ("ListModels", registry_pb2.ListModelsRequest(page_size=-1), INVALID, ["page_size"]),
    "page too large": ("ListModels", registry_pb2.ListModelsRequest(page_size=100_000), INVALID, ["page_size"]),
    "token from nowhere": ("ListModels", registry_pb2.ListModelsRequest(page_token="zzz"), INVALID, ["page_token"]),
    "SQL in a name filter": ("ListModels", registry_pb2.ListModelsRequest(name="a' OR 'a'='a"), INVALID, ["name"]),
    "no stage": ("SetStage", registry_pb2.SetStageRequest(model="wine@1"), INVALID, ["stage"]),
    "stage without a version": (
        "SetStage",
        registry_pb2.SetStageRequest(model="wine", stage=common_pb2.PRODUCTION),
        INVALID,
        ["wine@1"],
    ),
    "stage of nobody": (
        "SetStage",
        registry_pb2.SetStageRequest(model="wine@9", stage=common_pb2.PRODUCTION),
        NOT_FOUND,
        ["wine", "9"],
    ),
    "delete nobody": ("DeleteVersion", registry_pb2.DeleteVersionRequest(model="nobody@1"), NOT_FOUND, ["nobody"]),
    "search for nothing": ("SearchModels", registry_pb2.SearchModelsRequest(), INVALID, ["query"]),
    "search for no words": ("SearchModels", registry_pb2.SearchModelsRequest(text="  "), INVALID, ["text"]),
    "search by a short vector": (
        "SearchModels",
        registry_pb2.SearchModelsRequest(vector=registry_pb2.Vector(values=[1.0])),
        INVALID,
        ["vector", "128"],
    ),
    "search by NaN": (
        "SearchModels",
        registry_pb2.SearchModelsRequest(vector=registry_pb2.Vector(values=[float("nan")] * 128)),
        INVALID,
        ["vector"],
    ),
    "search for too many": ("SearchModels", registry_pb2.SearchModelsRequest(text="wine", k=5000), INVALID, ["k"]),
}


@pytest.mark.parametrize("name", REGISTRY)
def test_registry(stubs, name: str) -> None:
    method, request, code, says = REGISTRY[name]
    refused(getattr(stubs.registry, method), request, code, says)


def test_an_sql_looking_tag_filter_is_only_text(stubs) -> None:
    request = registry_pb2.ListModelsRequest(tags={"a' OR '1": "'; DELETE"})
    assert not stubs.registry.ListModels(request, timeout=TIMEOUT).versions
    hits = stubs.registry.SearchModels(
        registry_pb2.SearchModelsRequest(text="wine", tags={"a') OR ('1": "x"}), timeout=TIMEOUT
    ).hits
    assert not hits


def test_download_of_nobody(stubs) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        list(stubs.registry.DownloadArtifact(registry_pb2.DownloadArtifactRequest(model="nobody"), timeout=TIMEOUT))
    assert caught.value.code() == NOT_FOUND


CURRENT = common_pb2.Rows(tensor=tensor(MATRIX, common_pb2.FP32))

DRIFT = {
    "unknown model": ("DetectDrift", drift_pb2.DetectDriftRequest(model="nobody", current=CURRENT), NOT_FOUND, []),
    "no current rows": ("DetectDrift", drift_pb2.DetectDriftRequest(model="cancer"), INVALID, ["current"]),
    "current of another width": (
        "DetectDrift",
        drift_pb2.DetectDriftRequest(model="wine", current=CURRENT),
        INVALID,
        ["current", "30", "13"],
    ),
    "alpha above one": (
        "DetectDrift",
        drift_pb2.DetectDriftRequest(model="cancer", current=CURRENT, alpha=2.0),
        INVALID,
        ["alpha", "2.0"],
    ),
    "tolerance below zero": (
        "DetectDrift",
        drift_pb2.DetectDriftRequest(model="cancer", current=CURRENT, tolerance=-1.0),
        INVALID,
        ["tolerance"],
    ),
    "no baseline": (
        "DetectDrift",
        drift_pb2.DetectDriftRequest(model="mixed", current=common_pb2.Rows(arrow_ipc=arrow(MIXED))),
        grpc.StatusCode.FAILED_PRECONDITION,
        ["mixed@1", "baseline"],
    ),
    "baseline to get": ("GetBaseline", drift_pb2.GetBaselineRequest(model="mixed"), NOT_FOUND, ["baseline"]),
    "baseline of one row": (
        "SetBaseline",
        drift_pb2.SetBaselineRequest(
            model="cancer", sample=common_pb2.Rows(tensor=tensor(MATRIX[:1], common_pb2.FP32))
        ),
        INVALID,
        ["sample", "1"],
    ),
}


@pytest.mark.parametrize("name", DRIFT)
def test_drift(stubs, name: str) -> None:
    method, request, code, says = DRIFT[name]
    refused(getattr(stubs.drift, method), request, code, says)


def test_a_stream_lives_on_after_a_bad_message(stubs, models) -> None:
    row = models["cancer"].rows[0].tolist()
    requests = [
        prediction_pb2.PredictRequest(model="cancer", values=row, id="1"),
        prediction_pb2.PredictRequest(model="cancer", values=row[:5], id="2"),
        prediction_pb2.PredictRequest(model="nobody", values=row, id="3"),
        prediction_pb2.PredictRequest(model="cancer", values=row, id="4"),
    ]
    answers = list(stubs.prediction.PredictStream(iter(requests), timeout=TIMEOUT))
    assert [answer.id for answer in answers] == ["1", "2", "3", "4"]
    assert [answer.WhichOneof("answer") for answer in answers] == ["reply", "error", "error", "reply"]
    assert answers[1].error.code == INVALID.value[0]
    assert answers[2].error.code == NOT_FOUND.value[0]
