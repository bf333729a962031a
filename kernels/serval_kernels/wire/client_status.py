"""What became of a call, in gRPC's terms: a status code and a sentence.

For calls that were answered both are the server's. For others they are what "gRPC over HTTP/2" (Errors, and HTTP to
gRPC status code mapping) prescribes.
"""

from typing import Final

import numpy as np

from serval_kernels.wire import constants
from serval_kernels.wire.client_state import ANSWERED, LOST, MALFORMED, NO_STATUS, REFUSED, RESET, TOO_LARGE

# Status codes of gRPC
OK: Final = 0
CANCELLED: Final = 1
UNKNOWN: Final = 2
PERMISSION_DENIED: Final = 7
RESOURCE_EXHAUSTED: Final = 8
UNIMPLEMENTED: Final = 12
INTERNAL: Final = 13
UNAVAILABLE: Final = 14
UNAUTHENTICATED: Final = 16

_OF_HTTP: Final = {
    400: INTERNAL,
    401: UNAUTHENTICATED,
    403: PERMISSION_DENIED,
    404: UNIMPLEMENTED,
    429: UNAVAILABLE,
    502: UNAVAILABLE,
    503: UNAVAILABLE,
    504: UNAVAILABLE,
}
_OF_RESET: Final = {
    constants.REFUSED_STREAM: UNAVAILABLE,
    constants.CANCEL: CANCELLED,
    constants.ENHANCE_YOUR_CALM: RESOURCE_EXHAUSTED,
    constants.INADEQUATE_SECURITY: PERMISSION_DENIED,
}
_OTHERWISE: Final = {
    REFUSED: (UNAVAILABLE, "the connection takes no more calls; this one was not looked at"),
    MALFORMED: (INTERNAL, "the answer breaks the rules of HTTP/2 or gRPC"),
    TOO_LARGE: (RESOURCE_EXHAUSTED, "the answer is larger than this client takes"),
    LOST: (UNAVAILABLE, "the connection ended before the answer came"),
}


def of(done: np.void, text: str) -> tuple[int, str]:
    """Return status and message of one DONE record; `text` is its grpc-message."""
    outcome = int(done["outcome"])
    if outcome == ANSWERED:
        return int(done["status"]), text
    if outcome == NO_STATUS:
        http = int(done["http_status"])
        return _OF_HTTP.get(http, UNKNOWN), f"the answer has HTTP status {http} and no grpc-status"
    if outcome == RESET:
        code = int(done["error_code"])
        return _OF_RESET.get(code, INTERNAL), f"the server reset the stream with HTTP/2 code {code}"
    return _OTHERWISE[outcome]
