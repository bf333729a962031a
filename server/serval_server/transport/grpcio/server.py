"""The reference transport: a grpc.Server with serval's limits."""

import grpc
from serval_registry.errors import InvalidArgument

from serval_server.config import Options, Tls
from serval_server.transport.address import check
from serval_server.transport.grpcio.whole_streams import WholeStreams
from serval_server.transport.threads import call_threads

UNLIMITED = -1

# A client may ping this often without being told that it pings too much; gRPC's own five minutes break clients that
# keep idle connections alive through load balancers.
MIN_PING_INTERVAL_MS = 10_000


class GrpcioTransport:
    """What the application needs of a transport."""

    def __init__(self, options: Options, *, share_port: bool) -> None:
        self._options = options
        arguments = _channel_arguments(options, share_port)
        self.server = grpc.server(call_threads(options.threads), interceptors=[WholeStreams()], options=arguments)

    def listen(self) -> int:
        """Bind; return the port. Raises InvalidArgument where the address cannot be had."""
        address, tls = self._options.listen, self._options.tls
        check(address)
        try:
            if tls is None:
                return self.server.add_insecure_port(address)  # type: ignore[no-any-return]
            return self.server.add_secure_port(address, _credentials(tls))  # type: ignore[no-any-return]
        except RuntimeError as error:
            raise InvalidArgument(f"listen: cannot bind {address}: is another server running there?") from error

    def start(self) -> None:
        """Begin to serve."""
        self.server.start()

    def has_ended(self) -> bool:
        """Tell whether it serves no more, without having been told to stop."""
        return False  # grpcio's threads are not ours to watch

    def stop(self) -> None:
        """Drain, and return when all is over."""
        self.server.stop(self._options.grace_seconds).wait()


def _channel_arguments(options: Options, share_port: bool) -> list[tuple[str, int]]:
    arguments = [
        ("grpc.max_receive_message_length", options.message_bytes),
        ("grpc.max_send_message_length", UNLIMITED),
        ("grpc.so_reuseport", int(share_port)),
        ("grpc.keepalive_time_ms", int(options.keepalive_seconds * 1000)),
        ("grpc.keepalive_timeout_ms", int(options.keepalive_timeout_seconds * 1000)),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_ping_interval_without_data_ms", MIN_PING_INTERVAL_MS),
    ]
    ages = {
        "grpc.max_connection_idle_ms": options.max_connection_idle_seconds,
        "grpc.max_connection_age_ms": options.max_connection_age_seconds,
        "grpc.max_connection_age_grace_ms": options.max_connection_age_grace_seconds,
    }
    return arguments + [(name, int(seconds * 1000)) for name, seconds in ages.items() if seconds is not None]


def _credentials(tls: Tls) -> grpc.ServerCredentials:
    return grpc.ssl_server_credentials(
        [(tls.key.read_bytes(), tls.certificate.read_bytes())],
        root_certificates=tls.client_ca.read_bytes() if tls.client_ca else None,
        require_client_auth=tls.client_ca is not None,
    )
