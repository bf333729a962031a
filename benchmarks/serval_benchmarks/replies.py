"""The check of replies: made in full on the first replies, and on any whose length is new."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from google.protobuf.message import DecodeError
from serval_client.tensors import DTYPES
from serval_protos.inference import open_inference_pb2 as v2
from serval_protos.services import METHODS
from serval_protos.v1 import common_pb2, prediction_pb2

PATHS = {
    "Predict": "/serval.v1.PredictionService/Predict",
    "BatchPredict": "/serval.v1.PredictionService/BatchPredict",
    "ModelInfer": "/inference.GRPCInferenceService/ModelInfer",
}


class BadReplyError(Exception):
    """A reply with status OK that is not an answer to its request."""


class Answer(NamedTuple):
    """Who answered."""

    name: str
    version: int


@dataclass(frozen=True, slots=True)
class ReplyCheck:
    """What every reply must be: decodable, of the model asked for, with `rows` rows in every output."""

    method: str
    model: str
    rows: int

    def __call__(self, reply: bytes) -> Answer:
        """Return who answered; raise BadReplyError naming the field, what came and what was wanted."""
        try:
            message = METHODS[PATHS[self.method]].reply.FromString(reply)
        except DecodeError as error:
            raise BadReplyError(f"reply: {len(reply)} bytes that are no {self.method} reply: {error}") from error
        answer, outputs = _READERS[self.method](message)
        name, _, tail = self.model.partition("@")
        if answer.name != name:
            raise BadReplyError(f"reply: answered by {answer.name!r}, wanted {name!r}")
        if answer.version < 1 or (tail.isdigit() and answer.version != int(tail)):
            raise BadReplyError(f"reply: answered by version {answer.version}, wanted {tail or 'a version number'}")
        if not outputs:
            raise BadReplyError("reply: has no outputs")
        for output in outputs:
            output.check(self.rows)
        return answer


class _Output(NamedTuple):
    """An output as it came: `size` is what its elements take, `wanted` what they must take for `shape`."""

    name: str
    shape: tuple[int, ...]
    size: int
    wanted: int | None

    def check(self, rows: int) -> None:
        if not self.shape or self.shape[0] != rows:
            raise BadReplyError(f"outputs: {self.name!r} has shape {list(self.shape)}, wanted {rows} rows")
        if self.wanted is not None and self.size != self.wanted:
            shape = list(self.shape)
            raise BadReplyError(
                f"outputs: {self.name!r} has {self.size} values or bytes, wanted {self.wanted} for shape {shape}"
            )


def _read_predict(reply: prediction_pb2.PredictReply) -> tuple[Answer, list[_Output]]:
    outputs = [
        _Output(
            output.name,
            tuple(output.shape),
            len(output.floats) + len(output.doubles) + len(output.integers) + len(output.strings),
            math.prod(output.shape),
        )
        for output in reply.outputs
    ]
    return Answer(reply.name, reply.version), outputs


def _read_batch(reply: prediction_pb2.BatchPredictReply) -> tuple[Answer, list[_Output]]:
    return Answer(reply.name, reply.version), list(_batch_outputs(reply))


def _batch_outputs(reply: prediction_pb2.BatchPredictReply) -> Iterator[_Output]:
    for tensor in reply.outputs:
        count = math.prod(tensor.shape)
        if tensor.datatype == common_pb2.STRING:
            yield _Output(tensor.name, tuple(tensor.shape), len(tensor.strings), count)
        elif tensor.datatype in DTYPES:
            item = DTYPES[tensor.datatype].itemsize
            yield _Output(tensor.name, tuple(tensor.shape), len(tensor.data), count * item)
        else:
            raise BadReplyError(f"outputs: {tensor.name!r} has data type {tensor.datatype}, which is none")


def _read_infer(reply: v2.ModelInferResponse) -> tuple[Answer, list[_Output]]:
    if len(reply.raw_output_contents) != len(reply.outputs):
        raw, outputs = len(reply.raw_output_contents), len(reply.outputs)
        raise BadReplyError(f"raw_output_contents: got {raw}, wanted one for each of {outputs} outputs")
    version = int(reply.model_version) if reply.model_version.isdigit() else 0
    pairs = zip(reply.outputs, reply.raw_output_contents, strict=True)
    return Answer(reply.model_name, version), [
        _Output(output.name, tuple(output.shape), len(raw), _raw_size(output)) for output, raw in pairs
    ]


_BY_NAME = {common_pb2.DataType.Name(number): dtype for number, dtype in DTYPES.items()}


def _raw_size(output: v2.ModelInferResponse.InferOutputTensor) -> int | None:
    """Return the bytes that an output of this type and shape takes; None where its elements have no fixed size."""
    if output.datatype == "BYTES":
        return None
    dtype = _BY_NAME.get(output.datatype)
    if dtype is None:
        raise BadReplyError(f"outputs: {output.name!r} has datatype {output.datatype!r}, which is none")
    return math.prod(tuple[int, ...](output.shape)) * dtype.itemsize


_READERS: dict[str, Callable[[Any], tuple[Answer, list[_Output]]]] = {
    "Predict": _read_predict,
    "BatchPredict": _read_batch,
    "ModelInfer": _read_infer,
}
