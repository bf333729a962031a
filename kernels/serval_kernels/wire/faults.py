"""What a peer does wrong on one stream (RFC 9113, 5.4.2), and what costs it nothing: counted, as floods are made of it.

`limits` has the counts, and how they are forgiven with time.
"""

from serval_kernels.compile import borrowing, inlined
from serval_kernels.wire import limits, output, streams, windows
from serval_kernels.wire.constants import ENHANCE_YOUR_CALM, INTERNAL_ERROR, NO_ERROR
from serval_kernels.wire.state import State


@borrowing
def provoked(s: State, c: int) -> int:
    """Count a stream that the peer reset, or made us reset; too many at once end the connection."""
    row = s.connections[c]
    row.resets += 1
    return ENHANCE_YOUR_CALM if row.resets > limits.RESETS else NO_ERROR


@borrowing
def counted(s: State, c: int) -> int:
    """Count a frame that costs the peer nothing."""
    row = s.connections[c]
    row.controls += 1
    return ENHANCE_YOUR_CALM if row.controls > limits.CONTROLS else NO_ERROR


@borrowing
def late(s: State, c: int, octets: int, ends: bool) -> int:
    """Pass over a frame of a closed stream that may have been on its way when we ended it: RFC 9113, 5.1.

    What more comes than the windows of such streams left is counted, and so is a frame that neither has octets nor
    ends anything.
    """
    row = s.connections[c]
    cost = max(octets, 1 if ends else 0)
    if cost == 0 or cost > row.late:
        return counted(s, c)
    row.late -= cost
    return NO_ERROR


@borrowing
def stream_error(s: State, c: int, stream_id: int, number: int, error_code: int) -> int:
    """Reset a stream, whether it has a row or not: RFC 9113, 5.4.2."""
    if number != streams.NONE:
        windows.give_up(s, number, error_code)
    elif not output.rst_stream(s, c, stream_id, error_code):
        return INTERNAL_ERROR
    return provoked(s, c)


@inlined
def is_idle(s: State, c: int, stream_id: int) -> bool:
    """Tell whether a stream has never been: RFC 9113, 5.1."""
    return stream_id > s.connections[c].last_stream or stream_id & 1 == 0
