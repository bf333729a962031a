"""What a list of request fields says: RFC 9113, 8.3.1 and 8.2.2, and gRPC over HTTP/2.

`examine` reads the rows that `hpack.decode` gave into one REQUEST; what follows from it is for the caller.

Who checks what. The caller hands in as many rows as there are.
"""

from typing import Any, Final

import numpy as np

from serval_kernels.compile import inlined
from serval_kernels.wire import fields as f
from serval_kernels.wire.octets import Octets, same, signed
from serval_kernels.wire.state import NO_DEADLINE, Records, State

# `seen`: a bit for each meaning of a pseudo-header field, and one for all other fields
_METHOD: Final = 1 << f.METHOD
_REGULAR: Final = 1 << (f.PSEUDO_OTHER + 1)
_REQUIRED: Final = 1 << f.METHOD | 1 << f.SCHEME | 1 << f.PATH

ABSENT: Final = -2  # beside fields.UNKNOWN, which is there and wrong

_CONNECT: Final = np.frombuffer(b"CONNECT", np.uint8)
_HEAD: Final = np.frombuffer(b"HEAD", np.uint8)
_GRPC_PREFIX: Final = np.frombuffer(b"application/grpc", np.uint8)


@inlined
def _is(text: Octets, row: Any, constant: Octets) -> bool:
    return bool(row.value_size == constant.size and same(text, row.value_at, constant, 0, constant.size))


@inlined
def _is_grpc(text: Octets, row: Any) -> bool:
    """Tell whether a content-type is application/grpc, with a suffix or parameters or without."""
    size, at = signed(row.value_size), signed(row.value_at)
    if size < _GRPC_PREFIX.size or not same(text, at, _GRPC_PREFIX, 0, _GRPC_PREFIX.size):
        return False
    return size == _GRPC_PREFIX.size or text[at + _GRPC_PREFIX.size] in (ord("+"), ord(";"))


@inlined
def examine(s: State, rows: Records, count: int, text: Octets, with_text: bool) -> None:
    """Fill `s.request` from the first `count` rows, whose text lies in `text` if it was decoded."""
    r = s.request[0]
    r.seen = r.malformed = r.post = r.head = r.connect = r.wrong_binary = 0
    r.path, r.grpc, r.timeout = f.UNKNOWN, 0, NO_DEADLINE
    r.encoding, r.content_length = f.IDENTITY, ABSENT
    for i in range(count):
        row = rows[i]
        meaning, detail = signed(row.meaning), signed(row.detail)
        if meaning <= f.PSEUDO_OTHER:
            bit = 1 << meaning
            if meaning == f.PSEUDO_OTHER or r.seen & (bit | _REGULAR):
                r.malformed = 1
            r.seen |= bit
            if meaning == f.METHOD:
                r.post = detail == f.POST
                r.connect = with_text and _is(text, row, _CONNECT)
                r.head = with_text and _is(text, row, _HEAD)
            elif meaning == f.PATH:
                r.path = detail
                if with_text and row.value_size == 0:
                    r.malformed = 1
            continue
        r.seen |= _REGULAR
        if meaning == f.CONTENT_TYPE:
            r.grpc = detail != f.UNKNOWN or (with_text and _is_grpc(text, row))
        elif meaning == f.TE:
            r.malformed |= detail != f.TRAILERS
        elif meaning == f.GRPC_TIMEOUT:
            r.timeout = detail if detail != f.UNKNOWN else ABSENT
        elif meaning == f.GRPC_ENCODING:
            r.encoding = detail
        elif meaning == f.CONTENT_LENGTH:
            r.malformed |= detail == f.UNKNOWN or (r.content_length not in (ABSENT, detail))
            r.content_length = detail
        elif meaning == f.CONNECTION_SPECIFIC:
            r.malformed = 1
        elif meaning == f.BINARY:
            r.wrong_binary |= detail == f.UNKNOWN
    required = _METHOD if r.connect else _REQUIRED
    if r.seen & required != required:
        r.malformed = 1


@inlined
def trailers_are_well_formed(rows: Records, count: int) -> bool:
    """Tell whether a list has no pseudo-header field and nothing of one connection: RFC 9113, 8.1, 8.2.2."""
    for i in range(count):
        meaning = rows[i].meaning
        if meaning <= f.PSEUDO_OTHER or meaning in (f.CONNECTION_SPECIFIC, f.TE):
            return False
    return True
