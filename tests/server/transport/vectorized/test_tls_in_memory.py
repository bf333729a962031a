"""TLS by memory: all that came is given on, what a turn decrypts is bounded, and what did not go comes again."""

import contextlib
import os
import socket
import ssl
import time

import pytest
import serval_frames as h2f
from serval_served import PATIENCE, SERVER_LIVE, running
from serval_server.transport.vectorized import tls
from serval_server.transport.vectorized.sockets import server_context
from serval_server.transport.vectorized.tls import Tls

VIEW = 256 << 10
UNREAD = 1 << 20  # more than what two sockets keep


@pytest.fixture
def context(certificates):
    return server_context(certificates / "server.pem", certificates / "server.key", None)


@pytest.fixture
def peers(context, certificates):
    """The server's side of a connection, and a client: both are past their handshake."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.setblocking(False)
    trusts = ssl.create_default_context(cafile=certificates / "ca.pem")
    trusts.set_alpn_protocols(["h2"])
    client = trusts.wrap_socket(theirs, server_hostname="localhost", do_handshake_on_connect=False)
    server, done = Tls(ours, context), False
    for _ in range(10):
        with contextlib.suppress(ssl.SSLWantReadError):
            client.do_handshake()
        done = done or server.shake_hands()
    assert done
    with ours, client:
        yield server, client


def received(server):
    """Everything until there is nothing more, turn by turn."""
    view, turns = memoryview(bytearray(VIEW)), []
    while (size := server.receive(view)) > 0:
        turns.append(bytes(view[:size]))
    return turns, size


def test_what_came_is_given_on_whatever_records_it_is_in(peers):
    server, client = peers
    said = os.urandom(60_000)
    for start, end in ((0, 1), (1, 30_000), (30_000, 30_010), (30_010, 60_000)):
        assert client.send(said[start:end]) == end - start
    turns, last = received(server)
    assert b"".join(turns) == said
    assert last == -1


def test_a_turn_ends_after_a_piece_that_took_long(peers, monkeypatch):
    monkeypatch.setattr(tls, "DECRYPTED_NS", -1)
    server, client = peers
    said = os.urandom(20_000)
    for start in range(0, len(said), 100):
        client.send(said[start : start + 100])
    turns, _ = received(server)
    assert b"".join(turns) == said
    assert max(map(len, turns)) < tls.PIECE_OCTETS


@pytest.mark.parametrize("end", [lambda client: client.shutdown(socket.SHUT_WR), lambda client: client.unwrap()])
def test_the_end_of_what_a_peer_says(peers, end):
    server, client = peers
    client.send(b"the last")
    with contextlib.suppress(ssl.SSLWantReadError):
        end(client)
    assert received(server) == ([b"the last"], 0)


def test_what_is_no_record_is_an_error(peers):
    server, client = peers
    os.write(client.fileno(), b"\x17\x03\x03\x00\x20" + bytes(32))
    with pytest.raises(ssl.SSLError):
        received(server)
    client.settimeout(PATIENCE)
    with pytest.raises(ssl.SSLError, match="alert"):
        client.recv(1)


def test_records_without_data_end_the_connection(peers, monkeypatch):
    monkeypatch.setattr(tls, "FRUITLESS_OCTETS", tls.PIECE_OCTETS // 2)
    server, client = peers
    client.send(bytes(tls.RECORD_OCTETS))  # two pieces: the first has no octet to give
    with pytest.raises(ssl.SSLError, match="without data"):
        received(server)


def test_what_did_not_go_comes_again(peers):
    server, client = peers
    said = os.urandom(2 * UNREAD)
    at, heard, stopped = 0, b"", 0
    while at < len(said):
        went = server.send(memoryview(said)[at : at + UNREAD])
        at += went
        if not went:
            stopped += 1
            heard += client.recv(VIEW)
    assert stopped
    client.settimeout(PATIENCE)
    while len(heard) < len(said):
        heard += client.recv(VIEW)
    assert heard == said
    server.say_goodbye()
    assert client.recv(1) == b""


def test_calls_of_a_burst_that_is_longer_than_a_turn_are_all_answered(context, certificates):
    trusts = ssl.create_default_context(cafile=certificates / "ca.pem")
    trusts.set_alpn_protocols(["h2"])
    block, streams, few = h2f.literals(*h2f.fields_of(SERVER_LIVE)), range(1, 200, 2), 4
    with running(context=context) as served:
        for size in range(2_700, 2_860, 10):
            message = h2f.grpc_message(unknown(size))
            asked = [h2f.headers(i, block, end=False) + h2f.data(i, message, end=True) for i in streams]
            first, rest = b"".join(asked[:few]), b"".join(asked[few:])
            lead = len(rest) % tls.RECORD_OCTETS  # so that turns end within records
            plain = socket.create_connection(served.where, PATIENCE)
            with trusts.wrap_socket(plain, server_hostname="localhost") as client:
                client.sendall(h2f.PREFACE + h2f.settings())
                time.sleep(0.05)
                for part in (first, rest[:lead], rest[lead:]):
                    client.sendall(part)
                heard = b""
                while ended(heard) < len(streams):
                    heard += client.recv(VIEW)


def unknown(size):
    """A message of a field that nobody knows."""
    return b"\xa2\x06" + bytes([size & 127 | 128, size >> 7]) + bytes(size)


def ended(octets):
    """How many streams have ended."""
    at = count = 0
    while at + 9 <= len(octets):
        size = int.from_bytes(octets[at : at + 3], "big")
        if at + 9 + size > len(octets):
            break
        count += octets[at + 3] == h2f.HEADERS and octets[at + 4] & 1
        at += 9 + size
    return count
