"""An Imputer and a Scaler at the head of a graph, taken out of it and done by compiled kernels.

Most pipelines of scikit-learn begin with one or both. ONNX Runtime's Scaler takes longer than all the rest of a linear
model: five times as long at 4,096 rows of 30. The kernels' values are the same, bit by bit.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final, NamedTuple, cast

import numpy as np
import numpy.typing as npt
import onnx
from serval_kernels import columns

from serval_server.engine.graph import ML_DOMAIN, has_graph, parsed, width_of

Array = npt.NDArray[np.generic]
Values = npt.NDArray[np.float32]

_MENTIONS: Final = ("Imputer", "Scaler")


class Step(NamedTuple):
    """A kernel of `columns`, and what it takes between the values that it reads and those that it writes."""

    kernel: Callable[..., None]
    tiles: tuple[Values, ...]


class Head:
    """What an input's rows go through before the graph."""

    def __init__(self, name: str, width: int, steps: Sequence[Step]) -> None:
        """Take the input's name, its number of columns and the steps, of which there is one at least."""
        self.input = name
        self._row = (width,)
        self._steps = steps

    def applied(self, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        """Return the inputs with a new array for that one; as they are where ONNX Runtime will refuse them."""
        rows = inputs.get(self.input)
        if rows is None or rows.dtype != np.float32 or rows.shape[1:] != self._row:
            return inputs
        into = np.empty(rows.shape, np.float32)
        self.bind(rows, into)()
        return {**inputs, self.input: into}

    def bind(self, rows: Array, into: Values) -> Callable[[], None]:
        """Return what brings `rows` into `into`, both C-contiguous float32 of the same shape."""
        return partial(self._bring, cast("Values", rows.reshape(-1)), into.reshape(-1))

    def scaling(self) -> tuple[Values, Values] | None:
        """Return the offsets and scales of the columns where that is all it does."""
        if len(self._steps) != 1 or self._steps[0].kernel is not columns.scale:
            return None
        offsets, scales = (tile[: self._row[0]].copy() for tile in self._steps[0].tiles)
        return offsets, scales

    def _bring(self, values: Values, into: Values) -> None:
        for kernel, tiles in self._steps:
            kernel(values, *tiles, into)
            values = into


def taken_out(artifact: bytes) -> tuple[bytes, Head | None]:
    """Return the graph without the steps at its head, and these; the artifact and None where it has none.

    A node is taken out only where nothing else can tell: of the graph itself, which alone reads a float input of known
    width and whose values are no output. What cannot be parsed is left for ONNX Runtime to refuse.
    """
    model = parsed(artifact, _MENTIONS)
    if model is None or any(has_graph(node) for node in model.graph.node):
        return artifact, None
    for value in model.graph.input:
        width = width_of(model.graph, value)
        steps = _take_steps(model.graph, value.name, width) if width else []
        if steps:
            return model.SerializeToString(), Head(value.name, width, steps)
    return artifact, None


def _take_steps(graph: onnx.GraphProto, name: str, width: int) -> list[Step]:
    """Take the steps at the head of an input out of the graph, and return them in their order."""
    steps: list[Step] = []
    outputs = {output.name for output in graph.output}
    while name not in outputs:
        readers = [node for node in graph.node if name in node.input]
        step = _step(readers[0], width) if len(readers) == 1 else None
        if step is None or readers[0].output[0] in outputs:
            break
        gone = readers[0].output[0]
        graph.node.remove(readers[0])
        for node in graph.node:
            node.input[:] = [name if each == gone else each for each in node.input]
        steps.append(step)
    return steps


def _step(node: onnx.NodeProto, width: int) -> Step | None:
    """Return what a node does to rows of so many columns; None where it has to stay."""
    given = {attribute.name: attribute for attribute in node.attribute}
    if (node.domain, node.op_type) == (ML_DOMAIN, "Scaler"):
        return _scale(given, width)
    if (node.domain, node.op_type) == (ML_DOMAIN, "Imputer"):
        return _fill(given, width)
    return None


def _scale(given: Mapping[str, onnx.AttributeProto], width: int) -> Step | None:
    offsets, scales = _tile(given, "offset", width), _tile(given, "scale", width)
    if offsets is None or scales is None or len(given["offset"].floats) != len(given["scale"].floats):
        return None
    return Step(columns.scale, (offsets, scales))


def _fill(given: Mapping[str, onnx.AttributeProto], width: int) -> Step | None:
    """Return the step of an Imputer that replaces NaN; others replace a number, 0 where they say nothing."""
    values, replaced = _tile(given, "imputed_value_floats", width), given.get("replaced_value_float")
    if values is None or replaced is None or not np.isnan(replaced.f) or "imputed_value_int64s" in given:
        return None
    return Step(columns.fill, (values,))


def _tile(given: Mapping[str, onnx.AttributeProto], name: str, width: int) -> Values | None:
    """Return an attribute that has a number for each column, or one for all, as the kernels take it."""
    floats = given[name].floats if name in given else ()
    if len(floats) not in (1, width):
        return None
    return columns.tile(np.ascontiguousarray(np.broadcast_to(np.array(floats, np.float32), width)))
