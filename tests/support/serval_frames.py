"""A blocking HTTP/2 client that says anything: well-formed frames, malformed ones, raw octets.

It shares nothing with the server under test: received frames are parsed by `hyperframe`, header blocks are coded by
`hpack`, and what is sent is built octet by octet, so that a frame may be as wrong as a test wants it. Frame builders
return octets, which `FrameClient.send` joins into one segment; a test thereby decides what arrives together.

Expectations read until they are met and fail with AssertionError when `TIMEOUT` seconds have passed. An error code that
was wanted may come in either form the RFC allows: a stream error may always be answered by ending the connection.
"""

import itertools
import socket
import struct
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple
from urllib.parse import unquote

import hpack
from hyperframe import frame as frames
from hyperframe.flags import Flags

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
TIMEOUT = 5.0  # seconds an expectation waits
MAX_WINDOW = 2**31 - 1
DEFAULT_FRAME_SIZE = 2**14

# Frame types, RFC 9113 section 6.
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
# Flags.
ACK = END_STREAM = 0x1
END_HEADERS, PADDED, PRIORITIZED = 0x4, 0x8, 0x20
# Error codes, RFC 9113 section 7.
NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, FLOW_CONTROL_ERROR, SETTINGS_TIMEOUT, STREAM_CLOSED = range(6)
FRAME_SIZE_ERROR, REFUSED_STREAM, CANCEL, COMPRESSION_ERROR, CONNECT_ERROR, ENHANCE_YOUR_CALM = range(6, 12)
# Settings, RFC 9113 section 6.5.2.
HEADER_TABLE_SIZE, ENABLE_PUSH, MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE, MAX_HEADER_LIST_SIZE = (
    range(1, 7)
)

Fields = Iterable[tuple[str | bytes, str | bytes]]


class Address(NamedTuple):
    """Where a server listens."""

    host: str
    port: int


class ConnectionOver(AssertionError):
    """The server ended the connection while a test still wanted something of it."""


def frame(kind: int, flags: int, stream_id: int, payload: bytes = b"", length: int | None = None) -> bytes:
    """Any frame; `length` may lie about the payload, and bit 31 of `stream_id` is the reserved one."""
    size = len(payload) if length is None else length
    return size.to_bytes(3, "big") + bytes([kind, flags]) + stream_id.to_bytes(4, "big") + payload


def data(stream_id: int, payload: bytes = b"", *, end: bool = False, pad: int | None = None) -> bytes:
    """A DATA frame; `pad` octets of padding unless None."""
    flags, body = _padded(payload, pad)
    return frame(DATA, flags | (END_STREAM if end else 0), stream_id, body)


def headers(
    stream_id: int,
    block: bytes,
    *,
    end: bool = True,
    complete: bool = True,
    pad: int | None = None,
    priority: bytes = b"",
) -> bytes:
    """A HEADERS frame around an encoded block; `priority` is what `dependency` returns."""
    flags, body = _padded(priority + block, pad)
    flags |= (END_STREAM if end else 0) | (END_HEADERS if complete else 0) | (PRIORITIZED if priority else 0)
    return frame(HEADERS, flags, stream_id, body)


def continuation(stream_id: int, block: bytes, *, complete: bool = True) -> bytes:
    """A CONTINUATION frame."""
    return frame(CONTINUATION, END_HEADERS if complete else 0, stream_id, block)


def dependency(parent: int, weight: int = 16, *, exclusive: bool = False) -> bytes:
    """The five octets of a priority (RFC 7540 section 6.3); weight 1 to 256."""
    return (parent | (exclusive << 31)).to_bytes(4, "big") + bytes([weight - 1])


def priority(stream_id: int, parent: int, weight: int = 16, *, exclusive: bool = False) -> bytes:
    """A PRIORITY frame."""
    return frame(PRIORITY, 0, stream_id, dependency(parent, weight, exclusive=exclusive))


def rst_stream(stream_id: int, code: int = CANCEL) -> bytes:
    """A RST_STREAM frame."""
    return frame(RST_STREAM, 0, stream_id, code.to_bytes(4, "big"))


def settings(*pairs: tuple[int, int]) -> bytes:
    """A SETTINGS frame, pairs in the order given and repeated if asked."""
    return frame(SETTINGS, 0, 0, b"".join(struct.pack("!HI", *pair) for pair in pairs))


def settings_ack() -> bytes:
    """The acknowledgement of a SETTINGS frame."""
    return frame(SETTINGS, ACK, 0)


def ping(payload: bytes = b"8 octets", *, ack: bool = False) -> bytes:
    """A PING frame."""
    return frame(PING, ACK if ack else 0, 0, payload)


def goaway(code: int = NO_ERROR, last: int = 0, text: bytes = b"") -> bytes:
    """A GOAWAY frame."""
    return frame(GOAWAY, 0, 0, struct.pack("!II", last, code) + text)


def window_update(stream_id: int, increment: int) -> bytes:
    """A WINDOW_UPDATE frame."""
    return frame(WINDOW_UPDATE, 0, stream_id, increment.to_bytes(4, "big"))


def _padded(payload: bytes, pad: int | None) -> tuple[int, bytes]:
    return (0, payload) if pad is None else (PADDED, bytes([pad]) + payload + bytes(pad))


def grpc_message(payload: bytes, *, compressed: int = 0, length: int | None = None) -> bytes:
    """The five-octet prefix and the message; `length` may lie."""
    return struct.pack("!BI", compressed, len(payload) if length is None else length) + payload


def fields_of(path: str, **overrides: str | bytes | None) -> list[tuple[str | bytes, str | bytes]]:
    """The header fields of a gRPC request.

    An override's name has `_` for `-`; method, scheme, path and authority mean the pseudo-header fields; None removes.
    """
    pseudo = {"method": "POST", "scheme": "http", "path": path, "authority": "localhost"}
    regular: dict[str, str | bytes | None] = {"content-type": "application/grpc", "te": "trailers"}
    chosen: dict[str, str | bytes | None] = {f":{name}": overrides.pop(name, pseudo[name]) for name in pseudo}
    regular.update({name.replace("_", "-"): value for name, value in overrides.items()})
    return [(name, value) for name, value in (chosen | regular).items() if value is not None]


def plain_request(method: str = "GET", *more: tuple[str, str]) -> list[tuple[str, str]]:
    """The header fields of a request that is not gRPC."""
    return [(":method", method), (":scheme", "http"), (":path", "/"), (":authority", "localhost"), *more]


def literals(*fields: tuple[str | bytes, str | bytes]) -> bytes:
    """A header block that neither reads nor changes the table: the same octets whenever it is sent."""
    return b"".join(b"\x00" + _string(name) + _string(value) for name, value in fields)


def _string(text: str | bytes) -> bytes:
    octets = text.encode() if isinstance(text, str) else text
    assert len(octets) < 127, "a length of one octet"
    return bytes([len(octets)]) + octets


@dataclass
class Reply:
    """What has come on one stream."""

    headers: dict[str, str] = field(default_factory=dict)
    trailers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    ended: bool = False
    reset: int | None = None
    data_sizes: list[int] = field(default_factory=list)

    @property
    def over(self) -> bool:
        """Nothing more can come: the stream has ended or was reset."""
        return self.ended or self.reset is not None

    @property
    def status(self) -> str:
        """The HTTP status."""
        return self.headers.get(":status", "")

    @property
    def grpc_status(self) -> int | None:
        """The number in grpc-status, from the trailers or from a reply that is trailers only."""
        value = (self.trailers or self.headers).get("grpc-status")
        return None if value is None else int(value)

    @property
    def grpc_message(self) -> str:
        """The text in grpc-message, percent-decoded."""
        return unquote((self.trailers or self.headers).get("grpc-message", ""))

    @property
    def messages(self) -> list[bytes]:
        """The messages in the body; a rest that is no whole message fails."""
        found, at = [], 0
        while at < len(self.body):
            length = int.from_bytes(self.body[at + 1 : at + 5], "big")
            assert at + 5 + length <= len(self.body), "the body ends inside a message"
            found.append(self.body[at + 5 : at + 5 + length])
            at += 5 + length
        return found


class FrameClient:
    """One connection, with everything that came on it.

    `settings` go into the first SETTINGS frame. With `handshake` the constructor waits for the server's SETTINGS and
    acknowledges them; without it nothing at all is sent. With `refill` every DATA frame is answered by WINDOW_UPDATEs
    of its size. A server that has closed makes `send` do nothing and `receive` return None, so that an expectation,
    not a broken pipe, tells what happened.
    """

    def __init__(
        self,
        address: Address,
        *pairs: tuple[int, int],
        handshake: bool = True,
        refill: bool = True,
        timeout: float = TIMEOUT,
        receive_buffer: int | None = None,
    ) -> None:
        self.timeout = timeout
        self.refill = refill
        self.encoder = hpack.Encoder()
        self.decoder = hpack.Decoder(max_header_list_size=2**22)
        self.replies: dict[int, Reply] = {}
        self.goaway: int | None = None
        self.goaway_last = 0
        self.closed = False
        self.settings: dict[int, int] = {}
        self.settings_acks = 0
        self.increments: Counter[int] = Counter()
        self.pings: set[bytes] = set()
        self.blocks: list[bytes] = []
        self._block: tuple[bool, bytes] | None = None
        self.largest_frame = max([value for key, value in pairs if key == MAX_FRAME_SIZE], default=DEFAULT_FRAME_SIZE)
        self._buffer = bytearray()
        self._labels = itertools.count(1)
        self.socket = socket.socket()
        if receive_buffer is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(timeout)
        self.socket.connect(address)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if handshake:
            self.send(PREFACE, settings(*pairs))
            self.until(lambda: bool(self.settings_acks), "SETTINGS acknowledged")

    def __enter__(self) -> "FrameClient":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the socket."""
        self.socket.close()

    # Sending.

    def send(self, *parts: "bytes | frames.Frame") -> bool:
        """Send octets and hyperframe's frames as one segment; False if the server has closed.

        Raises TimeoutError when the server does not read.
        """
        octets = b"".join(part if isinstance(part, bytes) else part.serialize() for part in parts)
        try:
            self.socket.sendall(octets)
        except TimeoutError:
            raise
        except OSError:
            return False
        return True

    def encode(self, *fields: tuple[str | bytes, str | bytes]) -> bytes:
        """A header block in this connection's HPACK context; what is encoded must be sent."""
        return self.encoder.encode(fields)

    def grpc_headers(self, stream_id: int, path: str, *, end: bool = False, **overrides: str | bytes | None) -> bytes:
        """The HEADERS frame of a call; overrides as in `fields_of`."""
        return headers(stream_id, self.encode(*fields_of(path, **overrides)), end=end)

    def grpc_request(self, stream_id: int, path: str, message: bytes, **overrides: str | bytes | None) -> bytes:
        """The frames of a whole unary call; overrides as in `fields_of`."""
        body = grpc_message(message)
        size = DEFAULT_FRAME_SIZE
        pieces = [body[start : start + size] for start in range(0, len(body), size)]
        frames_of_body = [data(stream_id, piece, end=piece is pieces[-1]) for piece in pieces]
        return self.grpc_headers(stream_id, path, **overrides) + b"".join(frames_of_body)

    def call(self, stream_id: int, path: str, message: bytes, **overrides: str | bytes | None) -> Reply:
        """Send a unary call and wait for its whole reply."""
        self.send(self.grpc_request(stream_id, path, message, **overrides))
        return self.expect_reply(stream_id)

    # Receiving.

    def receive(self, timeout: float | None = None) -> frames.Frame | None:
        """The next frame, or None when the server has closed; TimeoutError when nothing comes."""
        deadline = time.monotonic() + (self.timeout if timeout is None else timeout)
        # What was read stays in the buffer until the frame is whole: a timeout loses nothing.
        if not self._fill(9, deadline):
            return None
        received, length = frames.Frame.parse_frame_header(memoryview(bytes(self._buffer[:9])), strict=False)
        limit = self.largest_frame
        assert length <= limit, f"a frame of {length} octets came where {limit} were allowed"
        if not self._fill(9 + length, deadline):
            return None
        payload = bytes(self._buffer[9 : 9 + length])
        del self._buffer[: 9 + length]
        received.parse_body(memoryview(payload))
        self._take(received)
        return received

    def until(self, met: Callable[[], bool], wanted: str) -> None:
        """Receive until `met()`; AssertionError, with what came instead, when the time is over."""
        deadline = time.monotonic() + self.timeout
        while not met():
            try:
                over = self.receive(deadline - time.monotonic()) is None
            except TimeoutError:
                raise AssertionError(f"wanted {wanted}; nothing more came; {self.seen()}") from None
            if over and not met():
                raise ConnectionOver(f"wanted {wanted}; the connection was closed; {self.seen()}")

    def drain(self, seconds: float) -> bool:
        """Receive for so long; False when the server has closed."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            try:
                if self.receive(left) is None:
                    return False
            except TimeoutError:
                return True
        return True

    def seen(self) -> str:
        """What came, for failures."""
        return f"goaway={self.goaway}, replies={ {key: _brief(value) for key, value in self.replies.items()} }"

    def granted(self, stream_id: int) -> int:
        """How many octets of DATA the server has allowed a stream in all, if it is the connection's only one."""
        initial = self.settings.get(INITIAL_WINDOW_SIZE, 65535)
        return min(65535 + self.increments[0], initial + self.increments[stream_id])

    def discard(self) -> bool:
        """Throw away what has come, but for GOAWAY; False when the server has closed.

        Header blocks are thrown away with the rest, so nothing can be received afterwards.
        """
        self.socket.setblocking(False)
        try:
            while chunk := self.socket.recv(2**20):
                self._buffer += chunk
            self.closed = True
        except BlockingIOError:
            pass
        except OSError:
            self.closed = True
        finally:
            self.socket.settimeout(self.timeout)
        at = 0
        while (end := at + 9 + int.from_bytes(self._buffer[at : at + 3], "big")) <= len(self._buffer):
            if self._buffer[at + 3] == GOAWAY:
                self.goaway = int.from_bytes(self._buffer[at + 13 : at + 17], "big")
            at = end
        del self._buffer[:at]
        return not self.closed

    def reply(self, stream_id: int) -> Reply:
        """What has come on a stream so far."""
        return self.replies.setdefault(stream_id, Reply())

    def _fill(self, count: int, deadline: float) -> bool:
        while len(self._buffer) < count:
            if self.closed:
                return False
            self.socket.settimeout(max(deadline - time.monotonic(), 1e-3))
            try:
                chunk = self.socket.recv(65536)
            except TimeoutError:
                raise
            except OSError:
                chunk = b""
            finally:
                self.socket.settimeout(self.timeout)
            self.closed = not chunk
            self._buffer += chunk
        return True

    def _take(self, received: frames.Frame) -> None:
        if self._block is not None:
            assert isinstance(received, frames.ContinuationFrame), f"{received} came inside a header block"
        match received:
            case frames.SettingsFrame():
                self._take_settings(received)
            case frames.PingFrame():
                if "ACK" in received.flags:
                    self.pings.add(received.opaque_data)
                else:
                    self.send(ping(received.opaque_data, ack=True))
            case frames.GoAwayFrame():
                self.goaway, self.goaway_last = received.error_code, received.last_stream_id
            case frames.RstStreamFrame():
                self.reply(received.stream_id).reset = received.error_code
            case frames.HeadersFrame() | frames.ContinuationFrame():
                self._take_block(received, received.flags)
            case frames.DataFrame():
                self._take_data(received)
            case frames.WindowUpdateFrame():
                self.increments[received.stream_id] += received.window_increment

    def _take_settings(self, received: frames.SettingsFrame) -> None:
        if "ACK" in received.flags:
            self.settings_acks += 1
            return
        self.settings |= received.settings
        if HEADER_TABLE_SIZE in received.settings:
            self.encoder.header_table_size = min(received.settings[HEADER_TABLE_SIZE], 4096)
        self.send(settings_ack())

    def _take_block(self, received: "frames.HeadersFrame | frames.ContinuationFrame", flags: Flags) -> None:
        ended, before = self._block or ("END_STREAM" in flags, b"")
        self._block = (ended, before + received.data)
        if "END_HEADERS" not in flags:
            return
        ended, block = self._block
        self._block = None
        self.blocks.append(block)
        reply = self.reply(received.stream_id)
        assert not reply.ended, f"HEADERS came on stream {received.stream_id} after its end"
        fields = {str(name): str(value) for name, value in self.decoder.decode(block)}
        if reply.headers:
            assert ended, "trailers came without END_STREAM"
            reply.trailers = fields
        else:
            reply.headers = fields
        reply.ended = ended

    def _take_data(self, received: frames.DataFrame) -> None:
        reply = self.reply(received.stream_id)
        assert reply.headers, f"DATA came on stream {received.stream_id} before HEADERS"
        assert not reply.ended, f"DATA came on stream {received.stream_id} after its end"
        reply.body += received.data
        reply.data_sizes.append(received.flow_controlled_length)
        reply.ended = "END_STREAM" in received.flags
        if self.refill and received.flow_controlled_length:
            self.send(window_update(0, received.flow_controlled_length))
            if not reply.ended:
                self.send(window_update(received.stream_id, received.flow_controlled_length))

    # Expectations.

    def expect_connection_error(self, *codes: int, goaway_required: bool = False) -> None:
        """GOAWAY with one of the codes (any error if none is given), or, unless required, a closed connection."""
        try:
            self.until(lambda: self.goaway is not None and self.goaway != NO_ERROR, f"GOAWAY {codes}")
        except ConnectionOver:
            assert not goaway_required, "the connection was closed without GOAWAY"
            return
        assert not codes or self.goaway in codes, f"wanted GOAWAY with {codes}; {self.seen()}"

    def expect_stream_error(self, stream_id: int, *codes: int) -> None:
        """RST_STREAM on the stream, or GOAWAY, with one of the codes (any error if none is given), or a close."""

        def met() -> bool:
            came = {self.reply(stream_id).reset, self.goaway}
            return bool(came & set(codes)) if codes else bool(came - {None, NO_ERROR})

        try:
            self.until(met, f"an error {codes} on stream {stream_id}")
        except ConnectionOver:
            assert self.goaway in (None, NO_ERROR), f"wanted {codes}; {self.seen()}"

    def expect_close(self) -> None:
        """The server closes the connection, whatever it says before."""
        deadline = time.monotonic() + self.timeout
        while self.discard():
            assert time.monotonic() < deadline, f"wanted a closed connection; {self.seen()}"
            time.sleep(0.005)

    def expect_headers(self, stream_id: int) -> Reply:
        """A reply's header block."""
        self.until(lambda: bool(self.reply(stream_id).headers), f"HEADERS on stream {stream_id}")
        return self.reply(stream_id)

    def expect_reply(self, stream_id: int) -> Reply:
        """A reply to its end."""
        reply = self.reply(stream_id)
        self.until(lambda: reply.over, f"a whole reply on stream {stream_id}")
        assert reply.ended, f"stream {stream_id} was reset with {reply.reset}"
        return reply

    def expect_body(self, stream_id: int, count: int) -> Reply:
        """At least `count` octets of a reply's body."""
        self.until(lambda: len(self.reply(stream_id).body) >= count, f"{count} octets of DATA on stream {stream_id}")
        return self.reply(stream_id)

    def expect_granted(self, stream_id: int, count: int) -> None:
        """The server opens its windows for `count` octets in all."""
        self.until(lambda: self.granted(stream_id) >= count, f"windows for {count} octets")

    def expect_settled(self) -> None:
        """Everything sent so far has been read and acted upon: a PING behind it is acknowledged."""
        payload = next(self._labels).to_bytes(8, "big")
        self.send(ping(payload))
        self.until(lambda: payload in self.pings, "PING acknowledged")

    def still_alive(self) -> None:
        """The connection answers a PING and no error has come on it."""
        self.expect_settled()
        assert self.goaway is None, f"the connection is going away; {self.seen()}"


def _brief(reply: Reply) -> str:
    state = "ended" if reply.ended else "open"
    return f"{reply.headers | reply.trailers} {len(reply.body)} octets, {state}, reset={reply.reset}"
