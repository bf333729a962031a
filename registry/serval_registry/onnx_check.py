"""What an artifact must be before anything loads it: one self-contained ONNX file, of tensors in and tensors out.

Nothing here runs the model. Refused are pickles and whatever else is not ONNX, tensors kept in other files (wherever
in the file they hide), and operators that would need a library of their own. `com.microsoft` is allowed: its operators
are compiled into ONNX Runtime and optimised or quantised exports use them; all but EPContext, which names a file.
"""

import math
import re
from collections.abc import Iterable, Iterator, Mapping

import onnx
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError, Message
from onnx import TensorProto

from serval_registry.errors import InvalidArgument, TooLarge
from serval_registry.model import DataType, Signature, TensorSpec

DOMAINS = frozenset({"", "ai.onnx", "ai.onnx.ml", "com.microsoft"})
MESSAGE_MAX = 500

# What one row takes and gives, all inputs or all outputs together: 256 MiB of float32, which no message holds. A shape
# is a number in a file of some bytes, and the first run has arrays made of it.
ELEMENTS_MAX = 1 << 26
RANK_MAX = 32

_DATATYPES: Mapping[int, DataType] = {
    TensorProto.BOOL: DataType.BOOL,
    TensorProto.UINT8: DataType.UINT8,
    TensorProto.UINT16: DataType.UINT16,
    TensorProto.UINT32: DataType.UINT32,
    TensorProto.UINT64: DataType.UINT64,
    TensorProto.INT8: DataType.INT8,
    TensorProto.INT16: DataType.INT16,
    TensorProto.INT32: DataType.INT32,
    TensorProto.INT64: DataType.INT64,
    TensorProto.FLOAT16: DataType.FP16,
    TensorProto.FLOAT: DataType.FP32,
    TensorProto.DOUBLE: DataType.FP64,
    TensorProto.STRING: DataType.STRING,
}

# First bytes of what people send instead of ONNX.
_FOREIGN = (
    (tuple(bytes([0x80, protocol]) for protocol in range(2, 6)), "a Python pickle"),
    ((b"PK\x03\x04",), "a zip archive"),
    ((b"\x1f\x8b",), "gzip-compressed"),
    ((b"\x89HDF",), "an HDF5 file"),
    ((b"\x93NUMPY",), "a NumPy array"),
)

# Where in its own sources a library failed is no use to a caller.
_SOURCE_PLACE = re.compile(r"\S*/\S+\.(?:cc|cpp|cxx|h|hpp|py|rs)(?::\d+)*:?")


def check(artifact: bytes, max_bytes: int) -> Signature:
    """Return what the model takes and gives, without what it holds as initializers.

    TooLarge over `max_bytes`; InvalidArgument, in at most MESSAGE_MAX characters, for anything that is not a
    self-contained ONNX model whose inputs and outputs are tensors, of sizes that a row can have.
    """
    if len(artifact) > max_bytes:
        raise TooLarge(f"artifact: {len(artifact)} bytes; wanted at most {max_bytes}")
    model = _parse(artifact)
    _check_self_contained(model)
    _check_operators(model)
    held = {tensor.name for tensor in model.graph.initializer}
    held |= {tensor.values.name for tensor in model.graph.sparse_initializer}
    inputs = tuple(_spec("input", value) for value in model.graph.input if value.name not in held)
    outputs = tuple(_spec("output", value) for value in model.graph.output)
    _check_sizes("input", inputs)
    _check_sizes("output", outputs)
    if not inputs or not outputs:
        raise InvalidArgument(
            f"artifact: the ONNX graph has {len(inputs)} inputs and {len(outputs)} outputs; wanted some"
        )
    _check_wellformed(artifact)
    return Signature(inputs=inputs, outputs=outputs, opsets=_opsets(model))


def _parse(artifact: bytes) -> onnx.ModelProto:
    for beginnings, what in _FOREIGN:
        if artifact.startswith(beginnings):
            raise InvalidArgument(f"artifact: this is {what}, not an ONNX model; export the model to ONNX")
    model = onnx.ModelProto()
    try:
        model.ParseFromString(artifact)
    except DecodeError:
        raise InvalidArgument(
            f"artifact: these {len(artifact)} bytes are not an ONNX model, or a damaged one"
        ) from None
    if not model.ir_version or not model.HasField("graph"):
        raise InvalidArgument(
            f"artifact: these {len(artifact)} bytes are not an ONNX model: no version and graph in them"
        )
    return model


def _messages(message: Message) -> Iterator[Message]:
    """Yield `message` and every message within it, so that no new place for a tensor or a node is overlooked."""
    yield message
    for field, value in message.ListFields():
        if field.type != FieldDescriptor.TYPE_MESSAGE:
            continue
        for inner in value if isinstance(value, Iterable) else (value,):
            yield from _messages(inner)


def _check_self_contained(model: onnx.ModelProto) -> None:
    for message in _messages(model):
        if isinstance(message, TensorProto) and (
            message.data_location == TensorProto.EXTERNAL or len(message.external_data)
        ):
            raise InvalidArgument(
                f"artifact: tensor {_short(message.name)} keeps its data in another file; save the model as one file "
                "(save_as_external_data=False)"
            )


def _check_operators(model: onnx.ModelProto) -> None:
    functions = {(function.domain, function.name): function for function in model.functions}
    for message in _messages(model):
        if not isinstance(message, onnx.NodeProto) or (message.domain, message.op_type) in functions:
            continue
        if message.domain not in DOMAINS or message.op_type == "EPContext":
            raise InvalidArgument(
                f"artifact: operator {_short(message.op_type)} of domain {_short(message.domain)} would need a library "
                f"of its own; wanted operators of {', '.join(sorted(DOMAINS - {''}))}"
            )
    _check_calls_end({key: _calls(function, functions) for key, function in functions.items()})


_Key = tuple[str, str]


def _calls(function: onnx.FunctionProto, functions: Mapping[_Key, onnx.FunctionProto]) -> set[_Key]:
    nodes = (message for message in _messages(function) if isinstance(message, onnx.NodeProto))
    return {(node.domain, node.op_type) for node in nodes} & functions.keys()


def _check_calls_end(calls: dict[_Key, set[_Key]]) -> None:
    # A function that calls itself would be inlined without end. Take away what calls nothing left, until nothing is.
    while calls:
        leaves = {key for key, called in calls.items() if not called & calls.keys()}
        if not leaves:
            raise InvalidArgument(f"artifact: the ONNX function {_short(min(calls)[1])} calls itself")
        calls = {key: called for key, called in calls.items() if key not in leaves}


def _check_wellformed(artifact: bytes) -> None:
    try:
        onnx.checker.check_model(artifact)
    except (onnx.checker.ValidationError, ValueError, RuntimeError) as error:
        reason = " ".join(_SOURCE_PLACE.sub("", str(error)).split())
        raise InvalidArgument(f"artifact: not a valid ONNX model: {reason}"[:MESSAGE_MAX]) from None


def _spec(role: str, value: onnx.ValueInfoProto) -> TensorSpec:
    kind = value.type.WhichOneof("value")
    if kind != "tensor_type":
        what = (kind or "nothing").removesuffix("_type").replace("_", " ")
        advice = "; export with zipmap=False" if role == "output" and kind in {"sequence_type", "map_type"} else ""
        raise InvalidArgument(f"artifact: {role} {_short(value.name)} is a {what}; wanted a tensor{advice}")
    tensor = value.type.tensor_type
    datatype = _DATATYPES.get(tensor.elem_type)
    if datatype is None:
        raise InvalidArgument(
            f"artifact: {role} {_short(value.name)} has elements of ONNX type {_type_name(tensor.elem_type)}; "
            f"wanted one of {', '.join(DataType)}"
        )
    if not tensor.HasField("shape"):
        raise InvalidArgument(f"artifact: {role} {_short(value.name)} declares no shape; wanted one, such as [N, 30]")
    # Some converters write 0 for a size they do not know.
    shape = tuple(dim.dim_value if dim.dim_value > 0 else -1 for dim in tensor.shape.dim)
    return TensorSpec(value.name, datatype, shape)


def _check_sizes(role: str, specs: tuple[TensorSpec, ...]) -> None:
    names: set[str] = set()
    elements = 0
    for spec in specs:
        if spec.name in names:
            raise InvalidArgument(f"artifact: {role} {_short(spec.name)} comes twice; wanted one of each name")
        names.add(spec.name)
        if len(spec.shape) > RANK_MAX:
            raise InvalidArgument(
                f"artifact: {role} {_short(spec.name)} has {len(spec.shape)} dimensions; wanted at most {RANK_MAX}"
            )
        elements += math.prod(size for size in spec.shape if size > 0)
        if elements > ELEMENTS_MAX:
            raise InvalidArgument(
                f"artifact: {role} {_short(spec.name)} has shape {list(spec.shape)} (-1: any); wanted at most "
                f"{ELEMENTS_MAX} elements in all {role}s of a row"
            )


def _opsets(model: onnx.ModelProto) -> dict[str, int]:
    return {"" if opset.domain == "ai.onnx" else opset.domain: opset.version for opset in model.opset_import}


def _type_name(number: int) -> str:
    try:
        return str(TensorProto.DataType.Name(number))
    except ValueError:
        return str(number)


def _short(text: str) -> str:
    return repr(text[:60])
