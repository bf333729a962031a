"""The loop: one thread that owns all sockets and all protocol state, and takes turns.

    1  wait for sockets, for a wake-up from another thread, or for time; meanwhile, what was left for spare time
    2  read each ready socket once, up to its share, into one arena
    3  `receive`: all frames of all of them
    4  ordinary calls get their messages; vectorized methods get all of theirs at once
    5  what handlers have given is written, deadlines are looked at
    6  each connection's output goes out with one system call

Only this thread touches the engine. Handlers and workers post to queues and wake it.
"""

import contextlib
import logging
import os
import socket
import ssl
import sys
import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import grpc
import numpy as np
from serval_kernels.wire import fields, limits, receive, sockets, turn
from serval_kernels.wire import state as engine

from serval_server.spare import SpareTime
from serval_server.transport.vectorized.connections import READ, WRITE, Connections
from serval_server.transport.vectorized.handler_threads import HandlerThreads
from serval_server.transport.vectorized.handlers import Handlers
from serval_server.transport.vectorized.ordinary import OrdinaryCalls
from serval_server.transport.vectorized.sockets import Connection
from serval_server.transport.vectorized.times import Times
from serval_server.transport.vectorized.vectors import Answers, VectorHandler

LOG = logging.getLogger(__name__)

# A connection whose share of ordinary work has begun goes on when that is done, and after so long in any case, as some
# calls take long. Were it read on at once, the loop would ask for the interpreter again before handlers wake up.
SHORT_CALL_NS: Final = 1_000_000
TICK_SECONDS: Final = 0.5  # how often ages are looked at
AWAKE_NS: Final = 100_000  # after calls; a processor that sleeps and wakes loses about as much

# After how long a thread that waits for the interpreter has it taken from the one that has it, for the whole process.
# Short while the loop may wait for a handler, Python's own while handlers wait for the loop: its turns end by
# themselves, and one that is broken off goes on when all who waited have had theirs.
SWITCH_READING_SECONDS: Final = 0.0005
SWITCH_TURNING_SECONDS: Final = 0.005


class Loop:
    """Sockets, engine and handlers of one server."""

    def __init__(
        self,
        handlers: Handlers,
        vectorized: Mapping[str, VectorHandler],
        executor: ThreadPoolExecutor,
        *,
        times: Times = Times(),  # noqa: B008
        sizes: engine.Sizes = engine.Sizes(),  # noqa: B008
        keep_metadata: bool = False,
        most: int | None = None,
        compression: grpc.Compression | None = None,
        spare: SpareTime | None = None,
    ) -> None:
        """Make a loop; `keep_metadata`: of vectorized calls, for the ordinary handlers that they may come to.

        `most`: ordinary calls under way at a time; `compression`: of their replies. `spare`: steps that are taken while
        nothing comes.
        """
        paths = sorted({*handlers.paths(), *vectorized})
        kinds = np.array([engine.VECTORIZED if path in vectorized else engine.ORDINARY for path in paths], np.int64)
        seed = int.from_bytes(os.urandom(7), "little")
        state = engine.new_state(fields.register_paths([path.encode() for path in paths]), kinds, sizes, seed)
        state.turn["answer_unknown"] = not handlers.answers_others()
        state.turn["keep_fields"] = keep_metadata
        self._state, self._handle = state, state.handle
        self._octets = memoryview(state.pool.octets)  # type: ignore[arg-type]
        self._arena = sizes.arena
        self._times = times.for_engine()
        self._methods = [vectorized[path] for path in paths if path in vectorized]
        self._connections = Connections(state, self._times, self._connection_is_over)
        self._calls = OrdinaryCalls(
            state,
            handlers,
            paths,
            HandlerThreads(executor),
            self._connections.peer_of,
            self.wake,
            sizes.max_message,
            most=most,
            compression=compression,
        )
        self._wakeup = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._connections.epoll.register(self._wakeup, READ)
        self._epoll = self._connections.epoll.fileno()
        self._handshakes = self._connections.handshakes
        self._sockets = self._connections.sockets
        self._taken = self._sockets.taken[0]
        self._facts = self._sockets.taken.view(np.int64)
        self._sleeping = False
        self._woken = False
        self._spare = spare if spare is not None else SpareTime()
        self._next_tick = 0
        self._stop_by: float | None = None
        self._stopping = threading.Event()
        self._carried = state.connections["carried"]
        self._carry_at = state.connections["carry_at"]
        self._backlog = state.connections["backlog"]
        self._phase = state.connections["phase"]
        self._ordinary = state.connections["ordinary"]
        self._work = state.connections["work"]
        self._events = state.turn["events"]
        self._next_deadline = state.turn["next_deadline"]
        self._open_streams = state.turn["open_streams"]
        self._counts = state.counts
        self._answers = [Answers(state, place) for place in range(len(self._methods))]
        for answers, method in zip(self._answers, self._methods, strict=True):
            method.start(answers, self.wake)

    # Any thread

    def wake(self) -> None:
        """Have the loop take a turn soon."""
        self._woken = True
        if self._sleeping:
            with contextlib.suppress(BlockingIOError):
                os.eventfd_write(self._wakeup, 1)

    def add_listener(self, listener: socket.socket, context: ssl.SSLContext | None) -> None:
        """Accept from a listening socket; before `run`, or in the loop's thread."""
        self._connections.add_listener(listener, context)

    def stop(self, grace: float | None) -> None:
        """Take no new connections and let calls end for `grace` seconds, then cancel what is left."""
        by = time.monotonic() + (grace or 0.0)
        self._stop_by = by if self._stop_by is None else min(by, self._stop_by)
        self._stopping.set()
        self.wake()

    def look_for_others(self) -> None:
        """Ask for a handler for paths that were not known at the start. One word, which the engine only reads."""
        self._state.turn["answer_unknown"] = 0

    # The loop's thread

    def run(self) -> None:
        """Take turns until told to stop."""
        try:
            while not self._stopping.is_set():
                self._turn()
            self._drain()
        except Exception:
            LOG.exception("the loop has failed")
            raise
        finally:
            self._connections.close_all()
            os.close(self._wakeup)

    def _turn(self) -> None:
        sys.setswitchinterval(SWITCH_READING_SECONDS)
        self._read()
        sys.setswitchinterval(SWITCH_TURNING_SECONDS)
        now, reads, left = self._facts[:3].tolist()
        if not reads and self._spare:
            self._spare.take()
        if self._events[0]:
            self._calls.take_events()
        for place, messages in enumerate(self._counts.tolist()):
            if messages:
                self._methods[place].take(self._state.messages[place, :messages], self._state.calls[place, :messages])
                if self._events[0]:
                    self._calls.take_events()
        if left:
            self._attend(reads, now)
        if self._woken:
            self._woken = False
            for method in self._methods:
                method.finish()
            self._calls.pump()
        if self._connections.held:
            self._connections.let_on(self._calls, now)
        if now >= self._handshakes.at:
            self._connections.shake_hands()
        if now >= self._next_deadline[0]:
            turn.expire(self._handle)
        if now >= self._next_tick:
            self._tick(now)
        if self._events[0]:
            self._calls.take_events()
        self._write()

    def _read(self) -> None:
        """Wait, read from the sockets that are ready, and receive that; `taken` of the tables says what came."""
        goes_on = bool(self._connections.again)
        if goes_on:
            self._read_again()
        self._sleeping = True
        # Another thread may have posted before it could see that this one is about to sleep.
        others_work = self._others_work()
        hurries = self._woken or (self._spare and not others_work)
        until = 0 if hurries else min(self._next_tick, self._connections.held_until, self._handshakes.at)
        awake = 0 if hurries or others_work else AWAKE_NS
        others = sockets.take(self._handle, self._sockets.handle, self._epoll, until, awake, goes_on, self._arena)
        self._sleeping = False
        if others:
            seen = set(self._sockets.reads[: int(self._taken["reads"]), 0].tolist())
            for fd, happened in self._sockets.others[:others].tolist():
                self._happened(fd, happened, seen)
            now, reads = self._facts[:2].tolist()
            self._taken["left"] = receive.receive(self._handle, self._sockets.reads, reads, now)

    def _others_work(self) -> bool:
        """Tell whether other threads may want the processor that waiting awake would take."""
        return bool(len(self._calls) or any(answers.working for answers in self._answers))

    def _happened(self, fd: int, happened: int, seen: set[int]) -> None:
        """Act on what the compiled reading has left: no plain connection, or one that has ended or may be written."""
        connection = self._connections.by_fd.get(fd)
        if fd == self._wakeup:
            with contextlib.suppress(BlockingIOError):
                os.eventfd_read(fd)
            self._woken = True
        elif connection is None or connection.number < 0:
            self._connections.happened(fd)
        elif happened == sockets.ENDED:
            self._connections.close(connection)
        else:
            if happened & WRITE:
                self._resume(connection.number)
            number = connection.number
            if happened & ~WRITE and number not in seen and not self._backlog[number]:
                if self._has_room():
                    self._read_one(connection, take_more=True)
                elif not self._taken["missed"]:
                    self._taken["missed"] = fd + 1

    def _read_again(self) -> None:
        """Hand over what the last turn had no room for, before anything is read behind it."""
        again = self._connections.again
        self._taken["reads"] = self._taken["at"] = 0
        for number in tuple(again):
            if not self._has_room() or self._taken["at"] > self._arena // 2:  # the rest is for those who come now
                break
            connection = self._connections.numbered[number]
            del again[number]
            if connection is not None:
                self._read_one(connection, take_more=not self._backlog[number])

    def _has_room(self) -> bool:
        taken = self._taken
        return bool(taken["reads"] < sockets.READY_MAX and self._arena - taken["at"] > 2 * limits.READ_OCTETS)

    def _read_one(self, connection: Connection, *, take_more: bool) -> None:
        """Read once behind what was carried over, and note it in `reads`."""
        number, size = connection.number, 0
        at, carried = int(self._taken["at"]), int(self._carried[number])
        if take_more:
            start = at + carried
            try:
                size = connection.receive(self._octets[start : start + limits.READ_OCTETS])
            except OSError:
                size = 0
            if size == 0:
                self._connections.close(connection)
                return
            if size < 0:
                size = 0
        if carried:
            source = int(self._carry_at[number])
            self._octets[at : at + carried] = self._octets[source : source + carried]
        end = at + carried + size
        self._sockets.reads[self._taken["reads"]] = number, at, end
        self._taken["reads"] += 1
        self._taken["at"] = end

    def _attend(self, count: int, now: int) -> None:
        """Note which connections of this turn have more to do."""
        for number in self._sockets.reads[:count, 0].tolist():
            if not self._backlog[number]:
                continue
            calls, work = self._ordinary[number], self._work[number]
            had_its_share = calls >= limits.CONNECTION_ORDINARY or work >= limits.CONNECTION_WORK
            if had_its_share and self._calls.has_young(number):
                self._connections.hold(number, now + SHORT_CALL_NS)
            else:
                self._connections.again[number] = None

    def _connection_is_over(self, number: int) -> None:
        """Act on what a connection leaves behind, before its number is another's."""
        self._calls.take_events()
        self._calls.leave(number)

    def _write(self) -> None:
        left = sockets.give(self._handle, self._sockets.handle)
        if left:
            for number, start, end, went in self._sockets.unsent[:left].tolist():
                connection = self._connections.numbered[number]
                if connection is not None:
                    self._sent(connection, start, end, went)

    def _sent(self, connection: Connection, start: int, end: int, went: int) -> None:
        """Act on an output that is secure, is not all sent, was large, or is the last."""
        if went == 0:
            try:
                went = connection.send(self._octets[start:end])
            except OSError:
                went = -1
        if went < 0:
            self._connections.close(connection)
            return
        number = connection.number
        if went < end - start:
            if went or not connection.writing:
                connection.waiting_since = time.monotonic_ns()
            turn.unsent(self._handle, number, start + went, end)
            reading = end - start - went < limits.UNREAD_OCTETS
            self._connections.watch(connection, reading=reading, writing=True)
            return
        if connection.writing:
            self._connections.watch(connection, reading=True, writing=False)
        if end - start > sockets.SMALL_OUTPUT and turn.sent(self._handle, number):
            self._resume(number)
            self._woken = True
        if self._phase[number] == engine.CLOSING:
            self._connections.linger(connection)

    def _resume(self, number: int) -> None:
        """Have the calls of a connection go on that waited for its output to go."""
        turn.resume(self._handle, number)
        self._calls.take_some_events()

    def _tick(self, now: int) -> None:
        """Look at the age of everything."""
        self._next_tick = now + int(TICK_SECONDS * limits.SECOND)
        turn.look_after(self._handle, self._times)
        self._calls.take_events()
        self._connections.look_after(now)
        self._woken = True  # methods let go of what is of no use any more

    def _drain(self) -> None:
        """End in order: no new connections, then no new calls; those that are there, and their replies, get time."""
        self._connections.stop_listening()
        self._connections.leave(final=False)
        settled = time.monotonic() + 0.05  # what is on its way comes in
        while time.monotonic() < settled:
            self._turn_soon(settled)
        self._connections.leave(final=True)
        while self._is_busy() and time.monotonic() < (self._stop_by or 0.0):
            self._turn_soon(self._stop_by or 0.0)
        self._calls.stop_all()
        self._turn_soon(time.monotonic())

    def _turn_soon(self, by: float) -> None:
        self._next_tick = min(self._next_tick, int(min(by, time.monotonic() + 0.02) * limits.SECOND))
        self._turn()

    def _is_busy(self) -> bool:
        return bool(self._open_streams[0] or len(self._calls) or self._connections.holds_a_stop(time.monotonic_ns()))
