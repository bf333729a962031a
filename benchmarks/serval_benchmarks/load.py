"""The load of one client process: a closed or an open loop of unary calls, and what comes of it.

Closed loop: `in_flight` calls are kept waiting at a time; each that is answered is followed by the next. It finds how
much a server can do. It does not find how long callers wait: while the server stalls, nothing is sent, so a stall of a
second is one slow call instead of the thousand that would have come in that second.

Open loop: calls are due at fixed times, `rate` a second, whether or not the server keeps up. A call that is late is
sent at once, and its latency counts from the time it was due. It finds how long callers wait at that rate.

Messages travel as bytes and replies are compared by length, since the cost of protobuf in Python would be the
client's and not the server's. Who sends them is a driver: `driver_compiled` or `driver_grpcio`.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from serval_benchmarks.histogram import Histogram
from serval_benchmarks.replies import ReplyCheck

NANOSECONDS = 1_000_000_000

# What calls that are still out after the last was sent are waited for, before they count as UNANSWERED; and how long
# after its time is over an open loop goes on to send what it is late with.
DRAIN_SECONDS = 5.0
CONNECT_SECONDS = 10.0

# Not gRPC statuses, but counted with them.
NOT_SENT = "NOT_SENT"
UNANSWERED = "UNANSWERED"
BAD_REPLY = "BAD_REPLY"

COMPILED = "compiled"
GRPCIO = "grpcio"
DRIVERS = (COMPILED, GRPCIO)

# Told now and then how many calls have succeeded so far.
Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Closed:
    """Keep `in_flight` calls waiting at all times."""

    in_flight: int

    def share(self, index: int, processes: int) -> "Closed":
        """Return what process `index` of `processes` keeps."""
        return Closed(_share(self.in_flight, index, processes))


@dataclass(frozen=True, slots=True)
class Open:
    """Send `rate` calls a second at constant distances, the first `phase` seconds after the start.

    A call that is due while `outstanding` calls are waiting is not sent, and counts as the error NOT_SENT.
    """

    rate: float
    outstanding: int
    phase: float = 0.0

    def share(self, index: int, processes: int) -> "Open":
        """Return what process `index` of `processes` sends: every so-manieth call of the same sequence."""
        return Open(self.rate / processes, _share(self.outstanding, index, processes), self.phase + index / self.rate)


@dataclass(frozen=True, slots=True)
class Load:
    """Calls of one method at one server. Seconds of warm-up come before `seconds`, and their calls do not count."""

    server: str
    path: str
    requests: tuple[bytes, ...]
    reply_sizes: tuple[int, ...]
    check: ReplyCheck
    pace: Closed | Open
    connections: int
    warmup: float
    seconds: float
    driver: str = COMPILED

    def share(self, index: int, processes: int) -> "Load":
        """Return what process `index` of `processes` does of this load."""
        connections = max(1, _share(self.connections, index, processes))
        return replace(self, pace=self.pace.share(index, processes), connections=connections)


@dataclass(slots=True)
class Tally:
    """What came of a load. Times are in nanoseconds.

    latency: of the successful calls that were due in the measured time, however late they were answered.
    lateness: how long after they were due those calls were sent; 0 in a closed loop.
    replies: successful replies that came in within the measured time.
    errors: calls that failed, by status, the warm-up's and the last ones' included, with the first message of each.
    """

    latency: Histogram = field(default_factory=Histogram)
    lateness: Histogram = field(default_factory=Histogram)
    replies: int = 0
    errors: dict[str, tuple[int, str]] = field(default_factory=dict)
    client_cpu: float = 0.0

    def failed(self, status: str, message: str, count: int = 1) -> None:
        """Count failed calls."""
        before, first = self.errors.get(status, (0, message))
        self.errors[status] = (before + count, first)

    def merge(self, other: "Tally") -> None:
        """Count everything that `other` has counted; the client CPU is that of the busiest process."""
        self.latency.merge(other.latency)
        self.lateness.merge(other.lateness)
        self.replies += other.replies
        for status, (count, message) in other.errors.items():
            self.failed(status, message, count)
        self.client_cpu = max(self.client_cpu, other.client_cpu)


def _share(whole: int, index: int, processes: int) -> int:
    return whole // processes + (index < whole % processes)
