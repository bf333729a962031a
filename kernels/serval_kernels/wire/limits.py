"""The bounds on everything that a peer can make grow, each with its reason.

Counters of a connection refill with time, so that what is normal over an hour is not an attack, and what is an attack
is one within a second: a token bucket.
"""

from typing import Any, Final

from serval_kernels.compile import inlined
from serval_kernels.wire.constants import DEFAULT_MAX_FRAME_SIZE

NEVER: Final = (1 << 63) - 1
SECOND: Final = 1_000_000_000

# A worker's share of 64 Ki file descriptors; a row and its header table are 13 KiB where they are used.
CONNECTIONS: Final = 16_384
STREAMS: Final = 65_536
# gRPC's C core takes 100 by default in clients that count, Go 250; a batch client has a few hundred calls in flight.
CONNECTION_STREAMS: Final = 1_024

# What a turn reads. More than the second-level cache gains nothing; less, and a large message takes many turns.
ARENA_OCTETS: Final = 2 << 20
READ_OCTETS: Final = 256 << 10
POOL_OCTETS: Final = 1 << 30
MESSAGE_OCTETS: Final = 64 << 20
# A message is given room for what it announces while its connection has less than this, then for so many times what
# has come of it: a promise is cheap.
PROMISED_OCTETS: Final = 1 << 20
MESSAGE_GROWTH: Final = 4

# What one turn may hold for Python. A connection may start few ordinary calls a turn, as each costs what a thousand
# vectorized ones cost.
TURN_MESSAGES: Final = 8_192
TURN_EVENTS: Final = 8_192
# What one frame can cause at most: a message for every five octets, or the end of every stream of its connection
EVENT_MARGIN: Final = DEFAULT_MAX_FRAME_SIZE // 5 + CONNECTION_STREAMS + 16
CONNECTION_ORDINARY: Final = 2
CALL_FIELDS: Final = 64  # a call of so many more fields counts as another one: Python reads them one by one
# What one turn does of a connection's frames, as octets of field blocks that are decoded: some tenths of a millisecond
CONNECTION_WORK: Final = 16_384
FRAME_WORK: Final = 64  # for each, as the smallest costs what decoding so many octets costs
MESSAGE_WORK: Final = 2_048  # for each of an ordinary call: a frame may hold thousands of empty ones
# Octets of messages that Python holds for handlers that have not taken them
HELD_OCTETS: Final = 256 << 20
HELD_OVERHEAD: Final = 128  # for each, as even an empty one is an object
STREAM_HELD_OCTETS: Final = 1 << 20

# As the C core's hard limit. A block on the wire is smaller than the list that it says, or it is not worth having.
HEADER_LIST_OCTETS: Final = 16_384
HEADER_BLOCK_OCTETS: Final = 32_768
CONTINUATION_FRAMES: Final = 8  # as nghttp2

# Windows that we announce. A connection may fill its own, whatever its streams do, as it is given back at once; a
# stream gets more while its message is being put together.
STREAM_WINDOW: Final = 1 << 20
CONNECTION_WINDOW: Final = 16 << 20

# A request that is no gRPC call is answered when it has ended, or has gone on for so long.
REFUSED_OCTETS: Final = 64 << 10

# Frames that were on their way when we ended a stream are passed over. How much may come is what the streams' windows
# left, and no more than has room in the connection's; twice that, as the ends of streams take none of it.
LATE_OCTETS: Final = 2 * CONNECTION_WINDOW
# Streams that the peer ended last, and gaps that it left last: closed as well, but nothing of them is on its way. A
# peer that goes on with older ones is passed over, too.
RECENT: Final = 16

# Unread output: beyond the first, bodies wait in the pool; beyond the second a connection is not read any more; one
# that makes us owe it more than the third in control frames and small answers is closed.
OUTPUT_OCTETS: Final = 256 << 10
UNREAD_OCTETS: Final = 1 << 20
WHOLE_OCTETS: Final = 16 << 20  # of a turn's answers that are written at once; those beyond wait as bodies
BODIES_OCTETS: Final = 64 << 20  # of replies that wait for a peer's windows, beyond the first of them
FLOOD_OCTETS: Final = 64 << 20

# RST_STREAM of a stream that has just begun, and what makes us send one: as nghttp2.
RESETS: Final = 1_000
RESETS_A_SECOND: Final = 33
# A client that gives up waiting is no attack: what has been open for so long counts as a control frame.
RESET_EARLY: Final = SECOND // 100
# SETTINGS, PING, PRIORITY, empty DATA, unknown frames. Clients measure round trips with a PING a window of data.
CONTROLS: Final = 10_000
CONTROLS_A_SECOND: Final = 1_000
# Calls of vectorized methods that went to an ordinary handler. Beyond so many all of a connection's count as ordinary.
FALLS: Final = 64
FALLS_A_SECOND: Final = 1_000

HANDSHAKE: Final = 20 * SECOND
# A reply of which a peer takes nothing for so long is given up, or its connection. Envoy's proxies wait five minutes; a
# program that reads a stream may stand at a prompt.
UNTAKEN: Final = 3600 * SECOND


@inlined
def refill(row: Any, now: int) -> None:
    """Give a connection's counters back what the time since the last call earns."""
    elapsed = now - row.refilled
    if elapsed < SECOND // 10:
        return
    tenths = min(elapsed // (SECOND // 10), 1_000)
    row.refilled = now
    row.resets = max(0, row.resets - max(1, tenths * RESETS_A_SECOND // 10))
    row.controls = max(0, row.controls - tenths * CONTROLS_A_SECOND // 10)
    row.falls = max(0, row.falls - tenths * FALLS_A_SECOND // 10)
