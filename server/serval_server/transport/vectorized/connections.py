"""The sockets of a loop: who listens, who is connected, and how a connection begins and ends.

Everything here runs in the loop's thread. A plain connection is entered in the tables by which `sockets.take` and
`sockets.give` serve it; whatever needs a thought comes here.
"""

import contextlib
import logging
import os
import resource
import select
import socket
import ssl
import time
from collections.abc import Callable
from typing import Final

import numpy as np
import numpy.typing as npt
from serval_kernels.wire import connections, limits, turn
from serval_kernels.wire import sockets as tables
from serval_kernels.wire import state as engine

from serval_server.transport.vectorized.context import Peer
from serval_server.transport.vectorized.endings import Ending
from serval_server.transport.vectorized.handshakes import NEVER, Handshakes
from serval_server.transport.vectorized.ordinary import OrdinaryCalls
from serval_server.transport.vectorized.sockets import Connection

LOG = logging.getLogger(__name__)

ACCEPT_MAX: Final = 2
FILES_MAX: Final = 1 << 20  # file descriptors beyond it are served one by one
FILES_KEPT: Final = 256  # of those that the process may have: models are loaded while peers are connected

READ, WRITE = select.EPOLLIN, select.EPOLLOUT


class Connections:
    """Listeners and connections. `over` is called with the number of one that has ended, and its calls with it.

    `times` is the engine's turn.TIMES[1].
    """

    def __init__(self, state: engine.State, times: engine.Records, over: Callable[[int], None]) -> None:
        self._state = state
        self._longest = int(times["max_age"][0]) + int(times["max_age_grace"][0])  # beyond NEVER where one is that
        self._over = over
        count = len(state.connections)
        files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        files = FILES_MAX if files < 0 else min(files, FILES_MAX)
        self._most = max(files - FILES_KEPT, files // 2)  # connections, whatever they are at
        self.sockets = tables.new_sockets(count, files)
        self.epoll = select.epoll()
        self.by_fd: dict[int, Connection] = {}
        self.numbered: list[Connection | None] = [None] * count
        self.again: dict[int, None] = {}  # numbers of those with more to do than a turn let them, first come first
        self.held: dict[int, int] = {}  # numbers of those that wait for calls to be answered, and until when at most
        self.handshakes = Handshakes()
        self._free = list(range(count - 1, -1, -1))
        self._listeners: dict[int, tuple[socket.socket, ssl.SSLContext | None]] = {}
        self._paused: list[int] = []
        self._endings: dict[int, Ending] = {}  # by file descriptor: of those whose output is all that is left
        self._stopping = self._final = False  # whether every peer is told to go, and that no new calls are taken
        self._discarded = memoryview(bytearray(64 << 10))
        self._phase = state.connections["phase"]

    def add_listener(self, listener: socket.socket, context: ssl.SSLContext | None) -> None:
        """Accept from a listening socket."""
        self._listeners[listener.fileno()] = (listener, context)
        self.epoll.register(listener.fileno(), READ)

    def happened(self, fd: int) -> None:
        """Act on what is no connection that is open: a listener, a handshake, or the last of a closed one."""
        connection = self.by_fd.get(fd)
        if connection is not None:
            self.epoll.modify(fd, 0)  # it would wake the loop until it has its turn
            self.handshakes.wait(connection)
        elif fd in self._listeners:
            self._accept(*self._listeners[fd])
        elif fd in self._endings:
            self._discard(self._endings[fd])

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
            if not self._free or len(self.by_fd) + len(self._endings) >= self._most:
                accepted.close()
                continue
            try:
                connection = Connection(accepted, address, context, time.monotonic_ns())
                self.epoll.register(connection.fd, READ)
            except (OSError, MemoryError) as error:  # the system's own bounds, or the peer has gone again
                LOG.warning("accept: %s", error)
                accepted.close()
                continue
            self.by_fd[connection.fd] = connection
            if not connection.secure:
                self._open(connection)

    def _pause(self, listener: socket.socket) -> None:
        """Leave a listener alone until the next tick: what it holds would wake the loop for nothing."""
        self.epoll.modify(listener.fileno(), 0)
        self._paused.append(listener.fileno())

    def shake_hands(self) -> None:
        """Go on with the handshake whose turn it is."""
        connection = self.handshakes.next()
        if self.by_fd.get(connection.fd) is not connection:
            return
        start = time.monotonic_ns()
        try:
            done = connection.shake_hands()
        except OSError as error:
            LOG.info("TLS handshake with %s: %s", connection.address, error)
            self.close(connection)
            return
        finally:
            self.handshakes.took(start, time.monotonic_ns())
        self.epoll.modify(connection.fd, READ)
        if done:
            self._open(connection)
            if connection.number >= 0:
                self.again[connection.number] = None  # more than the handshake may have been read

    def _open(self, connection: Connection) -> None:
        if not self._free:
            self.close(connection)
            return
        number = connection.number = self._free.pop()
        self.numbered[number] = connection
        if not connection.secure and connection.fd < len(self.sockets.numbers):
            self.sockets.numbers[connection.fd] = number + 1
            self.sockets.fds[number] = connection.fd
        turn.open_connection(self._state.handle, number, time.monotonic_ns())
        if self._stopping:  # its handshake was under way when the others were told
            turn.leave(self._state.handle, number, self._final)

    def watch(self, connection: Connection, *, reading: bool, writing: bool) -> None:
        """Have epoll tell when a connection can be read, and written."""
        if (reading, writing) != (connection.reading, connection.writing):
            connection.reading, connection.writing = reading, writing
            self.sockets.watched[connection.number] = writing
            self.epoll.modify(connection.fd, (READ if reading else 0) | (WRITE if writing else 0))

    def hold(self, number: int, until: int) -> None:
        """Have a connection with more to do wait for `let_on`, until this time at most."""
        connection = self.numbered[number]
        if connection is not None and not self._ended_with(connection):
            self.held[number] = until
            self.watch(connection, reading=False, writing=connection.writing)

    @property
    def held_until(self) -> int:
        """When the first of those that are held will have waited long enough."""
        return min(self.held.values(), default=NEVER)

    def let_on(self, calls: OrdinaryCalls, now: int) -> None:
        """Let those go on whose calls are answered, or long ones."""
        for number, until in list(self.held.items()):
            if now < until and calls.has_young(number):
                continue
            calls.grown(number)
            del self.held[number]
            connection = self.numbered[number]
            if connection is None or self._ended_with(connection):
                continue
            self.again[number] = None
            if not connection.writing:  # else it is read when its output has gone
                self.watch(connection, reading=True, writing=False)

    def _ended_with(self, connection: Connection) -> bool:
        """Close a connection whose peer has gone, and hears no answers: what is left of its calls is not begun."""
        gone = connection.has_gone()
        if gone:
            self.close(connection)
        return gone

    def linger(self, connection: Connection) -> None:
        """Close our side and read on: a socket that is closed unread takes back what the peer has not read."""
        now = time.monotonic_ns()
        ending = self._ending_of(connection, now)
        self._release(connection)
        connection.end_output()
        ending.wrote_all(now)
        ending.look(0, now)
        self.by_fd.pop(connection.fd, None)
        self.epoll.modify(connection.fd, READ)

    def _ending_of(self, connection: Connection, now: int) -> Ending:
        """Return the end of a connection that is CLOSING, which begins now if it has not begun."""
        ending = self._endings.get(connection.fd)
        if ending is None:
            row = self._state.connections[connection.number]
            in_order = bool(row["going_away"] == connections.OVER)
            ending = Ending(connection, now, in_order=in_order, until=int(row["opened"]) + self._longest)
            self._endings[connection.fd] = ending
        return ending

    def _discard(self, ending: Ending) -> None:
        try:
            # Not into the arena: what others have sent in this turn lies there.
            if ending.connection.receive(self._discarded) != 0:
                ending.heard(time.monotonic_ns())
                return
        except OSError:
            pass
        self._forget(ending.connection)

    def close(self, connection: Connection) -> None:
        """Close a connection; its calls are over."""
        self._release(connection)
        self._forget(connection)

    def _release(self, connection: Connection) -> None:
        """Give back the engine's row."""
        number, connection.number = connection.number, -1
        if number >= 0:
            if self.sockets.fds[number] >= 0:
                self.sockets.numbers[connection.fd] = 0
                self.sockets.fds[number] = -1
            self.sockets.watched[number] = 0
            turn.close_connection(self._state.handle, number)
            self._over(number)
            self.numbered[number] = None
            self.again.pop(number, None)
            self.held.pop(number, None)
            self._free.append(number)

    def _forget(self, connection: Connection) -> None:
        self.by_fd.pop(connection.fd, None)
        self._endings.pop(connection.fd, None)
        with contextlib.suppress(OSError):
            self.epoll.unregister(connection.fd)
        connection.close()

    def look_after(self, now: int) -> None:
        """Accept again, and close what had its time (`now`: nanoseconds of the monotonic clock)."""
        while self._paused:
            self.epoll.modify(self._paused.pop(), READ)
        rows = self._state.connections
        for number in np.flatnonzero(self._phases() == engine.CLOSING).tolist():
            connection = self.numbered[number]
            if connection is None:
                continue
            if not rows["dirty"][number] and not connection.writing:
                self.linger(connection)
            else:
                waiting = int(rows["out_to"][number] - rows["out_from"][number])
                self._ending_of(connection, now).look(waiting, now)
        for ending in list(self._endings.values()):
            if ending.connection.number < 0:
                ending.look(0, now)
            if ending.has_had_its_time(now, stopping=self._stopping):
                self.close(ending.connection)
        for connection in [c for c in self.by_fd.values() if _waits_in_vain(c, now)]:
            self.close(connection)

    def stop_listening(self) -> None:
        """Take no new connections."""
        for fd, (listener, _) in self._listeners.items():
            self.epoll.unregister(fd)
            if listener.family == socket.AF_UNIX:
                with contextlib.suppress(OSError):
                    os.unlink(listener.getsockname())
            listener.close()
        self._listeners.clear()
        self._paused.clear()

    def leave(self, *, final: bool) -> None:
        """Tell every peer, and whoever begins to speak from now on, that no new calls are taken; see `turn.leave`."""
        self._stopping, self._final = True, final
        for connection in self.by_fd.values():
            if connection.number >= 0:
                turn.leave(self._state.handle, connection.number, final)

    def holds_a_stop(self, now: int) -> bool:
        """Tell whether any peer that was served has yet to take what it was sent, or to close."""
        phases = self._phases()
        if bool(((phases == engine.OPEN) | (phases == engine.CLOSING)).any()):
            return True
        return any(ending.is_waited_for(now) for ending in self._endings.values())

    def _phases(self) -> npt.NDArray[np.int64]:
        """Return the phases of the rows that have been in use."""
        return self._phase[: int(self._state.turn["high_connection"][0])]

    def close_all(self) -> None:
        """Close everything."""
        for listener, _ in self._listeners.values():
            listener.close()
        for connection in list(self.by_fd.values()):
            self.close(connection)
        for ending in list(self._endings.values()):
            self.close(ending.connection)
        self.epoll.close()

    def peer_of(self, number: int) -> Peer:
        """Return who is at the other end of a connection."""
        connection = self.numbered[number]
        return connection.known_as() if connection is not None else Peer("unknown")


def _waits_in_vain(connection: Connection, now: int) -> bool:
    """Tell whether a handshake takes too long, or the peer has stopped taking what it was sent."""
    if connection.number < 0:
        return now - connection.since > limits.HANDSHAKE
    return connection.writing and now - connection.waiting_since > limits.UNTAKEN
