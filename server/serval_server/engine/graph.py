"""What is asked of a graph before a part of it is taken out."""

from collections.abc import Iterable
from typing import Any, Final

import onnx
from google.protobuf.message import DecodeError

_RANK: Final = 2
ML_DOMAIN: Final = "ai.onnx.ml"
TREES: Final = "TreeEnsemble"  # in the names of their operators
# As a node's op_type (field 4) is written, for a short name is in many artifacts by chance
_CHOOSING: Final = ('"\x04Loop', '"\x02If')


def parsed(artifact: bytes, mentions: Iterable[str]) -> onnx.ModelProto | None:
    """Return a model that mentions one of these operators; None for others, and for what ONNX Runtime will refuse.

    Their names are in every artifact that has one: others need not be parsed.
    """
    if not any(mention.encode() in artifact for mention in mentions):
        return None
    model = onnx.ModelProto()
    try:
        model.ParseFromString(artifact)
    except DecodeError:
        return None
    return model


def is_steady(artifact: bytes) -> bool:
    """Tell whether a run takes as long as any of so many rows: False where values choose how often a graph is run."""
    return parsed(artifact, _CHOOSING) is None


def is_of_trees(node: onnx.NodeProto) -> bool:
    """Tell whether a node is an ensemble of trees, of whatever kind."""
    return node.domain == ML_DOMAIN and TREES in node.op_type


def attributes_of(node: onnx.NodeProto) -> dict[str, Any]:
    """Return the attributes of a node by their names; ValueError where one comes twice, or refers to another."""
    given = {each.name: onnx.helper.get_attribute_value(each) for each in node.attribute}
    if len(given) != len(node.attribute):
        raise ValueError(f"{node.op_type}: an attribute comes twice")
    return given


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
