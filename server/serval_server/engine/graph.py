"""What is asked of a graph before a part of it is taken out."""

from typing import Final

import onnx

_RANK: Final = 2


def has_graph(node: onnx.NodeProto) -> bool:
    """Tell whether a node holds a graph, which may read any name of those around it."""
    return any(attribute.HasField("g") or len(attribute.graphs) for attribute in node.attribute)


def width_of(graph: onnx.GraphProto, value: onnx.ValueInfoProto) -> int:
    """Return the columns of an input of the graph, 0 where it is no float32 input of rows of known width."""
    tensor = value.type.tensor_type
    is_held = any(held.name == value.name for held in graph.initializer)
    if is_held or tensor.elem_type != onnx.TensorProto.FLOAT or len(tensor.shape.dim) != _RANK:
        return 0
    return int(tensor.shape.dim[1].dim_value)
