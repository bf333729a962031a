"""Streams that break are told from streams that end.

grpcio ends the requests of a stream that breaks as it ends those of one that is whole, and tells of the cancellation by
an event of its own, which comes right behind but may have to wait for a busy interpreter. Who answers a whole stream
with one message, as a registration is, would take a part for the whole in between.
"""

import threading
from collections.abc import Callable, Iterator
from typing import Any

import grpc

from serval_server.errors import Cancelled

# Each look waits for the interpreter anew, as the thread that tells of a cancellation does.
LOOKS, LOOK_SECONDS = 10, 0.005


class WholeStreams(grpc.ServerInterceptor):  # type: ignore[misc]
    """Lets a handler of a request stream see its end only when no cancellation has followed for a moment."""

    def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], grpc.RpcMethodHandler | None],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler | None:
        """Return the handler, whose requests, if it answers a stream with one message, are a whole stream."""
        handler = continuation(handler_call_details)
        if handler is None or not handler.request_streaming or handler.response_streaming:
            return handler

        def answer(requests: Iterator[Any], context: grpc.ServicerContext) -> Any:
            return handler.stream_unary(_whole(requests, context), context)

        return grpc.stream_unary_rpc_method_handler(
            answer,
            request_deserializer=handler.request_deserializer,
            response_serializer=handler.response_serializer,
        )


def _whole(requests: Iterator[Any], context: grpc.ServicerContext) -> Iterator[Any]:
    """Yield the requests. Raises Cancelled after the last where the stream has broken."""
    over = threading.Event()
    alive = context.add_callback(over.set)
    yield from requests
    if not alive or any(over.wait(LOOK_SECONDS) for _ in range(LOOKS)):
        raise Cancelled("the stream broke before its end")
