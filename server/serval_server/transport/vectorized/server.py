"""The face of grpc.Server around the loop: what registers on the one registers on the other.

Besides, `add_vectorized_method` takes handlers that are given all messages of a method at once.
"""

import socket
import ssl
import threading
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import grpc
from serval_kernels.wire import state as engine

from serval_server.spare import SpareTime
from serval_server.transport.vectorized import callbacks
from serval_server.transport.vectorized.handlers import Handlers
from serval_server.transport.vectorized.loop import Loop
from serval_server.transport.vectorized.sockets import BACKLOG, bind
from serval_server.transport.vectorized.times import Times
from serval_server.transport.vectorized.vectors import VectorHandler


class Server(grpc.Server):  # type: ignore[misc]
    """A gRPC server. Handlers run on `executor`, but vectorized ones, which run in the loop's thread."""

    def __init__(
        self,
        executor: ThreadPoolExecutor,
        handlers: Sequence[grpc.GenericRpcHandler] | None = None,
        *,
        interceptors: Sequence[grpc.ServerInterceptor] | None = None,
        maximum_concurrent_rpcs: int | None = None,
        compression: grpc.Compression | None = None,
        times: Times = Times(),  # noqa: B008
        sizes: engine.Sizes = engine.Sizes(),  # noqa: B008
        share_port: bool = False,
        spare: SpareTime | None = None,
    ) -> None:
        """Make a server, as grpc.server does.

        `maximum_concurrent_rpcs` are calls of ordinary handlers, those that return late included, and `compression` is
        that of their replies. `times`, `sizes` and `share_port` stand for grpc's options. `spare`: what the loop does
        while it has nothing else to do.
        """
        self._executor = executor
        self._handlers = Handlers(interceptors or ())
        self._handlers.add_generic_rpc_handlers(handlers or ())
        self._most = maximum_concurrent_rpcs
        self._compression = compression
        self._times = times
        self._sizes = sizes
        self._share_port = share_port
        self._spare = spare
        self._vectorized: dict[str, VectorHandler] = {}
        self._keep_metadata = False
        self._listeners: list[tuple[socket.socket, ssl.SSLContext | None]] = []
        self._loop: Loop | None = None
        self._thread: threading.Thread | None = None
        self._begun = False  # it has been started, or stopped
        self._ended = threading.Event()

    def add_generic_rpc_handlers(self, generic_rpc_handlers: Iterable[grpc.GenericRpcHandler]) -> None:
        """As grpc.Server."""
        self._handlers.add_generic_rpc_handlers(generic_rpc_handlers)
        self._look_for_others()

    def add_registered_method_handlers(
        self, service_name: str, method_handlers: Mapping[str, grpc.RpcMethodHandler]
    ) -> None:
        """As grpc.Server, and to one that runs as well."""
        self._handlers.add_registered_method_handlers(service_name, method_handlers)
        self._look_for_others()

    def add_vectorized_method(self, path: str, handler: VectorHandler, *, keep_metadata: bool = True) -> None:
        """Have `handler` answer a unary method. Messages that it hands on go to the servicer registered for it.

        Before `start`; later ones are not asked. `keep_metadata`: whether that servicer is told the metadata, too; it
        costs every call some tenths of a microsecond, unless no vectorized method of the server asks for it.
        """
        self._vectorized[path] = handler
        self._keep_metadata |= keep_metadata

    def add_insecure_port(self, address: str) -> int:
        """Bind to HOST:PORT or unix:PATH, to listen from `start` on; return the port.

        Raises InvalidArgument where the address cannot be had.
        """
        return self._add_port(address, None)

    def add_secure_port(self, address: str, context: ssl.SSLContext) -> int:
        """As `add_insecure_port`, with TLS; `sockets.server_context` makes a context."""
        return self._add_port(address, context)

    def start(self) -> None:
        """Serve, in a thread of its own, which sets the process's switch interval.

        Raises ValueError for a server that was started or stopped before.
        """
        if self._begun:
            raise ValueError("start: this server has been started or stopped already; wanted a new one")
        self._begun = True
        self._loop = Loop(
            self._handlers,
            self._vectorized,
            self._executor,
            times=self._times,
            sizes=self._sizes,
            keep_metadata=self._keep_metadata,
            most=self._most,
            compression=self._compression,
            spare=self._spare,
        )
        for listener, context in self._listeners:
            listener.listen(BACKLOG)
            self._loop.add_listener(listener, context)
        callbacks.start()
        self._thread = threading.Thread(target=self._run, name="serval-loop", daemon=True)
        self._thread.start()

    def stop(self, grace: float | None) -> threading.Event:
        """Take no new calls; those that are there have `grace` seconds. The event returned is set at the end.

        Without a grace all is over when it returns.
        """
        self._begun = True
        if self._loop is None:
            for listener, _ in self._listeners:
                listener.close()
            self._ended.set()
            return self._ended
        self._loop.stop(grace)
        if grace is None and threading.current_thread() is not self._thread:
            self._ended.wait()
        return self._ended

    def wait_for_termination(self, timeout: float | None = None) -> bool:
        """Block until the server has stopped; return whether it went on beyond `timeout` seconds."""
        return not self._ended.wait(timeout)

    def _look_for_others(self) -> None:
        """Have handlers found that came after the start."""
        if self._loop is not None:
            self._loop.look_for_others()

    def _add_port(self, address: str, context: ssl.SSLContext | None) -> int:
        listener, port = bind(address, share_port=self._share_port)
        self._listeners.append((listener, context))
        return port

    def _run(self) -> None:
        assert self._loop is not None
        try:
            self._loop.run()
        finally:
            self._ended.set()
