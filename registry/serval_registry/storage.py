"""Where a registry lies: a folder, or a bucket of an S3-compatible store.

Both hold artifacts, tables and a few small documents, and know how to let one writer write at a time. What differs is
what the promises rest on: a folder has flock, rename and fsync; a bucket has conditional writes (`object_storage`).
"""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from serval_registry.artifacts import ArtifactStore, Stored
from serval_registry.durability import Durability, Flusher, flush_directory
from serval_registry.errors import InvalidArgument, NotFound
from serval_registry.faults import Faults
from serval_registry.locks import FileLock, WriterLock
from serval_registry.recovery import recover


class Artifacts(Protocol):
    """Bytes by their SHA-256."""

    def put(self, content: bytes) -> str:
        """Store `content` durably, once, and return its digest."""

    def get(self, sha256: str, owner: str) -> bytes:
        """Return the content; DataLoss, naming `owner`, when it is missing or altered."""

    def has(self, sha256: str) -> bool:
        """Tell whether there is content of this digest, whole or not."""

    def stored(self) -> Iterator[Stored]:
        """Yield everything that is there."""

    def remove(self, sha256: str) -> None:
        """Remove content that nothing refers to; the writer's lock is held."""


class Turn(Protocol):
    """A lock over all processes, not to be taken twice by one."""

    def acquire(self, deadline: float) -> bool:
        """Return whether it was granted before `deadline`, a time.monotonic()."""

    def release(self) -> None:
        """Let it go."""

    def close(self) -> None:
        """Give it up for good."""


class Writers(Protocol):
    """The lock that every write to the tables is made under."""

    def held(self) -> AbstractContextManager[None]:
        """Hold the lock; Unavailable when it cannot be had in time, with nothing done."""

    def close(self) -> None:
        """Give it up for good."""


class Storage(Protocol):
    """What a registry needs of the place that it lies in."""

    writers: Writers
    artifacts: Artifacts
    faults: Faults

    @property
    def tables(self) -> str:
        """Where LanceDB finds the tables."""

    @property
    def options(self) -> dict[str, str]:
        """What LanceDB has to be told to get there."""

    @property
    def derived(self) -> Path | None:
        """A local folder for what can be derived from the tables and is mapped into memory; None: there is none."""

    @property
    def durable(self) -> bool:
        """Whether what `flush` has seen survives the loss of power."""

    @property
    def exclusive(self) -> bool:
        """Whether nobody else gets the writer's lock while its holder lives."""

    def turn(self, name: str) -> Turn:
        """Return the lock of this name."""

    def recover(self, ready: Callable[[str], bool], *, anyway: bool) -> list[str] | None:
        """Make the tables such that LanceDB can open them, and say what was done; see `recovery.recover`."""

    def drop(self, table: str) -> None:
        """Remove a table that nobody needs; one that was removed in part has no commits. The writer's lock is held."""

    def flush(self) -> None:
        """Return once every commit that is visible now is on disk."""

    def check_writer(self) -> None:
        """Unavailable where this process held the writer's lock and may have lost it."""

    def claim(self, name: str, version: int) -> bool:
        """Take a number for good; False where another writer has it."""

    def read(self, document: str) -> bytes | None:
        """Return a small document, or None."""

    def write(self, document: str, content: bytes) -> None:
        """Replace a small document."""

    def names(self, folder: str) -> frozenset[str]:
        """Return the names of the documents in a folder."""

    def remove(self, document: str) -> None:
        """Remove a small document, if it is there."""

    def close(self) -> None:
        """Let go of what is held."""


class Folder:
    """A registry in a folder of a local file system that has hard links and flock."""

    def __init__(self, directory: Path, durability: Durability) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "tables").mkdir(exist_ok=True)
        self._directory = directory
        self._durable = durability is Durability.DISK
        self._flusher = Flusher(directory / "tables", durability)
        self.writers: Writers = WriterLock(directory)
        self.artifacts: Artifacts = ArtifactStore(directory / "artifacts", durability)
        self.faults = Faults()
        if durability is Durability.DISK:
            flush_directory(directory)
            flush_directory(directory.absolute().parent)

    @property
    def tables(self) -> str:
        """The folder of the tables."""
        return str(self._directory / "tables")

    @property
    def options(self) -> dict[str, str]:
        """Nothing."""
        return {}

    @property
    def derived(self) -> Path | None:
        """The folder itself."""
        return self._directory

    @property
    def durable(self) -> bool:
        """As the registry was opened."""
        return self._durable

    @property
    def exclusive(self) -> bool:
        """Always: the kernel takes an flock from nobody who is alive."""
        return True

    def turn(self, name: str) -> Turn:
        """An flock."""
        return FileLock(self._directory / f"{name}.lock")

    def recover(self, ready: Callable[[str], bool], *, anyway: bool) -> list[str] | None:
        """Move aside what a power cut has torn."""
        return recover(self._directory, ready, anyway=anyway)

    def drop(self, table: str) -> None:
        """Move it out of the way, which is one step, and remove it there."""
        path, aside = self._directory / "tables" / f"{table}.lance", self._directory / f"{table}.dropped"
        shutil.rmtree(aside, ignore_errors=True)  # as a process has left it that was killed
        os.rename(path, aside)
        shutil.rmtree(aside)

    def flush(self) -> None:
        """Fsync files and folders."""
        self._flusher.flush()

    def check_writer(self) -> None:
        """Pass: the kernel takes an flock from nobody who is alive."""

    def claim(self, name: str, version: int) -> bool:  # noqa: ARG002
        """The writer's lock has decided already."""
        return True

    def read(self, document: str) -> bytes | None:
        """Read a file."""
        try:
            return (self._directory / document).read_bytes()
        except FileNotFoundError:
            return None

    def write(self, document: str, content: bytes) -> None:
        """Replace a file."""
        path = self._directory / document
        path.parent.mkdir(exist_ok=True)
        aside = self._directory / f"{path.name}.new"
        aside.write_bytes(content)
        os.replace(aside, path)

    def names(self, folder: str) -> frozenset[str]:
        """List a folder."""
        try:
            return frozenset(os.listdir(self._directory / folder))
        except FileNotFoundError:
            return frozenset()

    def remove(self, document: str) -> None:
        """Remove a file."""
        (self._directory / document).unlink(missing_ok=True)

    def close(self) -> None:
        """Close the locks."""
        self.writers.close()


def check_exists(data: Path | str) -> None:
    """Raise NotFound for a folder that holds no registry; a bucket is not asked."""
    text = str(data)
    if "://" not in text and not (Path(text) / "tables").is_dir():
        raise NotFound(f"data: {text!r} holds no registry")


def storage_of(data: Path | str, durability: Durability = Durability.DISK) -> Storage:
    """Return the storage at a path, or at s3://bucket/prefix; InvalidArgument for any other scheme."""
    text = str(data)
    if text.startswith("s3://"):
        from serval_registry.object_storage import Bucket  # an extra: few registries lie in a bucket

        return Bucket(text)
    scheme, colon, _ = text.partition("://")
    if colon:
        raise InvalidArgument(f"data: {scheme}:// is not known; wanted a folder, or s3://bucket/prefix")
    return Folder(Path(data), durability)
