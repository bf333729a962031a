"""The batches of one model that are run on a worker's thread or in a later turn, and what waits for the next one."""

import contextlib
import logging
import time
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

import numpy as np
from serval_kernels.wire import answers as canned
from serval_kernels.wire import batch
from serval_registry.errors import ServalError

from serval_server.batching.answering import Answering, Array, Failure, Times
from serval_server.batching.budget import Budget
from serval_server.batching.chunks import Chunk, Group, Octets, Waiting, joined, whole
from serval_server.batching.workers import Workers
from serval_server.errors import status_of

LOG = logging.getLogger(__name__)

# Rows and request ids waiting for one model, in octets: beyond them its calls are answered RESOURCE_EXHAUSTED.
WAITING_OCTETS_MAX: Final = 128 << 20

_NO_VALUES: Final = np.zeros(0, np.uint8)


class Job(NamedTuple):
    """A batch on a worker thread, and afterwards what came of it; `failed` are the messages that failed, and why."""

    backlog: "Backlog"
    chunk: Chunk
    values: Octets
    failed: Mapping[int, Failure]
    times: Times


class Backlog:
    """What waits of one model, and its run on a worker. All but `_work` runs in the loop's thread."""

    def __init__(
        self,
        answering: Answering,
        budget: Budget,
        workers: Workers,
        done: Callable[[Job], None],
        defer: Callable[[int, "Backlog"], None],
    ) -> None:
        """`done` is called in a worker's thread, and has the loop call `finish`.

        `defer` is told a connection, and has the loop call `go_on` in a later turn.
        """
        self._answering = answering
        self._budget = budget
        self._workers = workers
        self._done = done
        self._defer = defer
        self._waiting = Waiting()
        self._working = self._deferred = False

    @property
    def busy(self) -> bool:
        """Tell whether a run is under way, or will be made in a later turn."""
        return self._working or self._deferred

    def wait(self, group: Group, *, defer: bool = False) -> None:
        """Keep a group for the next batch: of a worker, or where nothing is under way and `defer`, of a later turn."""
        answering, answers = self._answering, self._answering.answers
        _, first, messages, _, octets, id_octets = group.row
        members = group.order[first : first + messages]
        if self._waiting.octets + octets + id_octets > WAITING_OCTETS_MAX:
            for call in group.calls[members].tolist():
                answers.refuse(call, canned.NO_MEMORY)
            return
        rows, ids = np.empty(octets, np.uint8), np.empty(max(id_octets, 1), np.uint8)
        batch.gather(answers.octets, group.records, group.order, group.groups, group.number, rows)
        if answering.has_nan(rows):
            if answering.set_aside(group, rows):
                self.wait(group.again(), defer=defer)
            return
        batch.keep_ids(answers.octets, group.records, group.order, group.groups, group.number, ids)
        self._waiting.add(Chunk(group.records[members], group.calls[members], rows, ids))
        if self._working:
            return
        if self._deferred or defer:
            self._deferred = True
            self._defer(int(group.records["template"][members[0]]), self)
        else:
            self._start()

    def go_on(self, turn: int) -> None:
        """Run what waits."""
        self._budget.enter(turn)
        self._deferred = False
        self._start()

    def finish(self, job: Job, turn: int) -> None:
        """Answer what a worker has run, and go on with what has come meanwhile."""
        self._budget.enter(turn)
        self._working = False
        self._answering.answers.working -= 1
        self._conclude(job)
        self._start()

    def doubt(self, rows: Octets, count: int) -> None:
        """Keep a model out of the loop whose run there, of these rows, has taken long by the clock.

        A worker makes it again, by the processor's time: where that is long as well values choose it, and the model is
        kept out for good.
        """
        self._budget.doubt()
        self._workers.submit(self._check, rows, count)

    def _check(self, rows: Octets, count: int) -> None:
        """Make a run again, in a worker's thread, to tell how long it takes."""
        used = time.thread_time_ns()
        with contextlib.suppress(Exception):  # it took as long as it took
            self._answering.run(rows, count)
        used = time.thread_time_ns() - used
        if not self._budget.settle(used):
            ref, took = self._answering.model.version.ref, used // 1_000_000
            LOG.warning("%s: %d rows take %d ms; no run of it is made in the loop any more", ref, count, took)

    def _start(self) -> None:
        """Run what waits, up to the largest batch at a time, until a worker is at it or nothing is left."""
        while self._waiting and not self._working:
            chunks = self._waiting.take(self._answering.max_rows, self._budget.is_short)
            try:
                # Without the calls that nobody waits for any more
                self._begin([part for part in map(self._open_part, chunks) if len(part.calls)])
            except Exception:
                self._answering.fail(np.concatenate([chunk.calls for chunk in chunks]), time.perf_counter_ns())

    def _open_part(self, chunk: Chunk) -> Chunk:
        """Return a chunk without the calls that were cancelled or have run out of time."""
        marks = self._answering.answers.open_ones(chunk.calls)
        if marks.all():
            return chunk
        keep = np.repeat(marks, chunk.records["payload_length"])
        return Chunk(chunk.records[marks], chunk.calls[marks], chunk.rows[keep], chunk.ids)

    def _begin(self, chunks: list[Chunk]) -> None:
        """Run a batch, on a worker unless it is short."""
        if not chunks:
            return
        chunk = joined(chunks)
        if self._budget.has_time() and self._budget.is_short(chunk.row_count):
            job = self._job(chunk)
            is_doubtful = self._budget.spend(job.times[2] - job.times[0])
            self._conclude(job)
            self._observe(job)
            if is_doubtful:
                self.doubt(chunk.rows, chunk.row_count)
        else:
            self._workers.submit(self._work, chunk)
            self._working = True
            self._answering.answers.working += 1

    def _work(self, chunk: Chunk) -> None:
        """Run a batch in a worker's thread."""
        job = self._job(chunk)
        self._done(job)
        self._observe(job)

    def _job(self, chunk: Chunk) -> Job:
        """Run a batch. Where it fails, each message is run alone."""
        started, used = time.perf_counter_ns(), time.thread_time_ns()  # a worker's clock also runs while it stands back
        answering, rows = self._answering, chunk.row_count
        values, failed = _NO_VALUES, dict[int, Failure]()
        try:
            values = np.empty(answering.plan.size(rows), np.uint8)
            try:
                outputs = answering.run(chunk.rows, rows)
            except ServalError:
                outputs, failed = self._run_each(chunk)
            ran = time.perf_counter_ns()
            self._budget.learn(min(rows, answering.max_rows), time.thread_time_ns() - used)
            answering.plan.lay_out(outputs, rows, values)
        except Exception:
            LOG.exception("%s: a batch of %d rows failed", answering.model.version.ref, rows)
            failed, ran = dict.fromkeys(range(len(chunk.calls))), time.perf_counter_ns()
        return Job(self, chunk, values, failed, (started, started, ran))

    def _run_each(self, chunk: Chunk) -> tuple[list[Array], dict[int, Failure]]:
        """Return the outputs of all rows, zeros for those of messages that fail, and which these are and why."""
        plan = self._answering.plan
        parts: list[list[Array]] = []
        failed: dict[int, Failure] = {}
        ends = np.cumsum(chunk.records["payload_length"]).tolist()
        for place, (end, rows) in enumerate(zip(ends, chunk.records["rows"].tolist(), strict=True)):
            start = end - int(chunk.records["payload_length"][place])
            try:
                parts.append(self._answering.run(chunk.rows[start:end].copy(), rows))
            except ServalError as error:
                failed[place] = status_of(error)
                parts.append(
                    [np.zeros((rows, *shape), dtype) for dtype, shape in zip(plan.dtypes, plan.shapes, strict=True)]
                )
        return [np.concatenate(arrays) for arrays in zip(*parts, strict=True)], failed

    def _conclude(self, job: Job) -> None:
        """Answer the calls of a batch that has run."""
        try:
            self._give(job)
        except Exception:  # for instance a reply of more than 2 GiB
            self._answering.fail(job.chunk.calls, job.times[0])

    def _give(self, job: Job) -> None:
        chunk = job.chunk
        group = whole(chunk)
        for place, failure in job.failed.items():
            self._answering.refuse(int(chunk.calls[place]), failure, job.times[0])
        answered = len(chunk.calls) - len(job.failed)
        if answered:
            self._answer(group, chunk.ids, job.values)
            rows = chunk.records["rows"]
            self._answering.count(answered, int(rows.sum() - rows[list(job.failed)].sum()), job.times)

    def _answer(self, group: Group, ids: Octets, values: Octets) -> None:
        records, order, groups, number = group.records, group.order, group.groups, group.number
        plan, codec, answers = self._answering.plan, self._answering.codec, self._answering.answers
        if codec.sizes_by_values:
            codec.sizes(records, order, groups, number, plan.outputs, values)
        else:
            codec.sizes(records, order, groups, number, plan.outputs)
        more = answers.begin(records, group.calls, order, groups, number)
        codec.encode(ids, records, order, groups, number, plan.constants, plan.outputs, values, answers.octets)
        if more:
            answers.end(group.calls, order, groups, number)

    def _observe(self, job: Job) -> None:
        """Leave what was run to the monitor, but for messages that failed."""
        observer = self._answering.model.observer
        if observer is None or len(job.failed) == len(job.chunk.calls):
            return
        keep = np.ones(len(job.chunk.calls), np.bool_)
        keep[list(job.failed)] = False
        rows = np.repeat(keep, job.chunk.records["rows"])
        given = self._answering.rows_of(job.chunk.rows, rows.size)
        arrays = [given, *self._answering.plan.views(rows.size, job.values)]
        observer.leave_in_order(arrays if keep.all() else [array[rows] for array in arrays], int(rows.sum()))
