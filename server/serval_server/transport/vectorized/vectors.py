"""Vectorized methods: a handler is given every message of its method that has arrived since it was last asked."""

from typing import Protocol

import grpc
import numpy as np
import numpy.typing as npt
from serval_kernels.wire import turn
from serval_kernels.wire.octets import Octets
from serval_kernels.wire.state import Records, State

from serval_server.transport.vectorized.metadata import trailers_only_block

Calls = npt.NDArray[np.int64]


class Answers:
    """What a handler may do with calls, in the loop's thread. One that has ended meanwhile is passed over."""

    def __init__(self, state: State, place: int) -> None:
        self._state = state
        self.octets: Octets = state.pool.octets
        self.handle = state.handle
        self.place = place  # of the method's messages in the engine's
        self.messages_max = state.messages.shape[1]
        self.working = 0  # threads that work for the handler, which counts them: the loop leaves them the processor

    def begin(self, messages: Records, calls: Calls, order: Calls, groups: Records, number: int) -> bool:
        """Write the frames around the answers of a group and fill its `reply_at`, places in `octets`.

        `reply_length` of the messages is filled; -1 as a place means that no octets are wanted. Where the result is
        true, `end` is to be called once the octets are there.
        """
        return bool(turn.begin_answers(self._state.handle, messages, calls, order, groups, number))

    def end(self, calls: Calls, order: Calls, groups: Records, number: int) -> None:
        """Send on what `begin` could not finish."""
        turn.end_answers(self._state.handle, calls, order, groups, number)

    def fall_back(self, messages: Records, calls: Calls, order: Calls, first: int, last: int) -> None:
        """Give the calls order[first:last] to the method's ordinary handler. Only in the turn that brought them."""
        turn.fall_back(self._state.handle, messages, calls, order, first, last)

    def refuse(self, call: int, answer: int) -> None:
        """Answer a call with one of `serval_kernels.wire.answers`."""
        turn.refuse(self._state.handle, call, answer)

    def fail(self, call: int, code: grpc.StatusCode, details: str) -> None:
        """Answer a call with a status and a text of its own."""
        block = np.frombuffer(trailers_only_block(code.value[0], details), np.uint8)
        turn.respond(self._state.handle, call, block, block.size, 0, 0, True)

    def open_ones(self, calls: Calls) -> npt.NDArray[np.bool_]:
        """Return which calls somebody waits for."""
        marks = np.zeros(calls.size, np.bool_)
        turn.mark_open(self._state.handle, calls, marks)
        return marks


class VectorHandler(Protocol):
    """A vectorized method."""

    def start(self, answers: Answers, wake: "Wake") -> None:
        """Take what answers are given with; `wake` may be called from any thread to have `finish` called soon."""

    def take(self, messages: Records, calls: Calls) -> None:
        """Take messages, batch.MESSAGE[n] with `at`, `length` and `template` (their connection), and their calls.

        In the loop's thread; the messages' octets are there until it returns.
        """

    def finish(self) -> None:
        """Answer what worker threads have finished; called after a wake, and twice a second. In the loop's thread."""


class Wake(Protocol):
    """Has the loop call `finish`."""

    def __call__(self) -> None:
        """From any thread."""
