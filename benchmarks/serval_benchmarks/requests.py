"""Requests as bytes, made once before the load.

Several different requests are sent in turn: a branch predictor learns the way of a single one through a forest of
trees, which flatters the server by up to a factor of two.
"""

import math
import struct
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from google.protobuf.message import Message
from serval_client.tensors import DTYPES
from serval_protos.inference import open_inference_pb2 as v2
from serval_protos.v1 import common_pb2, prediction_pb2, registry_pb2

from serval_benchmarks.data import Table
from serval_benchmarks.errors import BenchmarkError

Array = npt.NDArray[np.generic]
Tensors = Mapping[str, Array]

REQUESTS_MAX = 64
# The requests are copied into every client process.
REQUESTS_BYTES_MAX = 32 << 20


def build(
    version: registry_pb2.ModelVersion, method: str, model: str, rows: int, table: Table | None, tensors: Tensors | None
) -> list[bytes]:
    """Return different requests of `rows` rows each, cut from a table or from one array per input, as bytes.

    At most 64, or as many as fit 32 MiB. The rows are taken in turn and begin anew where they end.
    """
    make = _maker(version, method, model, table, tensors)
    source: Tensors = table if table is not None else tensors or {}
    available = len(next(iter(source.values())))
    wanted = min(REQUESTS_MAX, max(1, available // rows))
    requests: list[bytes] = []
    size = 0
    for index in range(wanted):
        places = np.arange(index * rows, (index + 1) * rows) % available
        requests.append(make({name: column[places] for name, column in source.items()}))
        size += len(requests[-1])
        if size > REQUESTS_BYTES_MAX:
            break
    return requests


def _maker(
    version: registry_pb2.ModelVersion, method: str, model: str, table: Table | None, tensors: Tensors | None
) -> Callable[[Tensors], bytes]:
    if table is None and tensors is None:
        raise BenchmarkError("wanted rows as a table or as tensors")
    if method == "ModelInfer":
        return lambda part: _model_infer(version, model, part if table is None else _inputs_of(version, part))
    if table is None:
        if method == "Predict":
            raise BenchmarkError(
                f"--method: {version.name}@{version.version} takes tensors, not columns; "
                "wanted BatchPredict or ModelInfer, got Predict"
            )
        return lambda part: _batch_of_tensors(model, part)
    kinds = {feature.kind for feature in version.features}
    if method == "Predict":
        if kinds == {common_pb2.NUMERIC}:
            return lambda part: _predict_values(model, part)
        return lambda part: _predict_named(version, model, part)
    if len(kinds) > 1:
        raise BenchmarkError(
            f"--method: {version.name}@{version.version} has columns of several kinds, which do not go into the one "
            "tensor that BatchPredict is sent here; wanted Predict or ModelInfer"
        )
    return lambda part: _batch_of_columns(version, model, part)


def _predict_values(model: str, table: Table) -> bytes:
    values = np.stack(list(table.values()), axis=1).astype(np.float32).ravel()
    return _encoded(prediction_pb2.PredictRequest(model=model, values=values.tolist()))


def _predict_named(version: registry_pb2.ModelVersion, model: str, table: Table) -> bytes:
    request = prediction_pb2.PredictRequest(model=model)
    for index in range(len(next(iter(table.values())))):
        row = request.rows.add()
        for feature in version.features:
            _fill(row.features[feature.name], feature.kind, table[feature.name][index])
    return _encoded(request)


def _fill(value: common_pb2.Value, kind: int, element: Any) -> None:
    if kind == common_pb2.TEXT:
        value.text = element
    elif kind == common_pb2.FLAG:
        value.flag = bool(element)
    elif not math.isnan(element):
        value.number = float(element)


def _batch_of_columns(version: registry_pb2.ModelVersion, model: str, table: Table) -> bytes:
    matrix = np.stack(list(table.values()), axis=1)
    if matrix.dtype == np.float64 and all(spec.datatype == common_pb2.FP32 for spec in version.inputs):
        matrix = matrix.astype(np.float32)
    rows = common_pb2.Rows(tensor=_tensor("", matrix))
    return _encoded(prediction_pb2.BatchPredictRequest(model=model, rows=rows))


def _batch_of_tensors(model: str, tensors: Tensors) -> bytes:
    messages = [_tensor(name, array) for name, array in tensors.items()]
    return _encoded(prediction_pb2.BatchPredictRequest(model=model, tensors=messages))


_DATA_TYPES: dict[np.dtype[np.generic], Any] = {dtype: number for number, dtype in DTYPES.items()} | {
    np.dtype(np.object_): common_pb2.STRING
}


def _tensor(name: str, array: Array) -> common_pb2.Tensor:
    tensor = common_pb2.Tensor(name=name, datatype=_DATA_TYPES[array.dtype], shape=array.shape)
    if array.dtype == np.object_:
        tensor.strings.extend(array.ravel().tolist())
    else:
        tensor.data = array.tobytes()
    return tensor


def _inputs_of(version: registry_pb2.ModelVersion, table: Table) -> Tensors:
    """Return the ONNX inputs: each feature in its column of its input, in the input's own type."""
    inputs: dict[str, Array] = {}
    for spec in version.inputs:
        features = sorted((f for f in version.features if f.input == spec.name), key=lambda f: f.column)
        block = np.stack([table[feature.name] for feature in features], axis=1)
        typed = block if spec.datatype == common_pb2.STRING else _cast(block, DTYPES[spec.datatype], spec.name)
        inputs[spec.name] = typed if len(spec.shape) > 1 else typed[:, 0]
    return inputs


def _cast(block: Array, dtype: np.dtype[np.generic], name: str) -> Array:
    if dtype.kind != "f" and block.dtype.kind == "f" and not np.array_equal(block, np.rint(block)):
        raise BenchmarkError(f"--data: input {name!r} holds {dtype}; wanted whole numbers, none of them missing")
    return block.astype(dtype)


def _model_infer(version: registry_pb2.ModelVersion, model: str, tensors: Tensors) -> bytes:
    name, _, tail = model.partition("@")
    request = v2.ModelInferRequest(model_name=name, model_version=tail)
    for spec in version.inputs:
        array = tensors[spec.name]
        datatype = "BYTES" if spec.datatype == common_pb2.STRING else common_pb2.DataType.Name(spec.datatype)
        request.inputs.add(name=spec.name, datatype=datatype, shape=array.shape)
        request.raw_input_contents.append(array.tobytes() if array.dtype != np.object_ else _length_prefixed(array))
    return _encoded(request)


def _length_prefixed(array: Array) -> bytes:
    texts = [text.encode() for text in array.ravel().tolist()]
    return b"".join(struct.pack("<I", len(text)) + text for text in texts)


def _encoded(message: Message) -> bytes:
    encoded: bytes = message.SerializeToString()
    return encoded
