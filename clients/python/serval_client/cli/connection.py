"""The server that a command speaks to: its arguments, and the client made of them."""

import getpass
import os
from argparse import ArgumentParser, Namespace

from serval_client.channel import DEFAULT_TARGET, DEFAULT_TIMEOUT
from serval_client.client import Client
from serval_client.errors import InvalidArgument

TIMEOUT_MAX = 366 * 86_400.0  # longer ones overflow what gRPC counts in


def add_arguments(parser: ArgumentParser) -> None:
    """Add --server and what belongs to it."""
    group = parser.add_argument_group("server")
    group.add_argument(
        "--server",
        metavar="HOST:PORT",
        default=os.environ.get("SERVAL_SERVER", DEFAULT_TARGET),
        help="the server (SERVAL_SERVER, else localhost:8470)",
    )
    group.add_argument(
        "--timeout", metavar="S", type=float, default=DEFAULT_TIMEOUT, help="seconds for one call (%(default)g)"
    )
    group.add_argument(
        "--actor",
        metavar="WHO",
        default=os.environ.get("SERVAL_ACTOR") or _user(),
        help="who acts, for the audit log (SERVAL_ACTOR, else you); a certificate says so itself",
    )
    group.add_argument("--tls", action="store_true", help="connect by TLS, trusting the authorities that gRPC knows")
    group.add_argument("--tls-ca", metavar="PEM", help="connect by TLS, trusting the authorities in this file")
    group.add_argument("--tls-cert", metavar="PEM", help="own certificate, for a server that asks who calls")
    group.add_argument("--tls-key", metavar="PEM", help="key of the own certificate")


def connect(args: Namespace) -> Client:
    """Return a client for the arguments of a command."""
    if not 0 < args.timeout <= TIMEOUT_MAX:
        raise InvalidArgument(f"--timeout: got {args.timeout:g}, wanted more than 0 seconds, at most {TIMEOUT_MAX:.0f}")
    return Client(
        args.server,
        timeout=args.timeout,
        tls=args.tls_ca or args.tls,
        client_certificate=args.tls_cert,
        client_key=args.tls_key,
        actor=args.actor,
    )


def _user() -> str | None:
    """Return the name of the operating system's user, None where it has none that metadata could carry."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):  # a number without a name, as in many containers
        return None
    return name if name.isascii() and name.isprintable() and name.strip() == name else None
