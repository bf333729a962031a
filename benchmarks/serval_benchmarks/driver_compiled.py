"""The load by serval's compiled client: plain sockets, epoll, and arrays; several hundred thousand calls a second.

A turn: wait until something can be read or is due, read every connection that has something, take all replies in one
compiled step, count them, offer the next calls in another, and write. One reading of the clock holds for all that one
turn has read and offers, so a latency has the time that the client takes for a turn in it.

A connection that ends is opened anew. Calls that the server certainly has not looked at are sent again, and keep the
time they were due; others count as UNAVAILABLE.
"""

import math
import select
import socket
import time
from collections.abc import Callable

import grpc
import numpy as np
from serval_kernels.wire import client as wire
from serval_kernels.wire import client_loop as turns
from serval_kernels.wire import client_state as states

from serval_benchmarks import load as loads
from serval_benchmarks.errors import BenchmarkError
from serval_benchmarks.load import (
    BAD_REPLY,
    CONNECT_SECONDS,
    NANOSECONDS,
    NOT_SENT,
    UNANSWERED,
    Closed,
    Load,
    Open,
    Progress,
    Tally,
)
from serval_benchmarks.replies import BadReplyError

_BURST = 64
_TELL_SECONDS = 0.1
_RECONNECT_SECONDS = 0.1
_POOL_OCTETS = 256 << 20
_LONG_SECONDS = 0.01

_STATUS_NAMES = {code.value[0]: code.name for code in grpc.StatusCode}


def run(load: Load, begin: Callable[[], int], progress: Progress) -> Tally:
    """Connect, ask `begin` for the time to start (of time.perf_counter_ns), and run the load.

    Raise BenchmarkError where the server does not answer within 10 s, or is not reached by HOST:PORT.
    """
    run = Run(load, progress)
    try:
        run.connect()
        return run.drive(begin())
    finally:
        run.close()


class Run:
    """One load while it runs."""

    def __init__(self, load: Load, progress: Progress, wanted: int = states.ANSWERED) -> None:
        """Take the load; `progress` is told the number of successful calls so far, now and then.

        wanted: the outcome of a good call; NO_STATUS for a server that speaks HTTP/2 and no gRPC.
        """
        self._load = load
        self._progress = progress
        self._wanted = wanted
        self._address = _address(load.server)
        match load.pace:
            case Closed(in_flight=places):
                slots = -(-places // load.connections)
            case Open(outstanding=places):
                slots = places
        self._places, self._counts = turns.new_places(places, load.requests, load.reply_sizes)
        self._number = places
        sizes = wire.Sizes(load.connections, slots, pool=_POOL_OCTETS)
        requests = np.frombuffer(bytearray(b"".join(load.requests)), np.uint8)
        self._client = wire.Client(requests, _headers(load), sizes)
        self._sockets: list[socket.socket | None] = [None] * load.connections
        self._connections: dict[int, int] = {}  # by file descriptor
        self._epoll = select.epoll()
        self._clogged: set[int] = set()  # connections whose socket takes no more
        self._parked: list[tuple[int, int]] = []  # place and connection of calls that have to be sent again
        self._retry_at = 0
        self._left = np.zeros(places, np.int64)
        self._tally = Tally()
        self._begin = self._end = self._tell_at = self._cpu = self._wall = 0

    def connect(self) -> None:
        """Open every connection; raise BenchmarkError where the server does not answer within 10 s."""
        self._warm()
        limit = time.monotonic() + CONNECT_SECONDS
        try:
            for c in range(self._load.connections):
                self._open(c, max(limit - time.monotonic(), 0.001))
            while not all(self._client.is_ready(c) for c in range(self._load.connections)):
                if time.monotonic() > limit:
                    raise TimeoutError
                self._take(self._poll(0.05))
                self._write_all()
                self._need_open()
        except OSError as error:
            message = f"--server: nothing answers at {self._load.server} within {CONNECT_SECONDS:g} s"
            raise BenchmarkError(message) from error

    def _need_open(self) -> None:
        for c in range(self._load.connections):
            ended = self._client.ended(c)
            if ended is not None:
                server = self._load.server
                raise BenchmarkError(f"--server: what answers at {server} is no gRPC server in plain text: {ended}")

    def close(self) -> None:
        """Close every connection."""
        for connected in self._sockets:
            if connected is not None:
                connected.close()
        self._epoll.close()

    def drive(self, start: int) -> Tally:
        """Run warm-up and load from the time `start` of time.perf_counter_ns; return what came of it."""
        self._begin = start + int(self._load.warmup * NANOSECONDS)
        self._end = self._begin + int(self._load.seconds * NANOSECONDS)
        time.sleep(max(start - time.perf_counter_ns(), 0) / NANOSECONDS)
        match self._load.pace:
            case Closed():
                self._closed()
            case Open() as pace:
                self._open_loop(pace, start)
        self._settle()
        self._flush()
        return self._tally

    def _warm(self) -> None:
        """Have everything compiled before a connection waits for it."""
        wire.load()
        nobody = self._client.receive(np.zeros(0, np.int64), np.zeros(0, np.int64))
        places, counts = turns.new_places(1, (b"",), (0,))
        turns.settle(nobody, 0, 0, 0, 0, places, counts, self._left)
        turns.count(0, 0, 1, 0, places, counts)
        turns.release(turns.repeat(1, 0, places, counts) - 1, places, counts)
        turns.follow(0, 1, 1, 0, 1.0, 0, places, counts)
        self._client.offer(places.calls[:0])

    def _closed(self) -> None:
        now = time.perf_counter_ns()
        while now < self._end:
            self._look_at_clock(now)
            count = turns.repeat(self._load.connections, now, self._places, self._counts)
            self._offer(self._places.calls[:count], now)
            now = self._take(self._poll((self._end - now) / NANOSECONDS))

    def _open_loop(self, pace: Open, start: int) -> None:
        gap = NANOSECONDS / pace.rate
        first = start + int(pace.phase * NANOSECONDS)
        whole = max(math.ceil((self._end - first) / gap), 0)
        given_up = self._end + int(loads.DRAIN_SECONDS * NANOSECONDS)
        index, now = 0, time.perf_counter_ns()
        while index < whole:
            self._look_at_clock(now)
            if now > given_up:
                self._tally.failed(NOT_SENT, f"the client was {loads.DRAIN_SECONDS:g} s late", whole - index)
                return
            # All that are due go at once, but no more than a burst before replies are looked at again.
            due = min(math.floor((now - first) / gap) + 1, whole, index + _BURST)
            if due > index:
                arguments = (index, due, self._load.connections, first, gap, now, self._places, self._counts)
                count = turns.follow(*arguments)
                if count < due - index:
                    self._tally.failed(NOT_SENT, f"{pace.outstanding} calls were waiting already", due - index - count)
                self._offer(self._places.calls[:count], now)
                index = due
            now = self._take(self._poll((first + int(index * gap) - time.perf_counter_ns()) / NANOSECONDS))

    def _settle(self) -> None:
        """Wait for what is under way until the drain is over, and count what is left as unanswered."""
        now = time.perf_counter_ns()
        nothing = self._places.calls[:0]
        limit = max(now, self._end) + int(loads.DRAIN_SECONDS * NANOSECONDS)
        while (waiting := self._number - int(self._counts.total[turns.FREE])) and now < limit:
            self._look_at_clock(now)
            self._offer(nothing, now)
            now = self._take(self._poll(min((limit - now) / NANOSECONDS, 0.1)))
        if waiting:
            message = f"no reply until {loads.DRAIN_SECONDS:g} s after the last call"
            self._tally.failed(UNANSWERED, message, waiting)
        self._look_at_clock(max(now, self._end))

    # Sockets

    def _open(self, c: int, timeout: float) -> None:
        connected = socket.create_connection(self._address, timeout)
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connected.setblocking(False)
        self._sockets[c] = connected
        self._connections[connected.fileno()] = c
        self._epoll.register(connected.fileno(), select.EPOLLIN)
        self._client.open(c)
        self._write(c)

    def _poll(self, seconds: float) -> list[tuple[int, int]]:
        """Wait until a socket is ready, at most for `seconds`; epoll's own wait is rounded up to whole milliseconds."""
        if self._parked:
            seconds = min(seconds, _RECONNECT_SECONDS)
        if seconds <= 0:
            return self._epoll.poll(0)
        if seconds >= _LONG_SECONDS:
            return self._epoll.poll(seconds - _LONG_SECONDS / 2)
        select.select([self._epoll.fileno()], [], [], seconds)
        return self._epoll.poll(0)

    def _take(self, ready: list[tuple[int, int]]) -> int:
        """Read what is ready and count what is done; return the time after the reads."""
        read, counts, gone = [], [], []
        for descriptor, events in ready:
            c = self._connections[descriptor]
            if events & select.EPOLLOUT:
                self._write(c)
            if events & ~select.EPOLLOUT and self._client.may_read(c):
                count = self._read(c)
                if count > 0:
                    read.append(c)
                    counts.append(count)
                elif count == 0:
                    gone.append(c)
        now = time.perf_counter_ns()
        if read:
            self._count(self._client.receive(np.array(read), np.array(counts)), now)
        for c in gone:
            self._drop(c, now)
        return now

    def _offer(self, calls: wire.Integers, now: int) -> None:
        """Hand calls to the engine, and what waits to the sockets."""
        if self._parked:
            self._resend(now)
        if len(calls):
            refused = self._client.offer(calls)
            if len(refused):
                self._count(refused, now)
        self._write_all()

    def _write_all(self) -> None:
        state = self._client.state
        for c in np.flatnonzero(state.out_to > state.out_from).tolist():
            if c not in self._clogged:
                self._write(c)

    def _read(self, c: int) -> int:
        """Return the octets read; 0 where the connection has ended, -1 where there was nothing."""
        connected = self._sockets[c]
        assert connected is not None
        try:
            return connected.recv_into(self._client.reading(c))
        except BlockingIOError:
            return -1
        except OSError:
            return 0

    def _write(self, c: int) -> None:
        connected, waiting = self._sockets[c], self._client.waiting(c)
        if connected is None or not waiting:
            return
        try:
            done = self._client.sent(c, connected.send(waiting))
        except BlockingIOError:
            done = False
        except OSError:  # the read tells
            return
        if done == (c in self._clogged):
            self._clogged.symmetric_difference_update({c})
            self._epoll.modify(connected.fileno(), select.EPOLLIN if done else select.EPOLLIN | select.EPOLLOUT)

    # Connections that end

    def _drop(self, c: int, now: int) -> None:
        """Forget a connection; what was under way counts as failed, or is sent again."""
        connected = self._sockets[c]
        if connected is not None:
            self._epoll.unregister(connected.fileno())
            del self._connections[connected.fileno()]
            connected.close()
        self._sockets[c] = None
        self._clogged.discard(c)
        self._count(self._client.close(c), now)

    def _resend(self, now: int) -> None:
        """Offer the parked calls whose connection can take them; open those anew that take none and have none left."""
        rows = self._client.state.rows
        for c in {c for _, c in self._parked}:
            if (
                rows[c]["phase"] not in (states.OPENING, states.OPEN)
                and rows[c]["active"] == 0
                and now >= self._retry_at
            ):
                self._reopen(c, now)
        usable = np.isin(rows["phase"], (states.OPENING, states.OPEN))
        calls = [(place, c) for place, c in self._parked if usable[c]]
        self._parked = [(place, c) for place, c in self._parked if not usable[c]]
        offered = np.zeros((len(calls), 4), np.int64)
        for row, (place, c) in zip(offered, calls, strict=True):
            which = self._places.which[place]
            row[:] = place, c, self._places.request_at[which], self._places.request_length[which]
        self._count(self._client.offer(offered), now)

    def _reopen(self, c: int, now: int) -> None:
        self._drop(c, now)
        try:
            self._open(c, _RECONNECT_SECONDS)
        except OSError:
            self._retry_at = now + int(_RECONNECT_SECONDS * NANOSECONDS)

    # Counting

    def _count(self, done: wire.Records, now: int) -> None:
        """Count the calls that are done, one by one only those that are not as expected."""
        arguments = (now, self._begin, self._end, self._wanted, self._places, self._counts, self._left)
        for number in self._left[: turns.settle(done, *arguments)].tolist():
            call = done[number]
            place, outcome = int(call["tag"]), int(call["outcome"])
            if outcome == states.REFUSED:
                self._parked.append((place, int(call["connection"])))
                continue
            status, message = self._client.status(call)
            if outcome != self._wanted or (outcome == states.ANSWERED and status != 0):
                self._tally.failed(_STATUS_NAMES.get(status, "UNKNOWN"), message)
            elif self._is_good(place, self._client.message(call)):
                turns.count(place, now, self._begin, self._end, self._places, self._counts)
            turns.release(place, self._places, self._counts)
        if self._counts.total[turns.LATENCIES] > self._counts.latency.size - self._number:
            self._flush()

    def _is_good(self, place: int, reply: bytes | None) -> bool:
        """Have a reply of a new length prove itself: another version of the model may have taken over.

        Where it does, its length is taken from then on.
        """
        try:
            self._load.check(reply or b"")
        except BadReplyError as error:
            self._tally.failed(BAD_REPLY, str(error))
            return False
        self._places.reply_length[self._places.which[place], 1] = len(reply or b"")
        return True

    def _flush(self) -> None:
        held = int(self._counts.total[turns.LATENCIES])
        self._tally.latency.record_array(self._counts.latency[:held])
        self._tally.lateness.record_array(self._counts.lateness[:held])
        self._counts.total[turns.LATENCIES] = 0
        self._tally.replies = int(self._counts.total[turns.REPLIES])

    def _look_at_clock(self, now: int) -> None:
        """Tell the progress, and measure the share of one core that this process takes in the measured time."""
        if now >= self._tell_at:
            self._tell_at = now + int(_TELL_SECONDS * NANOSECONDS)
            self._progress(int(self._counts.total[turns.SUCCEEDED]))
        if not self._wall and now >= self._begin:
            self._cpu, self._wall = time.process_time_ns(), now
        if self._wall > 0 and now >= self._end and not self._tally.client_cpu:
            self._tally.client_cpu = (time.process_time_ns() - self._cpu) / max(now - self._wall, 1)


def _address(server: str) -> tuple[str, int]:
    host, colon, port = server.rpartition(":")
    if not colon or not port.isdigit() or host.endswith(":") or "/" in host:
        raise BenchmarkError(f"--server: {server!r}; the compiled driver wants HOST:PORT; others take --driver grpcio")
    return host.strip("[]"), int(port)


def _headers(load: Load) -> list[tuple[bytes, bytes]]:
    return [
        (b":method", b"POST"),
        (b":scheme", b"http"),
        (b":path", load.path.encode()),
        (b":authority", load.server.encode()),
        (b"content-type", b"application/grpc"),
        (b"te", b"trailers"),
        (b"user-agent", b"serval-bench"),
    ]
