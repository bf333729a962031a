"""The numbers of HTTP/2 (RFC 9113) and HPACK (RFC 7541) under the names that the RFCs give them.

Plain integers, so that compiled code takes them in as literals. Flags alone have a prefix: PRIORITY is a frame type and
a flag.
"""

from typing import Final

# RFC 9113, 3.4
CONNECTION_PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

# Frame types: RFC 9113, 6
DATA: Final = 0x0
HEADERS: Final = 0x1
PRIORITY: Final = 0x2
RST_STREAM: Final = 0x3
SETTINGS: Final = 0x4
PUSH_PROMISE: Final = 0x5
PING: Final = 0x6
GOAWAY: Final = 0x7
WINDOW_UPDATE: Final = 0x8
CONTINUATION: Final = 0x9

# Flags: RFC 9113, 6
FLAG_ACK: Final = 0x01  # SETTINGS, PING
FLAG_END_STREAM: Final = 0x01  # DATA, HEADERS
FLAG_END_HEADERS: Final = 0x04  # HEADERS, PUSH_PROMISE, CONTINUATION
FLAG_PADDED: Final = 0x08  # DATA, HEADERS, PUSH_PROMISE
FLAG_PRIORITY: Final = 0x20  # HEADERS

# Settings: RFC 9113, 6.5.2
SETTINGS_HEADER_TABLE_SIZE: Final = 0x1
SETTINGS_ENABLE_PUSH: Final = 0x2
SETTINGS_MAX_CONCURRENT_STREAMS: Final = 0x3
SETTINGS_INITIAL_WINDOW_SIZE: Final = 0x4
SETTINGS_MAX_FRAME_SIZE: Final = 0x5
SETTINGS_MAX_HEADER_LIST_SIZE: Final = 0x6

# Error codes: RFC 9113, 7
NO_ERROR: Final = 0x0
PROTOCOL_ERROR: Final = 0x1
INTERNAL_ERROR: Final = 0x2
FLOW_CONTROL_ERROR: Final = 0x3
SETTINGS_TIMEOUT: Final = 0x4
STREAM_CLOSED: Final = 0x5
FRAME_SIZE_ERROR: Final = 0x6
REFUSED_STREAM: Final = 0x7
CANCEL: Final = 0x8
COMPRESSION_ERROR: Final = 0x9
CONNECT_ERROR: Final = 0xA
ENHANCE_YOUR_CALM: Final = 0xB
INADEQUATE_SECURITY: Final = 0xC
HTTP_1_1_REQUIRED: Final = 0xD

# What holds until a SETTINGS frame says otherwise: RFC 9113, 6.5.2. The number of streams and the size of a header
# list have no limit at first.
DEFAULT_HEADER_TABLE_SIZE: Final = 4_096
DEFAULT_ENABLE_PUSH: Final = 1
DEFAULT_INITIAL_WINDOW_SIZE: Final = 65_535
DEFAULT_MAX_FRAME_SIZE: Final = 16_384

# The ends of what the fields can say: RFC 9113, 4.1, 4.2, 5.1.1, 6.5.2, 6.9.1
LARGEST_MAX_FRAME_SIZE: Final = (1 << 24) - 1
LARGEST_STREAM_ID: Final = (1 << 31) - 1
LARGEST_WINDOW_SIZE: Final = (1 << 31) - 1

# Sizes in octets, of whole frames where a frame is named
FRAME_HEADER_SIZE: Final = 9
SETTING_SIZE: Final = 6  # one identifier and its value
PRIORITY_FIELDS_SIZE: Final = 5  # in PRIORITY frames, and in HEADERS frames with FLAG_PRIORITY
PING_PAYLOAD_SIZE: Final = 8
SETTINGS_ACK_FRAME_SIZE: Final = FRAME_HEADER_SIZE
PING_FRAME_SIZE: Final = FRAME_HEADER_SIZE + PING_PAYLOAD_SIZE
WINDOW_UPDATE_FRAME_SIZE: Final = FRAME_HEADER_SIZE + 4
RST_STREAM_FRAME_SIZE: Final = FRAME_HEADER_SIZE + 4
GOAWAY_FRAME_SIZE: Final = FRAME_HEADER_SIZE + 8  # and its debug data

# What a table entry costs beyond its octets: RFC 7541, 4.1; a header list is counted alike: RFC 9113, 6.5.2
ENTRY_OVERHEAD: Final = 32

# RFC 7541, 5.1 leaves the bound to us: beyond these no length, index or size can be meant.
LARGEST_INTEGER: Final = 1 << 31
MOST_CONTINUATION_OCTETS: Final = 5

# RFC 7541, appendix A; index 1 is the first
STATIC_TABLE: Final = (
    (b":authority", b""),
    (b":method", b"GET"),
    (b":method", b"POST"),
    (b":path", b"/"),
    (b":path", b"/index.html"),
    (b":scheme", b"http"),
    (b":scheme", b"https"),
    (b":status", b"200"),
    (b":status", b"204"),
    (b":status", b"206"),
    (b":status", b"304"),
    (b":status", b"400"),
    (b":status", b"404"),
    (b":status", b"500"),
    (b"accept-charset", b""),
    (b"accept-encoding", b"gzip, deflate"),
    (b"accept-language", b""),
    (b"accept-ranges", b""),
    (b"accept", b""),
    (b"access-control-allow-origin", b""),
    (b"age", b""),
    (b"allow", b""),
    (b"authorization", b""),
    (b"cache-control", b""),
    (b"content-disposition", b""),
    (b"content-encoding", b""),
    (b"content-language", b""),
    (b"content-length", b""),
    (b"content-location", b""),
    (b"content-range", b""),
    (b"content-type", b""),
    (b"cookie", b""),
    (b"date", b""),
    (b"etag", b""),
    (b"expect", b""),
    (b"expires", b""),
    (b"from", b""),
    (b"host", b""),
    (b"if-match", b""),
    (b"if-modified-since", b""),
    (b"if-none-match", b""),
    (b"if-range", b""),
    (b"if-unmodified-since", b""),
    (b"last-modified", b""),
    (b"link", b""),
    (b"location", b""),
    (b"max-forwards", b""),
    (b"proxy-authenticate", b""),
    (b"proxy-authorization", b""),
    (b"range", b""),
    (b"referer", b""),
    (b"refresh", b""),
    (b"retry-after", b""),
    (b"server", b""),
    (b"set-cookie", b""),
    (b"strict-transport-security", b""),
    (b"transfer-encoding", b""),
    (b"user-agent", b""),
    (b"vary", b""),
    (b"via", b""),
    (b"www-authenticate", b""),
)
STATIC_TABLE_SIZE: Final = len(STATIC_TABLE)

# Bits of each symbol's code, octets 0 to 255 and then EOS: RFC 7541, appendix B. The code is canonical, so the lengths
# give the codes.
# fmt: off
HUFFMAN_CODE_LENGTHS: Final = (
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28,
    28, 28, 28, 28, 28, 28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6,
    5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10, 13, 6, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
    15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7,
    7, 7, 7, 15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23,
    24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22, 21, 20, 22, 22, 23, 23, 21,
    23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24,
    21, 21, 26, 26, 28, 27, 27, 27, 20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23,
    26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26, 30,
)
# fmt: on
EOS: Final = 256
