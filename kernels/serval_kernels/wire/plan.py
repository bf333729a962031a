"""Plans: what the replies of a model have in common, written once.

A plan holds the constant octets of a reply (its head, and of each output the name and data type, and the sizes of a
row) and the numbers that say where in them each output's lie. `values` is one array of octets in which the outputs of a
batch lie one after the other, each beginning at a multiple of 8, with the rows of the batch in order.

Who checks what. `Plan.of` makes every span of an output lie within the constants; `constants` and `outputs` of one plan
belong together. `check_values` holds `values` against the rows of a whole batch, once before its replies are written;
every read of `values` is then within the rows of one message, which the encoder holds against those of the batch.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numba
import numpy as np
import numpy.typing as npt

from serval_kernels.compile import inlined
from serval_kernels.wire import batch, protobuf

Octets = npt.NDArray[np.uint8]
Records = npt.NDArray[np.void]

# Name, dtype, and the shape of one row.
Output = tuple[str, np.dtype[np.generic], tuple[int, ...]]

LONGEST_REPLY: Final = (1 << 31) - 1

_SHAPE: Final = 3  # in both protocols' output messages

# [fixed_at, fixed_length): name and data type; [tail_at, tail_length): the sizes of a row as varints. The head lies
# before the first output's. `row_octets` in `values`; `field` is the number of the field that the values travel in.
OUTPUT: Final = np.dtype(
    [(name, np.int64) for name in ("fixed_at", "fixed_length", "tail_at", "tail_length", "row_octets", "field")],
    align=True,
)
OUTPUTS_TYPE: Final = numba.types.Array(numba.from_dtype(OUTPUT), 1, "C")

# ids, messages, order, groups, number, constants, outputs, values, out
ENCODE_SIGNATURE: Final = numba.void(
    batch.OCTETS_TYPE,
    batch.MESSAGES_TYPE,
    batch.ORDER_TYPE,
    batch.GROUPS_TYPE,
    numba.int64,
    batch.OCTETS_TYPE,
    OUTPUTS_TYPE,
    batch.OCTETS_TYPE,
    batch.OUT_TYPE,
)


class PlannedOutput(NamedTuple):
    """Name and data type as fields, the dtype in `values`, the shape of one row, and the field of the values."""

    fixed: bytes
    dtype: np.dtype[np.generic]
    shape: tuple[int, ...]
    field: int


@dataclass(frozen=True, slots=True)
class Plan:
    """`constants` uint8[] and `outputs` OUTPUT[k] are for the compiled encoder, the rest says what `values` holds."""

    constants: Octets
    outputs: Records
    dtypes: tuple[np.dtype[np.generic], ...]
    shapes: tuple[tuple[int, ...], ...]
    row_octets: tuple[int, ...]

    @classmethod
    def of(cls, head: bytes, planned: Sequence[PlannedOutput]) -> "Plan":
        """Make a plan of a reply's first fields and at least one output (else ValueError)."""
        if not planned:
            raise ValueError("outputs: none; wanted at least one")
        constants, rows, sizes = bytearray(head), [], []
        for output in planned:
            if any(size < 0 for size in output.shape):
                raise ValueError(f"outputs: {output.shape} is not the shape of a row; wanted sizes of 0 or more")
            tail = b"".join(map(protobuf.varint, output.shape))
            octets = int(np.prod(output.shape, dtype=np.int64)) * output.dtype.itemsize
            at = len(constants)
            rows.append((at, len(output.fixed), at + len(output.fixed), len(tail), octets, output.field))
            constants += output.fixed + tail
            sizes.append(octets)
        return cls(
            np.frombuffer(bytes(constants), np.uint8),
            np.array(rows, OUTPUT),
            tuple(output.dtype for output in planned),
            tuple(tuple(output.shape) for output in planned),
            tuple(sizes),
        )

    def size(self, rows: int) -> int:
        """Return the octets of `values` for a batch of `rows`."""
        return sum(_padded(rows * octets) for octets in self.row_octets)

    def views(self, rows: int, values: Octets) -> list[npt.NDArray[np.generic]]:
        """Return where the outputs of a batch lie in `values`, arrays of shape (rows, *shape of one row)."""
        at, arrays = 0, []
        for dtype, shape, octets in zip(self.dtypes, self.shapes, self.row_octets, strict=True):
            arrays.append(values[at : at + rows * octets].view(dtype).reshape(rows, *shape))
            at += _padded(rows * octets)
        return arrays

    def lay_out(self, arrays: Sequence[npt.NDArray[np.generic]], rows: int, values: Octets) -> None:
        """Copy the outputs of a batch into `values`, one array an output, of shape (rows, *shape of one row).

        ValueError for another number or shape of arrays, or where `values` has fewer octets than `size` says;
        TypeError for a dtype that does not fit the planned one without loss.
        """
        if len(arrays) != len(self.dtypes):
            raise ValueError(f"arrays: {len(arrays)}; wanted {len(self.dtypes)}")
        at, target = 0, values.data
        for array, dtype, shape, octets in zip(arrays, self.dtypes, self.shapes, self.row_octets, strict=True):
            end = at + rows * octets
            if array.ndim == 0 or len(array) != rows or array.shape[1:] != shape:
                raise ValueError(f"arrays: one has shape {array.shape}; wanted {(rows, *shape)}")
            if end > values.size:
                raise ValueError(f"values: {values.size} octets; wanted {self.size(rows)}")
            # Bytes into a memoryview: a third of the time of an assignment between arrays, where they are small.
            target[at:end] = (array if array.dtype == dtype else _widened(array, dtype)).tobytes()
            at += _padded(end - at)


def _widened(array: npt.NDArray[np.generic], dtype: np.dtype[np.generic]) -> npt.NDArray[np.generic]:
    if not np.can_cast(array.dtype, dtype):
        raise TypeError(f"arrays: one has dtype {array.dtype}; wanted {dtype}")
    return array.astype(dtype)


def _padded(octets: int) -> int:
    return octets + 7 & ~7


@inlined
def values_length(output: Any, rows: int) -> int:
    """Return the octets of an output in `values`, up to where the next one begins."""
    return (rows * output.row_octets + 7) & ~7  # type: ignore[no-any-return]


@inlined
def check_values(values: Octets, outputs: Records, rows: int) -> None:
    """Raise IndexError unless `values` has room for all outputs of `rows`."""
    left = values.size
    for k in range(outputs.size):
        left -= values_length(outputs[k], rows)
    if outputs.size == 0 or rows < 0 or left < 0:
        raise IndexError("values: does not hold the outputs of the batch")


@inlined
def shape_length(output: Any, rows: int) -> int:
    """Return the octets of the sizes in a packed shape."""
    return protobuf.varint_length(rows) + output.tail_length  # type: ignore[no-any-return]


@inlined
def write_shape(out: Octets, at: int, constants: Octets, output: Any, rows: int) -> int:
    """Write the shape, `rows` first; return the position after it."""
    at = protobuf.write_field_head(out, at, _SHAPE, shape_length(output, rows))
    at = protobuf.write_varint(out, at, rows)
    return protobuf.write_octets(out, at, constants, output.tail_at, output.tail_length)


@inlined
def optional_length(length: int) -> int:
    """Return the octets of a field that is left out where it is empty."""
    return protobuf.field_length(length) if length else 0


@inlined
def write_optional(out: Octets, at: int, field: int, source: Octets, start: int, length: int) -> int:
    """Write a text, if it is not empty; return the position after it."""
    if not length:
        return at
    at = protobuf.write_field_head(out, at, field, length)
    return protobuf.write_octets(out, at, source, start, length)
