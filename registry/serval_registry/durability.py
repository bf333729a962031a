"""What an acknowledged write survives.

LanceDB commits by making a name (link(2) of a manifest) and flushes nothing, so its commits survive a killed process
but not a power cut. `Flusher` makes them: it flushes what a table's newest manifest can refer to before the manifest
itself. It flushes what *any* process has written, not only its own caller: a commit stands on those before it, and on
what housekeeping has merged, and its own files are worth nothing without theirs.
"""

import os
from enum import StrEnum
from pathlib import Path

# Contents before the manifests that name them. Transaction files serve only writers at work.
_ORDER = ("data", "_deletions", "_indices", "_versions")


class Durability(StrEnum):
    """What an acknowledged write survives: the death of any process, or the loss of power too."""

    DISK = "disk"
    PROCESS = "process"


class Flusher:
    """Flushes a folder of LanceDB tables. Threads may share it."""

    def __init__(self, tables: Path, durability: Durability) -> None:
        self._tables = tables
        self._durability = durability
        # Files of tables never change, so a name that was flushed needs it no more.
        self._flushed: dict[Path, frozenset[str]] = {}

    def flush(self) -> None:
        """Return once every commit that is visible now is on disk."""
        if self._durability is Durability.PROCESS:
            return
        for table in sorted(self._tables.glob("*.lance")):
            for folder in _ORDER:
                self._flush_folder(table / folder)
            self._flush_names(table, _names(table))
        self._flush_names(self._tables, _names(self._tables))

    def _flush_folder(self, folder: Path) -> None:
        known = self._flushed.get(folder, frozenset())
        try:
            entries = list(os.scandir(folder))
        except FileNotFoundError:
            return
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                self._flush_folder(Path(entry.path))
            elif entry.name not in known:
                flush_file(entry.path)
        self._flush_names(folder, frozenset(entry.name for entry in entries))

    def _flush_names(self, folder: Path, names: frozenset[str]) -> None:
        if not names <= self._flushed.get(folder, frozenset()):
            flush_directory(folder)
        self._flushed[folder] = names


def flush_directory(path: Path) -> None:
    """Make the names in a folder as durable as the files they name."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _names(folder: Path) -> frozenset[str]:
    return frozenset(os.listdir(folder))


def flush_file(path: str) -> None:
    """Put a file's content on disk; a file that is gone is left out."""
    try:
        fd = os.open(path, os.O_RDONLY)
    except FileNotFoundError:  # another writer's temporary file, renamed meanwhile, or cleaned up
        return
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
