"""Where a server listens, as --listen has it: HOST:PORT or unix:PATH. The same for every transport."""

from typing import Final

from serval_registry.errors import InvalidArgument

UNIX: Final = "unix:"
LARGEST_PORT: Final = 65535


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


def _unknown(address: str) -> InvalidArgument:
    return InvalidArgument(f"listen: {address!r}; wanted HOST:PORT, with a port up to {LARGEST_PORT}, or unix:PATH")
