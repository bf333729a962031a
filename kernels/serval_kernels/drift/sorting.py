"""Sorting of floats by radix, least significant digit first.

Rules. Input is one-dimensional float32 or float64, contiguous or not, and is never changed. NaN of any sign sorts
last, after +inf, as numpy.sort has it; -0.0 sorts before 0.0, to which it is equal.

Inside a kernel every operand has the dtype of the keys: numba makes float64 of uint64 with int64.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from serval_kernels.compile import kernel

Floats = npt.NDArray[np.floating[Any]]
Keys = npt.NDArray[np.unsignedinteger[Any]]

_DIGIT_BITS = 11  # 2048 counters stay in the first-level cache; 3 passes for float32, 6 for float64
_DIGITS = 1 << _DIGIT_BITS


def sort(x: Floats) -> Floats:
    """Return the values of `x` in rising order, NaN last, in a new contiguous array of the same dtype.

    Raises TypeError for other dtypes and ValueError for other than one dimension.
    """
    check_floats(x)
    keys: Keys = np.array(x, order="C").view(np.uint32 if x.dtype == np.float32 else np.uint64)
    number = keys.dtype.type
    bits = keys.dtype.itemsize * 8
    sign, rest = number(1 << (bits - 1)), number((1 << (bits - 1)) - 1)
    infinity = np.array(np.inf, x.dtype).view(keys.dtype)[()]
    counts = _encode(keys, sign, rest, infinity)
    keys = _scatter_all(keys, counts)
    _decode(keys, sign, rest)
    return keys.view(x.dtype)


def sort_present(x: Floats) -> Floats:
    """Return the values of `x` that are not NaN, in rising order."""
    ordered = sort(x)
    return ordered[: _present_count(ordered)]


def check_floats(x: Floats) -> None:
    """Raise unless `x` is a one-dimensional float32 or float64 array in the byte order of the machine."""
    if x.dtype not in (np.float32, np.float64):
        raise TypeError(f"x: dtype {x.dtype}; wanted float32 or float64")
    if x.ndim != 1:
        raise ValueError(f"x: {x.ndim} dimensions; wanted 1")


@kernel
def _key_of(bits: Any, sign: Any, rest: Any, infinity: Any) -> Any:
    """Turn IEEE 754 bits into an unsigned number of the same order; NaN becomes the largest.

    A negative number has all its bits flipped, any other only its sign (M. Herf, "Radix Tricks", 2001).
    """
    if bits & rest > infinity:
        return sign | rest
    if bits & sign:
        return bits ^ (sign | rest)
    return bits | sign


@kernel
def _bits_of(key: Any, sign: Any, rest: Any) -> Any:
    """Undo `_key_of`."""
    if key & sign:
        return key ^ sign
    return key ^ (sign | rest)


@kernel
def _encode(keys: Keys, sign: Any, rest: Any, infinity: Any) -> npt.NDArray[np.int64]:
    """Replace bits by keys and count the digits of every pass: int64[passes, 2048]."""
    passes = (keys.itemsize * 8 + _DIGIT_BITS - 1) // _DIGIT_BITS
    counts = np.zeros((passes, _DIGITS), np.int64)
    width, mask = keys.dtype.type(_DIGIT_BITS), keys.dtype.type(_DIGITS - 1)
    for i in range(keys.size):
        key = _key_of(keys[i], sign, rest, infinity)
        keys[i] = key
        for turn in range(passes):
            counts[turn, key & mask] += 1
            key >>= width
    return counts


@kernel
def _scatter_all(keys: Keys, counts: npt.NDArray[np.int64]) -> Keys:
    """Sort by each digit in turn and return the sorted keys; a digit that all keys share is passed over."""
    source, target = keys, np.empty_like(keys)
    for turn in range(counts.shape[0]):
        if keys.size and counts[turn].max() < keys.size:
            _scatter(source, target, counts[turn], keys.dtype.type(turn * _DIGIT_BITS))
            source, target = target, source
    return source


@kernel
def _scatter(source: Keys, target: Keys, counts: npt.NDArray[np.int64], shift: Any) -> None:
    """Copy `source` to `target` in the order of one digit, equal digits in the order they came."""
    mask = source.dtype.type(_DIGITS - 1)
    place = 0
    for digit in range(counts.size):
        place, counts[digit] = place + counts[digit], place
    for i in range(source.size):
        digit = (source[i] >> shift) & mask
        target[counts[digit]] = source[i]
        counts[digit] += 1


@kernel
def _decode(keys: Keys, sign: Any, rest: Any) -> None:
    """Replace keys by bits."""
    for i in range(keys.size):
        keys[i] = _bits_of(keys[i], sign, rest)


@kernel
def _present_count(ordered: Floats) -> int:
    """Count the values before the NaN at the end of a sorted array."""
    low, high = 0, ordered.size
    while low < high:
        middle = (low + high) // 2
        if ordered[middle] != ordered[middle]:
            high = middle
        else:
            low = middle + 1
    return low
