"""Where the rows of one version wait to be looked at, after they have been answered.

Rules. Whoever answers only leaves its rows here, and never waits: `copy` for arrays that are used again, `leave` for
arrays that are not. A full block is looked at in spare time, step by step, where somebody has some; what there is none
for, and all else, by the monitor's thread. Where that cannot keep up, rows are not looked at, and counted as such.

Rows are copied without a lock, into a block that is open; it is closed to be looked at. Small calls are brought
together by every so manieth of those who answer: to keep the arrays of a thousand calls would have all that follow work
in memory that no cache holds. An output that comes in another shape than the signature says is not looked at, and costs
none of the others anything.
"""

import logging
import os
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
from serval_kernels import rows

from serval_server.monitor.accumulator import Accumulator
from serval_server.monitor.layout import Layout, Tensor
from serval_server.spare import SpareTime

LOG = logging.getLogger(__name__)

Array = npt.NDArray[np.generic]

# The thread looks at a block when it is full, and in one go. Each wakes it to want the interpreter and the caches of
# whoever answers, so they are few and large: in four parts, the p99 of the calls was twice as long.
BLOCK_OCTETS: Final = 4 << 20
BLOCK_ROWS: Final = (16, 32_768)  # least and most
BLOCKS_MAX: Final = 4
# A step of spare time takes some 30 us, and where that is fewer rows than this it is not worth its way.
STEP_VALUES: Final = 1 << 14
STEP_ROWS_MIN: Final = 256
# Of large calls, and of small ones brought together: there are many more such rows in a second.
PIECE_ROWS: Final = 4096
LEFT_OCTETS_MAX: Final = 16 << 20
LEFT_MAX: Final = 8192
SMALL_OCTETS: Final = LEFT_OCTETS_MAX // LEFT_MAX  # of a call: that many of these need not be added up
SMALL_MANY: Final = 16  # of them are brought together
CALLS_MAX: Final = 256
# So many calls, or octets, that wait wake the thread; fewer wait for its next round.
LEFT_MANY: Final = 1024
LEFT_MANY_OCTETS: Final = 2 << 20


class _Call(NamedTuple):
    """Which tensors of a call are observed: inputs by name, outputs by their place among those asked for."""

    tensors: tuple[Tensor, ...]
    inputs: tuple[str, ...]
    outputs: tuple[int, ...]
    row_octets: int  # texts are taken for short

    @classmethod
    def of(cls, inputs: Sequence[Tensor], outputs: Sequence[Tensor], places: Sequence[int]) -> "_Call":
        tensors = (*inputs, *outputs)
        octets = sum(tensor.width * tensor.dtype.itemsize for tensor in tensors)
        return cls(tensors, tuple(tensor.name for tensor in inputs), tuple(places), max(1, octets))

    def arrays(self, inputs: Mapping[str, Array], outputs: Sequence[Array]) -> list[Array]:
        """Return the arrays of these tensors."""
        return [*(inputs[name] for name in self.inputs), *(outputs[place] for place in self.outputs)]

    def shaped(self, arrays: Sequence[Array]) -> list[Array | None]:
        """Return arrays as [rows, width] each; None in the place of one that has other rows than the signature says."""
        return [_shaped(array, tensor.width) for tensor, array in zip(self.tensors, arrays, strict=True)]

    def together(self, calls: Sequence["_Small"]) -> list[Array]:
        """Return the arrays of these tensors, of several calls; ValueError where their rows differ in shape."""
        arrays = [np.concatenate([inputs[name] for _, inputs, _, _ in calls]) for name in self.inputs]
        return arrays + [np.concatenate([outputs[place] for _, _, outputs, _ in calls]) for place in self.outputs]


class _Left(NamedTuple):
    call: _Call
    arrays: list[Array]
    rows: int


# A small call as it came: the names of the outputs that were asked for, inputs by name, these outputs, rows.
_Small = tuple[Sequence[str], Mapping[str, Array], Sequence[Array], int]


class _Block:
    """Rows side by side, for one visit of the kernel; `table` is that of `rows.append`."""

    def __init__(self, tensors: Sequence[Tensor], count: int) -> None:
        self.arrays: list[npt.NDArray[Any]] = [np.zeros((count, *tensor.row), tensor.dtype) for tensor in tensors]
        self.table = rows.new_table(self.arrays, [tensor.place for tensor in tensors], count)
        self._room = count
        self.seen = 0  # rows that were looked at

    @property
    def filled(self) -> int:
        """How many rows there are: of a closed block there will be no more."""
        return int(self.table[0, rows.FILLED])

    def close(self) -> None:
        """Take no more rows, whoever is about to append some."""
        self.table[0, rows.ROOM] = 0

    def reopen(self) -> None:
        """Take rows again, from the first on."""
        self.table[0, rows.FILLED] = self.seen = 0
        self.table[0, rows.ROOM] = self._room


class Observer:
    """The rows of one version. `spare` is offered full blocks; `wake` is called where there is more."""

    def __init__(self, layout: Layout, wake: Callable[[], None], spare: SpareTime | None = None) -> None:
        self.layout = layout
        self._wake = wake
        self._tensors = (*layout.inputs, *layout.outputs)
        self._places = [tensor.place for tensor in self._tensors]
        self._whole = _Call.of(layout.inputs, layout.outputs, range(len(layout.outputs)))
        self._block_rows = min(max(BLOCK_OCTETS // self._whole.row_octets, BLOCK_ROWS[0]), BLOCK_ROWS[1])
        self._step_rows = STEP_VALUES // max(1, sum(tensor.width for tensor in self._tensors))
        self._spare = spare if self._step_rows >= STEP_ROWS_MIN else None
        self._offered = False  # a step that is still to be taken, which is not offered again
        self._filling = threading.Lock()
        self._block: _Block | None = None  # the one that is open
        self.table = rows.NO_ROOM  # its table: `rows.append` takes it, and what it has no room for is `copy_rest`'s
        self._full: deque[_Block] = deque()
        self._free: list[_Block] = []
        self._blocks = 0
        self._left: deque[_Left] = deque()
        self._left_octets = 0
        self._small: deque[_Small] = deque()  # anybody appends, who has `_gathering` takes
        self._gathering = threading.Lock()
        self._small_rows = SMALL_OCTETS // self._whole.row_octets
        self._calls: dict[tuple[str, ...], _Call] = {}  # by the outputs that were asked for
        self._missed = 0
        self._told_of_misfits = False
        self._looking = threading.Lock()
        self._seen: Accumulator | None = None

    # Whoever answers

    def copy(self, sources: npt.NDArray[np.int64], count: int) -> None:
        """Copy rows from arrays that are used again.

        sources: the addresses of all inputs and then all outputs of the signature, C-contiguous arrays of the
        signature's dtypes with at least `count` rows each.
        """
        done = rows.append(sources, self.table, 0, count)
        if done < count:
            self.copy_rest(sources, done, count)

    def copy_rest(self, sources: npt.NDArray[np.int64], done: int, count: int) -> None:
        """Copy the rows behind `done` into the blocks that come after this one."""
        with self._filling:
            while (done := done + rows.append(sources, self.table, done, count - done)) < count:
                if self._block is not None:  # it is full
                    self._full.append(self._closed(self._block))
                    self._have_looked_at()
                if not self._open_next():
                    self._missed += count - done
                    return

    def _have_looked_at(self) -> None:
        """Have full blocks looked at: in spare time, unless that was too little for the one before."""
        if self._spare is None or len(self._full) > 1:
            self._wake()
        elif not self._offered:
            self._offered = True
            self._spare.offer(self._step)

    def leave(self, inputs: Mapping[str, Array], names: Sequence[str], outputs: Sequence[Array], count: int) -> None:
        """Leave the arrays of a call, which nobody will change: inputs by name, and the outputs that were asked for."""
        waiting = len(self._small)
        if count <= self._small_rows and waiting < LEFT_MAX:
            self._small.append((names, inputs, outputs, count))
            if waiting >= SMALL_MANY and self._gathering.acquire(blocking=False):
                try:
                    for left in self._gathered():
                        self._leave(left)
                finally:
                    self._gathering.release()
        else:
            call = self._call_of(names)
            self._leave(_Left(call, call.arrays(inputs, outputs), count))

    def leave_in_order(self, arrays: Sequence[Array], count: int) -> None:
        """As `leave`, for the arrays of all inputs and then all outputs of the signature."""
        self._leave(_Left(self._whole, [arrays[place] for place in self._places], count))

    def _leave(self, left: _Left) -> None:
        octets = left.rows * left.call.row_octets
        with self._filling:
            waiting, before = len(self._left), self._left_octets
            if waiting and (waiting >= LEFT_MAX or before + octets > LEFT_OCTETS_MAX):
                self._missed += left.rows
                return
            self._left.append(left)
            self._left_octets += octets
        if waiting == LEFT_MANY or before <= LEFT_MANY_OCTETS < before + octets:
            self._wake()

    def _gathered(self) -> list[_Left]:
        """Take the small calls, those that follow each other and ask for the same brought together.

        Where a model's arrays do not go together, that is for who drains to count, not for the call that is answered.
        """
        gathered = []
        small = [self._small.popleft() for _ in range(len(self._small))]
        for names, group in groupby(small, itemgetter(0)):
            call, calls = self._call_of(names), list(group)
            try:
                gathered.append(_Left(call, call.together(calls), sum(rows for *_, rows in calls)))
            except ValueError:
                gathered += [_Left(call, call.arrays(inputs, outputs), rows) for _, inputs, outputs, rows in calls]
        return gathered

    def _call_of(self, names: Sequence[str]) -> _Call:
        """Return what is observed of calls that ask for these outputs."""
        key = tuple(names)
        call = self._calls.get(key)
        if call is None:
            if len(self._calls) >= CALLS_MAX:
                self._calls.clear()
            asked = [tensor for tensor in self.layout.outputs if tensor.name in key]
            call = _Call.of(self.layout.inputs, asked, [key.index(tensor.name) for tensor in asked])
            self._calls[key] = call
        return call

    def _open_next(self) -> bool:
        """Open a block; False where all of them wait."""
        if not self._free and self._blocks == BLOCKS_MAX:
            return False
        if not self._free:
            self._blocks += 1
            self._free.append(_Block(self._tensors, self._block_rows))
        self._block = self._free.pop()
        self._block.reopen()
        self.table = self._block.table
        return True

    def _closed(self, block: _Block) -> _Block:
        """Close the block that is open."""
        block.close()
        self._block, self.table = None, rows.NO_ROOM
        return block

    # Who looks

    def relieve(self) -> None:
        """Look at what there is much of: full blocks, and calls."""
        with self._looking:
            self._look_at_full()
            self._look_at_calls()

    def look_at_calls(self) -> None:
        """Look at the calls that were left."""
        with self._looking:
            self._look_at_calls()

    def snapshot(self) -> Accumulator | None:
        """Return what has been seen since `take`, in a copy; None where that is nothing."""
        with self._looking:
            self._drain()
            return self._seen.copy() if self._seen is not None else None

    def take(self) -> Accumulator | None:
        """Return what has been seen since the last time, and begin anew; None where that is nothing.

        Blocks that were not needed for it are let go of: a thousand versions that were busy once keep none.
        """
        with self._looking:
            self._drain()
            seen, self._seen = self._seen, None
            rows = seen.rows + seen.unobserved if seen is not None else 0
            with self._filling:
                gone = max(len(self._free) - -(-rows // self._block_rows), 0)
                del self._free[:gone]
                self._blocks -= gone
            return seen

    def _drain(self) -> None:
        with self._filling:
            if self._block is not None:
                self._full.append(self._closed(self._block))
            missed, self._missed = self._missed, 0
        self._look_at_full()
        self._look_at_calls()
        if missed:
            self._sum().unobserved += missed

    def _step(self) -> bool:
        """Look at some rows of the full blocks; return whether there are more. What another looks at is its own."""
        self._offered = False
        if not self._looking.acquire(blocking=False):
            return False
        try:
            if self._full:
                self._look_at_some(self._step_rows)
            self._offered = bool(self._full)
            return self._offered
        finally:
            self._looking.release()

    def _look_at_full(self) -> None:
        while self._full:
            self._look_at_some(self._block_rows)

    def _look_at_calls(self) -> None:
        with self._filling:
            left, self._left, self._left_octets = self._left, deque(), 0
        with self._gathering:
            left.extend(self._gathered())
        while left:
            self._look_at_left(left)
            if left and not self._full:
                os.sched_yield()

    def _sum(self) -> Accumulator:
        if self._seen is None:
            self._seen = Accumulator.of(self.layout)
        return self._seen

    def _look_at_some(self, most: int) -> None:
        """Look at up to `most` more rows of the first full block, the last of which set it free."""
        block = self._full[0]
        start, block.seen = block.seen, min(block.seen + most, block.filled)
        try:
            if start < block.seen:
                self._observe(self._tensors, [array[start : block.seen] for array in block.arrays], block.seen - start)
        finally:
            if block.seen == block.filled:
                with self._filling:
                    self._free.append(self._full.popleft())

    def _look_at_left(self, left: deque[_Left]) -> None:
        """Look at the first call, and at those behind it that have the same tensors, together where that is a piece."""
        first = left.popleft()
        call, rows, alike = first.call, first.rows, [first.call.shaped(first.arrays)]
        while left and left[0].call is call and rows + left[0].rows <= PIECE_ROWS:
            alike.append(call.shaped(left[0].arrays))
            rows += left.popleft().rows
        tensors, arrays = [], []
        for tensor, parts in zip(call.tensors, zip(*alike, strict=True), strict=True):
            fitting = [part for part in parts if part is not None]
            if len(fitting) < len(parts):
                self._tell_of_misfits(tensor)
            if fitting:
                tensors.append(tensor)
                arrays.append(np.concatenate(fitting) if len(fitting) > 1 else fitting[0])
        for start in range(0, rows, PIECE_ROWS):
            end = min(start + PIECE_ROWS, rows)
            self._observe(tensors, [array[start:end] for array in arrays], end - start)
            if end < rows and not self._full:
                os.sched_yield()

    def _tell_of_misfits(self, tensor: Tensor) -> None:
        if not self._told_of_misfits:
            self._told_of_misfits = True
            LOG.warning("%.200r came in another shape than %s and is not observed", tensor.name, [-1, *tensor.row])

    def _observe(self, tensors: Sequence[Tensor], arrays: Sequence[Array], rows: int) -> None:
        seen = self._sum()
        seen.observe(self.layout, tensors, arrays)
        seen.rows += rows


def _shaped(array: Array, width: int) -> Array | None:
    try:
        return array.reshape(len(array), width)
    except (TypeError, ValueError):  # no rows at all, or others
        return None
