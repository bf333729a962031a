"""What many calls of Predict gave, put together as arrays by rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from serval_kernels.wire import predict_replies
from serval_protos.v1 import common_pb2, prediction_pb2

from serval_client import errors, prediction

Array = npt.NDArray[Any]

_FIELD_TAGS = {"f4": 0x22, "f2": 0x22, "f8": 0x2A}
_INTEGERS_TAG = 0x32


@dataclass(frozen=True, slots=True)
class EachPrediction:
    """The answers to independent rows, in their order.

    model: the name that was asked.
    outputs: an array for each output, by name; the first dimension is the rows, also where an output has none of its
    own. A row that failed holds NaN, 0, False or None.
    versions: int64[rows], which version answered each; 0 where the row failed.
    errors: what went wrong, by row.
    """

    model: str
    outputs: Mapping[str, Array]
    versions: npt.NDArray[np.int64]
    errors: Mapping[int, errors.ServalError]

    def __len__(self) -> int:
        return len(self.versions)

    @property
    def answered(self) -> npt.NDArray[np.bool_]:
        """bool[rows], whether a row was answered."""
        return self.versions > 0

    def raise_first(self) -> None:
        """Raise the error of the first row that failed; nothing where all were answered."""
        if self.errors:
            raise self.errors[min(self.errors)]


class Answers:
    """What comes in, row by row, in arrays that are made once the first answer shows the outputs.

    `width`: values of a row as they were sent.
    """

    def __init__(self, model: str, rows: int, width: int) -> None:
        self.model = model
        self._width = width
        self.versions = np.zeros(rows, np.int64)
        self.errors: dict[int, errors.ServalError] = {}
        self.layout = np.zeros(0, predict_replies.OUTPUT)
        self.texts = np.zeros(0, np.uint8)
        self.stride = 0
        self.values = np.zeros(0, np.uint8)
        self._outputs: dict[str, tuple[np.dtype[Any], tuple[int, ...]]] | None = None
        self._objects: dict[str, Array] = {}

    def take(self, row: int, reply: bytes) -> None:
        """Take one reply that is not, or not yet, read by the compiled reader."""
        message = prediction_pb2.PredictReply.FromString(reply)
        try:
            answer = prediction.from_reply(message)
        except errors.ServalError as error:
            self.errors[row] = error
            return
        # A number without a shape is the row's: what came by one call.
        arrays = {name: np.atleast_1d(array) for name, array in answer.outputs.items()}
        if several := next((len(array) for array in arrays.values() if len(array) != 1), 0):
            taken = f"{answer.ref} took one of {self._width} values for {several}"
            self.errors[row] = errors.InvalidArgument(f"rows: {taken}; wanted as many values as the model has features")
            return
        if self._outputs is None:
            self._learn(message, arrays)
        shapes = {name: (array.dtype, array.shape[1:]) for name, array in arrays.items()}
        if shapes != self._outputs:
            self.errors[row] = errors.Aborted(f"{answer.ref} answers with other outputs than the version before it")
            return
        self.versions[row] = answer.version
        for output, (name, array) in zip(self.layout, arrays.items(), strict=False):
            if name not in self._objects:
                wide = array.astype(_carrier(array.dtype)).view(np.uint8).ravel()
                at = row * self.stride + int(output["offset"])
                self.values[at : at + wide.size] = wide
        for name, objects in self._objects.items():
            objects[row] = arrays[name][0]

    def _learn(self, message: prediction_pb2.PredictReply, arrays: Mapping[str, Array]) -> None:
        self._outputs = {name: (array.dtype, array.shape[1:]) for name, array in arrays.items()}
        rows, texts, offset = len(self.versions), bytearray(), 0
        layout = np.zeros(len(message.outputs), predict_replies.OUTPUT)
        for place, output in zip(layout, message.outputs, strict=True):
            dtype, shape = self._outputs[output.name]
            if dtype.kind == "O":
                self._objects[output.name] = np.full((rows, *shape), None, np.object_)
                continue
            name, sizes = output.name.encode(), _packed(output.shape)
            count = int(np.prod(shape, dtype=np.int64))
            place["name_at"], place["name_length"] = len(texts), len(name)
            place["shape_at"], place["shape_length"] = len(texts) + len(name), len(sizes)
            texts += name + sizes
            place["datatype"], place["count"], place["offset"] = output.datatype, count, offset
            place["tag"] = _FIELD_TAGS.get(dtype.str[1:], _INTEGERS_TAG)
            offset += count * _carrier(dtype).itemsize
        self.layout, self.stride = layout, offset
        self.texts = np.frombuffer(texts, np.uint8) if texts else self.texts
        self.values = np.zeros(rows * offset, np.uint8)

    @property
    def is_compiled(self) -> bool:
        """Whether the compiled reader can read the replies: it does not know texts."""
        return self._outputs is not None and not self._objects

    def result(self) -> EachPrediction:
        """Return everything; outputs only where a row was answered."""
        outputs: dict[str, Array] = {}
        table = self.values.reshape(len(self.versions), -1) if self.stride else None
        missing = self.versions == 0
        for output, (name, (dtype, shape)) in zip(self.layout, (self._outputs or {}).items(), strict=False):
            if name in self._objects:
                outputs[name] = self._objects[name]
                continue
            assert table is not None
            carrier, at = _carrier(dtype), int(output["offset"])
            columns = table[:, at : at + int(output["count"]) * carrier.itemsize]
            array = np.ascontiguousarray(columns).view(carrier).astype(dtype).reshape(len(missing), *shape)
            array[missing] = np.nan if dtype.kind == "f" else 0
            outputs[name] = array
        return EachPrediction(self.model, outputs, self.versions, dict(sorted(self.errors.items())))


def _carrier(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return what values of a type are on the wire: float, double or an integer."""
    if dtype.kind != "f":
        return np.dtype("<i8")
    return np.dtype("<f8" if dtype.itemsize == 8 else "<f4")


def _packed(shape: Sequence[int]) -> bytes:
    """Return a repeated int64 as it lies on the wire, without tag and length."""
    message: bytes = common_pb2.TensorSpec(shape=shape).SerializeToString()
    return message[2:]  # a shape is shorter than 128 octets
