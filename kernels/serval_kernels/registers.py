"""What vector registers do with sixteen float32 at once; where there are none, it is still right.

numba has no word for these: a loop over sixteen comparisons is made scalar, or sums where the bits of one comparison
can be counted, and columns become gathers, of which each element costs as much as several loads.
"""

from typing import Any, Final

import numba
from llvmlite import ir
from numba.extending import intrinsic

WIDTH: Final = 16

_INT32: Final = ir.IntType(32)
_VECTOR: Final = ir.VectorType(ir.FloatType(), WIDTH)
_LOWER: Final = [lane for at in range(WIDTH // 2) for lane in (at, WIDTH + at)]
_UPPER: Final = [lane + WIDTH // 2 for lane in _LOWER]
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


def _transpose(typing_context: Any, source: Any, at: Any, stride: Any, target: Any, to: Any, room: Any) -> Any:  # noqa: ARG001
    """Lay the columns of a square of WIDTH float32 side by side: element [i, k] is source[at + i * stride + k].

    It goes to target[to + k * room + i]. Positions are counted in elements from the first; neither that they lie in
    the arrays nor that elements of a row follow each other is checked.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kinds, (_, at, stride, _, to, room) = signature.args, arguments
        word = at.type
        begin = context.make_array(kinds[0])(context, builder, arguments[0]).data
        end = context.make_array(kinds[3])(context, builder, arguments[3]).data

        def place(base: Any, first: Any, step: Any, number: int) -> Any:
            offset = builder.add(first, builder.mul(step, ir.Constant(word, number)))
            return builder.bitcast(builder.gep(base, [offset]), _VECTOR.as_pointer())

        lines = [builder.load(place(begin, at, stride, number), align=4) for number in range(WIDTH)]
        for _ in range(WIDTH.bit_length() - 1):  # each interleaves the first half of the lines with the second
            halves = list(zip(lines[: WIDTH // 2], lines[WIDTH // 2 :], strict=True))
            lines = [_interleaved(builder, pair, lanes) for pair in halves for lanes in (_LOWER, _UPPER)]
        for number, line in enumerate(lines):
            builder.store(line, place(end, to, room, number), align=4)
        return context.get_dummy_value()

    intp = numba.types.intp
    return numba.types.void(source, intp, intp, target, intp, intp), generate


def _interleaved(builder: Any, pair: tuple[Any, Any], lanes: list[int]) -> Any:
    return builder.shuffle_vector(*pair, ir.Constant(ir.VectorType(_INT32, WIDTH), lanes))


transpose: Any = intrinsic(_transpose)
