"""The loop: one thread that owns all sockets and all protocol state, and takes turns.

    1  wait for sockets, for a wake-up from another thread, or for time
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
import select
import socket
import ssl
import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Final, NamedTuple

import numpy as np
from serval_kernels.wire import fields, limits, receive, turn
from serval_kernels.wire import state as engine

from serval_server.transport.vectorized.context import Peer
from serval_server.transport.vectorized.handlers import Handlers
from serval_server.transport.vectorized.ordinary import OrdinaryCalls
from serval_server.transport.vectorized.sockets import Connection
from serval_server.transport.vectorized.vectors import Answers, VectorHandler

LOG = logging.getLogger(__name__)

READY_MAX: Final = 512  # sockets looked at in a turn
ACCEPT_MAX: Final = 64
TICK_SECONDS: Final = 0.5  # how often ages are looked at
LINGER_NS: Final = limits.SECOND  # how long a closed connection may take to read what it was told
AWAKE_NS: Final = 100_000  # after calls; a processor that sleeps and wakes loses about as much
SMALL_OUTPUT: Final = 32 << 10  # a block of output up to here is kept for the next turn

READ, WRITE = select.EPOLLIN, select.EPOLLOUT


class Times(NamedTuple):
    """How long connections may live and be silent, in seconds; None: for ever. Named as grpc's channel arguments."""

    keepalive_time: float = 7200.0
    keepalive_timeout: float = 20.0
    max_connection_idle: float | None = None
    max_connection_age: float | None = None
    max_connection_age_grace: float | None = None

    def for_engine(self) -> engine.Records:
        """Return them as the engine takes them: turn.TIMES[1], nanoseconds."""
        times = np.zeros(1, turn.TIMES)
        times[0] = (limits.HANDSHAKE, *(_nanoseconds(seconds) for seconds in self))
        return times


def _nanoseconds(seconds: float | None) -> int:
    return turn.NEVER if seconds is None else min(int(seconds * limits.SECOND), turn.NEVER)


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
    ) -> None:
        paths = sorted({*handlers.paths(), *vectorized})
        kinds = np.array([engine.VECTORIZED if path in vectorized else engine.ORDINARY for path in paths], np.int64)
        seed = int.from_bytes(os.urandom(7), "little")
        self._state = engine.new_state(fields.register_paths([path.encode() for path in paths]), kinds, sizes, seed)
        self._octets = memoryview(self._state.pool.octets)  # type: ignore[arg-type]
        self._arena = sizes.arena
        self._state.turn["answer_unknown"] = not handlers.answers_others()
        self._times = times.for_engine()
        self._methods = [vectorized[path] for path in paths if path in vectorized]
        self._calls = OrdinaryCalls(self._state, handlers, paths, executor, self._peer_of, self.wake, sizes.max_message)
        self._poll = select.epoll()
        self._wakeup = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._poll.register(self._wakeup, READ)
        self._sleeping = False
        self._woken = False
        self._listeners: dict[int, tuple[socket.socket, ssl.SSLContext | None]] = {}
        self._connections: dict[int, Connection] = {}  # by file descriptor
        self._numbered: list[Connection | None] = [None] * sizes.connections
        self._free = list(range(sizes.connections - 1, -1, -1))
        self._reads = np.zeros((READY_MAX, 3), np.int64)
        self._again: set[int] = set()  # connections with more to do than a turn let them
        self._closing: dict[int, Connection] = {}  # by file descriptor: their output is all that is left
        self._discarded = memoryview(bytearray(64 << 10))
        self._paused: list[int] = []
        self._unread: dict[int, int] = {}  # failed connections that do not read: since when, by file descriptor
        self._took = 0
        self._next_tick = 0
        self._stop_by: float | None = None
        self._stopping = threading.Event()
        self.stopped = threading.Event()
        self._carried = self._state.connections["carried"]
        self._carry_at = self._state.connections["carry_at"]
        self._backlog = self._state.connections["backlog"]
        self._phase = self._state.connections["phase"]
        self._events = self._state.turn["events"]
        self._next_deadline = self._state.turn["next_deadline"]
        self._counts = self._state.counts
        for place, method in enumerate(self._methods):
            method.start(Answers(self._state, place), self.wake)

    # Any thread

    def wake(self) -> None:
        """Have the loop take a turn soon."""
        self._woken = True
        if self._sleeping:
            with contextlib.suppress(BlockingIOError):
                os.eventfd_write(self._wakeup, 1)

    def add_listener(self, listener: socket.socket, context: ssl.SSLContext | None) -> None:
        """Accept from a listening socket; before `run`, or in the loop's thread."""
        self._listeners[listener.fileno()] = (listener, context)
        self._poll.register(listener.fileno(), READ)

    def stop(self, grace: float | None) -> None:
        """Take no new connections and let calls end for `grace` seconds, then cancel what is left."""
        by = time.monotonic() + (grace or 0.0)
        self._stop_by = by if self._stop_by is None else min(by, self._stop_by)
        self._stopping.set()
        self.wake()

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
            self._close_all()
            self.stopped.set()

    def _turn(self) -> None:
        self._took = count = self._read_all(self._wait())
        now = time.monotonic_ns()
        attention = receive.receive(self._state.handle, self._reads, count, now)
        if attention:
            self._attend(count)
        if self._events[0]:
            self._calls.take_events()
        for place, method in enumerate(self._methods):
            if self._counts[place]:
                messages = int(self._counts[place])
                method.take(self._state.messages[place, :messages], self._state.calls[place, :messages])
                if self._events[0]:
                    self._calls.take_events()
        if self._woken:
            self._woken = False
            for method in self._methods:
                method.finish()
            self._calls.pump()
        if now >= self._next_deadline[0]:
            turn.expire(self._state.handle)
        if now >= self._next_tick:
            self._tick(now)
        if self._events[0]:
            self._calls.take_events()
        self._write_all()

    def _wait(self) -> list[tuple[int, int]]:
        if self._again or self._woken:
            return self._poll.poll(0, READY_MAX)
        if self._took and not len(self._calls):
            ready = self._linger_awake()
            if ready:
                return ready
        self._sleeping = True
        try:
            # Another thread may have posted before it could see that this one is about to sleep.
            return self._poll.poll(0 if self._woken else self._patience(), READY_MAX)
        finally:
            self._sleeping = False

    def _linger_awake(self) -> list[tuple[int, int]]:
        """Look out for the next calls for a moment: to fall asleep and wake up takes longer than most answers do."""
        until = time.perf_counter_ns() + AWAKE_NS
        while True:
            ready = self._poll.poll(0, READY_MAX)
            if ready or self._woken or time.perf_counter_ns() > until:
                return ready

    def _patience(self) -> float:
        """Return the seconds until there is something to do without anybody asking."""
        now = time.monotonic_ns()
        until = min(self._next_tick, int(self._next_deadline[0]))
        return max(0.0, (until - now) / 1e9)

    def _read_all(self, ready: list[tuple[int, int]]) -> int:
        """Read from the sockets that are ready; return how many rows of `reads` say what came."""
        at, count = self._read_again() if self._again else (0, 0)
        seen = set(self._reads[:count, 0].tolist()) if count else ()
        for fd, happened in ready:
            connection = self._connections.get(fd)
            if connection is None:
                self._other(fd)
            elif connection.number < 0:
                self._shake_hands(connection)
            else:
                if happened & WRITE:
                    turn.resume(self._state.handle, connection.number)
                if happened & ~WRITE and connection.number not in seen and self._has_room(at, count):
                    at, count = self._read(connection, at, count, take_more=True)
        return count

    def _read_again(self) -> tuple[int, int]:
        """Hand over what the last turn had no room for, before anything is read behind it."""
        at, count = 0, 0
        for number in tuple(self._again):
            if not self._has_room(at, count):
                break
            connection = self._numbered[number]
            self._again.discard(number)
            if connection is not None:
                at, count = self._read(connection, at, count, take_more=not self._backlog[number])
        return at, count

    def _has_room(self, at: int, count: int) -> bool:
        return count < READY_MAX and self._arena - at > 2 * limits.READ_OCTETS

    def _read(self, connection: Connection, at: int, count: int, *, take_more: bool) -> tuple[int, int]:
        """Read once behind what was carried over; return the place behind it and the number of rows of `reads`."""
        number, size = connection.number, 0
        carried = int(self._carried[number])
        if take_more:
            start = at + carried
            try:
                size = connection.receive(self._octets[start : start + limits.READ_OCTETS])
            except OSError:
                size = 0
            if size == 0:
                self._close(connection)
                return at, count
            if size < 0:
                size = 0
            if connection.secure and connection.pending():
                self._again.add(number)
        if carried:
            source = int(self._carry_at[number])
            self._octets[at : at + carried] = self._octets[source : source + carried]
        end = at + carried + size
        self._reads[count] = number, at, end
        return end, count + 1

    def _other(self, fd: int) -> None:
        """Act on what is not a connection."""
        if fd == self._wakeup:
            with contextlib.suppress(BlockingIOError):
                os.eventfd_read(self._wakeup)
            self._woken = True
        elif fd in self._listeners:
            self._accept(*self._listeners[fd])
        elif fd in self._closing:
            self._discard(self._closing[fd])

    def _accept(self, listener: socket.socket, context: ssl.SSLContext | None) -> None:
        for _ in range(ACCEPT_MAX):
            try:
                accepted, address = listener.accept()
            except BlockingIOError:
                return
            except OSError as error:  # too many open files, or the peer has gone again
                LOG.warning("accept: %s; no new connections for a moment", error)
                self._pause(listener)
                return
            if not self._free:
                accepted.close()
                continue
            try:
                connection = Connection(accepted, address, context, time.monotonic_ns())
            except OSError:
                accepted.close()
                continue
            self._connections[connection.fd] = connection
            self._poll.register(connection.fd, READ)
            if not connection.secure:
                self._open(connection)

    def _pause(self, listener: socket.socket) -> None:
        """Leave a listener alone until the next tick: what it holds would wake the loop for nothing."""
        self._poll.modify(listener.fileno(), 0)
        self._paused.append(listener.fileno())

    def _shake_hands(self, connection: Connection) -> None:
        try:
            done = connection.shake_hands()
        except OSError as error:
            LOG.info("TLS handshake with %s: %s", connection.address, error)
            self._close(connection)
            return
        if done:
            self._open(connection)
            if connection.number >= 0 and connection.pending():
                self._again.add(connection.number)

    def _open(self, connection: Connection) -> None:
        if not self._free:
            self._close(connection)
            return
        connection.number = self._free.pop()
        self._numbered[connection.number] = connection
        turn.open_connection(self._state.handle, connection.number, time.monotonic_ns())

    def _attend(self, count: int) -> None:
        """Note which connections of this turn have more to do."""
        for number in self._reads[:count, 0].tolist():
            if self._backlog[number]:
                self._again.add(number)

    def _write_all(self) -> None:
        count = turn.collect(self._state.handle)
        if not count:
            return
        for number, start, end in self._state.spans[:count].tolist():
            connection = self._numbered[number]
            if connection is None:
                continue
            try:
                went = connection.send(self._octets[start:end])
            except OSError:
                self._close(connection)
                continue
            if went < end - start:
                turn.unsent(self._state.handle, number, start + went, end)
                self._watch(connection, reading=end - start - went < limits.UNREAD_OCTETS, writing=True)
                continue
            if connection.writing:
                self._watch(connection, reading=True, writing=False)
            if end - start > SMALL_OUTPUT and turn.sent(self._state.handle, number):
                turn.resume(self._state.handle, number)
                self._woken = True
            if self._phase[number] == engine.CLOSING:
                self._linger(connection)

    def _watch(self, connection: Connection, *, reading: bool, writing: bool) -> None:
        if (reading, writing) != (connection.reading, connection.writing):
            connection.reading, connection.writing = reading, writing
            self._poll.modify(connection.fd, (READ if reading else 0) | (WRITE if writing else 0))

    def _linger(self, connection: Connection) -> None:
        """Close our side, and read on for a moment: a socket that is closed unread takes GOAWAY back from the peer."""
        self._release(connection)
        connection.end_output()
        connection.since = time.monotonic_ns()
        self._connections.pop(connection.fd, None)
        self._closing[connection.fd] = connection
        self._poll.modify(connection.fd, READ)

    def _discard(self, connection: Connection) -> None:
        try:
            # Not into the arena: what others have sent in this turn lies there.
            if connection.receive(self._discarded) != 0:
                return
        except OSError:
            pass
        self._forget(connection)

    def _close(self, connection: Connection) -> None:
        self._release(connection)
        self._forget(connection)

    def _release(self, connection: Connection) -> None:
        """Give back the engine's row; the connection's calls are over."""
        number, connection.number = connection.number, -1
        if number >= 0:
            turn.close_connection(self._state.handle, number)
            self._calls.take_events()
            self._numbered[number] = None
            self._again.discard(number)
            self._free.append(number)

    def _forget(self, connection: Connection) -> None:
        self._connections.pop(connection.fd, None)
        self._closing.pop(connection.fd, None)
        self._unread.pop(connection.fd, None)
        with contextlib.suppress(OSError):
            self._poll.unregister(connection.fd)
        connection.close()

    def _tick(self, now: int) -> None:
        """Look at the age of everything."""
        self._next_tick = now + int(TICK_SECONDS * limits.SECOND)
        turn.look_after(self._state.handle, self._times)
        self._calls.take_events()
        while self._paused:
            self._poll.modify(self._paused.pop(), READ)
        high = int(self._state.turn["high_connection"][0])
        for number in np.flatnonzero(self._phase[:high] == engine.CLOSING).tolist():
            connection = self._numbered[number]
            if connection is None:
                continue
            if not self._state.connections["dirty"][number] and not connection.writing:
                self._linger(connection)
            elif now - self._unread.setdefault(connection.fd, now) > LINGER_NS:  # it does not read what it is told
                self._close(connection)
        for connection in [c for c in self._closing.values() if now - c.since > LINGER_NS]:
            self._forget(connection)
        for connection in [c for c in self._connections.values() if c.number < 0 and now - c.since > limits.HANDSHAKE]:
            self._close(connection)

    def _drain(self) -> None:
        """End in order: no new connections, then no new calls, and those that are there get their time."""
        for fd, (listener, _) in self._listeners.items():
            self._poll.unregister(fd)
            if listener.family == socket.AF_UNIX:
                with contextlib.suppress(OSError):
                    os.unlink(listener.getsockname())
            listener.close()
        self._listeners.clear()
        self._paused.clear()
        self._leave(final=False)
        settled = time.monotonic() + 0.05  # what is on its way comes in
        while time.monotonic() < settled:
            self._turn_soon(settled)
        self._leave(final=True)
        while self._connections and time.monotonic() < (self._stop_by or 0.0):
            if not self._is_busy():
                break
            self._turn_soon(self._stop_by or 0.0)
        self._calls.cancel_all()
        self._turn_soon(time.monotonic())

    def _turn_soon(self, by: float) -> None:
        self._next_tick = min(self._next_tick, int(min(by, time.monotonic() + 0.02) * limits.SECOND))
        self._turn()

    def _leave(self, *, final: bool) -> None:
        for connection in list(self._connections.values()):
            if connection.number >= 0:
                turn.leave(self._state.handle, connection.number, final)

    def _is_busy(self) -> bool:
        return bool(
            int(self._state.turn["open_streams"][0])
            or len(self._calls)
            or any(connection.writing for connection in self._connections.values())
        )

    def _close_all(self) -> None:
        for listener, _ in self._listeners.values():
            listener.close()
        for connection in [*self._connections.values(), *self._closing.values()]:
            self._close(connection)
        self._poll.close()
        os.close(self._wakeup)

    def _peer_of(self, number: int) -> Peer:
        connection = self._numbered[number]
        return connection.known_as() if connection is not None else Peer("unknown")
