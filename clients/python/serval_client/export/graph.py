"""Changes to a converted ONNX graph, so that a server finds plain tensors of float32, texts and labels."""

from collections.abc import Mapping, Sequence
from typing import Any

from serval_client.export.errors import ExportError

# ONNX Runtime asks the operating system for en_US otherwise, which slim images do not have.
_LOCALE = "C.UTF-8"
_FLOAT, _STRING, _DOUBLE = 1, 8, 11  # of onnx.TensorProto.DataType
_AXES_AS_INPUT_OPSET = 18  # from here on ReduceMax takes its axes as an input
_SLACK = 5e-6  # the sum of a few hundred trees' votes in float32 is off by less


def finished(model: Any, inputs: Sequence[str], *, wide: bool) -> bytes:
    """Return the file of a converted model: maps of probabilities taken out, batch dimension open, casts in place.

    `inputs`: the names that the inputs must have. `wide`: the graph computes in float64; float32 goes in and comes out.
    """
    got = [value.name for value in model.graph.input]
    if not set(got) <= set(inputs):
        raise ExportError(f"the converter renamed the inputs to {got}, wanted {list(inputs)}")
    _without_maps(model.graph)
    _set_locale(model.graph)
    if wide:
        _narrow(model.graph)
    for value in model.graph.output:
        dims = value.type.tensor_type.shape.dim
        if dims:
            dims[0].Clear()
            dims[0].dim_param = "rows"
    return model.SerializeToString()  # type: ignore[no-any-return]


def label_first_of_equals(model: Any, classes: Any) -> None:
    """Let the label be the first class whose probability is the largest, but for what float32 sums are off by.

    Left as it is where the outputs are not a label and a tensor of probabilities.
    """
    import numpy as np
    from onnx import numpy_helper

    graph = model.graph
    opset = next(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
    outputs = {value.name: value for value in graph.output}
    if set(outputs) != {"label", "probabilities"} or not outputs["probabilities"].type.HasField("tensor_type"):
        return
    texts = outputs["label"].type.tensor_type.elem_type == _STRING
    labels = np.array([str(label) for label in classes], object) if texts else np.asarray(classes).astype(np.int64)
    for node in graph.node:
        node.output[:] = ["serval_unused_label" if name == "label" else name for name in node.output]
    constants = {"labels": labels, "slack": np.array(_SLACK, np.float32)}
    if opset >= _AXES_AS_INPUT_OPSET:
        constants["axis"] = np.array([1])
    for name, value in constants.items():
        graph.initializer.append(numpy_helper.from_array(value, f"serval_{name}"))
    _chain(graph, "Cast", ["probabilities"], "serval_score", to=_FLOAT)
    if opset < _AXES_AS_INPUT_OPSET:
        _chain(graph, "ReduceMax", ["serval_score"], "serval_largest", axes=[1], keepdims=1)
    else:
        _chain(graph, "ReduceMax", ["serval_score", "serval_axis"], "serval_largest", keepdims=1)
    _chain(graph, "Sub", ["serval_largest", "serval_slack"], "serval_least")
    _chain(graph, "Less", ["serval_score", "serval_least"], "serval_too_small")
    _chain(graph, "Not", ["serval_too_small"], "serval_large_enough")
    _chain(graph, "Cast", ["serval_large_enough"], "serval_candidates", to=_FLOAT)
    _chain(graph, "ArgMax", ["serval_candidates"], "serval_index", axis=1, keepdims=0)
    _chain(graph, "Gather", ["serval_labels", "serval_index"], "label")


def declare_shapes(data: bytes, shapes: Mapping[str, Sequence[int]]) -> bytes:
    """Return the file with the outputs' shapes as they are: the first dimension open, the others as given."""
    import onnx

    model = onnx.load_from_string(data)
    for value in model.graph.output:
        shape = value.type.tensor_type.shape
        shape.Clear()
        shape.dim.add().dim_param = "rows"
        for size in shapes[value.name][1:]:
            shape.dim.add().dim_value = size
    return model.SerializeToString()  # type: ignore[no-any-return]


def keep_outputs(data: bytes, names: Sequence[str]) -> bytes:
    """Return the file with these outputs alone."""
    import onnx

    model = onnx.load_from_string(data)
    kept = [value for value in model.graph.output if value.name in names]
    del model.graph.output[:]
    model.graph.output.extend(kept)
    _without_dead_nodes(model.graph)
    return model.SerializeToString()  # type: ignore[no-any-return]


def opsets(data: bytes) -> dict[str, int]:
    """Return the operator set versions of a file by domain; "" is ai.onnx."""
    import onnx

    model = onnx.load_from_string(data)
    return {entry.domain: entry.version for entry in model.opset_import}


def _without_maps(graph: Any) -> None:
    """Replace an output that is a sequence of maps by the tensor it is made of."""
    makers = {name: node for node in graph.node for name in node.output}
    for value in list(graph.output):
        maker = makers.get(value.name)
        if maker is None or maker.op_type != "ZipMap":
            continue
        tensor = maker.input[0]
        name = "probabilities" if all(other.name != "probabilities" for other in graph.output) else value.name
        graph.node.remove(maker)
        _chain(graph, "Identity", [tensor], name)
        value.Clear()
        value.name = name
        value.type.tensor_type.elem_type = _FLOAT
        value.type.tensor_type.shape.dim.add().dim_param = "rows"
        value.type.tensor_type.shape.dim.add().dim_param = "classes"


def _set_locale(graph: Any) -> None:
    for node in graph.node:
        if node.op_type == "StringNormalizer" and all(attribute.name != "locale" for attribute in node.attribute):
            attribute = node.attribute.add()
            attribute.name, attribute.s, attribute.type = "locale", _LOCALE.encode(), attribute.STRING


def _narrow(graph: Any) -> None:
    """Put a cast behind every float64 input and in front of every float64 output."""
    for value in graph.input:
        if value.type.tensor_type.elem_type == _DOUBLE:
            inner = f"{value.name}_float64"
            for node in graph.node:
                node.input[:] = [inner if name == value.name else name for name in node.input]
            _chain(graph, "Cast", [value.name], inner, to=_DOUBLE)
            graph.node.insert(0, graph.node.pop())
            value.type.tensor_type.elem_type = _FLOAT
    for value in graph.output:
        if value.type.tensor_type.elem_type == _DOUBLE:
            inner = f"{value.name}_float64"
            for node in graph.node:
                node.output[:] = [inner if name == value.name else name for name in node.output]
                node.input[:] = [inner if name == value.name else name for name in node.input]
            _chain(graph, "Cast", [inner], value.name, to=_FLOAT)
            value.type.tensor_type.elem_type = _FLOAT


def _chain(graph: Any, op_type: str, sources: Sequence[str], target: str, **attributes: int | list[int]) -> None:
    """Add a node of one output behind all others."""
    from onnx.helper import make_node

    named: dict[str, Any] = dict(attributes)
    graph.node.append(make_node(op_type, sources, [target], name=f"serval_{op_type}_{target}", **named))


def _without_dead_nodes(graph: Any) -> None:
    wanted = {value.name for value in graph.output}
    alive = []
    for node in reversed(list(graph.node)):
        if wanted & set(node.output):
            alive.append(node)
            wanted |= set(node.input)
    alive.reverse()
    del graph.node[:]
    graph.node.extend(alive)
