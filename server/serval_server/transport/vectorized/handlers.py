"""Which handler a path has: registered methods first, then generic handlers in the order they were added."""

import contextvars
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Final, NamedTuple, TypeAlias

import grpc

from serval_server.transport.vectorized.metadata import Metadatum

_LOGGER = logging.getLogger(__name__)

MethodHandler: TypeAlias = grpc.RpcMethodHandler
Lookup: TypeAlias = Callable[[grpc.HandlerCallDetails], MethodHandler | None]


class _Details(NamedTuple):
    method: str
    invocation_metadata: tuple[Metadatum, ...]


class HandlerCallDetails(_Details, grpc.HandlerCallDetails):  # type: ignore[misc]
    """What interceptors and generic handlers are asked with."""


class Handlers:
    """The methods of a server. Filled before it starts, read by the loop thread from then on."""

    def __init__(self, interceptors: Sequence[grpc.ServerInterceptor] = ()) -> None:
        self._registered: dict[str, MethodHandler] = {}
        self._generic: list[grpc.GenericRpcHandler] = []
        self._lookup: Lookup = self._find_uninterrupted
        self._intercepted = bool(interceptors)
        for interceptor in reversed(interceptors):  # the first one is asked first
            self._lookup = partial(interceptor.intercept_service, self._lookup)

    def add_generic_rpc_handlers(self, handlers: Iterable[grpc.GenericRpcHandler]) -> None:
        """Take generic handlers. Raises AttributeError for one that has no `service`."""
        added = list(handlers)
        for handler in added:
            if getattr(handler, "service", None) is None:
                raise AttributeError(f'"{handler}" must be a grpc.GenericRpcHandler, but has no "service" method')
        self._generic += added

    def add_registered_method_handlers(self, service_name: str, method_handlers: Mapping[str, MethodHandler]) -> None:
        """Take the methods of a service, by their names."""
        self._registered.update((f"/{service_name}/{method}", handler) for method, handler in method_handlers.items())

    def paths(self) -> list[str]:
        """Return every path that is known beforehand; generic handlers of other kinds may answer for more."""
        known = dict.fromkeys(self._registered)
        for handler in self._generic:
            # grpc.method_handlers_generic_handler keeps its methods here, and tells nobody.
            if isinstance(handler, grpc.ServiceRpcHandler):
                known.update(dict.fromkeys(getattr(handler, "_method_handlers", ())))
        return list(known)

    def answers_others(self) -> bool:
        """Tell whether a path that `paths` does not name may have a handler, or an interceptor wants to see it."""
        return self._intercepted or not all(isinstance(handler, grpc.ServiceRpcHandler) for handler in self._generic)

    def find(
        self, path: str, metadata: tuple[Metadatum, ...], variables: contextvars.Context | None = None
    ) -> MethodHandler | None:
        """Return the handler of a call, or None: UNIMPLEMENTED, `METHOD_NOT_FOUND`. Never raises.

        `variables`: what interceptors set with contextvars, for the handler to find; hand the same to the Call.
        """
        if not self._intercepted:
            registered = self._registered.get(path)
            if registered is not None:
                return registered
        details = HandlerCallDetails(path, metadata)
        try:
            return variables.run(self._lookup, details) if variables is not None else self._lookup(details)
        except Exception as error:
            _LOGGER.exception("Exception servicing handler: %s", error)
            return _FAILING

    def _find_uninterrupted(self, details: grpc.HandlerCallDetails) -> MethodHandler | None:
        registered = self._registered.get(details.method)
        if registered is not None:
            return registered
        for generic in self._generic:
            handler = generic.service(details)
            if handler is not None:
                return handler
        return None


def behaviour_of(handler: MethodHandler) -> tuple[Callable[..., Any], bool, bool]:
    """Return what a handler does, and whether it streams in and out."""
    if handler.request_streaming and handler.response_streaming:
        return handler.stream_stream, True, True
    if handler.request_streaming:
        return handler.stream_unary, True, False
    if handler.response_streaming:
        return handler.unary_stream, False, True
    return handler.unary_unary, False, False


METHOD_NOT_FOUND: Final = "Method not found!"


def _fail(_requests: Any, context: grpc.ServicerContext) -> None:
    context.abort(grpc.StatusCode.UNKNOWN, "Error in service handler!")


# Its requests are a stream so that it answers without waiting for one.
_FAILING: Final = grpc.stream_unary_rpc_method_handler(_fail)
