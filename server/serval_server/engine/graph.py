"""What is asked of a graph before a part of it is taken out."""

import re
from collections.abc import Iterable
from typing import Any, Final

import onnx
from google.protobuf.message import DecodeError

_RANK: Final = 2
ML_DOMAIN: Final = "ai.onnx.ml"
TREES: Final = "TreeEnsemble"  # in the names of their operators

_REPEATING: Final = ("Loop", "If")  # values choose how often their graphs are run
# Operators whose output is as large as values say, and the first of their inputs that may say it
_SIZED: Final = {
    **dict.fromkeys(("Range", "ConstantOfShape"), 0),
    **dict.fromkeys(("BlackmanWindow", "HammingWindow", "HannWindow", "MelWeightMatrix"), 0),
    **dict.fromkeys(("Expand", "Tile", "Pad", "Resize", "Upsample", "OneHot"), 1),
    **dict.fromkeys(("AffineGrid", "CenterCropPad", "Col2Im", "DFT", "STFT"), 1),
    "MaxUnpool": 2,
}
_OF_SHAPES: Final = ("Shape", "Size")  # what they say is the same for any of so many rows
# As a node's op_type (field 4) is written, for a short name is in many artifacts by chance
_CHOOSING: Final = re.compile(
    b"|".join(re.escape(b'"%c%b' % (len(name), name.encode())) for name in (*_REPEATING, *_SIZED))
)


def parsed(artifact: bytes, mentions: Iterable[str]) -> onnx.ModelProto | None:
    """Return a model that mentions one of these operators; None for others, and for what ONNX Runtime will refuse.

    Their names are in every artifact that has one: others need not be parsed.
    """
    return _parsed(artifact) if any(mention.encode() in artifact for mention in mentions) else None


def _parsed(artifact: bytes) -> onnx.ModelProto | None:
    model = onnx.ModelProto()
    try:
        model.ParseFromString(artifact)
    except DecodeError:
        return None
    return model


def is_steady(artifact: bytes) -> bool:
    """Tell whether a run takes as long as any of so many rows.

    False where values choose how often a graph is run, or how large something is: values that are not in the graph, nor
    made of the graph's and of shapes. Within graphs of nodes and functions, what comes from around them is not known.
    """
    model = _parsed(artifact) if _CHOOSING.search(artifact) else None
    graphs = [] if model is None else [model.graph, *model.functions]
    for graph in graphs:
        known = {"", *(held.name for held in getattr(graph, "initializer", ()))}
        for node in graph.node:
            sizes = node.input[_SIZED.get(node.op_type, len(node.input)) :]
            if node.op_type in _REPEATING or not known.issuperset(sizes):
                return False
            is_of_shapes = node.op_type in _OF_SHAPES and not node.domain
            if is_of_shapes or (known.issuperset(node.input) and not has_graph(node)):
                known.update(node.output)
            for attribute in node.attribute:
                graphs += [attribute.g, *attribute.graphs]
    return True


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
