"""How the calls of one model are run and answered, as one method speaks of it: in the loop and on workers alike."""

import logging
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import grpc
import numpy as np
import numpy.typing as npt
from serval_kernels.missing import first_nan
from serval_kernels.wire import answers as canned
from serval_kernels.wire import batch
from serval_kernels.wire.plan import Plan

from serval_server.batching.chunks import Group, Octets
from serval_server.batching.inputs import BatchInput
from serval_server.engine.loaded import NAN_TYPES, LoadedModel
from serval_server.transport.vectorized.vectors import Answers, Calls

LOG = logging.getLogger(__name__)

Array = npt.NDArray[np.generic]

# What a call that failed is told, and None where only the log says more. Not the error, which holds the batch.
Failure = tuple[grpc.StatusCode, str] | None

# When the phases of a run ended (ns of `time.perf_counter_ns`): it began, its rows were there, it has run.
Times = tuple[int, int, int]


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


class Answering:
    """What both ways of running a batch need. `run` may be called from a worker's thread, all else from the loop's."""

    def __init__(
        self, model: LoadedModel, given: BatchInput, codec: Codec, plan: Plan, answers: Answers, max_rows: int
    ) -> None:
        self.model = model
        self.given = given
        self.codec = codec
        self.plan = plan
        self.answers = answers
        self.max_rows = max_rows
        refuses_nan = not model.version.missing_allowed and any(
            spec.datatype in NAN_TYPES for spec in model.inputs.values()
        )
        self.floats = given.dtype.itemsize if refuses_nan else 0  # octets of what may not be NaN

    def run(self, octets: Octets, rows: int) -> list[Array]:
        """Return the outputs of all rows, in runs of no more than `max_rows`."""
        inputs = self.rows_of(octets, rows)
        if rows <= self.max_rows:
            return self.model.run({self.given.name: inputs})
        parts = [
            self.model.run({self.given.name: inputs[at : at + self.max_rows]}) for at in range(0, rows, self.max_rows)
        ]
        return [np.concatenate(arrays) for arrays in zip(*parts, strict=True)]

    def rows_of(self, octets: Octets, rows: int) -> Array:
        """Return octets as the input's rows."""
        return octets.view(self.given.dtype).reshape(rows, *self.given.row)

    def has_nan(self, octets: Octets) -> bool:
        """Tell whether there is NaN among rows that may have none."""
        return bool(self.floats) and first_nan(octets.view(self.given.dtype)) >= 0

    def set_aside(self, group: Group, taken: Octets) -> int:
        """Give messages with NaN to the ordinary servicer, which says where; return how many messages stay.

        taken: the rows of the group, and whatever comes after them.
        """
        _, first, before, count, octets, _ = group.row
        members = group.order[first : first + before]
        rows = taken[:octets].view(self.given.dtype).reshape(count, -1)
        ends = np.cumsum(group.records["rows"][members])
        wrong = np.searchsorted(ends, np.flatnonzero(np.isnan(rows).any(axis=1)), side="right")
        group.records["rows"][members[np.unique(wrong)]] = 0
        stay = batch.set_aside(group.records, group.order, group.groups, group.number)
        self.fall_back(group, first + stay, first + before)
        return stay

    def fall_back(self, group: Group, first: int, last: int) -> None:
        """Give the calls order[first:last] to the ordinary servicer."""
        self.answers.fall_back(group.records, group.calls, group.order, first, last)

    def refuse(self, call: int, failure: Failure, started: int) -> None:
        """Answer a call that failed in a run as its servicer would, and count it."""
        if failure is not None:
            self.answers.fail(call, *failure)
        else:
            self.answers.refuse(call, canned.MODEL_FAILED)
        self.model.statistics.failed(started)

    def fail(self, calls: Calls, started: int) -> None:
        """Log the error that is being handled, and refuse those of the calls that have no answer yet."""
        LOG.exception("%s: a batch of %d calls could not be answered", self.model.version.ref, len(calls))
        for call in calls[self.answers.open_ones(calls)].tolist():
            self.refuse(call, None, started)

    def count(self, messages: int, rows: int, times: Times) -> None:
        """Count messages that were answered just now, by one run."""
        self.model.statistics.succeeded(rows, *times, time.perf_counter_ns(), messages)
