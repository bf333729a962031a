"""Builds a grpc.Server with serval's limits."""

from concurrent.futures import ThreadPoolExecutor

import grpc
from google.protobuf.descriptor import ServiceDescriptor
from serval_registry.errors import InvalidArgument

from serval_server.config import Options, Tls

UNLIMITED = -1

STREAMS_MAX = 256

_STREAM_THREADS = ThreadPoolExecutor(STREAMS_MAX, thread_name_prefix="serval-stream")

# A client may ping this often without being told that it pings too much; gRPC's own five minutes break clients that
# keep idle connections alive through load balancers.
MIN_PING_INTERVAL_MS = 10_000


def build(options: Options, *, share_port: bool) -> grpc.Server:
    """Return a server that listens nowhere yet. `share_port`: several processes will listen on one port."""
    return grpc.server(
        ThreadPoolExecutor(options.threads, thread_name_prefix="serval-call"),
        options=_channel_arguments(options, share_port),
    )


def give_streams_their_own_threads(servicer: object, service: ServiceDescriptor) -> None:
    """Have the streaming methods of a servicer run apart: an open stream holds a thread, and must not starve calls."""
    for method in service.methods:
        if method.client_streaming or method.server_streaming:
            getattr(type(servicer), method.name).experimental_thread_pool = _STREAM_THREADS


def listen(server: grpc.Server, address: str, tls: Tls | None) -> int:
    """Bind; return the port. Raises InvalidArgument where the address cannot be had."""
    try:
        if tls is None:
            return server.add_insecure_port(address)  # type: ignore[no-any-return]
        return server.add_secure_port(address, _credentials(tls))  # type: ignore[no-any-return]
    except RuntimeError as error:
        raise InvalidArgument(f"listen: cannot bind {address}: is another server running there?") from error


def _channel_arguments(options: Options, share_port: bool) -> list[tuple[str, int]]:
    arguments = [
        ("grpc.max_receive_message_length", options.message_bytes),
        ("grpc.max_send_message_length", UNLIMITED),
        ("grpc.so_reuseport", int(share_port)),
        ("grpc.keepalive_time_ms", int(options.keepalive_seconds * 1000)),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_ping_interval_without_data_ms", MIN_PING_INTERVAL_MS),
    ]
    if options.max_connection_age_seconds is not None:
        arguments.append(("grpc.max_connection_age_ms", int(options.max_connection_age_seconds * 1000)))
    return arguments


def _credentials(tls: Tls) -> grpc.ServerCredentials:
    return grpc.ssl_server_credentials(
        [(tls.key.read_bytes(), tls.certificate.read_bytes())],
        root_certificates=tls.client_ca.read_bytes() if tls.client_ca else None,
        require_client_auth=tls.client_ca is not None,
    )
