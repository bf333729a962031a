"""Many arrays as one argument.

Handing a compiled function thirty arrays takes longer than most of what it does with them (10 to 17 us against 0.3 us,
measured). So Python hands over one array that says where the others lie, and the compiled entry makes them from that.

    [n, 3]  address, sizes along the first and the second axis

Who checks what. `handle_of` takes C-contiguous arrays of one or two dimensions; whoever keeps the handle keeps them,
too. The n-th row is read as what the n-th array was, which `state` alone decides. With NUMBA_BOUNDSCHECK the views are
checked like any array.
"""

from collections.abc import Sequence
from typing import Any

import llvmlite.ir
import numba
import numpy as np
import numpy.typing as npt
from numba.core import cgutils
from numba.extending import intrinsic
from numba.np.arrayobj import make_array, populate_array

Handle = npt.NDArray[np.int64]


def handle_of(arrays: Sequence[npt.NDArray[Any]]) -> Handle:
    """Return where the arrays lie; ValueError for one that is not contiguous, or of another number of dimensions."""
    handle = np.zeros((len(arrays), 3), np.int64)
    for row, array in zip(handle, arrays, strict=True):
        if not array.flags.c_contiguous or array.ndim not in (1, 2):
            raise ValueError(f"arrays: one of shape {array.shape} is no contiguous array of one or two dimensions")
        row[:] = array.ctypes.data, array.shape[0], array.shape[1] if array.ndim > 1 else 1
    return handle


def view_of(dtype: np.dtype[Any], dimensions: int = 1) -> Any:
    """Return a compiled function (address, size, second size) -> the array of that dtype there, borrowed."""
    kind = numba.types.Array(numba.from_dtype(dtype), dimensions, "C")

    @intrinsic
    def view(typing_context: Any, address: Any, first: Any, second: Any) -> Any:  # noqa: ARG001
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:  # noqa: ARG001
            at, *sizes = arguments
            array = make_array(kind)(context, builder)
            item = context.get_abi_sizeof(context.get_data_type(kind.dtype))
            word = context.get_value_type(numba.types.intp)
            itemsize = llvmlite.ir.Constant(word, item)
            shape = sizes[:dimensions]
            strides = [itemsize] if dimensions == 1 else [builder.mul(sizes[1], itemsize), itemsize]
            populate_array(
                array,
                data=builder.inttoptr(at, context.get_data_type(kind.dtype).as_pointer()),
                shape=cgutils.pack_array(builder, shape),
                strides=cgutils.pack_array(builder, strides),
                itemsize=itemsize,
                meminfo=None,
            )
            return array._getvalue()

        return kind(numba.int64, numba.int64, numba.int64), generate

    return view
