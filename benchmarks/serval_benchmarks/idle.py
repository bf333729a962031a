"""HTTP/2 connections on which nothing happens: opened, settings exchanged, and left alone."""

import resource
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager

from serval_benchmarks.errors import BenchmarkError

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_SETTINGS, _GOAWAY = 4, 7
_ACK = 1
_HEADER_OCTETS = 9
_EMPTY_SETTINGS = bytes((0, 0, 0, _SETTINGS, 0, 0, 0, 0, 0))
_SETTINGS_ACK = bytes((0, 0, 0, _SETTINGS, _ACK, 0, 0, 0, 0))

_SECONDS = 10.0
# Fewer than any listen queue that a server may have.
_AT_ONCE = 64
# File descriptors that a process needs besides its connections.
_OTHER_FILES = 256


def allow_files(connections: int) -> str | None:
    """Raise this process's limit of open files, which its children inherit, to hold `connections`.

    Return None, or a sentence that says why it cannot.
    """
    wanted = connections + _OTHER_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return None
    try:
        most = hard if hard == resource.RLIM_INFINITY or hard >= wanted else wanted
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))
    except (ValueError, OSError):
        return f"{connections:,} connections want {wanted:,} open files, and the limit is {hard:,} (ulimit -Hn)"
    return None


@contextmanager
def connections(address: str, count: int) -> Iterator["Idle"]:
    """Hold `count` connections to `address`, HOST:PORT; raise BenchmarkError where the server does not take them."""
    idle = Idle()
    try:
        idle.open(address, count)
        yield idle
    finally:
        idle.close()


class Idle:
    """Connections that have sent the preface and SETTINGS, and have acknowledged the server's."""

    def __init__(self) -> None:
        self._sockets: list[socket.socket] = []
        self._ended: set[socket.socket] = set()

    def open(self, address: str, count: int) -> None:
        """Open `count` more; raise BenchmarkError where one is refused or not answered within 10 s."""
        host, _, port = address.rpartition(":")
        for first in range(0, count, _AT_ONCE):
            fresh = []
            try:
                for _ in range(first, min(first + _AT_ONCE, count)):
                    connected = socket.create_connection((host, int(port)), _SECONDS)
                    self._sockets.append(connected)
                    fresh.append(connected)
                    connected.sendall(_PREFACE + _EMPTY_SETTINGS)
                for connected in fresh:
                    _exchange_settings(connected)
            except OSError as error:
                message = f"the server refused idle connection {len(self._sockets):,} of {count:,}: {error}"
                raise BenchmarkError(message) from error

    def ended(self) -> int:
        """Return how many connections the server has closed, or said it will."""
        # A connection that said so may stay open for a while, and says it once.
        self._ended.update(filter(_has_ended, set(self._sockets) - self._ended))
        return len(self._ended)

    def close(self) -> None:
        """Close every connection."""
        for connected in self._sockets:
            connected.close()
        self._sockets.clear()
        self._ended.clear()


def _exchange_settings(connected: socket.socket) -> None:
    """Acknowledge the server's SETTINGS, and wait until it has acknowledged ours."""
    limit = time.monotonic() + _SECONDS
    received, theirs, ours = b"", False, False
    while not (theirs and ours):
        octets = connected.recv(4096)
        if not octets or time.monotonic() > limit:
            raise ConnectionError("it ended before settings were exchanged")
        received += octets
        frames, received = _split(received)
        for kind, flags in frames:
            if kind == _SETTINGS and flags & _ACK:
                ours = True
            elif kind == _SETTINGS:
                theirs = True
                connected.sendall(_SETTINGS_ACK)
            elif kind == _GOAWAY:
                raise ConnectionError("GOAWAY")


def _split(received: bytes) -> tuple[list[tuple[int, int]], bytes]:
    """Return type and flags of each whole frame, and the octets after them (RFC 9113, 4.1)."""
    frames = []
    while len(received) >= _HEADER_OCTETS:
        end = _HEADER_OCTETS + int.from_bytes(received[:3])
        if len(received) < end:
            break
        frames.append((received[3], received[4]))
        received = received[end:]
    return frames, received


def _has_ended(connected: socket.socket) -> bool:
    connected.setblocking(False)
    try:
        octets = connected.recv(4096)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return not octets or any(kind == _GOAWAY for kind, _ in _split(octets)[0])
