"""Channels to one server: how many, over what, and what is tried again.

A server of several processes balances by connection, so one channel is one process. A pool of channels, each with its
own connection, reaches them all; calls take the channels in turn.
"""

import itertools
import json
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import grpc
from serval_protos import services
from serval_protos.services import Cardinality

from serval_client.errors import FailedPrecondition, InvalidArgument

DEFAULT_TARGET = "localhost:8470"
DEFAULT_TIMEOUT = 30.0
MESSAGE_BYTES = 64 << 20
LARGEST_PORT = 65535
HEALTH_CHECK = "/grpc.health.v1.Health/Check"

# Calls that may run twice without harm, so that a connection lost under them is nobody's trouble. A registration is
# too long for grpc to keep for another try, so the client tries it again itself; a second delete or stage change
# answers differently from the first.
IDEMPOTENT = {
    "serval.v1.PredictionService": ("Predict", "BatchPredict"),
    "serval.v1.RegistryService": ("GetModel", "ListModels", "SearchModels", "DownloadArtifact"),
    "serval.v1.LifecycleService": (
        *("GetGates", "CheckGates", "ListTransitions", "GetStages", "GetLineage", "CompareVersions", "GetModelCard"),
        *("ListAuditEntries", "VerifyAudit", "SetGates"),
    ),
    "serval.v1.DriftService": ("SetBaseline", "GetBaseline", "DetectDrift", "GetDrift", "ListReports"),
    "grpc.health.v1.Health": ("Check",),
}

SERVICE_CONFIG = json.dumps(
    {
        "methodConfig": [
            {
                "name": [
                    {"service": service, "method": method}
                    for service, methods in IDEMPOTENT.items()
                    for method in methods
                ],
                "retryPolicy": {
                    "maxAttempts": 4,
                    "initialBackoff": "0.1s",
                    "maxBackoff": "1s",
                    "backoffMultiplier": 2,
                    "retryableStatusCodes": ["UNAVAILABLE"],
                },
            }
        ]
    }
)

# Whose calls say who makes them; predictions need not carry it.
_ACTED_ON = ("/serval.v1.RegistryService/", "/serval.v1.LifecycleService/", "/serval.v1.DriftService/")

_LOOPBACK = ("localhost", "127.", "[::1]", "unix:", "ipv4:127.", "ipv6:[::1]")

PathLike = str | Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Security:
    """How a connection is protected: plain text unless `tls` is given.

    tls: True for the authorities that gRPC trusts by itself, or the path of a PEM file of root certificates.
    client_certificate, client_key: paths of PEM files, both or neither, for a server that asks who calls (mutual TLS).
    server_name: the name to look for in the server's certificate where it is not the one in the target.
    """

    tls: bool | PathLike = False
    client_certificate: PathLike | None = None
    client_key: PathLike | None = None
    server_name: str | None = None

    def credentials(self) -> grpc.ChannelCredentials | None:
        """Return grpc's credentials, None for plain text; raise InvalidArgument where a part is missing."""
        if (self.client_certificate is None) != (self.client_key is None):
            raise InvalidArgument("client_certificate, client_key: mutual TLS needs both, got one")
        if not self.tls:
            if self.client_certificate is not None or self.server_name is not None:
                raise InvalidArgument("tls: is off, but a client certificate or a server name was given; turn it on")
            return None
        credentials = grpc.ssl_channel_credentials(
            root_certificates=None if self.tls is True else _read(self.tls, "tls"),
            private_key=None if self.client_key is None else _read(self.client_key, "client_key"),
            certificate_chain=(
                None if self.client_certificate is None else _read(self.client_certificate, "client_certificate")
            ),
        )
        self._check()
        return credentials

    def _check(self) -> None:
        """Raise InvalidArgument for files that are no PEM, or no pair: grpc says of these that no server answers."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        try:
            field = f"tls: {str(self.tls)!r} holds no certificates"
            if self.tls is not True:
                context.load_verify_locations(str(self.tls))
            field = f"client_certificate, client_key: {str(self.client_certificate)!r} and {str(self.client_key)!r}"
            if self.client_certificate is not None and self.client_key is not None:
                context.load_cert_chain(str(self.client_certificate), str(self.client_key), password=_no_password)
        except (ssl.SSLError, ValueError) as error:
            raise InvalidArgument(f"{field}: {error}") from error


def options(target: str, server_name: str | None = None) -> list[tuple[str, int | str]]:
    """Return the channel arguments for `target`."""
    arguments: list[tuple[str, int | str]] = [
        ("grpc.use_local_subchannel_pool", 1),  # else all channels of a process share one connection
        ("grpc.max_send_message_length", MESSAGE_BYTES),
        ("grpc.max_receive_message_length", MESSAGE_BYTES),
        ("grpc.enable_retries", 1),
        ("grpc.service_config", SERVICE_CONFIG),
        # A restarted server is found again within seconds; grpc's own backoff grows to two minutes.
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.min_reconnect_backoff_ms", 1000),
        ("grpc.max_reconnect_backoff_ms", 3000),
    ]
    if target.startswith(_LOOPBACK):
        arguments.append(("grpc.enable_http_proxy", 0))
    if server_name is not None:
        arguments.append(("grpc.ssl_target_name_override", server_name))
    return arguments


def check_target(target: str) -> None:
    """Raise InvalidArgument for what names no server. The rest of gRPC's forms (dns:///, unix:, ...) are gRPC's.

    gRPC takes a port modulo 65,536, and a URL for the name of a host.
    """
    scheme, _, rest = target.partition("://")
    if rest and scheme.lower() in ("http", "https", "grpc", "grpcs", "tcp"):
        raise InvalidArgument(f"target: got {target[:80]!r}, wanted HOST:PORT, without {scheme}://")
    _, colon, port = target.rpartition(":")
    if (
        not target
        or target != target.strip()
        or (colon and port.isdecimal() and (len(port) > 5 or int(port) > LARGEST_PORT))
    ):
        raise InvalidArgument(f"target: got {target[:80]!r}, wanted HOST:PORT, with a port up to {LARGEST_PORT}")


class Pool:
    """`size` channels to one target; `module` is `grpc` or `grpc.aio`, and decides what its methods return."""

    def __init__(self, module: Any, target: str, size: int, security: Security, actor: str | None = None) -> None:
        check_target(target)
        if size < 1:
            raise InvalidArgument(f"channels: got {size}, wanted at least 1")
        credentials = security.credentials()
        arguments = options(target, security.server_name)
        if credentials is None:
            self._channels = [module.insecure_channel(target, options=arguments) for _ in range(size)]
        else:
            self._channels = [module.secure_channel(target, credentials, options=arguments) for _ in range(size)]
        self._methods: list[dict[str, Any]] = [{} for _ in range(size)]
        self._turns = itertools.count()  # next() on it is atomic: threads need no lock
        self._metadata = None if actor is None else (("serval-actor", _checked_actor(actor)),)
        self._closed = False

    def method(self, path: str) -> Any:
        """Return the callable for `path` on the next channel."""
        if self._closed:
            raise FailedPrecondition("this client is closed")
        turn = next(self._turns) % len(self._channels)
        methods = self._methods[turn]
        found = methods.get(path)
        if found is None:
            found = methods[path] = _callable(self._channels[turn], path)
            if self._metadata is not None and path.startswith(_ACTED_ON):
                found = methods[path] = partial(found, metadata=self._metadata)
        return found

    def shut(self) -> list[Any]:
        """Refuse further calls and return the channels, for the caller to close in its own way."""
        self._closed = True
        return self._channels


def _callable(channel: Any, path: str) -> Any:
    if path == HEALTH_CHECK:
        return channel.unary_unary(path, None, None)  # bytes as they are: the two messages are two bytes long
    method = services.METHODS[path]
    kinds: dict[Cardinality, Callable[..., Any]] = {
        Cardinality.UNARY_UNARY: channel.unary_unary,
        Cardinality.UNARY_STREAM: channel.unary_stream,
        Cardinality.STREAM_UNARY: channel.stream_unary,
        Cardinality.STREAM_STREAM: channel.stream_stream,
    }
    return kinds[method.cardinality](path, method.request.SerializeToString, method.reply.FromString)


def _checked_actor(actor: str) -> str:
    if not actor or not actor.isascii() or not actor.isprintable() or actor != actor.strip():
        raise InvalidArgument(f"actor: got {actor[:80]!r}, wanted printable ASCII without spaces around it")
    return actor


def _no_password() -> str:
    """Raise, where ssl would ask whoever sits at the terminal, and grpc would fail."""
    raise ValueError("a key with a password, which gRPC does not take")


def _read(path: PathLike | bool, field: str) -> bytes:
    try:
        return Path(str(path)).read_bytes()
    except OSError as error:
        raise InvalidArgument(f"{field}: cannot read {str(path)!r}: {error.strerror}") from error
