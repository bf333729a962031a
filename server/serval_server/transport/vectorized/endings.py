"""How long a connection that is closed may go on taking what it was sent.

A connection ends in order, when it was told to go and its last call is answered, or because of a fault. After a fault
there is no more than GOAWAY to be read, and a moment for that. What was answered before an end in order is to arrive: a
peer has time as long as it goes on taking octets, though not beyond the grace of its age. In a stop it has all the time
that the stop has.

What is taken is what the peer's system has acknowledged. Its program may read that later, so an end is waited for until
the peer closes, too, but not long: a socket that is closed before answers its next WINDOW_UPDATE with a reset.
"""

import fcntl
import struct
import termios
from typing import Final

from serval_kernels.wire import limits

from serval_server.transport.vectorized.sockets import Connection

LINGER_NS: Final = limits.SECOND  # to read GOAWAY, or to close when all is taken
# Without an octet taken. A peer that reads slowly opens its window by large parts, and a lost packet takes a while.
TAKING_NS: Final = 10 * limits.SECOND

_COUNT: Final = struct.Struct("i")


class Ending:
    """The end of one connection, from when the engine says so until the socket is closed (times: nanoseconds)."""

    __slots__ = ("_heard", "_in_order", "_taken", "_untaken", "_until", "connection")

    def __init__(self, connection: Connection, now: int, *, in_order: bool, until: int) -> None:
        self.connection = connection
        self._in_order = in_order
        self._until = max(until, now + LINGER_NS)
        self._untaken = 0
        self._taken = self._heard = now

    def look(self, waiting: int, now: int) -> None:
        """Note what the peer has taken since the last look. So many octets are not written to the socket yet."""
        untaken = waiting + _unacknowledged(self.connection.fd) if self._in_order else waiting
        if untaken < self._untaken:
            self._taken = now
        self._untaken = untaken

    def wrote_all(self, now: int) -> None:
        """Note that the last of the output has gone to the socket."""
        self._taken = now

    def heard(self, now: int) -> None:
        """Note that the peer has said something: as it reads, it sends window."""
        self._heard = now

    def is_waited_for(self, now: int) -> bool:
        """Tell whether a stop should wait for this peer: it has not taken all, or may be about to read the last."""
        if self._in_order and self._untaken:
            return True
        return now - max(self._taken, self._heard) <= LINGER_NS

    def has_had_its_time(self, now: int, *, stopping: bool) -> bool:
        """Tell whether the connection is to be closed whatever its peer has read. A stop has an end of its own."""
        if not self._in_order:
            return now - self._taken > LINGER_NS
        return now > self._until or (not stopping and now - self._taken > TAKING_NS)


def _unacknowledged(fd: int) -> int:
    """Return how many octets a socket has been given that its peer's has not acknowledged; 0 where it has failed."""
    try:
        octets: int = _COUNT.unpack(fcntl.ioctl(fd, termios.TIOCOUTQ, bytes(_COUNT.size)))[0]
    except OSError:
        return 0
    return octets
