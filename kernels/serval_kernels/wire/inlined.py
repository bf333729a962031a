"""How the wire's functions are compiled: into their callers, and borrowing their arrays.

They are many, small, called with many arrays, and each runs some nanoseconds. Counting references to the arrays at each
call and handing them over on the stack took three quarters of the time that decoding a header block took. So they keep
no counts (numba's `_nrt`) and are always inlined: the compiled caller, or Python, holds the arrays meanwhile. In return
such a function must not make an array or return one; numba refuses to compile what allocates.
"""

from typing import Any, cast

import numba

from serval_kernels.compile import _FLAGS, Function

_BORROWING: dict[str, Any] = {**_FLAGS, "forceinline": True, "_nrt": False}


def inlined(function: Function) -> Function:
    """Compile for the argument types of each first call, and into each compiled caller."""
    return cast("Function", numba.njit(**_BORROWING)(function))
