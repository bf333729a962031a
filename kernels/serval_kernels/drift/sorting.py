"""Sorting of floats by radix, least significant digit first.

Rules. Input is one-dimensional float32 or float64, contiguous or not, and is never changed. NaN of any sign sorts
last, after +inf, as numpy.sort has it; -0.0 sorts before 0.0, to which it is equal.

Inside a kernel no unsigned number meets a signed one: numba makes float64 of uint64 with int64.
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from serval_kernels.compile import kernel

Floats = npt.NDArray[np.floating[Any]]
Keys = npt.NDArray[np.unsignedinteger[Any]]
Counters = npt.NDArray[np.uint64]

_DIGIT_BITS = 11  # 2048 counters stay in the first-level cache; 3 passes for float32, 6 for float64
_DIGITS = 1 << _DIGIT_BITS


class _Layout(NamedTuple):
    """The parts of a float's bits, as numbers of the keys' dtype."""

    sign: Any  # only the sign bit
    top: Any  # the place of the sign bit
    infinity: Any  # the bits of +inf; what lies above, sign aside, is NaN
    one: Any

    @classmethod
    def of(cls, keys: Keys, dtype: np.dtype[Any]) -> "_Layout":
        number, top = keys.dtype.type, keys.dtype.itemsize * 8 - 1
        return cls(number(1 << top), number(top), np.array(np.inf, dtype).view(keys.dtype)[()], number(1))


def sort(x: Floats, name: str = "x") -> Floats:
    """Return the values of `x` in rising order, NaN last, in a new contiguous array of the same dtype.

    Raises TypeError for other dtypes and ValueError for other than one dimension, by the caller's `name` for `x`.
    """
    check_floats(x, name)
    keys: Keys = np.array(x, order="C").view(np.uint32 if x.dtype == np.float32 else np.uint64)
    return _sort_bits(keys, _Layout.of(keys, x.dtype)).view(x.dtype)


def sort_present(x: Floats, name: str = "x") -> Floats:
    """Return the values of `x` that are not NaN, in rising order; raises as `sort`."""
    ordered = sort(x, name)
    return ordered[: _present_count(ordered)]


def check_floats(x: Floats, name: str = "x") -> None:
    """Raise unless `x`, called `name`, is a one-dimensional float32 or float64 array in the machine's byte order."""
    if x.dtype not in (np.float32, np.float64):
        raise TypeError(f"{name}: dtype {x.dtype}; wanted float32 or float64")
    if x.ndim != 1:
        raise ValueError(f"{name}: {x.ndim} dimensions; wanted 1")


@kernel
def _key_of(bits: Any, layout: _Layout) -> Any:
    """Turn IEEE 754 bits into an unsigned number of the same order; NaN becomes the largest.

    A negative number has all its bits flipped, any other only its sign (M. Herf, "Radix Tricks", 2001).
    """
    every = layout.sign | (layout.sign - layout.one)
    flip = every * (bits >> layout.top) | layout.sign
    return every if bits & (layout.sign - layout.one) > layout.infinity else bits ^ flip


@kernel
def _bits_of(key: Any, layout: _Layout) -> Any:
    """Undo `_key_of`."""
    every = layout.sign | (layout.sign - layout.one)
    return key ^ (every * (layout.one - (key >> layout.top)) | layout.sign)


@kernel
def _sort_bits(keys: Keys, layout: _Layout) -> Keys:
    """Sort floats given as their bits; `keys` is used up."""
    counts = _encode(keys, layout)
    source, target = keys, np.empty_like(keys)
    for turn in range(counts.shape[0]):
        # A digit that all keys share orders nothing.
        if counts[turn].max() < np.uint64(keys.size):
            _scatter(source, target, counts[turn], keys.dtype.type(turn * _DIGIT_BITS))
            source, target = target, source
    for i in range(source.size):
        source[i] = _bits_of(source[i], layout)
    return source


@kernel
def _encode(keys: Keys, layout: _Layout) -> Counters:
    """Replace bits by keys and count the digits of every pass: uint64[passes, 2048]."""
    passes = (keys.itemsize * 8 + _DIGIT_BITS - 1) // _DIGIT_BITS
    counts = np.zeros((passes, _DIGITS), np.uint64)
    mask = keys.dtype.type(_DIGITS - 1)
    for i in range(keys.size):
        key = keys.dtype.type(_key_of(keys[i], layout))
        keys[i] = key
        for turn in range(passes):
            counts[turn, (key >> keys.dtype.type(turn * _DIGIT_BITS)) & mask] += np.uint64(1)
    return counts


@kernel
def _scatter(source: Keys, target: Keys, counts: Counters, shift: Any) -> None:
    """Copy `source` to `target` in the order of one digit, equal digits in the order they came."""
    mask = source.dtype.type(_DIGITS - 1)
    place = np.uint64(0)
    for digit in range(counts.size):
        place, counts[digit] = place + counts[digit], place
    for i in range(source.size):
        digit = (source[i] >> shift) & mask
        target[counts[digit]] = source[i]
        counts[digit] += np.uint64(1)


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
