"""Where windows are kept: files that hold what one process has seen of all versions in some seconds.

Rules. A file is written whole, renamed into place and never changed; its name says when it begins and ends. As it gets
older it is merged with its neighbours, of all processes: into minutes, then hours, then days, which are dropped in the
end. A merged file names what it was made of, so that whoever is killed in between counts nothing twice. Any process
may read and merge; one at a time merges. What cannot be read is told once and lost: it hides nothing else.

    level-start-end-writer.slots    milliseconds since the epoch
    {"merged": [names], "entries": [[name, version, rows, at, length], ...]}
    what the accumulators are as octets
"""

import contextlib
import json
import logging
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from serval_registry.locks import FileLock

from serval_server.monitor.accumulator import Accumulator

LOG = logging.getLogger(__name__)

Key = tuple[str, int]  # name and version

MINUTE, HOUR, DAY = 60, 3600, 86400
# Level i + 1 holds spans of so many seconds, made once they ended so many seconds ago.
SPANS: Final = ((MINUTE, MINUTE), (HOUR, 2 * HOUR), (DAY, 2 * DAY))
KEPT_SECONDS: Final = 90 * DAY

# What octets that are none of ours, or are damaged, may raise when they are taken for ours; zstd raises OSError.
UNREADABLE: Final = (ValueError, KeyError, TypeError, AttributeError, OSError)

_ENDING: Final = ".slots"
_ASIDE: Final = f"{_ENDING}.new"


class Entry(NamedTuple):
    """What a file holds of one version, as it was observed by one layout."""

    rows: int
    at: int
    length: int


class Slot(NamedTuple):
    """A file: what its name and its first line say. `entries`: of each version, one for each layout."""

    level: int
    start: float
    end: float
    file: str
    merged: frozenset[str]
    entries: Mapping[Key, Sequence[Entry]]

    @property
    def writer(self) -> str:
        """Return whose file it is: one process, whose slots follow each other in time."""
        return self.file.split("-", 3)[3].removesuffix(_ENDING)

    def rows(self, key: Key) -> int:
        """Return how many rows of a version were looked at."""
        return sum(entry.rows for entry in self.entries.get(key, ()))


class Slots:
    """The files of one folder."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._writer, self._written = _new_writer(), 0.0  # and up to when
        self._known: dict[str, Slot] = {}
        self._told: set[tuple[str, int]] = set()  # of what is damaged: files, and where in them
        self._turn = FileLock(folder / "turn.lock")

    def close(self) -> None:
        """Let go of the lock's file."""
        self._turn.close()

    def write(self, start: float, end: float, parts: Iterable[tuple[Key, Accumulator]]) -> None:
        """Keep what was seen between two moments. Raises OSError."""
        if end < self._written:  # the clock was set back; a writer's slots follow each other, so these are another's
            self._writer = _new_writer()
        self._written = end
        self._write(0, start, end, parts, ())

    def listing(self) -> list[Slot]:
        """Return all slots, newest first, none of which another one holds already."""
        known = self._known
        files = [file for file in os.listdir(self._folder) if file.endswith(_ENDING)]
        slots = [slot for file in files if (slot := known.get(file) or self._slot(file)) is not None]
        self._known = {slot.file: slot for slot in slots}
        self._told = {told for told in self._told if told[0] in self._known}
        merged = frozenset[str]().union(*(slot.merged for slot in slots))
        return sorted((slot for slot in slots if slot.file not in merged), key=lambda slot: (-slot.end, slot.file))

    def read(self, slot: Slot, key: Key) -> list[Accumulator]:
        """Return what a slot holds of a version, one for each layout it was observed by; what is damaged is left out.

        Raises FileNotFoundError where it was merged since it was listed.
        """
        wanted = slot.entries.get(key, ())
        if not wanted:
            return []
        with open(self._folder / slot.file, "rb") as file:
            contents = [_content(file, entry) for entry in wanted]
        found = (self._part(slot, key, *pair) for pair in zip(wanted, contents, strict=True))
        return [part for part in found if part is not None]

    @contextlib.contextmanager
    def turn(self) -> Iterator[bool]:
        """Yield whether this process is the one that may merge, and is it until the end."""
        mine = self._turn.try_acquire()
        try:
            yield mine
        finally:
            if mine:
                self._turn.release()

    def merge(self, now: float) -> None:
        """Merge what is old enough. In a turn. Raises OSError."""
        self._sweep(now)
        for level, (span, age) in enumerate(SPANS):
            self._merge_level(level, span, now - age)

    def _sweep(self, now: float) -> None:
        """Remove what is held elsewhere already, or too old."""
        files = os.listdir(self._folder)  # first: what others write meanwhile is not in it
        current = {slot.file for slot in self.listing() if slot.end >= now - KEPT_SECONDS}
        for file in files:
            if file.endswith(_ENDING) and file not in current:
                self._remove(file)
            elif file.endswith(_ASIDE) and self._age(file, now) > MINUTE:
                self._remove(file)  # of a write that failed, or was killed

    def _merge_level(self, level: int, span: int, until: float) -> None:
        groups: dict[int, list[Slot]] = {}
        for slot in self.listing():
            if slot.level == level:
                groups.setdefault(int(slot.start // span), []).append(slot)
        for number, slots in groups.items():
            if (number + 1) * span <= until:
                parts = self._sums(slots)
                start, end = min(slot.start for slot in slots), max(slot.end for slot in slots)
                self._write(level + 1, start, end, parts, [slot.file for slot in slots])
                for slot in slots:
                    self._remove(slot.file)

    def _sums(self, slots: Iterable[Slot]) -> list[tuple[Key, Accumulator]]:
        sums: dict[tuple[Key, str], Accumulator] = {}
        for slot in slots:
            for key in slot.entries:
                for part in self.read(slot, key):
                    whole = sums.setdefault((key, part.digest), part)
                    if whole is not part:
                        whole.add(part)
        return [(key, whole) for (key, _), whole in sums.items()]

    def _write(
        self, level: int, start: float, end: float, parts: Iterable[tuple[Key, Accumulator]], merged: Iterable[str]
    ) -> None:
        entries, blobs, at = [], [], 0
        for (name, version), part in parts:
            blobs.append(part.to_bytes())
            entries.append((name, version, part.rows, at, len(blobs[-1])))
            at += len(blobs[-1])
        head = json.dumps({"merged": list(merged), "entries": entries}).encode() + b"\n"
        file = f"{level}-{int(start * 1000)}-{int(end * 1000)}-{self._writer}{_ENDING}"
        aside = self._folder / f"{file.removesuffix(_ENDING)}{_ASIDE}"
        try:
            aside.write_bytes(head + b"".join(blobs))
            os.replace(aside, self._folder / file)
        except OSError:
            self._remove(aside.name)  # where the disk is full, half a file is in the way of others' whole ones
            raise

    def _slot(self, file: str) -> Slot | None:
        """Read what a file says of itself; None where it is gone, or torn, as a power cut may leave it."""
        try:
            with open(self._folder / file, "rb") as opened:
                line = opened.readline()
                octets = os.fstat(opened.fileno()).st_size
        except FileNotFoundError:
            return None
        try:
            return _slot_of(file, line, octets)
        except UNREADABLE as error:
            LOG.warning("%s is torn, what it held of live monitoring is lost: %s", self._folder / file, error)
            return None

    def _part(self, slot: Slot, key: Key, entry: Entry, content: bytes) -> Accumulator | None:
        try:
            return Accumulator.from_bytes(content)
        except UNREADABLE as error:
            if (slot.file, entry.at) not in self._told:
                self._told.add((slot.file, entry.at))
                whose = f"{entry.rows} rows of {key[0]}@{key[1]}"
                LOG.warning("%s is damaged, %s are lost: %s", self._folder / slot.file, whose, error)
            return None

    def _age(self, file: str, now: float) -> float:
        try:
            return now - os.stat(self._folder / file).st_mtime
        except FileNotFoundError:
            return 0.0

    def _remove(self, file: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.remove(self._folder / file)


def _slot_of(file: str, line: bytes, octets: int) -> Slot:
    """Return what a file of so many octets says of itself, in its name and its first line."""
    level, start, end, _ = file.split("-", 3)
    head: Mapping[str, Any] = json.loads(line)
    entries: dict[Key, list[Entry]] = {}
    for name, number, rows, at, length in head["entries"]:
        if len(line) + at + length > octets:
            raise ValueError("it ends before what its first line names")
        entries.setdefault((name, number), []).append(Entry(rows, len(line) + at, length))
    return Slot(int(level), int(start) / 1000, int(end) / 1000, file, frozenset(head["merged"]), entries)


def _new_writer() -> str:
    return f"{os.getpid()}.{time.time_ns():x}"


def _content(file: Any, entry: Entry) -> bytes:
    file.seek(entry.at)
    content: bytes = file.read(entry.length)
    return content
