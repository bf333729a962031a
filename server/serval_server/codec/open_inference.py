"""ModelInferRequest into arrays and arrays into ModelInferResponse, by the rules of the Open Inference Protocol.

Inputs are raw or typed, never both. Replies are always raw: tritonclient reads nothing else.
"""

import struct
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from serval_protos.inference import open_inference_pb2 as pb
from serval_registry.errors import InvalidArgument
from serval_registry.model import DataType, TensorSpec

from serval_server.codec import tensors
from serval_server.datatypes import DATA_TYPES, NUMPY_TYPES
from serval_server.engine.loaded import LoadedModel, check_shape
from serval_server.errors import Unimplemented

Array = npt.NDArray[np.generic]

# The protocol calls strings BYTES.
WIRE_NAMES: dict[DataType, str] = {kind: kind.value for kind in DataType} | {DataType.STRING: "BYTES"}
KINDS: dict[str, DataType] = {name: kind for kind, name in WIRE_NAMES.items()}
WIRE_NAMES_BY_DTYPE: dict[np.dtype[np.generic], str] = {dtype: WIRE_NAMES[kind] for dtype, kind in DATA_TYPES.items()}

# Accepted for FP32 inputs only: its sixteen bits are the upper half of a float32.
BF16 = "BF16"

# Where typed contents of each type travel; FP16 and BF16 exist in raw form only.
CONTENTS: dict[DataType, str] = {
    DataType.BOOL: "bool_contents",
    DataType.INT8: "int_contents",
    DataType.INT16: "int_contents",
    DataType.INT32: "int_contents",
    DataType.INT64: "int64_contents",
    DataType.UINT8: "uint_contents",
    DataType.UINT16: "uint_contents",
    DataType.UINT32: "uint_contents",
    DataType.UINT64: "uint64_contents",
    DataType.FP32: "fp32_contents",
    DataType.FP64: "fp64_contents",
    DataType.STRING: "bytes_contents",
}

LENGTH = struct.Struct("<I")  # before each element of a raw BYTES tensor

SHARED_MEMORY = "shared_memory_region"
CLASSIFICATION = "classification"


def decode_inputs(request: pb.ModelInferRequest, model: LoadedModel) -> dict[str, Array]:
    """Return the arrays by input name. Names, counts, bytes and shapes are checked; dtypes are what the peer said."""
    raw = request.raw_input_contents
    if raw and len(raw) != len(request.inputs):
        raise InvalidArgument(
            f"raw_input_contents: got {len(raw)} entries for {len(request.inputs)} inputs, wanted one an input"
        )
    inputs: dict[str, Array] = {}
    for index, tensor in enumerate(request.inputs):
        name = tensor.name
        if name not in model.inputs:
            raise InvalidArgument(
                f"inputs[{index}]: {name[:80]!r} is not an input of {model.version.ref}; "
                f"it takes {', '.join(map(repr, model.inputs))}"
            )
        if name in inputs:
            raise InvalidArgument(f"inputs[{index}]: {name!r} comes twice")
        if tensor.parameters and SHARED_MEMORY in tensor.parameters:
            raise Unimplemented(f"inputs[{index}]: shared memory is not supported; send raw_input_contents")
        if raw:
            if tensor.HasField("contents"):
                raise InvalidArgument(
                    f"inputs[{index}]: has contents, and raw_input_contents came too; send one of them"
                )
            inputs[name] = _from_raw(raw[index], tensor, index)
        else:
            inputs[name] = _from_contents(tensor, model.inputs[name], index)
    return inputs


def _from_raw(raw: bytes, tensor: pb.ModelInferRequest.InferInputTensor, index: int) -> Array:
    kind = KINDS.get(tensor.datatype)
    field = f"inputs[{index}] {tensor.name!r}"
    if kind is DataType.STRING:
        return tensors.from_strings(_split_bytes(raw, field), tensor.shape, field)
    if kind is not None:
        return tensors.from_raw(raw, kind, tensor.shape, field)
    if tensor.datatype == BF16:
        halves = tensors.from_raw(raw, DataType.UINT16, tensor.shape, field)
        return (halves.astype(np.uint32) << 16).view(np.float32)
    raise _unknown_datatype(tensor.datatype, field)


def _split_bytes(raw: bytes, field: str) -> list[str]:
    """Return the elements of a raw BYTES tensor as text: ONNX strings are UTF-8."""
    elements: list[str] = []
    at, end = 0, len(raw)
    while at < end:
        if end - at < LENGTH.size:
            raise InvalidArgument(f"{field}: {end - at} bytes are left where a 4-byte length was wanted")
        (length,) = LENGTH.unpack_from(raw, at)
        at += LENGTH.size
        if length > end - at:
            raise InvalidArgument(f"{field}: element {len(elements)} claims {length} bytes, {end - at} are left")
        elements.append(_text(raw[at : at + length], field))
        at += length
    return elements


def _text(value: bytes, field: str) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        raise InvalidArgument(f"{field}: an element is not UTF-8, which ONNX strings are: {error.reason}") from error


def _from_contents(tensor: pb.ModelInferRequest.InferInputTensor, spec: TensorSpec, index: int) -> Array:
    field = f"inputs[{index}] {tensor.name!r}"
    kind = KINDS.get(tensor.datatype)
    if kind is None or kind not in CONTENTS:
        if kind is None and tensor.datatype != BF16:
            raise _unknown_datatype(tensor.datatype, field)
        raise InvalidArgument(f"{field}: {tensor.datatype} travels in raw_input_contents only")
    count = tensors.element_count(tensor.shape, field)
    values = getattr(tensor.contents, CONTENTS[kind])
    if len(values) != count:
        raise InvalidArgument(
            f"{field}: got {len(values)} elements in contents.{CONTENTS[kind]}, "
            f"wanted {count} for shape {list(tensor.shape)}"
        )
    _check_spec(tensor, kind, spec)
    if kind is DataType.STRING:
        return tensors.from_strings([_text(value, field) for value in values], tensor.shape, field)
    try:
        return tensors.from_elements(values, NUMPY_TYPES[kind]).reshape(tensor.shape)
    except OverflowError as error:
        raise InvalidArgument(f"{field}: an element does not fit {tensor.datatype}: {error}") from error


def _check_spec(tensor: pb.ModelInferRequest.InferInputTensor, kind: DataType, spec: TensorSpec) -> None:
    """Refuse what the model would, before the elements are converted one by one."""
    if kind is not spec.datatype:
        raise InvalidArgument(f"input {spec.name!r}: got {tensor.datatype}, wanted {spec.datatype}")
    check_shape(tuple(tensor.shape), spec)


def _unknown_datatype(datatype: str, field: str) -> InvalidArgument:
    return InvalidArgument(f"{field}: {datatype[:40]!r} is no datatype; wanted one of {', '.join(KINDS)}, {BF16}")


def wanted_outputs(request: pb.ModelInferRequest, model: LoadedModel) -> list[str]:
    """Return the names asked for, in order; all where none is."""
    if not request.outputs:
        return model.output_names
    names = [output.name for output in request.outputs]
    model.check_outputs(names)
    for index, output in enumerate(request.outputs):
        if output.parameters and SHARED_MEMORY in output.parameters:
            raise Unimplemented(f"outputs[{index}]: shared memory is not supported; replies are raw_output_contents")
    return names


def encode(
    request: pb.ModelInferRequest, model: LoadedModel, names: Sequence[str], arrays: Sequence[Array]
) -> pb.ModelInferResponse:
    """Return the reply; copies each array's bytes once, into the message."""
    response = pb.ModelInferResponse(model_name=model.name, model_version=model.number_text, id=request.id)
    for index, (name, output) in enumerate(zip(names, arrays, strict=True)):
        array = output
        if request.outputs and CLASSIFICATION in request.outputs[index].parameters:
            array = classify(
                array, request.outputs[index].parameters[CLASSIFICATION].int64_param, model.version.classes
            )
        response.outputs.add(name=name, datatype=WIRE_NAMES_BY_DTYPE[array.dtype], shape=array.shape)
        response.raw_output_contents.append(array.tobytes() if array.dtype != np.object_ else _join_bytes(array))
    return response


def _join_bytes(array: Array) -> bytes:
    parts: list[bytes] = []
    for element in array.reshape(-1).tolist():
        value = element.encode() if isinstance(element, str) else bytes(element)
        parts += (LENGTH.pack(len(value)), value)
    return b"".join(parts)


def classify(scores: Array, top: int, classes: Sequence[str]) -> Array:
    """Return the classification extension's form: per row the `top` best as "value:index" or "value:index:label"."""
    if scores.ndim != 2 or scores.dtype.kind not in "fiu":
        raise InvalidArgument("outputs: classification wants an output of scores of shape [rows, classes]")
    if top < 1:
        raise InvalidArgument(f"outputs: classification wants at least 1 class, got {top}")
    top = min(top, scores.shape[1])
    order = np.argsort(np.negative(scores.astype(np.float64)), axis=1, kind="stable")[:, :top]
    labels = list(classes) if len(classes) == scores.shape[1] else None
    form = np.empty(order.shape, np.object_)
    for row, column in np.ndindex(order.shape):
        index = order[row, column]
        form[row, column] = f"{scores[row, index]:f}:{index}" + (f":{labels[index]}" if labels else "")
    return form
