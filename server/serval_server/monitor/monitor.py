"""Watches the versions that this process serves, and answers for what all processes have seen.

One thread looks at the rows that have been answered and writes what it has seen every few seconds. Beside it, in one of
the processes at a time, another tests what all have written, and merges and reports what is old enough, which may take
longer. What is not written yet when a process is killed is lost: no more than the interval.
"""

import contextlib
import logging
import queue
import threading
import time
import weakref
from pathlib import Path
from typing import Final

from serval_registry.errors import NotFound
from serval_registry.model import Ref, Version
from serval_registry.registry import Registry

from serval_server.engine.loaded import LoadedModel
from serval_server.monitor.accumulator import Accumulator
from serval_server.monitor.layout import Layouts
from serval_server.monitor.life import LifeReport
from serval_server.monitor.lives import Lives
from serval_server.monitor.observer import Observer
from serval_server.monitor.reports import Reports
from serval_server.monitor.slots import Key, Slots
from serval_server.monitor.verdict import Rule
from serval_server.monitor.windows import Seen, Window
from serval_server.priority import stand_back
from serval_server.spare import SpareTime

LOG = logging.getLogger(__name__)

ROUND_SECONDS: Final = 0.25  # what few callers have left is looked at this often
FOLLOW_SECONDS: Final = 1.0  # how often it looks for new baselines
_NICENESS: Final = 5  # it stands back behind those who answer


class Monitor:
    """The observers of one process, and the slots that all share."""

    def __init__(
        self,
        registry: Registry,
        folder: Path,
        interval: float,
        report_interval: float,
        alarms: Rule | None = None,
        spare: SpareTime | None = None,
    ) -> None:
        """Take where to write, how often, how often to report, and the rule of the lives that begin from now on.

        `spare`: of whoever answers, for looks at the rows that it leaves; without it they are all the thread's.
        """
        self._registry = registry
        self._spare = spare
        self.interval = interval
        self.slots = Slots(folder)
        self._layouts = Layouts(registry)
        self.lives = Lives(folder / "lives", registry, self._layouts, self.slots, interval, self._raised, alarms)
        self._reports = Reports(registry, self._layouts, self.slots, report_interval, interval, self.life)
        self._cursor = registry.changes(None).cursor
        self._watched: list[tuple[weakref.ref[LoadedModel], Key, Observer]] = []
        self._changing = threading.Lock()  # of `_watched`
        self._keeping = threading.Lock()  # what is taken from an observer is in a file when it is let go
        self._unwritten: dict[tuple[Key, str], Accumulator] = {}  # by layout, as slots hold them
        self._since = time.time()
        self._woken: queue.SimpleQueue[Observer | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="serval-monitor", daemon=True)
        self._upkeep: threading.Thread | None = None
        self._stopping = False

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """Look at what is left, write it and end."""
        self._stopping = True
        self._woken.put(None)
        if self._thread.is_alive():
            self._thread.join()
        if self._upkeep is not None:
            self._upkeep.join()
        try:
            self._keep()
        except OSError:  # a full disk is to keep nobody from ending in order
            LOG.exception("what was observed last is lost")
        self.lives.close()
        self.slots.close()

    def watch(self, model: LoadedModel) -> None:
        """Have the rows that a model answers observed; one that cannot be is served all the same."""
        try:
            layout = self._layouts.of(model.version)
        except Exception:
            LOG.exception("%s is served, but not monitored", model.version.ref)
            return
        observer: Observer = Observer(layout, lambda: self._woken.put(observer), self._spare)
        with self._changing:
            self._watched.append((weakref.ref(model), (model.name, model.number), observer))
        model.observer = observer

    def seen(self, version: Version, window: Window) -> Seen:
        """Return what all processes have seen of a version, this one up to now, others up to an interval ago."""
        while True:
            with contextlib.suppress(FileNotFoundError):  # a slot was merged meanwhile
                return self._seen(version, window)

    def life(self, version: Version) -> LifeReport | None:
        """Return what is known of a version since its baseline was set; None where nothing is."""
        return self.lives.of(version, self._layouts.of(version))

    def watched(self) -> list[Key]:
        """Return the versions that are observed by this process."""
        with self._changing:
            return sorted({key for _, key, _ in self._watched})

    def _seen(self, version: Version, window: Window) -> Seen:
        key, layout = (version.name, version.version), self._layouts.of(version)
        now = time.time()
        seen = Seen(layout, Accumulator.of(layout), now, now)
        with self._keeping:
            listing = self.slots.listing()
            for part in self._in_memory(key):
                seen.add(part, self._since)
        for slot in listing:
            if window.rows and seen.total.rows >= window.rows:
                break
            if not window.rows and slot.end <= now - window.seconds:
                break
            for part in self.slots.read(slot, key):
                seen.add(part, slot.start)
        return seen

    def _in_memory(self, key: Key) -> list[Accumulator]:
        found = [part for (other, _), part in list(self._unwritten.items()) if other == key]
        with self._changing:
            observers = [observer for _, other, observer in self._watched if other == key]
        return found + [part for observer in observers if (part := observer.snapshot()) is not None]

    # The threads

    def _run(self) -> None:
        stand_back(_NICENESS)
        tick_at = time.monotonic() + self.interval
        follow_at = 0.0
        while not self._stopping:
            try:
                self._look(max(0.0, min(ROUND_SECONDS, tick_at - time.monotonic())))
                if time.monotonic() >= follow_at:
                    follow_at = time.monotonic() + FOLLOW_SECONDS
                    self._follow()
                if time.monotonic() >= tick_at:
                    tick_at = time.monotonic() + self.interval
                    try:
                        self._keep()
                    except OSError as error:
                        LOG.error("what was observed is not written, and waits for the next time: %s", error)
                    self._begin_upkeep()  # which makes room, too
            except Exception:
                LOG.exception("monitoring failed; going on")

    def _look(self, patience: float) -> None:
        """Look at what one observer has for us or, where none has much, at the calls that all were left."""
        try:
            observer = self._woken.get(timeout=patience)
        except queue.Empty:
            with self._changing:
                observers = [observer for _, _, observer in self._watched]
            for observer in observers:
                observer.look_at_calls()
        else:
            if observer is not None:
                observer.relieve()

    def _begin_upkeep(self) -> None:
        if self._upkeep is None or not self._upkeep.is_alive():
            self._upkeep = threading.Thread(target=self._look_after, name="serval-monitor-upkeep", daemon=True)
            self._upkeep.start()

    def _look_after(self) -> None:
        """Test, merge and report what all processes have written, unless another is at it."""
        stand_back(_NICENESS)
        try:
            with self.slots.turn() as mine:
                if mine:
                    self.lives.look()  # before what it looks at is merged
                    self.slots.merge(time.time())
                    if self._reports.close():
                        self.lives.sweep()
        except Exception:
            LOG.exception("looking after what was monitored failed; it is tried again")

    def _raised(self, version: Version, life: LifeReport, raised: list[str]) -> None:
        # Who names features writes no lines of the log, and moves no cursor of who reads it.
        names = ", ".join(name if name.isprintable() else repr(name) for name in raised)
        LOG.warning("%s: alarm, drift of %s at row %d", version.ref, names, life.rows)
        self._reports.alarm(version, life, raised)

    def _keep(self) -> None:
        """Write what was seen since the last time."""
        with self._keeping:
            now = time.time()
            with self._changing:
                watched = list(self._watched)
            gone = []
            for entry in watched:
                model, key, observer = entry
                part = observer.take()
                if part is not None:
                    waiting = self._unwritten.setdefault((key, part.digest), part)
                    if waiting is not part:
                        waiting.add(part)
                elif (loaded := model()) is None or loaded.observer is not observer:
                    gone.append(entry)
            with self._changing:
                self._watched = [entry for entry in self._watched if entry not in gone]
            if self._unwritten:
                start = min(self._since, now)  # the clock may have been set back
                parts = [(key, part) for (key, _), part in self._unwritten.items()]
                self.slots.write(start, now, parts)  # where that fails, they wait for the next time
            self._unwritten = {}
            self._since = now

    def _follow(self) -> None:
        """Observe by the new baseline where one was set."""
        changes = self._registry.changes(self._cursor)
        self._cursor = changes.cursor
        with self._changing:
            watched = [entry for entry in self._watched if entry[1][0] in changes.names]
        for reference, (name, number), observer in watched:
            model = reference()
            if model is None or model.observer is not observer:
                continue
            try:
                version = self._registry.resolve(Ref(name, version=number))
            except NotFound:
                continue  # deleted; calls under way may still come
            layout, old = self._layouts.of(version), observer.layout
            if (layout.digest, layout.listed) != (old.digest, old.listed):
                self.watch(model)
