"""Bytes kept by their SHA-256: DIRECTORY/ab/cdef..., each written once and never changed.

What is named by a row is on disk before the row is: written aside, flushed, renamed, and the folder flushed. Content
that no version refers to any more stays where it is; nothing here deletes it.
"""

import hashlib
import os
import re
import tempfile
import time
from pathlib import Path

from serval_registry.errors import DataLoss

_DIGEST = re.compile(r"[0-9a-f]{64}")

# What a killed writer left aside is swept away at a later opening, once it is surely nobody's.
_ABANDONED = 3600.0


def digest(content: bytes) -> str:
    """Return the SHA-256 of `content` in lower-case hex."""
    return hashlib.sha256(content).hexdigest()


class ArtifactStore:
    """A folder of immutable files named by their content."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._incoming = directory / "incoming"
        self._incoming.mkdir(parents=True, exist_ok=True)
        self._sweep()

    def path(self, sha256: str) -> Path:
        """Return where content of this digest lies, or would lie."""
        if not _DIGEST.fullmatch(sha256):
            raise DataLoss(f"artifact: {sha256[:80]!r} is not a SHA-256 in lower-case hex")
        return self._directory / sha256[:2] / sha256[2:]

    def put(self, content: bytes) -> str:
        """Store `content` durably, once, and return its digest."""
        sha256 = digest(content)
        path = self.path(sha256)
        if not self._holds(path, content):
            self._write(path, content)
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

    def _holds(self, path: Path, content: bytes) -> bool:
        # Compared, not only looked for: registering the same content again heals a damaged file.
        try:
            return path.stat().st_size == len(content) and path.read_bytes() == content
        except FileNotFoundError:
            return False

    def _write(self, path: Path, content: bytes) -> None:
        if not path.parent.exists():
            path.parent.mkdir(exist_ok=True)
            flush_directory(self._directory)
        fd, aside = tempfile.mkstemp(dir=self._incoming)
        try:
            with open(fd, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(aside, 0o444)
            os.rename(aside, path)
        except BaseException:
            Path(aside).unlink(missing_ok=True)
            raise
        flush_directory(path.parent)

    def _sweep(self) -> None:
        for entry in os.scandir(self._incoming):
            try:
                if time.time() - entry.stat().st_mtime > _ABANDONED:
                    os.unlink(entry.path)
            except FileNotFoundError:
                continue


def flush_directory(path: Path) -> None:
    """Make the names in a folder as durable as the files they name."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
