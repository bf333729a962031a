"""A lane: the batches of one model, as one method speaks of it.

A run that will be short is made in the loop, at once, until those of a turn have taken long together. A long one is
made on a worker thread; what arrives meanwhile waits, and is the next batch. So a slow model delays nobody but its own
callers, and its batches grow with its load; those of a fast one grow no larger than what stays in the caches.
"""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, NamedTuple

import grpc
import numpy as np
import numpy.typing as npt
from serval_kernels.missing import first_nan
from serval_kernels.rows import NO_ROOM
from serval_kernels.wire import answers as canned
from serval_kernels.wire import batch, vectorized
from serval_kernels.wire.plan import Output, Plan
from serval_registry.errors import ServalError

from serval_server.batching.chunks import Chunk, Group, Octets, Waiting, joined, whole
from serval_server.batching.estimate import Estimate
from serval_server.batching.inputs import BatchInput
from serval_server.engine.loaded import NAN_TYPES, LoadedModel
from serval_server.errors import status_of
from serval_server.transport.vectorized.vectors import Answers, Calls

LOG = logging.getLogger(__name__)

Array = npt.NDArray[np.generic]

# What a call that failed is told, and None where only the log says more. Not the error, which holds the batch.
Failure = tuple[grpc.StatusCode, str] | None

# The loop may be kept from its sockets this long by one model's run, and by those of a turn before its last. It costs
# others no more than a turn that is full costs them; a thread costs the model about a quarter of this.
SHORT_RUN_NS: Final = 1_000_000
# Rows and request ids waiting for one model, in octets: beyond them its calls are answered RESOURCE_EXHAUSTED.
WAITING_OCTETS_MAX: Final = 128 << 20
_FIRST_OCTETS: Final = 64 << 10
# Runs of up to so many rows have their arrays settled beforehand; for more it does not matter.
BOUND_ROWS_MAX: Final = 256


_NO_VALUES: Final = np.zeros(0, np.uint8)
_NOWHERE: Final = np.zeros(0, np.int64)


class Codec(NamedTuple):
    """The compiled functions of a method. `sizes` takes the values where replies are as long as these.

    `decode` and `answer` do a turn's work in one entry; `sizes` and `encode` are for what a worker has run.
    """

    decode: Callable[..., tuple[int, int, int]]
    answer: Callable[..., int]
    sizes: Callable[..., int]
    encode: Callable[..., None]
    plan: Callable[[LoadedModel, Any], Plan]
    sizes_by_values: bool


class _Bound(NamedTuple):
    """A run whose arrays are settled; `addresses` are those of its input and outputs."""

    addresses: Calls
    run: Callable[[], None]


class Job(NamedTuple):
    """A batch on a worker thread, and afterwards what came of it; `failed` are the messages that failed, and why."""

    lane: "Lane"
    chunk: Chunk
    values: Octets
    failed: Mapping[int, Failure]
    times: tuple[int, int, int]


class Lane:
    """The batches of one model. All but `_work` runs in the loop's thread."""

    def __init__(
        self,
        model: LoadedModel,
        given: BatchInput,
        codec: Codec,
        plan: Plan,
        outputs: Sequence[Output],
        answers: Answers,
        workers: ThreadPoolExecutor,
        done: Callable[[Job], None],
        expect: Callable[[int, Octets, int], None],
        max_rows: int,
        estimate: Estimate,
    ) -> None:
        self.model = model
        self._given = given
        self._codec = codec
        self._plan = plan
        self._plan_handle = vectorized.handle_of_plan(plan)
        self._answers = answers
        self._workers = workers
        self._done = done
        self._expect = expect
        self._max_rows = max_rows
        self._row_octets = int(np.prod(given.row, dtype=np.int64)) * given.dtype.itemsize
        refuses_nan = not model.version.missing_allowed and any(
            spec.datatype in NAN_TYPES for spec in model.inputs.values()
        )
        self._floats = given.dtype.itemsize if refuses_nan else 0  # octets of what may not be NaN
        self._estimate = estimate
        self._rows = np.zeros(_FIRST_OCTETS, np.uint8)
        self._values = np.zeros(_FIRST_OCTETS, np.uint8)
        self._bound: list[_Bound | None] = [None] * (BOUND_ROWS_MAX + 1)
        same = [model_dtype == dtype for (_, model_dtype, _), dtype in zip(outputs, plan.dtypes, strict=True)]
        self._output_names = [name for name, _, _ in outputs] if all(same) else None
        self._waiting = Waiting()
        self._working = False
        self._turn = 0
        self._spent = 0  # nanoseconds of this turn on runs in the loop

    def take(self, group: Group) -> None:
        """Answer a group of messages, now or later."""
        try:
            self._take(group)
        except Exception:  # in the loop's thread: what is wrong with one model must not end the server
            _, first, messages, *_ = group.row
            self._fail(group.calls[group.order[first : first + messages]], time.perf_counter_ns())

    def _take(self, group: Group) -> None:
        started = time.perf_counter_ns()
        self._enter(group.turn)
        layout, first, messages, count, octets, _ = group.row
        if self._working or not (self._has_time() and self._is_short(count)):
            self._wait(group)
            return
        bound = self._bind(count) if count <= BOUND_ROWS_MAX else None
        taken, values = self._rows, self._values
        if bound is None:  # arrays of its own, which the monitor may keep
            taken, values = np.empty(octets, np.uint8), np.empty(self._plan.size(count), np.uint8)
        answers = self._answers
        has_nan = group.has_nan
        if group.gathered is not taken:
            has_nan = vectorized.gather(answers.handle, group.handle, answers.place, group.number, taken, self._floats)
            if bound is not None:
                self._expect(layout, taken, self._floats)
        if has_nan:
            if self._set_aside(group, taken):
                self.take(group.again())
            return
        decoded = time.perf_counter_ns()
        try:
            if bound is not None:
                bound.run()
            else:
                outputs = self._run(taken, count)
            ran = time.perf_counter_ns()
            if bound is None:
                self._plan.lay_out(outputs, count, values)
        except Exception as error:
            if not isinstance(error, ServalError):
                LOG.exception("%s: a batch of %d rows failed", self.model.version.ref, count)
            self._fall_back(group, first, first + messages)
            return
        self._estimate.add(count, ran - decoded)
        self._spent += ran - decoded
        observer = self.model.observer
        sources, table = _NOWHERE, NO_ROOM
        if observer is not None and bound is not None:
            sources, table = bound.addresses, observer.table
        appended = self._codec.answer(
            answers.handle, group.handle, answers.place, group.number, self._plan_handle, values, sources, table
        )
        if observer is not None:
            if bound is None:
                rows = taken.view(self._given.dtype).reshape(count, *self._given.row)
                observer.leave_in_order([rows, *outputs], count)
            elif appended < count:
                observer.copy_rest(sources, appended, count)
        self._count(messages, count, (started, decoded, ran))

    def _make_room(self, octets: int, size: int) -> None:
        """Have `_rows` and `_values` hold so many octets; what is bound to smaller ones is forgotten."""
        if octets > self._rows.size or size > self._values.size:
            self._rows, self._values = _with_room(self._rows, octets), _with_room(self._values, size)
            self._bound = [None] * (BOUND_ROWS_MAX + 1)

    def _bind(self, count: int) -> "_Bound | None":
        """Return the run of `count` rows from `_rows` into `_values`; None where the values have to be converted."""
        bound = self._bound[count]
        if bound is not None or self._output_names is None:
            return bound
        octets, size = count * self._row_octets, self._plan.size(count)
        self._make_room(octets, size)
        rows = self._rows[:octets].view(self._given.dtype)
        inputs = {self._given.name: rows.reshape(count, *self._given.row)}
        arrays = self._plan.views(count, self._values)
        addresses = np.array([rows.ctypes.data, *(array.ctypes.data for array in arrays)], np.int64)
        run = self.model.session.bind(inputs, dict(zip(self._output_names, arrays, strict=True)))
        bound = _Bound(addresses, run)
        self._bound[count] = bound
        return bound

    def finish(self, job: Job, turn: int) -> None:
        """Answer what a worker has run, and go on with what has come meanwhile."""
        self._enter(turn)
        self._working = False
        self._answers.working -= 1
        self._conclude(job)
        self._start()

    def _conclude(self, job: Job) -> None:
        """Answer the calls of a batch that has run."""
        try:
            self._give(job)
        except Exception:  # for instance a reply of more than 2 GiB
            self._fail(job.chunk.calls, job.times[0])

    def _give(self, job: Job) -> None:
        chunk = job.chunk
        group = whole(chunk)
        for place, failure in job.failed.items():
            self._refuse(int(chunk.calls[place]), failure, job.times[0])
        answered = len(chunk.calls) - len(job.failed)
        if answered:
            self._answer(group, chunk.ids, job.values)
            rows = chunk.records["rows"]
            self._count(answered, int(rows.sum() - rows[list(job.failed)].sum()), job.times)

    def _refuse(self, call: int, failure: Failure, started: int) -> None:
        """Answer a call that failed in a run as its servicer would, and count it."""
        if failure is not None:
            self._answers.fail(call, *failure)
        else:
            self._answers.refuse(call, canned.MODEL_FAILED)
        self.model.statistics.failed(started)

    def _fail(self, calls: Calls, started: int) -> None:
        """Log the error that is being handled, and refuse those of the calls that have no answer yet."""
        LOG.exception("%s: a batch of %d calls could not be answered", self.model.version.ref, len(calls))
        for call in calls[self._answers.open_ones(calls)].tolist():
            self._refuse(call, None, started)

    def _enter(self, turn: int) -> None:
        """Begin a turn, or go on with it."""
        if turn != self._turn:
            self._turn, self._spent = turn, 0

    def _is_short(self, rows: int) -> bool:
        """Tell whether the loop can wait for a run of so many rows."""
        return rows <= self._max_rows and self._estimate.is_short(rows, SHORT_RUN_NS)

    def _has_time(self) -> bool:
        """Tell whether the loop can wait for another run in this turn."""
        return self._spent < SHORT_RUN_NS

    def _count(self, messages: int, rows: int, times: tuple[int, int, int]) -> None:
        self.model.statistics.succeeded(rows, *times, time.perf_counter_ns(), messages)

    def _answer(self, group: Group, ids: Octets, values: Octets) -> None:
        records, order, groups, number = group.records, group.order, group.groups, group.number
        plan, codec = self._plan, self._codec
        if codec.sizes_by_values:
            codec.sizes(records, order, groups, number, plan.outputs, values)
        else:
            codec.sizes(records, order, groups, number, plan.outputs)
        more = self._answers.begin(records, group.calls, order, groups, number)
        out = self._answers.octets
        codec.encode(ids, records, order, groups, number, plan.constants, plan.outputs, values, out)
        if more:
            self._answers.end(group.calls, order, groups, number)

    def _set_aside(self, group: Group, taken: Octets) -> int:
        """Give messages with NaN to the ordinary servicer, which says where; return how many messages stay.

        taken: the rows of the group, and whatever comes after them.
        """
        _, first, before, count, octets, _ = group.row
        members = group.order[first : first + before]
        rows = taken[:octets].view(self._given.dtype).reshape(count, -1)
        ends = np.cumsum(group.records["rows"][members])
        wrong = np.searchsorted(ends, np.flatnonzero(np.isnan(rows).any(axis=1)), side="right")
        group.records["rows"][members[np.unique(wrong)]] = 0
        stay = batch.set_aside(group.records, group.order, group.groups, group.number)
        self._fall_back(group, first + stay, first + before)
        return stay

    def _fall_back(self, group: Group, first: int, last: int) -> None:
        self._answers.fall_back(group.records, group.calls, group.order, first, last)

    def _run(self, octets: Octets, rows: int) -> list[Array]:
        """Return the outputs of all rows, in runs of no more than `max_rows`."""
        inputs = octets.view(self._given.dtype).reshape(rows, *self._given.row)
        if rows <= self._max_rows:
            return self.model.run({self._given.name: inputs})
        parts = [
            self.model.run({self._given.name: inputs[at : at + self._max_rows]})
            for at in range(0, rows, self._max_rows)
        ]
        return [np.concatenate(arrays) for arrays in zip(*parts, strict=True)]

    def _wait(self, group: Group) -> None:
        """Keep a group for the next batch of a worker."""
        _, first, messages, _, octets, id_octets = group.row
        members = group.order[first : first + messages]
        if self._waiting.octets + octets + id_octets > WAITING_OCTETS_MAX:
            for call in group.calls[members].tolist():
                self._answers.refuse(call, canned.NO_MEMORY)
            return
        rows, ids = np.empty(octets, np.uint8), np.empty(max(id_octets, 1), np.uint8)
        batch.gather(self._answers.octets, group.records, group.order, group.groups, group.number, rows)
        if self._floats and first_nan(rows.view(self._given.dtype)) >= 0:
            if self._set_aside(group, rows):
                self._wait(group.again())
            return
        batch.keep_ids(self._answers.octets, group.records, group.order, group.groups, group.number, ids)
        chunk = Chunk(group.records[members], group.calls[members], rows, ids)
        self._waiting.add(chunk)
        if not self._working:
            self._start()

    def _start(self) -> None:
        """Run what waits, up to the largest batch at a time, until a worker is at it or nothing is left."""
        while self._waiting and not self._working:
            chunks = self._waiting.take(self._max_rows, self._is_short)
            try:
                # Without the calls that nobody waits for any more
                self._begin([part for part in map(self._open_part, chunks) if len(part.calls)])
            except Exception:
                self._fail(np.concatenate([chunk.calls for chunk in chunks]), time.perf_counter_ns())

    def _begin(self, chunks: list[Chunk]) -> None:
        """Run a batch, on a worker unless it is short."""
        if not chunks:
            return
        chunk = joined(chunks)
        if self._has_time() and self._is_short(chunk.row_count):
            job = self._job(chunk)
            self._spent += job.times[2] - job.times[0]
            self._conclude(job)
            self._observe(job)
        else:
            self._workers.submit(self._work, chunk)
            self._working = True
            self._answers.working += 1

    def _open_part(self, chunk: Chunk) -> Chunk:
        """Return a chunk without the calls that were cancelled or have run out of time."""
        marks = self._answers.open_ones(chunk.calls)
        if marks.all():
            return chunk
        keep = np.repeat(marks, chunk.records["payload_length"])
        return Chunk(chunk.records[marks], chunk.calls[marks], chunk.rows[keep], chunk.ids)

    def _work(self, chunk: Chunk) -> None:
        """Run a batch in a worker's thread."""
        job = self._job(chunk)
        self._done(job)
        self._observe(job)

    def _observe(self, job: Job) -> None:
        """Leave what was run to the monitor, but for messages that failed."""
        observer = self.model.observer
        if observer is None or len(job.failed) == len(job.chunk.calls):
            return
        keep = np.ones(len(job.chunk.calls), np.bool_)
        keep[list(job.failed)] = False
        rows = np.repeat(keep, job.chunk.records["rows"])
        given = job.chunk.rows.view(self._given.dtype).reshape(rows.size, *self._given.row)
        arrays = [given, *self._plan.views(rows.size, job.values)]
        observer.leave_in_order(arrays if keep.all() else [array[rows] for array in arrays], int(rows.sum()))

    def _job(self, chunk: Chunk) -> Job:
        """Run a batch. Where it fails, each message is run alone."""
        started, used = time.perf_counter_ns(), time.thread_time_ns()  # a worker's clock also runs while it stands back
        rows = chunk.row_count
        values, failed = _NO_VALUES, dict[int, Failure]()
        try:
            values = np.empty(self._plan.size(rows), np.uint8)
            try:
                outputs = self._run(chunk.rows, rows)
            except ServalError:
                outputs, failed = self._run_each(chunk)
            ran = time.perf_counter_ns()
            self._estimate.add(min(rows, self._max_rows), time.thread_time_ns() - used)
            self._plan.lay_out(outputs, rows, values)
        except Exception:
            LOG.exception("%s: a batch of %d rows failed", self.model.version.ref, rows)
            failed, ran = dict.fromkeys(range(len(chunk.calls))), time.perf_counter_ns()
        return Job(self, chunk, values, failed, (started, started, ran))

    def _run_each(self, chunk: Chunk) -> tuple[list[Array], dict[int, Failure]]:
        """Return the outputs of all rows, zeros for those of messages that fail, and which these are and why."""
        parts: list[list[Array]] = []
        failed: dict[int, Failure] = {}
        ends = np.cumsum(chunk.records["payload_length"]).tolist()
        for place, (end, rows) in enumerate(zip(ends, chunk.records["rows"].tolist(), strict=True)):
            start = end - int(chunk.records["payload_length"][place])
            try:
                parts.append(self._run(chunk.rows[start:end].copy(), rows))
            except ServalError as error:
                failed[place] = status_of(error)
                parts.append(
                    [
                        np.zeros((rows, *shape), dtype)
                        for dtype, shape in zip(self._plan.dtypes, self._plan.shapes, strict=True)
                    ]
                )
        return [np.concatenate(arrays) for arrays in zip(*parts, strict=True)], failed


def _with_room(array: Octets, size: int) -> Octets:
    """Return an array of at least `size` octets, the same where it is large enough."""
    return array if array.size >= size else np.zeros(1 << (size - 1).bit_length(), np.uint8)
