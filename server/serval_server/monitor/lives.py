"""Where lives are kept, and who looks: one process at a time, at what all processes have written.

Rules. Each version that has a baseline and was asked has one file, written whole and renamed into place: its record,
which any process reads, and what the looks remember. A record says up to when each writer's slots were looked at, so a
look that was killed is done again, and none twice; and which alarms were not told yet, so that whoever looks next tells
them. A new baseline begins a new life, and so may an operator.

    name's digest-version.life
    record, as one line
    looks, as octets
"""

import hashlib
import logging
import os
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Final, NamedTuple

from serval_registry.errors import FailedPrecondition, InvalidArgument, NotFound
from serval_registry.locks import FileLock, TicketLock, held
from serval_registry.model import Ref, Version
from serval_registry.registry import Registry

from serval_server.monitor.layout import Layout, Layouts
from serval_server.monitor.life import ColumnLife, Life, LifeReport, Record, name_of
from serval_server.monitor.sequential import BLOCK_ROWS
from serval_server.monitor.slots import UNREADABLE, Key, Slot, Slots
from serval_server.monitor.verdict import Rule

LOG = logging.getLogger(__name__)

# Slots of few rows wait so long for more; they are merged, and then no longer told apart, after a minute.
PATIENCE_SECONDS: Final = 30.0
# So much of an interval is for looks, of some milliseconds each. Who was not reached comes first the next time.
SHARE_OF_INTERVAL: Final = 0.1
SECONDS_LEAST: Final = 0.25
MEMORY_OCTETS: Final = 64 << 20

_LOCK_SECONDS: Final = 10.0
_ENDING: Final = ".life"

Raised = Callable[[Version, LifeReport, list[str]], None]


Stamp = tuple[int, int]


class _File(NamedTuple):
    """A life as it was read, or written, last; `stamp` changes with the file."""

    stamp: Stamp
    life: Life


class Lives:
    """The lives in one folder. `raised` is told of new alarms, again where it failed or was killed."""

    def __init__(
        self,
        folder: Path,
        registry: Registry,
        layouts: Layouts,
        slots: Slots,
        interval: float,
        raised: Raised,
        rule: Rule | None = None,
    ) -> None:
        """`rule` is that of the lives that begin from now on; one that goes on keeps its own."""
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._registry = registry
        self._layouts = layouts
        self._rule = rule
        self._slots = slots
        self._seconds = max(SHARE_OF_INTERVAL * interval, SECONDS_LEAST)
        self._raised = raised
        self._known: OrderedDict[Key, _File] = OrderedDict()
        self._passed: dict[Key, dict[str, float]] = {}  # what was not looked at, as there is no baseline
        self._untold: set[Key] | None = None  # lives with alarms to tell; None: those of others are not known yet
        self._threads = TicketLock()
        self._lock = FileLock(folder / "lives.lock")

    def close(self) -> None:
        """Let go of the lock's file."""
        self._lock.close()

    # Anybody

    def of(self, version: Version, layout: Layout) -> LifeReport | None:
        """Return what is known of a version's life; None where it has no baseline, or was not looked at under it."""
        record = self._record((version.name, version.version))
        if record is None or layout.baseline is None or record.baseline != name_of(layout.baseline):
            return None
        return record.report

    def acknowledge(self, version: Version, features: tuple[str, ...], by: str, note: str) -> LifeReport:
        """Note on alarms, of some features or all, that somebody has seen them; they stay what they are.

        Raises FailedPrecondition where the version has no life, InvalidArgument for a feature that has no alarm.
        """
        with self._held():
            key, _, life = self._present(version)
            report = life.record.report
            wanted = set(features) or {column.feature for column in report.alarmed}
            if none := wanted - {column.feature for column in report.alarmed}:
                raise InvalidArgument(f"features: {min(none)!r} has no alarm; wanted some of those that have, or none")
            now = time.time()
            columns = tuple(
                _acknowledged(column, now, by, note) if column.feature in wanted else column
                for column in report.columns
            )
            life.record.report = replace(report, columns=columns)
            self._write(key, life)
            return life.record.report

    def begin_anew(self, version: Version) -> LifeReport:
        """End a version's life, with its alarms, and begin another from the rows that come now; raise as above."""
        with self._held():
            key, layout, life = self._present(version)
            after = Life.begin(layout, version.name, life.record.report.number + 1, time.time(), self._rule)
            after.record.taken = _ends(slot for slot in self._slots.listing() if slot.level == 0)
            self._write(key, after)
            return after.record.report

    # Whose turn it is

    def look(self) -> None:
        """Look at what has come since the last time, of one version after the other, until time is up."""
        waiting: dict[Key, list[Slot]] = {}
        for slot in reversed(self._slots.listing()):
            if slot.level == 0:
                for key in slot.entries:
                    waiting.setdefault(key, []).append(slot)
        seen = {key: record for key in waiting if (record := self._record(key)) is not None}
        self._tell_rest(key for key, record in seen.items() if record.untold)
        self._passed = {key: taken for key, taken in self._passed.items() if key in waiting}
        found = ((key, self._due(key, known, seen.get(key))) for key, known in waiting.items())
        due = [(slots[0].end, key, slots) for key, slots in found if slots]
        started = time.monotonic()  # to find out what is due takes time too, which is to leave nobody without looks
        for _, key, slots in sorted(due, key=lambda item: item[:2]):
            try:
                self._look(self._registry.resolve(Ref(key[0], version=key[1])), slots)
            except NotFound:
                continue
            except Exception:  # what cannot be read of one version keeps nobody from the others, or from merging
                LOG.exception("%s@%d: %d slots are not looked at", *key, len(slots))
                self._pass_over(key, slots)
            if time.monotonic() - started > self._seconds:
                return

    def sweep(self) -> None:
        """Remove the lives of versions that are no more."""
        for name, number in [key for key, _ in self._records()]:
            try:
                self._registry.resolve(Ref(name, version=number))
            except NotFound:
                self._path((name, number)).unlink(missing_ok=True)

    def _tell_rest(self, left: Iterable[Key]) -> None:
        """Tell what was left: by this process, which failed to, or by another, which was killed."""
        if self._untold is None:
            self._untold = {key for key, record in self._records() if record.untold}
        for key in sorted(self._untold | {*left}):
            self._tell(key)

    def _tell(self, key: Key) -> None:
        """Tell of the alarms that were not told; what fails is tried again with the next look."""
        assert self._untold is not None
        self._untold.add(key)
        try:
            version = self._registry.resolve(Ref(key[0], version=key[1]))
            layout, record = self._layouts.of(version), self._record(key)
            if record is not None and layout.baseline is not None and record.baseline == name_of(layout.baseline):
                for names in record.left_to_tell().values():
                    self._raised(version, record.report, names)
                self._told(key, layout, record.untold)
        except NotFound:
            pass
        except Exception as error:
            LOG.warning("%s@%d: its alarm is shown, but no report yet: %s", *key, error, exc_info=True)
            return
        self._untold.discard(key)

    def _told(self, key: Key, layout: Layout, names: list[str]) -> None:
        with self._held():
            life = self._life(key, layout)
            if life is not None and names:
                life.record.untold = [name for name in life.record.untold if name not in names]
                self._write(key, life)

    def _due(self, key: Key, slots: list[Slot], record: Record | None) -> list[Slot]:
        """Return the slots of a version that were not looked at, unless they are few enough to wait for more."""
        taken = self._passed.get(key, {}) | (record.taken if record is not None else {})
        new = [slot for slot in slots if slot.end > taken.get(slot.writer, 0.0)]
        rows = sum(slot.rows(key) for slot in new)
        patient = new and time.time() - new[0].end < PATIENCE_SECONDS
        return [] if rows < BLOCK_ROWS and patient else new

    def _look(self, version: Version, slots: list[Slot]) -> None:
        key, layout = (version.name, version.version), self._layouts.of(version)
        if layout.baseline is None:
            self._pass_over(key, slots)
            return
        with self._held():
            life = self._life(key, layout) or self._begin(key, layout, slots[0].start)
            taken = life.record.taken
            slots = [slot for slot in slots if slot.end > taken.get(slot.writer, 0.0)]
            parts = [part for slot in slots for part in self._slots.read(slot, key) if part.digest == layout.digest]
            new = life.look(parts, slots[-1].end) if parts else []
            there = {slot.writer for slot in self._slots.listing() if slot.level == 0}
            life.record.taken = {writer: end for writer, end in (taken | _ends(slots)).items() if writer in there}
            life.record.untold += new
            self._write(key, life)
        if new:
            self._tell(key)

    def _pass_over(self, key: Key, slots: list[Slot]) -> None:
        self._passed[key] = self._passed.get(key, {}) | _ends(slots)

    def _begin(self, key: Key, layout: Layout, now: float) -> Life:
        record = self._record(key)
        return Life.begin(layout, key[0], record.report.number + 1 if record is not None else 1, now, self._rule)

    # Files

    def _held(self) -> AbstractContextManager[None]:
        return held(self._threads, _LOCK_SECONDS, self._lock.acquire, self._lock.release)

    def _present(self, version: Version) -> tuple[Key, Layout, Life]:
        key, layout = (version.name, version.version), self._layouts.of(version)
        life = self._life(key, layout) if layout.baseline is not None else None
        if life is None:
            raise FailedPrecondition(
                f"{version.ref} has no alarms: it has no baseline, or no rows were looked at since it was set"
            )
        return key, layout, life

    def _record(self, key: Key) -> Record | None:
        path = self._path(key)
        known = self._known.get(key)
        with suppress(FileNotFoundError):
            if known is not None and known.stamp == _stamp(os.stat(path)):
                return known.life.record
            with open(path, "rb") as file:
                return _read(file.readline(), path)
        return None

    def _records(self) -> Iterator[tuple[Key, Record]]:
        """Give what can be read of all lives."""
        for path in self._folder.glob(f"*{_ENDING}"):
            with suppress(FileNotFoundError), open(path, "rb") as file:
                record = _read(file.readline(), path)
                if record is not None:
                    yield (record.name, int(path.stem.rpartition("-")[2])), record

    def _life(self, key: Key, layout: Layout) -> Life | None:
        """Return the life of a version under its present baseline; None where there is none yet."""
        path, known = self._path(key), self._known.get(key)
        assert layout.baseline is not None
        with suppress(FileNotFoundError), open(path, "rb") as file:
            stamp = _stamp(os.fstat(file.fileno()))
            if known is None or known.stamp != stamp:
                record = _read(file.readline(), path)
                if record is None or record.baseline != name_of(layout.baseline):
                    return None
                life = _restored(layout, record, file.read(), path)
                if life is None:
                    return None
                known = self._remember(key, _File(stamp, life))
            return known.life if known.life.record.baseline == name_of(layout.baseline) else None
        return None

    def _write(self, key: Key, life: Life) -> None:
        path = self._path(key)
        aside = path.with_suffix(".new")
        try:
            aside.write_bytes(life.record.to_json().encode() + b"\n" + life.looks())
            stamp = _stamp(os.stat(aside))
            os.replace(aside, path)
        except OSError:
            aside.unlink(missing_ok=True)
            raise
        self._remember(key, _File(stamp, life))

    def _remember(self, key: Key, file: _File) -> _File:
        self._known[key] = file
        self._known.move_to_end(key)
        octets = sum(known.life.octets for known in self._known.values())
        while octets > MEMORY_OCTETS and len(self._known) > 1:
            octets -= self._known.popitem(last=False)[1].life.octets
        return file

    def _path(self, key: Key) -> Path:
        digest = hashlib.blake2b(key[0].encode(), digest_size=16).hexdigest()
        return self._folder / f"{digest}-{key[1]}{_ENDING}"


def _read(line: bytes, path: Path) -> Record | None:
    """Return a record; None where a power cut has left none."""
    try:
        return Record.from_json(line)
    except UNREADABLE:
        LOG.warning("%s cannot be read; the life begins anew", path)
        return None


def _restored(layout: Layout, record: Record, looks: bytes, path: Path) -> Life | None:
    """Return a life that goes on; None where what its looks remember is damaged: they would spend alpha once more."""
    try:
        return Life(layout, record, looks)
    except UNREADABLE as error:
        LOG.warning("%s cannot be read; the life begins anew: %s", path, error)
        return None


def _stamp(found: os.stat_result) -> Stamp:
    return found.st_ino, found.st_mtime_ns


def _ends(slots: Iterable[Slot]) -> dict[str, float]:
    """Return the end of each writer's newest slot."""
    ends: dict[str, float] = {}
    for slot in slots:
        ends[slot.writer] = max(slot.end, ends.get(slot.writer, 0.0))
    return ends


def _acknowledged(column: ColumnLife, now: float, by: str, note: str) -> ColumnLife:
    assert column.alarm is not None
    return replace(column, alarm=replace(column.alarm, acknowledged=now, acknowledged_by=by, note=note))
