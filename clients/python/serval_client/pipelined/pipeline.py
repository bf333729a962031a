"""One run of many calls over a connection of their own, by serval's compiled client."""

import select
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from serval_kernels.wire import client as wire
from serval_kernels.wire import client_state as states
from serval_kernels.wire import predict_replies

from serval_client import calls, errors, forms
from serval_client.pipelined.answers import Answers, EachPrediction
from serval_client.registration import Progress

Array = npt.NDArray[Any]


CONNECT_SECONDS = 10.0
# A connection that ends is opened anew; after this many in a row that bring no answer, what is left has failed.
ATTEMPTS = 4
_BACKOFF_SECONDS = 0.1
_TELL_SECONDS = 0.1
_WAIT_SECONDS = 0.05
_POOL_OCTETS = 64 << 20


@dataclass(frozen=True, slots=True)
class Options:
    """How the rows are sent. timeout: seconds for each call."""

    target: str
    in_flight: int
    timeout: float
    progress: Progress | None


class Pipeline:
    """One run of many calls. A call under way has a place, which holds its message and is its tag."""

    def __init__(
        self,
        model: str,
        rows: npt.NDArray[np.float32],
        outputs: Sequence[str] | None,
        place: tuple[str, int],
        options: Options,
    ) -> None:
        self._rows, self._options, self._address = rows.view(np.uint8), options, place
        self._answers = Answers(model, *rows.shape)
        request = calls.predict_request(model, forms.Matrix(rows[:1]), outputs)
        request.ClearField("values")
        packed = forms.packed(forms.Matrix(rows[:1]))
        start = np.frombuffer(request.SerializeToString() + packed[: len(packed) - self._rows.shape[1]], np.uint8)
        places = min(options.in_flight, len(rows))
        self._messages = np.zeros((places, start.size + self._rows.shape[1]), np.uint8)
        self._messages[:, : start.size] = start
        self._values_at = start.size
        self._client = wire.Client(
            self._messages.reshape(-1), self._headers(), wire.Sizes(1, places, pool=_POOL_OCTETS)
        )
        self._row_of = np.full(places, -1, np.int64)
        self._sent = np.zeros(places)
        self._free = np.arange(places - 1, -1, -1)
        self._left = np.zeros(places, np.int64)
        self._next = self._done = 0
        self._again: list[int] = []  # rows whose connection ended under them
        self._socket: socket.socket | None = None
        self._failures = self._done_before = 0
        self._look_at = 0.0

    def run(self) -> EachPrediction:
        """Send every row and return what came; raise Unavailable where no server answers at first.

        Where the timeout is over before that is known, it is over for each of the rows.
        """
        rows = len(self._answers.versions)
        wire.load()
        try:
            try:
                self._connect()
            except errors.DeadlineExceeded as error:
                self._give_up(error)
            while self._done < rows:
                self._offer()
                if not self._turn():
                    self._renew()
                self._look_at_clock(time.monotonic())
        finally:
            if self._socket is not None:
                self._socket.close()
        if self._options.progress is not None:
            self._options.progress(rows, rows)
        return self._answers.result()

    def _look_at_clock(self, now: float) -> None:
        if now < self._look_at:
            return
        self._look_at = now + _TELL_SECONDS
        self._overdue(now)
        if self._options.progress is not None and self._done < len(self._answers.versions):
            self._options.progress(self._done, len(self._answers.versions))

    def _headers(self) -> list[tuple[bytes, bytes]]:
        host, port = self._address
        name = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        return [
            (b":method", b"POST"),
            (b":scheme", b"http"),
            (b":path", calls.PREDICT.encode()),
            (b":authority", name.encode()),
            (b"content-type", b"application/grpc"),
            (b"te", b"trailers"),
            (b"user-agent", b"serval-python"),
            (b"grpc-timeout", f"{_milliseconds(self._options.timeout)}m".encode()),
        ]

    def _connect(self) -> None:
        """Open the connection and wait for the server's settings.

        Raises Unavailable where that fails, DeadlineExceeded where a call's time is over first.
        """
        seconds = min(CONNECT_SECONDS, self._options.timeout)
        if seconds <= 0:
            raise self._too_late()
        limit = time.monotonic() + seconds
        try:
            self._socket = socket.create_connection(self._address, seconds)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._socket.setblocking(False)
            self._client.open(0)
            while not self._client.is_ready(0):
                if time.monotonic() > limit:
                    raise TimeoutError("it says nothing")
                if not self._turn():
                    raise ConnectionError(str(self._client.ended(0) or "it closed the connection"))
        except OSError as error:
            if self._socket is not None:
                self._socket.close()
            if isinstance(error, TimeoutError) and seconds < CONNECT_SECONDS:
                raise self._too_late() from error
            raise errors.Unavailable(f"no server answers at {self._options.target} ({error})") from error

    def _offer(self) -> None:
        """Give free places the next rows."""
        total = len(self._answers.versions)
        count = min(len(self._free), len(self._again) + total - self._next)
        if not count:
            return
        places, self._free = self._free[len(self._free) - count :], self._free[: len(self._free) - count]
        again, self._again = self._again[:count], self._again[count:]
        fresh = count - len(again)
        rows = np.concatenate([np.array(again, np.int64), np.arange(self._next, self._next + fresh)])
        self._next += fresh
        self._messages[places, self._values_at :] = self._rows[rows]
        self._row_of[places], self._sent[places] = rows, time.monotonic()
        offered = np.zeros((count, 4), np.int64)
        width = self._messages.shape[1]
        offered[:, 0], offered[:, 2], offered[:, 3] = places, places * width, width
        self._take(self._client.offer(offered))

    def _turn(self) -> bool:
        """Write, wait, and read once; False where the connection has ended."""
        assert self._socket is not None
        if not self._wait(clogged=not self._write()):
            return True
        try:
            count = self._socket.recv_into(self._client.reading(0))
        except BlockingIOError:
            return True
        except OSError:
            return False
        self._take(self._client.receive(np.zeros(1, np.int64), np.array([count])))
        row = self._client.state.rows[0]
        goes_on = row["phase"] in (states.OPENING, states.OPEN) or (
            row["phase"] == states.DRAINING and row["active"] > 0
        )
        return count > 0 and bool(goes_on)

    def _wait(self, *, clogged: bool) -> bool:
        """Wait until the socket may be read or, where it is clogged, written; tell whether it may be read."""
        assert self._socket is not None
        reads = self._client.may_read(0)
        poll = select.poll()  # select takes no file descriptor from 1,024 on
        if reads or clogged:
            poll.register(self._socket, (select.POLLIN if reads else 0) | (select.POLLOUT if clogged else 0))
        happened = poll.poll(_WAIT_SECONDS * 1000)
        return reads and any(events & ~select.POLLOUT for _, events in happened)

    def _write(self) -> bool:
        """Write what waits; False where the socket takes no more now."""
        assert self._socket is not None
        waiting = self._client.waiting(0)
        if not waiting:
            return True
        try:
            return self._client.sent(0, self._socket.send(waiting))
        except BlockingIOError:
            return False
        except OSError:  # the read tells
            return True

    def _take(self, done: wire.Records) -> None:
        """Take what is done: replies into the arrays, the rest one by one."""
        if not len(done):
            return
        a = self._answers
        if a.is_compiled:
            arguments = (self._row_of, a.layout, a.texts, a.stride, a.values, a.versions, self._left)
            left = self._left[: predict_replies.read(self._client.octets, done, *arguments)]
        else:
            left = np.arange(len(done))
        finished = len(done)
        for number in left.tolist():
            call = done[number]
            row = int(self._row_of[call["tag"]])
            if call["outcome"] in (states.LOST, states.REFUSED):
                self._again.append(row)
                finished -= 1
                continue
            status, text = self._client.status(call)
            if status == 0:
                a.take(row, self._client.message(call) or b"")
            else:
                a.errors[row] = errors.of_number(status, text)
        self._done += finished
        self._free = np.concatenate([self._free, done["tag"]])

    def _overdue(self, now: float) -> None:
        """Give up the calls whose time is over; the server was told the time with each."""
        busy = np.ones(len(self._row_of), bool)
        busy[self._free] = False
        late = np.flatnonzero(busy & (self._sent + self._options.timeout < now))
        late = np.array([place for place in late.tolist() if len(self._client.cancel(0, place))], np.int64)
        for row in self._row_of[late].tolist():
            self._answers.errors[row] = self._too_late()
        self._done += len(late)
        self._free = np.concatenate([self._free, late])

    def _too_late(self) -> errors.DeadlineExceeded:
        details = f"{self._options.target} gave no answer within the timeout; raise it or send less at a time"
        return errors.DeadlineExceeded(details)

    def _renew(self) -> None:
        """Open the connection anew; where that brings no answer several times in a row, what is left has failed."""
        assert self._socket is not None
        self._socket.close()
        self._take(self._client.close(0))
        if self._done > self._done_before:
            self._failures, self._done_before = 0, self._done
        why: errors.ServalError = errors.Unavailable("the connection ended, again and again")
        while self._done < len(self._answers.versions):
            self._failures += 1
            if self._failures > ATTEMPTS:
                self._give_up(why)
                return
            if self._failures > 1:
                time.sleep(_BACKOFF_SECONDS * 2**self._failures)
            try:
                self._connect()
                return
            except (errors.Unavailable, errors.DeadlineExceeded) as error:
                why = error

    def _give_up(self, why: errors.ServalError) -> None:
        for row in (*self._again, *range(self._next, len(self._answers.versions))):
            self._answers.errors[row] = type(why)(why.details)
        self._again, self._next = [], len(self._answers.versions)
        self._done = len(self._answers.versions)


def _milliseconds(seconds: float) -> int:
    """Return a timeout as grpc-timeout has room for it, which is not endless: 27 hours at most."""
    return round(min(max(seconds * 1000, 1), 99_999_999))
