"""Tensors and outputs of the contract, to and from numpy arrays."""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from serval_protos.v1 import common_pb2, prediction_pb2

from serval_client.errors import DataLoss, InvalidArgument

Array = npt.NDArray[np.generic]

# Little-endian, as the contract has it, whatever this machine is.
DTYPES: dict[int, np.dtype[np.generic]] = {
    common_pb2.BOOL: np.dtype("?"),
    common_pb2.UINT8: np.dtype("u1"),
    common_pb2.UINT16: np.dtype("<u2"),
    common_pb2.UINT32: np.dtype("<u4"),
    common_pb2.UINT64: np.dtype("<u8"),
    common_pb2.INT8: np.dtype("i1"),
    common_pb2.INT16: np.dtype("<i2"),
    common_pb2.INT32: np.dtype("<i4"),
    common_pb2.INT64: np.dtype("<i8"),
    common_pb2.FP16: np.dtype("<f2"),
    common_pb2.FP32: np.dtype("<f4"),
    common_pb2.FP64: np.dtype("<f8"),
}
NUMBERS = {dtype: number for number, dtype in DTYPES.items()}


def to_message(array: Array, name: str = "", field: str = "rows") -> common_pb2.Tensor:
    """Return the Tensor of an array of numbers, booleans or str, of any shape."""
    if array.dtype.kind in "OU":
        texts = array.reshape(-1).tolist()
        wrong = [type(text).__name__ for text in texts if not isinstance(text, str)]
        if wrong:
            raise InvalidArgument(
                f"{field}: holds {wrong[0]} values in an array of texts; columns of different kinds need their names: "
                "send a DataFrame or a dict of columns"
            )
        return common_pb2.Tensor(name=name, datatype=common_pb2.STRING, shape=array.shape, strings=texts)
    dtype = array.dtype.newbyteorder("<") if array.dtype.kind in "iuf" else array.dtype
    number = NUMBERS.get(dtype)
    if number is None:
        raise InvalidArgument(f"{field}: is an array of {array.dtype}; wanted numbers up to 64 bits, booleans or texts")
    return common_pb2.Tensor(
        name=name,
        datatype=common_pb2.DataType.Name(number),
        shape=array.shape,
        data=np.ascontiguousarray(array, dtype).tobytes(),
    )


def from_message(tensor: common_pb2.Tensor) -> Array:
    """Return a Tensor as an array of its own: texts as object arrays of str."""
    shape = tuple(tensor.shape)
    if tensor.datatype == common_pb2.STRING:
        return _texts(tensor.strings, shape, tensor.name)
    dtype = _dtype(tensor.datatype, tensor.name)
    data = tensor.data
    if math.prod(shape) * dtype.itemsize != len(data):
        raise DataLoss(f"output {tensor.name!r}: came with {len(data)} bytes for shape {list(shape)} of {dtype}")
    return np.frombuffer(data, dtype).reshape(shape).copy()


def from_output(output: prediction_pb2.Output) -> Array:
    """Return an Output of a Predict reply as an array."""
    shape = tuple(output.shape)
    if output.datatype == common_pb2.STRING:
        return _texts(output.strings, shape, output.name)
    dtype = _dtype(output.datatype, output.name)
    match dtype.kind, dtype.itemsize:
        case "f", 8:
            values: Sequence[float] = output.doubles
        case "f", _:
            values = output.floats
        case _:
            values = output.integers
    if math.prod(shape) != len(values):
        raise DataLoss(f"output {output.name!r}: came with {len(values)} values for shape {list(shape)}")
    return np.array(values, dtype).reshape(shape)


def _texts(texts: Sequence[str], shape: tuple[int, ...], name: str) -> Array:
    if math.prod(shape) != len(texts):
        raise DataLoss(f"output {name!r}: came with {len(texts)} texts for shape {list(shape)}")
    array = np.empty(len(texts), np.object_)
    array[:] = list(texts)
    return array.reshape(shape)


def _dtype(number: int, name: str) -> np.dtype[np.generic]:
    dtype = DTYPES.get(number)
    if dtype is None:
        raise DataLoss(f"output {name!r}: came with data type {number}, which this client does not know")
    return dtype
