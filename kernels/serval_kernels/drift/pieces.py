"""Arrays of any stride as contiguous pieces: what is read once need not be copied as a whole for it."""

from collections.abc import Iterator
from typing import Final

import numpy as np

from serval_kernels.drift.sorting import Floats

VALUES: Final = 1 << 16  # of a piece, which is read from the second-level cache


def pieces(x: Floats) -> Iterator[Floats]:
    """Give the values of one dimension in their order: `x` itself where it is contiguous, else copies of some of it."""
    if x.flags.c_contiguous:
        yield x
        return
    for start in range(0, x.size, VALUES):
        yield np.ascontiguousarray(x[start : start + VALUES])
