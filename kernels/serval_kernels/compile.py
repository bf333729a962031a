"""The one home of compile flags.

Rules. A kernel is serial: numba's parallel layers abort the process when two threads enter them at once, so threads
are the caller's. It lets go of the GIL, but for one that is called too often for that (`entry`). Division by zero gives
inf or NaN, as in numpy. fastmath stays off, as it takes NaN for impossible; a kernel that only sums may let the sum be
reordered (`reduction`), and says why.

What is compiled here is kept on disk; `cache` says where, and what makes it compile again. A function of another
package is compiled in each process anew: its folder would not see the changes that it depends on.
"""

import sys
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar, cast

import numba

from serval_kernels import cache, loading

Function = TypeVar("Function", bound=Callable[..., Any])

_PACKAGE = __name__.rpartition(".")[0]
_FLAGS: dict[str, Any] = {"cache": True, "nogil": True, "error_model": "numpy"}

cache.install()
loading.install()


def kernel(function: Function) -> Function:
    """Compile for the argument types of each first call."""
    return cast("Function", numba.njit(**_flags(function))(function))


def entry(function: Function) -> Function:
    """Compile what Python calls for some microseconds: it keeps the GIL, as to get that back can take much longer."""
    return cast("Function", numba.njit(**_flags(function, nogil=False))(function))


def reduction(function: Function) -> Function:
    """Compile a sum whose order is free, so that it may use vector registers; NaN and inf keep their meaning."""
    return cast("Function", numba.njit(**_flags(function, fastmath={"reassoc", "contract"}))(function))


def inlined_reduction(function: Function) -> Function:
    """Compile a `reduction` into each compiled caller, as `inlined`: what sums little, and is called for each row."""
    flags = _flags(function, forceinline=True, _nrt=False, fastmath={"reassoc", "contract"})
    return cast("Function", _for_types(numba.njit(**flags)(function)))


def fused(function: Function) -> Function:
    """Compile into each caller, see `inlined`; where a product is added, it is not rounded before (IEEE 754, 5.4.1)."""
    flags = _flags(function, forceinline=True, _nrt=False, fastmath={"contract"})
    return cast("Function", _for_types(numba.njit(**flags)(function)))


def extremes(function: Function) -> Function:
    """Compile a search for the smallest or largest of numbers of which none is NaN, for vector registers."""
    return cast("Function", numba.njit(**_flags(function, fastmath={"nnan", "nsz"}))(function))


def kernel_for(*signatures: Any) -> Callable[[Function], Function]:
    """Compile at import for exactly these argument types, so that no call ever waits for the compiler."""
    return _compiled_for(signatures)


def entry_for(*signatures: Any) -> Callable[[Function], Function]:
    """Compile as `kernel_for` what keeps the GIL, as `entry` does: to other threads of Python it is a single step."""
    return _compiled_for(signatures, nogil=False)


def _compiled_for(signatures: tuple[Any, ...], **flags: Any) -> Callable[[Function], Function]:
    def compiled(function: Function) -> Function:
        return cast("Function", numba.njit(list(signatures), **_flags(function, **flags))(function))

    return compiled


def inlined(function: Function) -> Function:
    """Compile for the argument types of each first call, and into each compiled caller, borrowing the arrays.

    For functions that are many, small, called with many arrays, and run some nanoseconds each, as the wire's. Counting
    references to the arrays at each call and handing them over on the stack took three quarters of the time that
    decoding a header block took. So they keep no counts (numba's `_nrt`): the compiled caller, or Python, holds the
    arrays meanwhile. In return such a function must not make an array or return one; numba refuses to compile what
    allocates.
    """
    return cast("Function", _for_types(numba.njit(**_flags(function, forceinline=True, _nrt=False))(function)))


def borrowing(function: Function) -> Function:
    """As `inlined`, but left to stand where it is called: what many places call, or few calls reach."""
    return cast("Function", _for_types(numba.njit(**_flags(function, _nrt=False))(function)))


def merged(function: Function) -> Function:
    """As `inlined`, but made part of the one place that calls it before anything is compiled.

    What LLVM inlines is compiled once more for each function around it; a chain of large ones is to be compiled once.
    """
    return cast("Function", _for_types(numba.njit(**_flags(function, _nrt=False), inline="always")(function)))


def _for_types(dispatcher: Any) -> Any:
    """Compile for types and not for values: numba would make another version for each constant that is handed over."""
    of_values = dispatcher.get_call_template

    unliteral: Callable[[Any], Any] = numba.types.unliteral

    def of_types(args: Any, keywords: Any) -> Any:
        return of_values(tuple(map(unliteral, args)), {name: unliteral(kind) for name, kind in keywords.items()})

    dispatcher.get_call_template = of_types
    return dispatcher


class Counts(NamedTuple):
    """How many kernels, one for each tuple of argument types, this process has compiled and loaded from disk."""

    compiled: int
    loaded: int


def counts() -> Counts:
    """Count what this process has compiled and loaded, of all modules of this package that it has imported."""
    kernels = {id(value): value for module in _modules() for value in vars(module).values() if _is_kernel(value)}
    statistics = [kernel.stats for kernel in kernels.values()]
    return Counts(
        compiled=sum(sum(each.cache_misses.values()) for each in statistics),
        loaded=sum(sum(each.cache_hits.values()) for each in statistics),
    )


def _modules() -> list[Any]:
    return [module for name, module in list(sys.modules.items()) if name.startswith(f"{_PACKAGE}.")]


def _is_kernel(value: Any) -> bool:
    return bool(numba.extending.is_jitted(value))


def _flags(function: Callable[..., Any], **more: Any) -> dict[str, Any]:
    return {**_FLAGS, **more, "cache": function.__module__.startswith(f"{_PACKAGE}.")}
