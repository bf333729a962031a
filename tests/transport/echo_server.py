"""A bare server for the transport's tests: run as a script, it prints its port and serves until killed.

Its argument is the transport: `grpcio`, or `vectorized`, whose Server has the same face.
"""

import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc

SERVICE = "serval.test.Echo"
MAX_MESSAGE = 4 * 1024 * 1024  # octets; grpcio's default


def unary(request: bytes, _: grpc.ServicerContext) -> bytes:
    """The same message."""
    return request


def metadata(request: bytes, context: grpc.ServicerContext) -> bytes:
    """The same message; initial metadata whose names begin with x- come back as trailing metadata."""
    pairs = [(name, value) for name, value in context.invocation_metadata() if name.startswith("x-")]
    context.set_trailing_metadata(pairs)
    return request


def large(request: bytes, _: grpc.ServicerContext) -> bytes:
    """As many octets as the message says, in decimal."""
    return bytes(range(256)) * (int(request) // 256)


def slow(request: bytes, _: grpc.ServicerContext) -> bytes:
    """The same message after as many seconds as it says."""
    time.sleep(float(request))
    return request


def stream(requests: Iterator[bytes], _: grpc.ServicerContext) -> Iterator[bytes]:
    """Each message as it comes."""
    yield from requests


def new_server(transport: str) -> grpc.Server:
    """Return a server of that transport, without methods."""
    executor = ThreadPoolExecutor(16)
    if transport == "grpcio":
        return grpc.server(executor)
    from serval_kernels.wire.state import Sizes
    from serval_server.transport.vectorized.server import Server

    return Server(executor, sizes=Sizes(max_message=MAX_MESSAGE))


def main(transport: str) -> None:
    """Serve on a free port."""
    handlers = {
        "Unary": grpc.unary_unary_rpc_method_handler(unary),
        "Metadata": grpc.unary_unary_rpc_method_handler(metadata),
        "Large": grpc.unary_unary_rpc_method_handler(large),
        "Slow": grpc.unary_unary_rpc_method_handler(slow),
        "Stream": grpc.stream_stream_rpc_method_handler(stream),
    }
    server = new_server(transport)
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(SERVICE, handlers)])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(port, flush=True)
    server.wait_for_termination()


if __name__ == "__main__":
    main(sys.argv[1])
