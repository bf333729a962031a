"""A bare server for the transport's tests: run as a script, it prints its port and serves until killed.

Its argument is the transport: `grpcio`, or `vectorized`, whose Server has the same face.
"""

import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np

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


class Vector:
    """The same messages, all of a turn at once; those of odd length go to the ordinary handler."""

    def start(self, answers, _wake) -> None:
        from serval_kernels.wire import batch

        self.answers, self.groups = answers, batch.new_groups(1)

    def take(self, messages, calls) -> None:
        octets, odd = self.answers.octets, messages["length"] % 2 == 1
        order, count = np.argsort(odd, kind="stable"), int((~odd).sum())
        said = [octets[at : at + length].tobytes() for at, length in messages[["at", "length"]].tolist()]
        self.answers.fall_back(messages, calls, order, count, len(order))
        self.groups["messages"] = count
        messages["reply_length"] = messages["length"] + 5
        unfinished = self.answers.begin(messages, calls, order, self.groups, 0)
        for place in order[:count].tolist():
            at, reply = int(messages["reply_at"][place]), b"\0" + len(said[place]).to_bytes(4, "big") + said[place]
            if at >= 0:
                octets[at : at + len(reply)] = np.frombuffer(reply, np.uint8)
        if unfinished:
            self.answers.end(calls, order, self.groups, 0)

    def finish(self) -> None:
        """Nothing: there are no worker threads."""


def new_server(transport: str) -> grpc.Server:
    """Return a server of that transport, without methods."""
    executor = ThreadPoolExecutor(16)
    if transport == "grpcio":
        return grpc.server(executor)
    from serval_kernels.wire.state import Sizes
    from serval_server.transport.vectorized.server import Server

    server = Server(executor, sizes=Sizes(max_message=MAX_MESSAGE))
    server.add_vectorized_method(f"/{SERVICE}/Vector", Vector())
    return server


def main(transport: str) -> None:
    """Serve on a free port."""
    handlers = {
        "Unary": grpc.unary_unary_rpc_method_handler(unary),
        "Vector": grpc.unary_unary_rpc_method_handler(unary),
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
