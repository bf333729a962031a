"""Bytes kept by their SHA-256: DIRECTORY/ab/cdef..., each written once and never changed.

What is named by a row is on disk before the row is: written aside, flushed, renamed, and the folder flushed.
"""

import hashlib
import os
import re
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from serval_registry.durability import Durability, flush_directory
from serval_registry.errors import DataLoss

_DIGEST = re.compile(r"[0-9a-f]{64}")

# What a killed writer left aside is swept away at a later opening, once it is surely nobody's.
_ABANDONED = 3600.0


class Stored(NamedTuple):
    """Content that lies in a store: its SHA-256, size in bytes, and when it was last put there."""

    sha256: str
    bytes: int
    put: datetime


def digest(content: bytes) -> str:
    """Return the SHA-256 of `content` in lower-case hex."""
    return hashlib.sha256(content).hexdigest()


def check_digest(sha256: str) -> None:
    """Raise DataLoss unless a stored name can be that of content."""
    if not _DIGEST.fullmatch(sha256):
        raise DataLoss(f"artifact: {sha256[:80]!r} is not a SHA-256 in lower-case hex")


class ArtifactStore:
    """A folder of immutable files named by their content."""

    def __init__(self, directory: Path, durability: Durability = Durability.DISK) -> None:
        self._directory = directory
        self._synced = durability is Durability.DISK
        self._incoming = directory / "incoming"
        self._incoming.mkdir(parents=True, exist_ok=True)
        self._sweep()

    def path(self, sha256: str) -> Path:
        """Return where content of this digest lies, or would lie."""
        check_digest(sha256)
        return self._directory / sha256[:2] / sha256[2:]

    def put(self, content: bytes) -> str:
        """Store `content` durably, once, and return its digest."""
        sha256 = digest(content)
        path = self.path(sha256)
        if not self._touched(path, content):
            self._write(path, content)
        # Whoever else made the file or its folder may not have come to this yet.
        self._flush(path.parent)
        self._flush(self._directory)
        return sha256

    def get(self, sha256: str, owner: str) -> bytes:
        """Return the content of this digest; DataLoss, naming `owner`, when it is missing or altered."""
        try:
            content = self.path(sha256).read_bytes()
        except FileNotFoundError:
            raise DataLoss(f"{owner}: the file of SHA-256 {sha256} is missing") from None
        found = digest(content)
        if found != sha256:
            raise DataLoss(f"{owner}: the file of SHA-256 {sha256} is damaged: its content now has SHA-256 {found}")
        return content

    def has(self, sha256: str) -> bool:
        """Tell whether there is content of this digest, whole or not."""
        return self.path(sha256).exists()

    def stored(self) -> Iterator[Stored]:
        """Yield everything that is there."""
        for folder in sorted(self._directory.glob("??")):
            for entry in os.scandir(folder):
                try:
                    status = entry.stat()
                except FileNotFoundError:
                    continue
                yield Stored(folder.name + entry.name, status.st_size, datetime.fromtimestamp(status.st_mtime, UTC))

    def remove(self, sha256: str) -> None:
        """Remove content that nothing refers to; the writer's lock is held."""
        self.path(sha256).unlink(missing_ok=True)

    def _touched(self, path: Path, content: bytes) -> bool:
        """Tell whether the content is there, and make it young, so that nobody removes it before it is referred to."""
        # Compared, not only looked for: registering the same content again heals a damaged file.
        try:
            if path.stat().st_size != len(content) or path.read_bytes() != content:
                return False
            os.utime(path)
        except FileNotFoundError:
            return False
        return True

    def _write(self, path: Path, content: bytes) -> None:
        path.parent.mkdir(exist_ok=True)
        fd, aside = tempfile.mkstemp(dir=self._incoming)
        try:
            with open(fd, "wb") as file:
                file.write(content)
                file.flush()
                if self._synced:
                    os.fsync(file.fileno())
            os.chmod(aside, 0o444)
            os.rename(aside, path)
        except BaseException:
            Path(aside).unlink(missing_ok=True)
            raise

    def _flush(self, folder: Path) -> None:
        if self._synced:
            flush_directory(folder)

    def _sweep(self) -> None:
        for entry in os.scandir(self._incoming):
            try:
                if time.time() - entry.stat().st_mtime > _ABANDONED:
                    os.unlink(entry.path)
            except FileNotFoundError:
                continue
