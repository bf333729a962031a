"""Runs of octets: copying and comparing.

Who checks what. The caller has seen to it that both runs lie in their arrays. Places are counted unsigned here: for a
signed one numba looks at every octet whether it counts from the end, and such a loop cannot use vector registers.
"""

from collections.abc import Callable
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from serval_kernels.compile import inlined

Octets = npt.NDArray[np.uint8]

# Out of an array into a signed 64-bit integer, which mypy shall take for the int that it is
signed = cast("Callable[[Any], int]", np.int64)


@inlined
def copy(source: Octets, start: int, size: int, out: Octets, at: int) -> None:
    """Copy [start, start + size) of `source` to `at` of `out`, another array."""
    read, write = np.uint64(start), np.uint64(at)
    for i in range(np.uint64(size)):
        out[write + i] = source[read + i]


@inlined
def same(a: Octets, a_at: int, b: Octets, b_at: int, size: int) -> bool:
    """Tell whether two runs of `size` octets are equal."""
    a_first, b_first = np.uint64(a_at), np.uint64(b_at)
    different = np.uint8(0)
    for i in range(np.uint64(size)):
        different |= a[a_first + i] ^ b[b_first + i]
    return bool(different == 0)
