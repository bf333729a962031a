"""Element types that travel as plain little-endian numbers: name, number in serval.v1.DataType, octets an element."""

from typing import Final

import numpy as np
import numpy.typing as npt

from serval_kernels.compile import inlined
from serval_kernels.wire.octets import signed

Octets = npt.NDArray[np.uint8]

UNKNOWN: Final = 0

NUMBERS: Final[dict[str, int]] = {
    "BOOL": 1,
    "UINT8": 2,
    "UINT16": 3,
    "UINT32": 4,
    "UINT64": 5,
    "INT8": 6,
    "INT16": 7,
    "INT32": 8,
    "INT64": 9,
    "FP16": 10,
    "FP32": 11,
    "FP64": 12,
}
NAMES: Final[dict[int, str]] = {number: name for name, number in NUMBERS.items()}

_DTYPES: Final[dict[int, np.dtype[np.generic]]] = {
    1: np.dtype(np.bool_),
    2: np.dtype(np.uint8),
    3: np.dtype(np.uint16),
    4: np.dtype(np.uint32),
    5: np.dtype(np.uint64),
    6: np.dtype(np.int8),
    7: np.dtype(np.int16),
    8: np.dtype(np.int32),
    9: np.dtype(np.int64),
    10: np.dtype(np.float16),
    11: np.dtype(np.float32),
    12: np.dtype(np.float64),
}
_BY_DTYPE: Final = {dtype: number for number, dtype in _DTYPES.items()}

# By number. A BOOL input is not a plain number: any octet but 0 is true, so its octets cannot be copied as they are.
_WORDS: Final = np.zeros(13, np.uint64)
_SIZES: Final = np.zeros(13, np.int64)
for _number, _dtype in _DTYPES.items():
    if _dtype != np.bool_:
        _WORDS[_number] = int.from_bytes(NAMES[_number].encode(), "little")
        _SIZES[_number] = _dtype.itemsize

_LONGEST_NAME: Final = 6


def dtype_of(number: int) -> np.dtype[np.generic]:
    """Return the dtype of a data type's number; KeyError where it is none of those above."""
    return _DTYPES[number]


def number_of(dtype: np.dtype[np.generic]) -> int:
    """Return the number of a dtype; ValueError where it does not travel as numbers (text, objects)."""
    number = _BY_DTYPE.get(dtype)
    if number is None:
        raise ValueError(f"dtype: {dtype}; wanted one of {', '.join(map(str, _BY_DTYPE))}")
    return number


@inlined
def read_name(buffer: Octets, at: int, length: int) -> int:
    """Return the number of the data type that [at, at + length) names, or UNKNOWN; BOOL is UNKNOWN here."""
    # A zero octet at the end would not show in the word.
    if not 0 < length <= _LONGEST_NAME or buffer[at + length - 1] == 0:
        return UNKNOWN
    word = np.uint64(0)
    for i in range(length):
        word |= np.uint64(buffer[at + i]) << np.uint64(8 * i)
    for number in range(2, 13):
        if _WORDS[number] == word:
            return number
    return UNKNOWN


@inlined
def item_size(number: int) -> int:
    """Return the octets of an element of a data type that `read_name` gave."""
    return signed(_SIZES[number])
