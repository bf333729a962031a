"""What LanceDB raises, as what a caller may see: damage of what is stored, or a storage that does not answer."""

import logging
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from serval_registry.errors import DataLoss, ServalError, Unavailable
from serval_registry.torn import torn_files

logger = logging.getLogger("serval.registry")

# How LanceDB words, of files that it could read, that they are not what it has written.
_DAMAGE = re.compile(
    r"invalid magic|failed to decode|decompress|corrupt|Invalid range|failed to fill whole buffer"
    r"|file size is too small|outside (?:of )?(?:metadata region|file)|out of range for slice"
    r"|unsupported index version|rust future panicked|Not found: \S*\.lance|NoSuchKey",
    re.IGNORECASE,
)
_FILE = re.compile(r"[\w.-]+\.lance/(?:data|_indices|_deletions|_versions)(?:/[\w.-]+)*")

# LanceDB's bindings raise it under this name, and export it nowhere.
_PANIC = "RustPanic"

_NAMED_MAX = 3


class Outage:
    """Tells the log once that something fails, and once that it answers again. Threads may share it."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._guard = threading.Lock()
        self._failures = 0
        self._kind = ""

    def failed(self, error: Exception) -> None:
        """Take an error that was just caught; only the first of its type since the last answer is logged."""
        kind = type(error).__name__
        with self._guard:
            is_news = not self._failures or kind != self._kind
            self._failures += 1
            self._kind = kind
        if is_news:
            logger.error("%s failed; more failures of this type are counted", self._what, exc_info=error)

    def answered(self) -> None:
        """Take that it answers."""
        if not self._failures:
            return
        with self._guard:
            failures, self._failures = self._failures, 0
        if failures:
            logger.warning("%s answers again; it had failed %d times", self._what, failures)


class Faults:
    """Turns LanceDB's errors, which carry source paths of its own, into ones that a caller may see."""

    def __init__(self) -> None:
        self._outage = Outage("the storage of the registry")
        self._damaged: dict[str, Outage] = {}

    @contextmanager
    def of(self, uri: str) -> Iterator[None]:
        """Watch over what is done to the table at `uri`, or to all of those in there.

        DataLoss, which names the files, where what is stored is damaged; Unavailable for whatever else fails.
        """
        try:
            yield
        except ServalError:
            raise
        except Exception as error:
            if not is_lances(error):
                raise
            if _DAMAGE.search(str(error)):
                self._damaged.setdefault(uri, Outage(f"table {_name(uri)}")).failed(error)
                raise damaged(uri, error) from error
            self._outage.failed(error)
            raise Unavailable(
                f"registry: the storage failed with {type(error).__name__}; the server's log has the rest"
            ) from error
        else:
            self._outage.answered()


def is_lances(error: Exception) -> bool:
    """Tell whether an error may be one that LanceDB raises."""
    return isinstance(error, (ValueError, RuntimeError, OSError)) or type(error).__name__ == _PANIC


def damaged(uri: str, error: Exception | None = None) -> DataLoss:
    """Return what a caller is told of a damaged table, and what is to be done."""
    named = sorted(set(_FILE.findall(str(error or ""))))
    if not named and "://" not in uri:
        named = torn_files(Path(uri))
    files = ", ".join(named[:_NAMED_MAX]) + (" and others" if len(named) > _NAMED_MAX else "")
    return DataLoss(
        f"registry: table {_name(uri)} is damaged ({files or 'its content cannot be decoded'}); `serval registry "
        "repair` mends what can be mended, `serval registry verify` says what is left"
    )


def _name(uri: str) -> str:
    return uri.rstrip("/").rpartition("/")[2].removesuffix(".lance")
