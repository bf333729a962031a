"""Sockets: where a server listens, and one peer's connection, in clear text or TLS."""

import contextlib
import errno
import fcntl
import os
import select
import socket
import ssl
import stat
from typing import IO, Any, Final
from urllib.parse import quote

from serval_registry.errors import InvalidArgument

from serval_server.transport.address import UNIX, cannot_bind, check, check_free, family_of, host_and_port
from serval_server.transport.vectorized import auth_context
from serval_server.transport.vectorized.context import Peer
from serval_server.transport.vectorized.tls import Tls

# Who finds it full tries again after a second; Linux makes no more of it than net.core.somaxconn, 4,096 by default.
BACKLOG: Final = 4096
H2: Final = "h2"
_MAPPED: Final = "::ffff:"  # an IPv4 address within IPv6: RFC 4291, 2.5.5.2


def bind(address: str, *, share_port: bool = False) -> tuple[socket.socket, int]:
    """Bind to HOST:PORT or unix:PATH; return the socket and the port, 1 for a path.

    It listens, with BACKLOG, once somebody is there to accept: until then callers are refused and not kept waiting.
    Port 0 takes any free one. Raises InvalidArgument where the address cannot be had.
    """
    check(address)
    try:
        if address.startswith(UNIX):
            return _PathListener(address[len(UNIX) :]), 1
        return _bind_to_port(host_and_port(address), share_port)
    except (OSError, UnicodeError) as error:  # UnicodeError: for a host name that cannot be one
        raise cannot_bind(address, error) from error


class _PathListener(socket.socket):
    """A socket under a path that is one server's as long as it lives, whether it listens yet or not."""

    def __init__(self, path: str) -> None:
        super().__init__(socket.AF_UNIX)
        self._lock: IO[bytes] | None = None
        try:
            self._lock = open(f"{path}.lock", "wb")  # noqa: SIM115 - held until the socket is closed, or the process ends
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with contextlib.suppress(FileNotFoundError):
                if not stat.S_ISSOCK(os.stat(path).st_mode):
                    raise FileExistsError(errno.EEXIST, "something is there that is no socket")
                # What a server left behind that was killed; one that lives, whosever it is, still answers.
                if not _answers(path):
                    os.unlink(path)
            self.bind(path)
            self.setblocking(False)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the socket, and let others have the path."""
        super().close()
        if self._lock is not None:
            self._lock.close()


def _answers(path: str) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(path) == 0


def _bind_to_port(address: tuple[str, int], share_port: bool) -> tuple[socket.socket, int]:
    if not share_port and address[1]:
        check_free(address)
    listener = socket.socket(family_of(address[0]))
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if share_port:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind(address)
    except BaseException:
        listener.close()
        raise
    listener.setblocking(False)
    return listener, listener.getsockname()[1]


class Connection:
    """A peer's socket, and its number in the engine once it may speak HTTP/2."""

    __slots__ = (
        "_ends",
        "_tls",
        "address",
        "fd",
        "number",
        "peer",
        "reading",
        "secure",
        "since",
        "socket",
        "waiting_since",
        "writing",
    )

    def __init__(self, accepted: socket.socket, address: Any, context: ssl.SSLContext | None, since: int) -> None:
        accepted.setblocking(False)
        if accepted.family != socket.AF_UNIX:
            accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.secure = context is not None
        self.socket = accepted
        self._tls = None if context is None else Tls(accepted, context)
        self.fd = self.socket.fileno()
        self.number = -1
        self.since = since  # ns: of the accept
        self.reading = True
        self.writing = False
        self.waiting_since = since  # ns: when some of its output went last, where more waits to be written
        self.address = _written(accepted.family, address)
        self.peer: Peer | None = None
        self._ends: select.poll | None = None

    def shake_hands(self) -> bool:
        """Go on with the TLS handshake; tell whether it is done. Raises OSError."""
        if self._tls is None:
            return True
        if not self._tls.shake_hands():
            return False
        if self._tls.session.selected_alpn_protocol() != H2:
            raise ssl.SSLError("the peer did not choose h2 by ALPN")
        return True

    def known_as(self) -> Peer:
        """Return who the peer is, for handlers that ask."""
        if self.peer is None:
            if self._tls is not None:
                self.peer = Peer(self.address, auth_context.of_connection(self._tls.session))
            else:
                self.peer = Peer(self.address)
        return self.peer

    def receive(self, view: memoryview) -> int:
        """Read what is there, up to the size of `view`; -1 where nothing is there yet, 0 at the end. Raises OSError."""
        if self._tls is not None:
            return self._tls.receive(view)
        try:
            return self.socket.recv_into(view)
        except BlockingIOError:
            return -1

    def send(self, view: memoryview) -> int:
        """Write what goes; return how many octets went. Raises OSError."""
        if self._tls is not None:
            return self._tls.send(view)
        try:
            return self.socket.send(view)
        except BlockingIOError:
            return 0

    def has_gone(self) -> bool:
        """Tell whether the peer has closed its side, whatever is to be read before that."""
        if self._ends is None:
            self._ends = select.poll()
            self._ends.register(self.fd, select.POLLRDHUP)
        return bool(self._ends.poll(0))

    def end_output(self) -> None:
        """Tell the peer that nothing more comes, so that it reads the last of it. What it sends is not decrypted."""
        if self._tls is not None:
            self._tls.say_goodbye()
            self._tls = None
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Close the socket."""
        with contextlib.suppress(OSError):
            self.socket.close()


def _written(family: int, address: Any) -> str:
    """Return an address as gRPC writes it: a URI, with IPv4 as such where IPv6 carries it."""
    if family == socket.AF_UNIX:
        return UNIX
    host, port = address[:2]
    if family == socket.AF_INET6 and "." not in host:
        return f"ipv6:{quote(f'[{host}]', safe=':')}:{port}"
    return f"ipv4:{host.removeprefix(_MAPPED)}:{port}"


def server_context(
    certificate: os.PathLike[str], key: os.PathLike[str], client_ca: os.PathLike[str] | None
) -> ssl.SSLContext:
    """Return TLS for HTTP/2 (RFC 9113, 9.2): 1.2 or later, ALPN h2; with `client_ca`, clients need certificates."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # Of TLS 1.2 only what RFC 9113, appendix A does not forbid.
    context.set_ciphers("ECDHE+AESGCM:ECDHE+CHACHA20")
    context.set_alpn_protocols([H2])
    try:
        context.load_cert_chain(certificate, key)
        if client_ca is not None:
            context.load_verify_locations(client_ca)
            context.verify_mode = ssl.CERT_REQUIRED
    except (OSError, ssl.SSLError) as error:
        raise InvalidArgument(f"TLS: cannot use {certificate}, {key} or {client_ca}: {error}") from error
    return context
