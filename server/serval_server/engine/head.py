"""A Scaler at the head of a graph, taken out of it and done by a compiled kernel.

Most pipelines of scikit-learn begin with one. ONNX Runtime's takes longer than all the rest of a linear model: five
times as long at 4,096 rows of 30. The kernel's values are the same, bit by bit.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Final, cast

import numpy as np
import numpy.typing as npt
import onnx
from google.protobuf.message import DecodeError
from serval_kernels import scaling

Array = npt.NDArray[np.generic]

_MENTION: Final = b"Scaler"  # in every artifact that has one: others need not be parsed
_DOMAIN: Final = "ai.onnx.ml"
_RANK: Final = 2


class Scaler:
    """What an input's rows go through before the graph."""

    def __init__(self, name: str, offset: npt.NDArray[np.float32], scale: npt.NDArray[np.float32]) -> None:
        """Take the input's name, and for each of its columns what is taken away and what is multiplied by."""
        self.input = name
        self._row = offset.shape
        self._offsets, self._scales = scaling.tile(offset), scaling.tile(scale)

    def applied(self, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        """Return the inputs with that one scaled, in a new array; as they are where ONNX Runtime will refuse them."""
        rows = inputs.get(self.input)
        if rows is None or rows.dtype != np.float32 or rows.shape[1:] != self._row:
            return inputs
        scaled = np.empty(rows.shape, np.float32)
        self.bind(rows, scaled)()
        return {**inputs, self.input: scaled}

    def bind(self, rows: Array, scaled: npt.NDArray[np.float32]) -> Callable[[], None]:
        """Return what scales `rows` into `scaled`, both C-contiguous float32 of the same shape."""
        values = cast("npt.NDArray[np.float32]", rows.reshape(-1))
        return partial(scaling.scale, values, self._offsets, self._scales, scaled.reshape(-1))


def taken_out(artifact: bytes) -> tuple[bytes, Scaler | None]:
    """Return the graph without the Scaler at its head, and that; the artifact and None where it has none.

    It is taken out only where nothing else can tell: a node of the graph itself, which alone reads a float input of
    known width and whose values are no output. What cannot be parsed is left for ONNX Runtime to refuse.
    """
    if _MENTION not in artifact:
        return artifact, None
    model = onnx.ModelProto()
    try:
        model.ParseFromString(artifact)
    except DecodeError:
        return artifact, None
    graph = model.graph
    node = next((node for node in graph.node if (node.domain, node.op_type) == (_DOMAIN, "Scaler")), None)
    scaler = _scaler(graph, node) if node is not None else None
    if node is None or scaler is None:
        return artifact, None
    scaled = node.output[0]
    graph.node.remove(node)
    for other in graph.node:
        other.input[:] = [scaler.input if name == scaled else name for name in other.input]
    return model.SerializeToString(), scaler


def _scaler(graph: onnx.GraphProto, node: onnx.NodeProto) -> Scaler | None:
    """Return what `node` does, None where it has to stay."""
    name, scaled = node.input[0], node.output[0]
    readers = [other for other in graph.node if name in other.input]
    if len(readers) != 1 or any(_has_graph(other) for other in graph.node):
        return None
    if any(output.name in (name, scaled) for output in graph.output):
        return None
    width = _width(graph, name)
    values = {attribute.name: np.array(attribute.floats, np.float32) for attribute in node.attribute}
    offset, scale = values.get("offset"), values.get("scale")
    if not width or offset is None or scale is None or offset.size != scale.size or offset.size not in (1, width):
        return None
    return Scaler(name, *(np.ascontiguousarray(np.broadcast_to(each, width)) for each in (offset, scale)))


def _has_graph(node: onnx.NodeProto) -> bool:
    """Tell whether a node holds a graph, which may read any name of those around it."""
    return any(attribute.HasField("g") or len(attribute.graphs) for attribute in node.attribute)


def _width(graph: onnx.GraphProto, name: str) -> int:
    """Return the columns of an input of the graph, 0 where it is no float32 input of rows of known width."""
    if any(tensor.name == name for tensor in graph.initializer):
        return 0
    for value in graph.input:
        tensor = value.type.tensor_type
        if value.name == name and tensor.elem_type == onnx.TensorProto.FLOAT and len(tensor.shape.dim) == _RANK:
            return int(tensor.shape.dim[1].dim_value)
    return 0
