"""Asks for memory before it is read: where it lies in no cache, a loop that reads it line by line waits for each."""

from typing import Any, Final

import numba
import numpy.typing as npt
from llvmlite import ir
from numba.core import cgutils
from numba.extending import intrinsic

from serval_kernels.compile import inlined

LINE_OCTETS: Final = 64

_INT32: Final = ir.IntType(32)
_OCTETS: Final = ir.IntType(8).as_pointer()
# To read; soon, and not again: what is asked for is not to push out what the second-level cache holds; of data.
_HOW: Final = tuple(ir.Constant(_INT32, word) for word in (0, 0, 1))


def _ask(typing_context: Any, array: Any, offset: Any) -> Any:  # noqa: ARG001
    """Ask for the line so many octets behind the first of an array; to ask for what is not there does nothing."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        first = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        kind = ir.FunctionType(ir.VoidType(), [_OCTETS, *(word.type for word in _HOW)])
        prefetch = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0i8")
        builder.call(prefetch, [builder.gep(builder.bitcast(first, _OCTETS), [arguments[1]]), *_HOW])
        return context.get_dummy_value()

    return numba.types.void(array, numba.types.intp), generate


_ask_for_line: Any = intrinsic(_ask)


@inlined
def ask_for(rows: npt.NDArray[Any]) -> None:
    """Ask for all lines from the first row of a matrix to its last, which lies behind it, with what is between them."""
    for offset in range(0, rows.shape[0] * rows.strides[0], LINE_OCTETS):
        _ask_for_line(rows, offset)
