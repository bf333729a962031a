"""Everything that can be wrong with a request, by blame and by what a caller can do about it.

One base class; the server turns each class into a gRPC status in one place. A message names the field, what came and
what was wanted.
"""


class ServalError(Exception):
    """Base of every error that a caller is told about."""


class InvalidArgument(ServalError):
    """The request itself is wrong: sending it again unchanged cannot help."""


class NotFound(ServalError):
    """No such name, version, stage or baseline."""


class AlreadyExists(ServalError):
    """What was to be made is there already."""


class FailedPrecondition(ServalError):
    """The request is right, but not in the state that the registry is in."""


class TooLarge(ServalError):
    """Over a limit on size."""


class DataLoss(ServalError):
    """What is stored does not match its checksum."""


class Unavailable(ServalError):
    """Nothing was done; the same request may succeed later."""
