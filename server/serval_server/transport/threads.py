"""Threads for ordinary handlers, whichever transport they run on."""

from concurrent.futures import ThreadPoolExecutor
from typing import Final

from google.protobuf.descriptor import ServiceDescriptor

# The vectorized transport keeps half of them from a single connection, and one client may well have 256 streams open.
STREAMS_MAX: Final = 512

_STREAM_THREADS = ThreadPoolExecutor(STREAMS_MAX, thread_name_prefix="serval-stream")


def call_threads(count: int) -> ThreadPoolExecutor:
    """Return the threads that unary calls run on."""
    return ThreadPoolExecutor(count, thread_name_prefix="serval-call")


def give_streams_their_own_threads(servicer: object, service: ServiceDescriptor) -> None:
    """Have the streaming methods of a servicer run apart: an open stream holds a thread, and must not starve calls."""
    for method in service.methods:
        if method.client_streaming or method.server_streaming:
            getattr(type(servicer), method.name).experimental_thread_pool = _STREAM_THREADS
