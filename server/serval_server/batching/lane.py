"""A lane: the batches of one model, as one method speaks of it.

A run that will be short is made in the loop, at once, until those of a turn have taken long together; where those of
other models have, in one of the next turns. A long one is made on a worker thread; what arrives meanwhile waits, and is
the next batch. So a slow model delays nobody but its own callers, and its batches grow with its load; those of a fast
one grow no larger than what stays in the caches.
"""

import logging
import time
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import numpy as np
from serval_kernels.rows import NO_ROOM
from serval_kernels.wire import vectorized
from serval_kernels.wire.plan import Output
from serval_registry.errors import ServalError

from serval_server.batching.answering import Answering, Array
from serval_server.batching.backlog import Backlog
from serval_server.batching.budget import Budget
from serval_server.batching.chunks import Group, Octets
from serval_server.transport.vectorized.vectors import Calls

LOG = logging.getLogger(__name__)

_FIRST_OCTETS: Final = 64 << 10
# Runs of up to so many rows have their arrays settled beforehand; for more it does not matter.
BOUND_ROWS_MAX: Final = 256

_NOWHERE: Final = np.zeros(0, np.int64)


class _Bound(NamedTuple):
    """A run whose arrays are settled; `addresses` are those of its input and outputs."""

    addresses: Calls
    run: Callable[[], None]


class Lane:
    """The batches of one model. All of it runs in the loop's thread."""

    def __init__(
        self,
        answering: Answering,
        budget: Budget,
        backlog: Backlog,
        outputs: Sequence[Output],
        expect: Callable[[int, Octets, int], None],
    ) -> None:
        """`expect` is told a layout, where the next group of it is wanted, and `floats`: see vectorized.expect."""
        self.model = answering.model
        self._answering = answering
        self._budget = budget
        self._backlog = backlog
        self._expect = expect
        self._answers = answering.answers
        self._answer = answering.codec.answer
        self._given = answering.given
        self._floats = answering.floats
        self._plan = answering.plan
        self._plan_handle = vectorized.handle_of_plan(answering.plan)
        self._row_octets = int(np.prod(self._given.row, dtype=np.int64)) * self._given.dtype.itemsize
        self._rows = np.zeros(_FIRST_OCTETS, np.uint8)
        self._values = np.zeros(_FIRST_OCTETS, np.uint8)
        self._bound: list[_Bound | None] = [None] * (BOUND_ROWS_MAX + 1)
        same = [model_dtype == dtype for (_, model_dtype, _), dtype in zip(outputs, self._plan.dtypes, strict=True)]
        self._output_names = [name for name, _, _ in outputs] if all(same) else None

    def take(self, group: Group) -> None:
        """Answer a group of messages, now or later."""
        try:
            self._take(group)
        except Exception:  # in the loop's thread: what is wrong with one model must not end the server
            _, first, messages, *_ = group.row
            self._answering.fail(group.calls[group.order[first : first + messages]], time.perf_counter_ns())

    def _take(self, group: Group) -> None:
        started = time.perf_counter_ns()
        self._budget.enter(group.turn)
        _, first, messages, count, octets, _ = group.row
        short = self._budget.has_time() and self._budget.is_short(count)
        if not short or self._backlog.busy or self._budget.has_to_wait():
            self._backlog.wait(group, defer=short)
            return
        bound = self._bind(count) if count <= BOUND_ROWS_MAX else None
        taken, values = self._rows, self._values
        if bound is None:  # arrays of its own, which the monitor may keep
            taken, values = np.empty(octets, np.uint8), np.empty(self._plan.size(count), np.uint8)
        if self._gather(group, taken, expect=bound is not None):
            if self._answering.set_aside(group, taken):
                self.take(group.again())
            return
        decoded = time.perf_counter_ns()
        try:
            if bound is not None:
                bound.run()
            else:
                outputs = self._answering.run(taken, count)
            ran = time.perf_counter_ns()
            if bound is None:
                self._plan.lay_out(outputs, count, values)
        except Exception as error:
            if not isinstance(error, ServalError):
                LOG.exception("%s: a batch of %d rows failed", self.model.version.ref, count)
            is_doubtful = self._budget.spend(time.perf_counter_ns() - decoded)
            self._answering.fall_back(group, first, first + messages)
            if is_doubtful:
                self._backlog.doubt(taken[:octets].copy(), count)
            return
        self.model.last_used = time.monotonic()
        self._budget.learn(count, ran - decoded)
        is_doubtful = self._budget.spend(ran - decoded)
        if bound is not None:
            self._give_bound(group, values, bound, count)
        else:
            self._give(group, values, taken, outputs, count)
        self._answering.count(messages, count, (started, decoded, ran))
        if is_doubtful:
            self._backlog.doubt(taken[:octets].copy(), count)

    def _gather(self, group: Group, taken: Octets, *, expect: bool) -> bool:
        """Have the rows of a group in `taken`, and the next ones of its layout too; tell whether there is wrong NaN."""
        if group.gathered is taken:
            return group.has_nan
        answers = self._answers
        has_nan = vectorized.gather(answers.handle, group.handle, answers.place, group.number, taken, self._floats)
        if expect:
            layout, *_ = group.row
            self._expect(layout, taken, self._floats)
        return bool(has_nan)

    def _give_bound(self, group: Group, values: Octets, bound: _Bound, count: int) -> None:
        """Answer a group, and leave its rows to the monitor, in one entry as long as there is room for them."""
        observer = self.model.observer
        if observer is None:
            self._encode(group, values, _NOWHERE, NO_ROOM)
            return
        appended = self._encode(group, values, bound.addresses, observer.table)
        if appended < count:
            observer.copy_rest(bound.addresses, appended, count)

    def _give(self, group: Group, values: Octets, taken: Octets, outputs: list[Array], count: int) -> None:
        """Answer a group, and leave its arrays to the monitor."""
        self._encode(group, values, _NOWHERE, NO_ROOM)
        observer = self.model.observer
        if observer is not None:
            observer.leave_in_order([self._answering.rows_of(taken, count), *outputs], count)

    def _encode(self, group: Group, values: Octets, sources: Calls, table: Calls) -> int:
        """Answer a group; return how many of its rows, from `sources`, there was room for in the monitor's `table`."""
        answers = self._answers
        return self._answer(
            answers.handle, group.handle, answers.place, group.number, self._plan_handle, values, sources, table
        )

    def _bind(self, count: int) -> "_Bound | None":
        """Return the run of `count` rows from `_rows` into `_values`; None where the values have to be converted."""
        bound = self._bound[count]
        if bound is not None or self._output_names is None:
            return bound
        octets, size = count * self._row_octets, self._plan.size(count)
        self._make_room(octets, size)
        rows = self._answering.rows_of(self._rows[:octets], count)
        arrays = self._plan.views(count, self._values)
        addresses = np.array([rows.ctypes.data, *(array.ctypes.data for array in arrays)], np.int64)
        outputs = dict(zip(self._output_names, arrays, strict=True))
        bound = _Bound(addresses, self.model.session.bind({self._given.name: rows}, outputs))
        self._bound[count] = bound
        return bound

    def _make_room(self, octets: int, size: int) -> None:
        """Have `_rows` and `_values` hold so many octets; what is bound to smaller ones is forgotten."""
        if octets > self._rows.size or size > self._values.size:
            self._rows, self._values = _with_room(self._rows, octets), _with_room(self._values, size)
            self._bound = [None] * (BOUND_ROWS_MAX + 1)


def _with_room(array: Octets, size: int) -> Octets:
    """Return an array of at least `size` octets, the same where it is large enough."""
    return array if array.size >= size else np.zeros(1 << (size - 1).bit_length(), np.uint8)
