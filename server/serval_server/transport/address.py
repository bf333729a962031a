"""Where a server listens, as --listen has it: HOST:PORT or unix:PATH. The same for every transport."""

import errno
import socket
from typing import Final

from serval_registry.errors import InvalidArgument

UNIX: Final = "unix:"
LARGEST_PORT: Final = 65535

_TAKEN: Final = "is another server running there?"
_ADVICE: Final = {
    errno.EADDRINUSE: _TAKEN,
    errno.EWOULDBLOCK: _TAKEN,  # of the lock beside a path
    errno.EADDRNOTAVAIL: "wanted an address of this machine, or 0.0.0.0 for all of them",
    errno.EACCES: "ports below 1024 and the folders of others take a right to them",
    errno.ENOENT: "is its folder there?",
}


def host_and_port(address: str) -> tuple[str, int]:
    """Read HOST:PORT, without the brackets of IPv6; raise InvalidArgument for what is not of this form."""
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdecimal() or int(port) > LARGEST_PORT:
        raise _unknown(address)
    return host.strip("[]"), int(port)


def check(address: str) -> None:
    """Raise InvalidArgument for what is neither form.

    grpc takes a port modulo 65,536, and an empty path for a name that Linux chooses: it would serve where nobody looks.
    """
    if address == UNIX:
        raise _unknown(address)
    if not address.startswith(UNIX):
        host_and_port(address)


def family_of(host: str) -> socket.AddressFamily:
    """Return the family of an address without brackets, or of a name."""
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def check_free(address: tuple[str, int]) -> None:
    """Raise OSError where anybody listens there, sharing the port or not."""
    with socket.socket(family_of(address[0])) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(address)


def cannot_bind(address: str, error: Exception) -> InvalidArgument:
    """Return the error that says why an address cannot be had, and what to do about it."""
    if isinstance(error, socket.gaierror):
        why, advice = "its host is not known", None
    elif isinstance(error, OSError):
        why, advice = error.strerror or str(error), _ADVICE.get(error.errno or 0)
    else:
        why, advice = str(error), None
    return InvalidArgument(f"listen: cannot bind {address}: " + "; ".join(filter(None, (why, advice))))


def _unknown(address: str) -> InvalidArgument:
    return InvalidArgument(f"listen: {address!r}; wanted HOST:PORT, with a port up to {LARGEST_PORT}, or unix:PATH")
