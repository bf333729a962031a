"""Raw little-endian bytes, or elements one by one, and numpy arrays.

Whoever gives a shape has not been believed yet: sizes are checked against the bytes that came before anything is
allocated. A numeric array is a view of the message's bytes, without a copy.
"""

import sys
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from serval_protos.v1 import common_pb2
from serval_registry.errors import InvalidArgument
from serval_registry.model import DataType

from serval_server.datatypes import DATA_TYPES, NUMPY_TYPES

Array = npt.NDArray[np.generic]

assert sys.byteorder == "little", "tensors travel as little-endian bytes and are viewed where they lie"

DIMENSIONS_MAX = 16
ELEMENTS_MAX = 1 << 40

# Python objects are made into an array in one go of the interpreter, which nobody else has meanwhile: so many take less
# than a millisecond.
PIECE = 4096


def pieces(count: int) -> Iterator[slice]:
    """Yield the slices of so many elements that may be converted without letting go of the interpreter."""
    for start in range(0, count, PIECE):
        yield slice(start, min(start + PIECE, count))


def from_elements(elements: Sequence[Any], dtype: npt.DTypeLike) -> Array:
    """Return an array of Python objects or a repeated field; OverflowError where an element does not fit."""
    array: Array = np.empty(len(elements), dtype)
    for piece in pieces(len(elements)):
        array[piece] = elements[piece]
    return array


def element_count(shape: Sequence[int], field: str) -> int:
    """Return the product of a shape that a peer sent; raise InvalidArgument for a negative or overflowing one."""
    if len(shape) > DIMENSIONS_MAX:
        raise InvalidArgument(f"{field}: shape has {len(shape)} dimensions, at most {DIMENSIONS_MAX} are taken")
    count = 1
    for size in shape:
        if size < 0:
            raise InvalidArgument(f"{field}: shape {list(shape)} has a negative size")
        count *= size
        if size > ELEMENTS_MAX or count > ELEMENTS_MAX:
            raise InvalidArgument(f"{field}: shape {list(shape)} overflows; at most {ELEMENTS_MAX} elements are taken")
    return count


def from_raw(raw: bytes, datatype: DataType, shape: Sequence[int], field: str) -> Array:
    """Return the array that `raw` holds, of any numeric or boolean type; a view where the type allows it."""
    count = element_count(shape, field)
    dtype = NUMPY_TYPES[datatype]
    if len(raw) != count * dtype.itemsize:
        raise InvalidArgument(
            f"{field}: got {len(raw)} bytes, wanted {count * dtype.itemsize}: "
            f"shape {list(shape)} of {datatype} at {dtype.itemsize} bytes each"
        )
    if datatype is DataType.BOOL:  # any byte but 0 is true
        return np.not_equal(np.frombuffer(raw, np.uint8), 0).reshape(shape)
    return np.frombuffer(raw, dtype).reshape(shape)


def from_strings(strings: Sequence[str], shape: Sequence[int], field: str) -> Array:
    """Return an object array of str."""
    count = element_count(shape, field)
    if len(strings) != count:
        raise InvalidArgument(f"{field}: got {len(strings)} strings, wanted {count} for shape {list(shape)}")
    return from_elements(strings, np.object_).reshape(shape)


def from_message(tensor: common_pb2.Tensor, field: str) -> Array:
    """Return the array of a serval.v1 Tensor."""
    datatype = datatype_of(tensor.datatype, field)
    if datatype is DataType.STRING:
        if tensor.data:
            raise InvalidArgument(
                f"{field}: datatype STRING travels in `strings`, got {len(tensor.data)} bytes of `data`"
            )
        return from_strings(tensor.strings, tensor.shape, field)
    if tensor.strings:
        raise InvalidArgument(f"{field}: datatype {datatype} travels in `data`, got {len(tensor.strings)} `strings`")
    return from_raw(tensor.data, datatype, tensor.shape, field)


def to_message(name: str, array: Array) -> common_pb2.Tensor:
    """Return a serval.v1 Tensor; copies the array's bytes once, into the message."""
    datatype = DATA_TYPES[array.dtype]
    tensor = common_pb2.Tensor(name=name, datatype=number_of(datatype), shape=array.shape)
    if datatype is DataType.STRING:
        tensor.strings.extend(array.reshape(-1).tolist())
    else:
        tensor.data = array.tobytes()
    return tensor


def datatype_of(number: int, field: str) -> DataType:
    """Return the data type of a serval.v1 enum number."""
    if number == common_pb2.DATA_TYPE_UNSPECIFIED or number not in common_pb2.DataType.values():
        raise InvalidArgument(f"{field}.datatype: {number} is no data type; wanted one of {', '.join(DataType)}")
    return DataType(common_pb2.DataType.Name(number))


def number_of(datatype: DataType) -> common_pb2.DataType:
    """Return the serval.v1 enum number of a data type."""
    return common_pb2.DataType.Value(datatype.value)  # type: ignore[no-any-return]
