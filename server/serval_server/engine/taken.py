"""A node taken out of a graph, and done by compiled kernels: trees, or a linear model."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final, NamedTuple, cast

import numpy as np
import numpy.typing as npt
import onnx
from serval_kernels import trees

from serval_server.engine.ensemble import CLASSIFIER, REGRESSOR
from serval_server.engine.forest import Forest
from serval_server.engine.graph import ML_DOMAIN, has_graph, parsed, width_of
from serval_server.engine.linear import LINEAR_CLASSIFIER, LINEAR_REGRESSOR, Linear
from serval_server.engine.part import Array, Labels, Part, Step, Values
from serval_server.errors import ModelRunFailed

_Behind = tuple[str, tuple[str, ...], str, Mapping[str, Any]]

_PARTS: Final[Mapping[str, Callable[[onnx.NodeProto, int], Part | None]]] = {
    CLASSIFIER: Forest.of,
    REGRESSOR: Forest.of,
    LINEAR_CLASSIFIER: Linear.of,
    LINEAR_REGRESSOR: Linear.of,
}
_CLASSIFIERS: Final = (CLASSIFIER, LINEAR_CLASSIFIER)  # whose outputs are label and score; else the score alone
_ONNX: Final = ("", "ai.onnx")

# What `serval_client.export` puts behind scores: operator, inputs, output and attributes. "" stands for another's name.
_TAIL: Final[tuple[_Behind, ...]] = (
    ("Cast", ("",), "serval_score", {"to": onnx.TensorProto.FLOAT}),
    ("ReduceMax", ("serval_score",), "serval_largest", {"axes": [1], "keepdims": 1}),
    ("Sub", ("serval_largest", "serval_slack"), "serval_least", {}),
    ("Less", ("serval_score", "serval_least"), "serval_too_small", {}),
    ("Not", ("serval_too_small",), "serval_large_enough", {}),
    ("Cast", ("serval_large_enough",), "serval_candidates", {"to": onnx.TensorProto.FLOAT}),
    ("ArgMax", ("serval_candidates",), "serval_index", {"axis": 1, "keepdims": 0}),
    ("Gather", ("serval_labels", "serval_index"), "", {}),
)
# ReduceMax from operator set 18 on.
_MAX_BY_INPUT: Final[_Behind] = ("ReduceMax", ("serval_score", "serval_axis"), "serval_largest", {"keepdims": 1})


class Taken(NamedTuple):
    """A part, and where it was in a graph.

    input: the name of what it reads. fed, given: the names by which the rest of the graph reads label (0) and score
    (1), and by which they are outputs of the whole. rest: the graph without it, None where nothing is left to do.
    """

    part: Part
    input: str
    fed: Mapping[str, int]
    given: Mapping[str, int]
    rest: bytes | None

    def applied(self, inputs: Mapping[str, Array]) -> tuple[dict[str, Array], Mapping[str, Array]]:
        """Return the outputs that it gives, and what the rest of the graph reads."""
        if set(inputs) != {self.input}:
            raise ModelRunFailed(f"invalid input: got {sorted(inputs)}, wanted {self.input!r}")
        come: tuple[Array, ...] = self.part.run(inputs[self.input])
        given = {name: come[place] for name, place in self.given.items()}
        return given, {name: come[place] for name, place in self.fed.items()}

    def bind(
        self, inputs: Mapping[str, Array], outputs: Mapping[str, Array]
    ) -> tuple[list[Callable[[], None]], Mapping[str, Array], Mapping[str, Array]]:
        """Return what fills its outputs, what the rest of the graph reads then, and the outputs that are left to it.

        Raises RuntimeError where its outputs do not have these shapes and types.
        """
        rows = inputs[self.input]
        come: list[Array] = [np.empty(len(rows), np.int64), np.empty((len(rows), self.part.size), np.float32)]
        for name, place in self.given.items():
            output, wanted = outputs[name], come[place]
            if (output.shape, output.dtype) != (wanted.shape, wanted.dtype):
                raise RuntimeError(f"{name!r} is {wanted.dtype}{list(wanted.shape)}, not {list(output.shape)}")
            come[place] = output
        steps = self.part.bind(rows, *cast("tuple[Labels, Values]", tuple(come)))
        fed = {name: come[place] for name, place in self.fed.items()}
        return steps, fed, {name: array for name, array in outputs.items() if name not in self.given}


def taken_out(artifact: bytes) -> Taken | None:
    """Return the part that reads the input of the graph, and the graph without it; None where it has to stay.

    A node is taken out only where nothing else can tell: it alone reads a float input of known width, the only one. No
    operator may mean something else: a model with functions of its own stays as it is.
    """
    model = parsed(artifact, _PARTS)
    if model is None:
        return None
    graph = model.graph
    nodes = [node for node in graph.node if node.domain == ML_DOMAIN and node.op_type in _PARTS]
    if model.functions or graph.sparse_initializer or any(has_graph(node) for node in graph.node):
        return None
    if len(nodes) != 1 or len(graph.input) != 1:
        return None
    (node,), (value,) = nodes, graph.input
    if list(node.input) != [value.name] or sum(value.name in other.input for other in graph.node) != 1:
        return None
    width = width_of(graph, value)
    part = _PARTS[node.op_type](node, width) if width > 0 else None
    if part is None or value.name in {output.name for output in graph.output}:
        return None
    return _cut(model, node, value.name, part)


def _cut(model: onnx.ModelProto, node: onnx.NodeProto, name: str, part: Part) -> Taken | None:
    """Take a node out of its graph; None where a value of it is an output by two names."""
    graph = model.graph
    places = dict(zip(node.output, (0, 1) if node.op_type in _CLASSIFIERS else (1,), strict=False))
    graph.node.remove(node)
    for other in [other for other in graph.node if _is(other, "Identity") and other.input[0] in places]:
        places[other.output[0]] = places[other.input[0]]
        graph.node.remove(other)
    given = {output.name: places[output.name] for output in graph.output if output.name in places}
    if len(set(given.values())) != len(given) or "" in places:
        return None
    tail = _tail(graph, places, part.size)
    if tail is not None:
        del graph.node[:]
        given = {output.name: places.get(output.name, 0) for output in graph.output}
        part.tail = tail
    fed = {name: place for name, place in places.items() if any(name in other.input for other in graph.node)}
    gone = {*places, *given, name}
    for values in (graph.input, graph.output, graph.value_info):
        for value in [value for value in values if value.name in gone]:
            values.remove(value)
    for fed_name, place in fed.items():
        kind, shape = (onnx.TensorProto.FLOAT, [None, part.size]) if place else (onnx.TensorProto.INT64, [None])
        graph.input.append(onnx.helper.make_tensor_value_info(fed_name, kind, shape))
    return Taken(part, name, fed, given, model.SerializeToString() if graph.output else None)


def _tail(graph: onnx.GraphProto, places: Mapping[str, int], size: int) -> Step | None:
    """Return what the nodes do by which `serval_client.export` has the first of about equal scores win.

    None where there is something else, or more, behind the part.
    """
    nodes = list(graph.node)
    if len(nodes) != len(_TAIL) or not all(map(_is_of_tail, nodes, _TAIL)):
        return None
    left = {output.name for output in graph.output} - set(places)
    if places.get(nodes[0].input[0]) != 1 or left != set(nodes[-1].output):
        return None
    slack = _held(graph, "serval_slack", onnx.TensorProto.FLOAT, [])
    labels = _held(graph, "serval_labels", onnx.TensorProto.INT64, [size])
    if slack is None or labels is None or not 0 <= slack < np.inf:
        return None
    axis = _held(graph, "serval_axis", onnx.TensorProto.INT64, [1])
    if "serval_axis" in nodes[1].input and (axis is None or axis[0] != 1):
        return None
    return partial(trees.answer_first, float(slack), labels.copy())


def _is(node: onnx.NodeProto, op_type: str) -> bool:
    return node.op_type == op_type and node.domain in _ONNX


def _is_of_tail(node: onnx.NodeProto, wanted: _Behind) -> bool:
    """Tell whether a node is that of `_TAIL`."""
    given = {each.name: onnx.helper.get_attribute_value(each) for each in node.attribute}
    if _is(node, "ReduceMax") and len(node.input) > 1:
        wanted = _MAX_BY_INPUT
    op_type, inputs, output, attributes = wanted
    if not _is(node, op_type) or given != attributes or (len(node.input), len(node.output)) != (len(inputs), 1):
        return False
    names = zip((*inputs, output), (*node.input, *node.output), strict=True)
    return all(name in ("", found) for name, found in names)


def _held(graph: onnx.GraphProto, name: str, kind: int, shape: list[int]) -> npt.NDArray[Any] | None:
    """Return the only constant of a name; None where it is of another kind, or in another file."""
    found = [value for value in graph.initializer if value.name == name]
    if len(found) != 1 or (found[0].data_type, list(found[0].dims)) != (kind, shape) or found[0].external_data:
        return None
    return onnx.numpy_helper.to_array(found[0])
