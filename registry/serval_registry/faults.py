"""What LanceDB raises, as what a caller may see."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from serval_registry.errors import Unavailable

logger = logging.getLogger("serval.registry")


@contextmanager
def storage_faults() -> Iterator[None]:
    """Turn LanceDB's errors, which carry source paths of its own, into one that a caller may see."""
    try:
        yield
    except (ValueError, RuntimeError, OSError) as error:
        logger.exception("the storage of the registry failed")
        raise Unavailable(
            f"registry: the storage failed with {type(error).__name__}; the server's log has the rest"
        ) from error
