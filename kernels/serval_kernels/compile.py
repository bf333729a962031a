"""The one home of compile flags.

Rules. A kernel is serial: numba's parallel layers abort the process when two threads enter them at once, so threads
are the caller's. It lets go of the GIL. Division by zero gives inf or NaN, as in numpy. fastmath stays off, as it
takes NaN for impossible; a kernel that only sums may let the sum be reordered (`reduction`), and says why.

The cache on disk does not see a change in another file: a kernel that calls a kernel of another module keeps the old
one until its own file changes or `__pycache__` is emptied.
"""

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

Function = TypeVar("Function", bound=Callable[..., Any])

_FLAGS: dict[str, Any] = {"cache": True, "nogil": True, "error_model": "numpy"}


def kernel(function: Function) -> Function:
    """Compile for the argument types of each first call."""
    return cast("Function", numba.njit(**_FLAGS)(function))


def reduction(function: Function) -> Function:
    """Compile a sum whose order is free, so that it may use vector registers; NaN and inf keep their meaning."""
    return cast("Function", numba.njit(fastmath={"reassoc", "contract"}, **_FLAGS)(function))


def kernel_for(*signatures: Any) -> Callable[[Function], Function]:
    """Compile at import for exactly these argument types, so that no call ever waits for the compiler."""

    def compiled(function: Function) -> Function:
        return cast("Function", numba.njit(list(signatures), **_FLAGS)(function))

    return compiled
