"""The one place where an error becomes a gRPC status.

Rooms below raise the typed errors of `serval_registry.errors` (or those added here) and know no status codes. What is
not one of them is a fault of ours: it is logged whole and answered with INTERNAL and no inner text.
"""

import logging
from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any, NoReturn, TypeVar

import grpc
from serval_registry import errors

LOG = logging.getLogger(__name__)

# Longer texts would not fit the 8 KiB of metadata that clients accept.
MESSAGE_MAX = 2000

Reply = TypeVar("Reply")


class Unimplemented(errors.ServalError):
    """A part of a protocol that serval does not answer."""


class Cancelled(errors.ServalError):
    """The caller has gone before the call was whole."""


class ModelRunFailed(errors.ServalError):
    """The model itself failed on an input that its signature allows."""


STATUS: dict[type[errors.ServalError], grpc.StatusCode] = {
    errors.InvalidArgument: grpc.StatusCode.INVALID_ARGUMENT,
    errors.NotFound: grpc.StatusCode.NOT_FOUND,
    errors.AlreadyExists: grpc.StatusCode.ALREADY_EXISTS,
    errors.FailedPrecondition: grpc.StatusCode.FAILED_PRECONDITION,
    errors.TooLarge: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.DataLoss: grpc.StatusCode.DATA_LOSS,
    errors.Unavailable: grpc.StatusCode.UNAVAILABLE,
    Cancelled: grpc.StatusCode.CANCELLED,
    Unimplemented: grpc.StatusCode.UNIMPLEMENTED,
    ModelRunFailed: grpc.StatusCode.INTERNAL,
}


def status_of(error: Exception) -> tuple[grpc.StatusCode, str]:
    """Return the status code and the message that a caller gets for `error`."""
    for kind in type(error).__mro__:
        code = STATUS.get(kind)
        if code is not None:
            return code, str(error)[:MESSAGE_MAX]
    LOG.error("internal error", exc_info=error)
    return grpc.StatusCode.INTERNAL, "internal error; the server's log has the details"


def abort(context: grpc.ServicerContext, error: Exception) -> NoReturn:
    """End the call with the status of `error`."""
    code, message = status_of(error)
    context.abort(code, message)
    raise AssertionError("abort returned")


def unary(handler: Callable[..., Reply]) -> Callable[..., Reply]:
    """Wrap a servicer's method that returns one reply, so that what it raises becomes a status."""

    @wraps(handler)
    def answer(self: object, request: Any, context: grpc.ServicerContext) -> Reply:
        try:
            return handler(self, request, context)
        except Exception as error:
            if _is_abort(error):
                raise
            abort(context, error)

    return answer


def streaming(handler: Callable[..., Iterator[Reply]]) -> Callable[..., Iterator[Reply]]:
    """Wrap a servicer's method that yields replies, so that what it raises becomes a status."""

    @wraps(handler)
    def answer(self: object, request: Any, context: grpc.ServicerContext) -> Iterator[Reply]:
        try:
            yield from handler(self, request, context)
        except Exception as error:
            if _is_abort(error):
                raise
            abort(context, error)

    return answer


def _is_abort(error: Exception) -> bool:
    """Tell whether `error` is how a transport carries an abort, or a peer that has gone, up through a handler."""
    return type(error) is Exception or isinstance(error, grpc.RpcError)
