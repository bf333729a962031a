"""Two loops for the tests of ordinary calls: one that a test turns by hand, and one that speaks HTTP/2 with h2."""

import queue
import selectors
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import NamedTuple

import grpc
import hpack
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, RequestReceived, StreamEnded, StreamReset, WindowUpdated
from h2.exceptions import ProtocolError
from serval_server.transport.vectorized.call import Call
from serval_server.transport.vectorized.context import Peer
from serval_server.transport.vectorized.handler_threads import HandlerThreads
from serval_server.transport.vectorized.handlers import METHOD_NOT_FOUND
from serval_server.transport.vectorized.metadata import InvalidMetadata, Request, read_request, trailers_only_block
from serval_server.transport.vectorized.outlet import Terms

PATIENCE = 10
PEER = Peer("ipv4:127.0.0.1:5000")


class Reply(NamedTuple):
    head: list
    messages: list
    tail: list

    @property
    def status(self):
        fields = dict(self.tail)
        return int(fields[b"grpc-status"]), fields.get(b"grpc-message", b"")


def decoded(block):
    """Return a block's fields; a decoder of its own shows that no block depends on another."""
    return [(bytes(name), bytes(value)) for name, value in hpack.Decoder().decode(block, raw=True)]


def unframed(body):
    """Return the flag and the octets of one message."""
    assert int.from_bytes(body[1:5], "big") == len(body) - 5
    return body[0], body[5:]


class HandTurned:
    """An outlet whose turns are the test's: nothing is sent until it asks."""

    def __init__(self, threads=1, **limits):
        self.posted = queue.Queue()
        self.taken = []
        self.reset = []
        self.executor = ThreadPoolExecutor(threads, thread_name_prefix="test-call")
        self.terms = Terms(self, HandlerThreads(self.executor), **limits)

    def post(self, call):
        self.posted.put(call)

    def consumed(self, call, octets):
        self.taken.append((call.number, octets))

    def cancel(self, call):
        self.reset.append(call.number)

    def call(self, handler, request=Request(()), path="/test.Service/Method", **more):  # noqa: B008
        call = Call(1, path, handler, request, PEER, self.terms, **more)
        call.start()
        return call

    def sends(self, call, wanted=None):
        """Yield `wanted` Sends, or all until the call ends, each told as sent when the next one is asked for."""
        count = 0
        while wanted is None or count < wanted:
            while not call.outgoing:
                self.posted.get(timeout=PATIENCE)
            send = call.outgoing.popleft()
            count += 1
            yield send
            call.on_sent()
            if send.ends:
                return

    def reply(self, call):
        """Return all that a call answers."""
        head, messages, tail = [], [], []
        for send in self.sends(call):
            head += decoded(send.head)
            messages += [unframed(send.body)] if send.body else []
            tail = decoded(send.tail) or (head if send.ends else tail)
        return Reply(head, messages, tail)

    def unary(self, handler, message=b"", **more):
        call = self.call(handler, **more)
        call.on_message(message, False)
        call.on_half_close()
        return self.reply(call)


@contextmanager
def hand_turned(threads=1, **limits):
    loop = HandTurned(threads, **limits)
    try:
        yield loop
    finally:
        loop.executor.shutdown(wait=True)


class _Stream:
    def __init__(self, connection, stream_id):
        self.connection, self.id = connection, stream_id
        self.received = bytearray()
        self.unconsumed = 0
        self.call = None
        self.body = memoryview(b"")
        self.after = None  # the Send whose body is being written


class H2Loop:
    """A small gRPC server around `Call`: one thread, h2 for the protocol, as slow as it is plain."""

    def __init__(self, handlers, executor, **limits):
        self.handlers = handlers
        self.terms = Terms(self, HandlerThreads(executor), **limits)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.inbox = queue.SimpleQueue()
        self.wake_reader, self.wake_writer = socket.socketpair()
        self.selector = selectors.DefaultSelector()
        self.selector.register(self.listener, selectors.EVENT_READ, self._accept)
        self.selector.register(self.wake_reader, selectors.EVENT_READ, lambda: self.wake_reader.recv(4096))
        self.streams = {}
        self.next_number = 0
        self.running = True
        self.thread = threading.Thread(target=self._run, daemon=True)

    # As an outlet
    def post(self, call):
        self._tell(self._pump, call.number)

    def consumed(self, call, octets):
        self._tell(self._acknowledge, call.number, octets + 5)

    def cancel(self, call):
        self._tell(self._reset, call.number)

    def _tell(self, action, *arguments):
        self.inbox.put((action, arguments))
        self.wake_writer.send(b"x")

    def _run(self):
        while self.running:
            for key, _ in self.selector.select(0.02):
                key.data()
            while not self.inbox.empty():
                action, arguments = self.inbox.get()
                action(*arguments)
            now = time.monotonic_ns()
            for number, stream in list(self.streams.items()):
                if stream.call is not None and stream.call.deadline_ns is not None and now > stream.call.deadline_ns:
                    stream.call.on_cancelled(grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded")
                    self._reset(number)
        for stream in self.streams.values():
            if stream.call is not None:
                stream.call.on_cancelled(grpc.StatusCode.UNAVAILABLE, "stopped")

    def _accept(self):
        link, address = self.listener.accept()
        protocol = H2Connection(H2Configuration(client_side=False, header_encoding=None))
        protocol.initiate_connection()
        connection = (link, protocol, f"ipv4:{address[0]}:{address[1]}", {})
        self.selector.register(link, selectors.EVENT_READ, lambda: self._read(connection))
        self._flush(connection)

    def _flush(self, connection):
        try:
            connection[0].sendall(connection[1].data_to_send())
        except OSError:
            self._lose(connection)

    def _lose(self, connection):
        for number in list(connection[3].values()):
            self._drop(number, "connection lost")

    def _drop(self, number, why):
        stream = self.streams.pop(number, None)
        if stream is not None:
            stream.connection[3].pop(stream.id, None)
            if stream.call is not None:
                stream.call.on_cancelled(grpc.StatusCode.CANCELLED, why)

    def _read(self, connection):
        link, protocol, _, numbers = connection
        try:
            data = link.recv(65536)
        except OSError:
            data = b""
        if not data:
            self.selector.unregister(link)
            link.close()
            self._lose(connection)
            return
        for event in protocol.receive_data(data):
            number = numbers.get(getattr(event, "stream_id", None))
            if isinstance(event, RequestReceived):
                self._begin(connection, event)
            elif isinstance(event, WindowUpdated):
                for other in [number] if number is not None else list(numbers.values()):
                    self._pump(other)
            elif number is None:
                continue
            elif isinstance(event, DataReceived):
                self._data(self.streams[number], event)
            elif isinstance(event, StreamEnded):
                self.streams[number].call.on_half_close()
            elif isinstance(event, StreamReset):
                self._drop(number, "reset by the peer")
        self._flush(connection)

    def _begin(self, connection, event):
        headers = [(bytes(name), bytes(value)) for name, value in event.headers]
        path = dict(headers)[b":path"].decode()
        try:
            request = read_request(headers)
        except InvalidMetadata as error:
            self._refuse(connection, event.stream_id, error.code, error.details)
            return
        handler = self.handlers.find(path, request.metadata)
        if handler is None:
            self._refuse(connection, event.stream_id, grpc.StatusCode.UNIMPLEMENTED, METHOD_NOT_FOUND)
            return
        timeout = dict(headers).get(b"grpc-timeout")
        deadline = time.monotonic_ns() + _nanoseconds(timeout) if timeout else None
        self.next_number += 1
        stream = self.streams[self.next_number] = _Stream(connection, event.stream_id)
        connection[3][event.stream_id] = self.next_number
        peer = Peer(connection[2])
        stream.call = Call(self.next_number, path, handler, request, peer, self.terms, deadline_ns=deadline)
        stream.call.start()

    def _refuse(self, connection, stream_id, code, details):
        block = trailers_only_block(code.value[0], details)
        connection[1].send_headers(stream_id, decoded(block), end_stream=True)

    def _data(self, stream, event):
        stream.received += event.data
        stream.unconsumed += event.flow_controlled_length
        while len(stream.received) >= 5 and len(stream.received) - 5 >= int.from_bytes(stream.received[1:5], "big"):
            size = 5 + int.from_bytes(stream.received[1:5], "big")
            message = bytes(stream.received[5:size])
            compressed = stream.received[0] == 1
            del stream.received[:size]
            stream.call.on_message(message, compressed)

    def _acknowledge(self, number, octets):
        stream = self.streams.get(number)
        if stream is not None:
            stream.unconsumed -= octets
            stream.connection[1].acknowledge_received_data(octets, stream.id)
            self._flush(stream.connection)

    def _reset(self, number):
        stream = self.streams.get(number)
        if stream is not None:
            stream.connection[1].reset_stream(stream.id, error_code=8)
            self._flush(stream.connection)
            self._drop(number, "reset")

    def _pump(self, number):
        stream = self.streams.get(number)
        if stream is None:
            return
        try:
            while self._write_some(stream):
                pass
        except ProtocolError:
            self._drop(number, "protocol error")
        else:
            self._flush(stream.connection)
            if stream.after is not None and stream.after.ends and not stream.body:
                self.streams.pop(number, None)
                stream.connection[3].pop(stream.id, None)

    def _write_some(self, stream):
        protocol = stream.connection[1]
        if stream.after is None:
            if not stream.call.outgoing:
                return False
            send = stream.after = stream.call.outgoing.popleft()
            stream.body = memoryview(send.body)
            if send.head:
                alone = send.ends and not send.body and not send.tail
                protocol.send_headers(stream.id, decoded(send.head), end_stream=alone)
        while stream.body:
            room = min(protocol.local_flow_control_window(stream.id), protocol.max_outbound_frame_size)
            if room <= 0:
                return False
            protocol.send_data(stream.id, bytes(stream.body[:room]))
            stream.body = stream.body[room:]
        if stream.after.tail:
            protocol.send_headers(stream.id, decoded(stream.after.tail), end_stream=True)
        stream.call.on_sent()
        if stream.after.ends:
            return False
        stream.after = None
        return True

    def stop(self):
        self.running = False
        self.wake_writer.send(b"x")
        self.thread.join(PATIENCE)
        links = [key.fileobj for key in list(self.selector.get_map().values())]
        self.selector.close()
        for link in [*links, self.wake_writer]:
            link.close()


def _nanoseconds(timeout):
    units = {b"H": 3600 * 10**9, b"M": 60 * 10**9, b"S": 10**9, b"m": 10**6, b"u": 10**3, b"n": 1}
    return int(timeout[:-1]) * units[timeout[-1:]]


@contextmanager
def served(handlers, threads=4, **limits):
    """Run an H2Loop; give its address."""
    executor = ThreadPoolExecutor(threads, thread_name_prefix="test-call")
    loop = H2Loop(handlers, executor, **limits)
    loop.thread.start()
    try:
        yield f"127.0.0.1:{loop.port}"
    finally:
        loop.stop()
        executor.shutdown(wait=True)


@contextmanager
def served_by_grpcio(add, threads=4, options=()):
    """Run grpcio's own server; give its address."""
    server = grpc.server(ThreadPoolExecutor(threads), options=[("grpc.so_reuseport", 0), *options])
    add(server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(0).wait(1)  # not for ever: a call whose batch the C core refused is never over to grpcio
