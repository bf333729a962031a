"""What can go wrong with a call, one class for each gRPC status that a server answers with.

All are `ServalError`; each carries `.code` (a `grpc.StatusCode`) and `.details` (what came and what was wanted, in
words). What the SDK itself finds wrong before it sends anything is raised as the same classes.
"""

from typing import ClassVar

import grpc


class ServalError(Exception):
    """Base of every error of the SDK."""

    code: ClassVar[grpc.StatusCode] = grpc.StatusCode.UNKNOWN

    def __init__(self, details: str) -> None:
        super().__init__(details)
        self.details = details


class Cancelled(ServalError):
    """The call was cancelled, by this side or by a server that stops."""

    code = grpc.StatusCode.CANCELLED


class InvalidArgument(ServalError):
    """The request itself is wrong: sending it again unchanged cannot help."""

    code = grpc.StatusCode.INVALID_ARGUMENT


class DeadlineExceeded(ServalError):
    """No answer came within the timeout. The server may or may not have done what was asked."""

    code = grpc.StatusCode.DEADLINE_EXCEEDED


class NotFound(ServalError):
    """No such name, version, stage or baseline."""

    code = grpc.StatusCode.NOT_FOUND


class AlreadyExists(ServalError):
    """What was to be created is there."""

    code = grpc.StatusCode.ALREADY_EXISTS


class PermissionDenied(ServalError):
    """The caller is known and may not do this."""

    code = grpc.StatusCode.PERMISSION_DENIED


class Unauthenticated(ServalError):
    """The server does not know who calls."""

    code = grpc.StatusCode.UNAUTHENTICATED


class ResourceExhausted(ServalError):
    """Over a limit on size or number."""

    code = grpc.StatusCode.RESOURCE_EXHAUSTED


class FailedPrecondition(ServalError):
    """The request is right, but not in the state that the registry, or this client, is in."""

    code = grpc.StatusCode.FAILED_PRECONDITION


class Aborted(ServalError):
    """Another call got in between."""

    code = grpc.StatusCode.ABORTED


class OutOfRange(ServalError):
    """Past the end of what there is."""

    code = grpc.StatusCode.OUT_OF_RANGE


class Unimplemented(ServalError):
    """The server does not offer this method."""

    code = grpc.StatusCode.UNIMPLEMENTED


class Internal(ServalError):
    """A fault of the server, or a model that failed on rows that its signature allows."""

    code = grpc.StatusCode.INTERNAL


class Unavailable(ServalError):
    """Nothing was done; the same call may succeed later."""

    code = grpc.StatusCode.UNAVAILABLE


class DataLoss(ServalError):
    """What is stored or what arrived does not match its checksum."""

    code = grpc.StatusCode.DATA_LOSS


class MissingExtra(ServalError, ImportError):
    """A package that this needs is not installed; the message says which extra brings it."""

    code = grpc.StatusCode.FAILED_PRECONDITION


BY_CODE: dict[grpc.StatusCode, type[ServalError]] = {
    kind.code: kind
    for kind in (
        Cancelled,
        InvalidArgument,
        DeadlineExceeded,
        NotFound,
        AlreadyExists,
        PermissionDenied,
        Unauthenticated,
        ResourceExhausted,
        FailedPrecondition,
        Aborted,
        OutOfRange,
        Unimplemented,
        Internal,
        Unavailable,
        DataLoss,
    )
}

_BY_NUMBER: dict[int, grpc.StatusCode] = {code.value[0]: code for code in grpc.StatusCode}

# How grpc words a connection that could not be made, as against an UNAVAILABLE that a server answered.
_NO_CONNECTION = (
    *("failed to connect", "DNS resolution failed", "connections to all backends failing"),
    *("errors resolving", "Failed to create channel"),
)


NO_SERVER = "no server answers at "


def of_status(code: grpc.StatusCode, details: str) -> ServalError:
    """Return the error for a status."""
    return BY_CODE.get(code, ServalError)(details or code.name)


def of_number(code: int, details: str) -> ServalError:
    """Return the error for a status code by its number, as `serval.v1.Error` carries it."""
    return of_status(_BY_NUMBER.get(code, grpc.StatusCode.UNKNOWN), details)


def of_rpc(error: grpc.RpcError, target: str) -> ServalError:
    """Return what a failed call to `target` is to its caller; for sync and asyncio calls alike."""
    code = error.code()
    details = error.details() or ""
    if code is grpc.StatusCode.UNAVAILABLE and details.startswith(_NO_CONNECTION):
        reason = details.rsplit(": ", 1)[-1].rstrip("]")
        return Unavailable(f"{NO_SERVER}{target} ({reason})")
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return DeadlineExceeded(f"{target} gave no answer within the timeout; raise it or send less")
    return of_status(code, details)
