"""TLS between a socket and the engine, in memory: what is decrypted in a turn is bounded, however it is wrapped.

On a socket, OpenSSL reads until it has octets to give, through as many records without any as there are, and keeps what
it has read ahead, which epoll knows nothing of. Here the ciphertext is read a piece at a time, and all that is in a
piece is given on before the next one is read: what is left is in the system's buffer, or the beginning of a record.
"""

import contextlib
import socket
import ssl
import time
from typing import Final

# Some records of a few octets, or key updates, make a piece cost a millisecond.
PIECE_OCTETS: Final = 8 << 10
DECRYPTED_NS: Final = 500_000  # of a connection in a turn, after which no other piece is read
RECORD_OCTETS: Final = 16 << 10  # of plaintext, RFC 8446, 5.1
SEALED_OCTETS: Final = 4 * RECORD_OCTETS  # that are encrypted before they are written
# A record may be longer than a piece; more without an octet of HTTP/2 are key updates or empty records alone.
FRUITLESS_OCTETS: Final = 64 << 10
OWED_OCTETS: Final = 64 << 10  # of answers to key updates that the peer does not take


class Tls:
    """The server's side of a TLS connection over a socket that does not block."""

    def __init__(self, plain: socket.socket, context: ssl.SSLContext) -> None:
        self._socket = plain
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.session = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._ciphertext = b""  # to be written
        self._sealed = 0  # how many octets of plaintext are in it, which have not gone yet
        self._fruitless = 0
        self._over = False

    def shake_hands(self) -> bool:
        """Go on with the handshake; tell whether it is done. Raises OSError."""
        self._read_piece()
        try:
            self.session.do_handshake()
        except ssl.SSLWantReadError:
            return False
        finally:
            self._write()
        return True

    def receive(self, view: memoryview) -> int:
        """Decrypt what is there, as far as a turn goes; -1 where that is nothing yet, 0 at the end. Raises OSError.

        `view` has room for a record and a piece.
        """
        at, until = 0, time.perf_counter_ns() + DECRYPTED_NS
        while not self._over:
            piece = self._read_piece()
            size = self._decrypt(view[at:])
            at += size
            self._fruitless = 0 if size else self._fruitless + piece
            if self._fruitless > FRUITLESS_OCTETS:
                raise ssl.SSLError("records without data")
            if not piece or len(view) - at < RECORD_OCTETS + PIECE_OCTETS or time.perf_counter_ns() > until:
                break
        if self._outgoing.pending:
            self._write()
            if len(self._ciphertext) > OWED_OCTETS + 2 * SEALED_OCTETS:
                raise ssl.SSLError("answers that the peer does not take")
        return at if at or self._over else -1

    def send(self, view: memoryview) -> int:
        """Write what goes, and return how many octets went; what did not is to come again. Raises OSError."""
        at = 0
        while True:
            if not self._write():
                return at
            at += self._sealed
            self._sealed = 0
            if at >= len(view):
                return at
            self._sealed = self.session.write(view[at : at + SEALED_OCTETS])

    def say_goodbye(self) -> None:
        """Tell the peer that nothing more comes."""
        with contextlib.suppress(OSError):
            self.session.unwrap()
        with contextlib.suppress(OSError):
            self._write()

    def _read_piece(self) -> int:
        """Read a piece of ciphertext; return its size, 0 where there is none."""
        try:
            piece = self._socket.recv(PIECE_OCTETS)
        except BlockingIOError:
            return 0
        if piece:
            self._incoming.write(piece)
        else:
            self._incoming.write_eof()
        return len(piece)

    def _decrypt(self, view: memoryview) -> int:
        """Decrypt all that was read; return how many octets that is."""
        at = 0
        try:
            while at < len(view):
                size = int(self.session.read(len(view) - at, view[at:]))  # octets, where there is a buffer for them
                if size == 0:
                    self._over = True
                    break
                at += size
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLEOFError:
            self._over = True
        except ssl.SSLError:
            self._write()  # the alert
            raise
        return at

    def _write(self) -> bool:
        """Write what OpenSSL has for the peer; tell whether it has all gone."""
        if self._outgoing.pending:
            self._ciphertext += self._outgoing.read()
        if self._ciphertext:
            with contextlib.suppress(BlockingIOError):
                self._ciphertext = self._ciphertext[self._socket.send(self._ciphertext) :]
        return not self._ciphertext
