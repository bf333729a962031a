"""One comparison of a value with sixteen others, as vector registers make it; where there are none, it is still right.

numba has no word for it: a loop over sixteen is made scalar, or sums where the bits of one comparison can be counted.
"""

from typing import Any, Final

import numba
from llvmlite import ir
from numba.extending import intrinsic

WIDTH: Final = 16

_INT32: Final = ir.IntType(32)
_VECTOR: Final = ir.VectorType(ir.FloatType(), WIDTH)
_FIRST: Final = ir.Constant(ir.VectorType(_INT32, WIDTH), [0] * WIDTH)


def _count_below(typing_context: Any, table: Any, at: Any, value: Any) -> Any:  # noqa: ARG001
    """Return how many of the float32 table[at:at + WIDTH] are less than a float32 `value`: uint64; NaN is never less.

    table is contiguous and has so many; that is not checked.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        start = builder.bitcast(builder.gep(array.data, [arguments[1]]), _VECTOR.as_pointer())
        others = builder.load(start, align=4)
        undefined = ir.Constant(_VECTOR, ir.Undefined)
        one = builder.insert_element(undefined, arguments[2], ir.Constant(_INT32, 0))
        values = builder.shuffle_vector(one, undefined, _FIRST)
        less = builder.bitcast(builder.fcmp_ordered("<", others, values), ir.IntType(WIDTH))
        return builder.ctpop(builder.zext(less, ir.IntType(64)))

    return numba.types.uint64(table, numba.types.intp, numba.types.float32), generate


count_below: Any = intrinsic(_count_below)
