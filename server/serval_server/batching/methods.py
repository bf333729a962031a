"""ModelInfer and Predict as vectorized methods: a turn's messages are decoded together, and each group finds its lane.

What the decoder does not take, and what no lane can be made for, goes to the ordinary servicer; its answers are the
same, and it loads what is not in memory, which the loop never waits for.
"""

import threading
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import onnxruntime
from serval_kernels.wire import datatypes, infer_codec, layouts, predict_codec, vectorized
from serval_kernels.wire.plan import Plan

from serval_server.batching.answering import Answering, Codec
from serval_server.batching.backlog import Backlog, Job
from serval_server.batching.budget import Budget, TurnTime
from serval_server.batching.chunks import Group, Octets
from serval_server.batching.deferred import Deferred
from serval_server.batching.inputs import (
    BatchInput,
    batch_input,
    feature_width,
    first_estimate,
    outputs_of,
    rows_are_independent,
)
from serval_server.batching.lane import Lane
from serval_server.batching.workers import Workers
from serval_server.config import BatchRows
from serval_server.engine.loaded import LoadedModel
from serval_server.engine.router import Router
from serval_server.priority import stand_back
from serval_server.transport.vectorized.vectors import Answers, Calls, Wake

Records = npt.NDArray[Any]

LAYOUTS: Final = 4096
GROUPS: Final = 256
FORGET_SECONDS: Final = 0.5  # how often models are looked for that were unloaded
# A lane's model is run on rows of the lane's own, which may take for ever; meanwhile no other has its lane made.
PREPARE_SECONDS: Final = 5.0

# Models whose runs are long take turns on the processors, by the system's slices of milliseconds: were there no more
# threads than processors, a run of two milliseconds would wait for those of seconds.
WORKERS: Final = 32
# A tenth of a processor that the loop keeps busy: a share above that is seen in the p99 of the fast models' calls.
_WORKER_NICENESS: Final = 10


class Address(NamedTuple):
    """What a layout says of its model: a route, and what the one input has to be."""

    name: str
    tail: str
    input: str | None
    dtype: np.dtype[np.generic]
    row: tuple[int, ...] | None


class _Found(NamedTuple):
    """The lane of a layout, as long as that has its serial and the route leads to the model."""

    serial: int
    address: Address
    model: LoadedModel
    lane: Lane | None
    width: int


def new_workers() -> Workers:
    """Return the threads that long runs are made on; they stand back behind the loop."""
    return Workers(WORKERS, "serval-run", partial(stand_back, _WORKER_NICENESS))


class BatchedMethod:
    """A unary method whose calls are put into batches."""

    def __init__(
        self,
        codec: Codec,
        address_of: Callable[[Any], Address],
        router: Router,
        workers: Workers,
        senders: int,
        max_rows: BatchRows,
    ) -> None:
        self._codec = codec
        self._address_of = address_of
        self._router = router
        self._workers = workers
        # Not on a worker: those stand back, and until it is done the model's calls are answered one by one.
        self._preparer = Workers(1, "serval-prepare")
        self._watcher = Workers(1, "serval-watch")
        self._max_rows = max_rows
        self._senders = senders
        self._time = TurnTime()
        self._deferred = Deferred()
        self._forgetting_at = 0.0
        self._found: dict[int, _Found] = {}
        self._lanes: dict[LoadedModel, Lane | None] = {}
        self._preparing: set[LoadedModel] = set()
        self._prepared: deque[tuple[LoadedModel, Lane | None]] = deque()
        self._finished: deque[Job] = deque()

    def start(self, answers: Answers, wake: Wake) -> None:
        """See VectorHandler."""
        self._answers = answers
        self._wake = wake
        self._tables = vectorized.new_method(answers.messages_max, GROUPS, LAYOUTS, self._senders)
        self._serials = self._tables.layouts["serial"]
        self._expected: Octets | None = None  # where the rows of one layout are gathered as they are decoded
        self._alone = -1  # the layout that was last gathered alone

    def take(self, records: Records, calls: Calls) -> None:
        """See VectorHandler."""
        self._time.begin()
        answers, tables = self._answers, self._tables
        turn, order = self._time.turn, tables.order
        groups, grouped, gathered = self._codec.decode(answers.handle, tables.handle, answers.place, turn)
        expected, has_nan = self._expected if gathered else None, gathered == vectorized.WITH_NAN
        for number, row in enumerate(tables.groups[:groups].tolist()):
            self._take_group(
                Group(records, calls, order, tables.groups, number, row, tables.handle, turn, expected, has_nan)
            )
        if grouped < len(records):
            answers.fall_back(records, calls, tables.order, grouped, len(records))
        if self._deferred:
            self._wake()

    def finish(self) -> None:
        """See VectorHandler."""
        for _ in range(len(self._prepared)):
            model, lane = self._prepared.popleft()
            self._preparing.discard(model)
            self._lanes[model] = lane
            self._found.clear()
        for _ in range(len(self._finished)):
            job = self._finished.popleft()
            job.backlog.finish(job, self._time.turn)
        if self._deferred:
            self._deferred.run(self._time.turn)
            if self._deferred:
                self._wake()
        if (now := time.monotonic()) >= self._forgetting_at:
            self._forgetting_at = now + FORGET_SECONDS
            self._forget_unloaded()

    def _take_group(self, group: Group) -> None:
        place, first, messages, *_ = group.row
        found = self._found.get(place)
        if (
            found is None
            or found.serial != self._serials[place]
            or self._router.known(found.address.name, found.address.tail) is not found.model
        ):
            found = self._find(place)
        stay = messages
        if found is not None and found.lane is not None and found.width:
            stay = predict_codec.divide_rows(group.records, group.order, group.groups, group.number, found.width)
        if found is None or found.lane is None:
            stay = 0
        if stay < messages:
            self._answers.fall_back(group.records, group.calls, group.order, first + stay, first + messages)
        if stay and found is not None and found.lane is not None:
            found.lane.take(group.again() if found.width else group)

    def _find(self, place: int) -> _Found | None:
        """Return the lane of a layout where its model is in memory and can have one."""
        address = self._address_of(self._tables.layouts[place])
        model = self._router.known(address.name, address.tail)
        if model is None:
            return None
        width = 0 if address.row is not None else feature_width(model)
        found = _Found(int(self._serials[place]), address, model, self._lane(model, address, width), width)
        self._found[place] = found
        return found

    def _lane(self, model: LoadedModel, address: Address, width: int) -> Lane | None:
        given = batch_input(model)
        if given is None or (address.row is None and not width):
            return None
        if address.row is not None and (address.input, address.dtype, address.row) != given:
            return None
        if model in self._lanes:
            return self._lanes[model]
        if model not in self._preparing:
            self._preparing.add(model)
            self._preparer.submit(self._prepare, model, given)
        return None

    def _prepare(self, model: LoadedModel, given: BatchInput) -> None:
        """Make a model's lane; in a thread of its own, as it runs the model."""
        lane, options, over = None, onnxruntime.RunOptions(), threading.Event()
        try:
            self._watcher.submit(_end_unless, over, options)
            outputs = outputs_of(model)
            if outputs is not None and rows_are_independent(model, given, options):
                plan, rows = self._codec.plan(model, outputs), self._max_rows.of(model.name)
                answering = Answering(model, given, self._codec, plan, self._answers, rows)
                loop_rows = rows if model.session.is_steady else 0
                budget = Budget(first_estimate(model, given, options), loop_rows, self._time)
                backlog = Backlog(answering, budget, self._workers, self._on_done, self._deferred.add)
                lane = Lane(answering, budget, backlog, outputs, self._expect)
        except Exception:  # then it has none, and its calls are answered one by one
            lane = None
        over.set()
        self._prepared.append((model, lane))
        self._wake()

    def _expect(self, layout: int, rows: Octets, floats: int) -> None:
        """Have a layout that comes again and again gathered into these rows as it is decoded."""
        if layout == self._alone:
            vectorized.expect(self._tables, layout, rows, floats)
            self._expected = rows
        self._alone = layout

    def _on_done(self, job: Job) -> None:
        self._finished.append(job)
        self._wake()

    def _forget_unloaded(self) -> None:
        """Let go of lanes whose model no route leads to any more."""
        unloaded = self._router.unrouted({*self._lanes, *(found.model for found in self._found.values())})
        for model in unloaded:
            self._lanes.pop(model, None)
        if unloaded:
            self._found.clear()


def _end_unless(over: threading.Event, options: onnxruntime.RunOptions) -> None:
    """Have runs with these options fail once they have had their time."""
    if not over.wait(PREPARE_SECONDS):
        options.terminate = True


def infer_method(router: Router, workers: Workers, senders: int, max_rows: BatchRows) -> BatchedMethod:
    """Return inference.GRPCInferenceService/ModelInfer."""
    codec = Codec(
        vectorized.decode_infer,
        vectorized.answer_infer,
        infer_codec.sizes,
        infer_codec.encode,
        _infer_plan,
        sizes_by_values=False,
    )
    return BatchedMethod(codec, _infer_address, router, workers, senders, max_rows)


def predict_method(router: Router, workers: Workers, senders: int, max_rows: BatchRows) -> BatchedMethod:
    """Return serval.v1.PredictionService/Predict."""
    codec = Codec(
        vectorized.decode_predict,
        vectorized.answer_predict,
        predict_codec.sizes,
        predict_codec.encode,
        _predict_plan,
        sizes_by_values=True,
    )
    return BatchedMethod(codec, _predict_address, router, workers, senders, max_rows)


def _infer_plan(model: LoadedModel, outputs: Any) -> Plan:
    return infer_codec.plan(model.name, model.number_text, outputs)


def _predict_plan(model: LoadedModel, outputs: Any) -> Plan:
    return predict_codec.plan(model.name, model.number, outputs)


def _infer_address(layout: Any) -> Address:
    name, tail, given = layouts.names_of(layout)
    rank = int(layout["rank"])
    row = tuple(layout["shape"][1:rank].tolist())
    return Address(name, tail, given, datatypes.dtype_of(int(layout["datatype"])), row)


def _predict_address(layout: Any) -> Address:
    model, _, _ = layouts.names_of(layout)
    name, _, tail = model.partition("@")
    return Address(name, tail, None, np.dtype(np.float32), None)
