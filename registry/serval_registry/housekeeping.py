"""Keeping the tables quick and the disk small, in a thread of its own, while others read and write.

A thousand single-row writes make queries twenty times slower; merging them takes less than a second and stops no
reader. One process at a time does it. LanceDB lets every other writer win over a merge, so a merge is tried again, and
in the end under the writer's lock. Nothing depends on any of this but speed and space.
"""

import atexit
import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from serval_registry import training
from serval_registry.errors import InvalidArgument, ServalError, Unavailable
from serval_registry.faults import Outage
from serval_registry.filters import alive
from serval_registry.lifecycle.journal import Journal
from serval_registry.mirror.mirror import Mirror
from serval_registry.spaces import upkeep
from serval_registry.storage import Storage
from serval_registry.sweeping import YOUNG, Swept, sweep
from serval_registry.tables import INDEX_ROWS_MIN, Database, Table

logger = logging.getLogger("serval.registry")

# A query over this many pieces takes about half as long again as over one.
FRAGMENTS_MAX = 32

# How many writes of this process pass before the tables are looked at again.
WRITES_BETWEEN = 8

# How often unreferenced content is looked for, and how often a process asks whether it is time to.
SWEEP_EVERY = timedelta(hours=1)
_ASK_EVERY = 60.0

_TRIES = 4
_PATIENCE = 600.0  # writing the first mirror of a million versions takes some minutes

_SWEPT = "swept.json"


@dataclass(frozen=True, slots=True)
class Retention:
    """How long is kept what nothing needs any more.

    commits: earlier states of the tables, for readers that began on them.
    content: artifacts, samples and baselines that no version refers to; at least a minute.
    """

    commits: timedelta = timedelta(minutes=10)
    content: timedelta = timedelta(days=7)

    def __post_init__(self) -> None:
        if self.content < YOUNG:
            raise InvalidArgument(f"retention.content: {self.content}; wanted at least {YOUNG}")


@dataclass(frozen=True, slots=True)
class Status:
    """Housekeeping in numbers. The counts of work are those of this process since it opened the registry."""

    versions: int  # rows, with those of deleted versions
    commits: int  # writes to the table of versions so far
    pieces: int  # that the tables lie in and that could be merged
    indexed_rows: int
    unindexed_rows: int  # found by comparing all of them
    merges: int
    trainings: int
    sweeps: int
    failures: int
    removed_files: int
    removed_bytes: int
    removed_baselines: int
    lag_seconds: float  # for how long work has been waiting, or under way; 0 where there is none
    doing: str  # "merge", "index", "mirror", "sweep" or ""


class Housekeeper:
    """Looks after one registry."""

    def __init__(
        self,
        storage: Storage,
        database: Database,
        journal: Journal,
        index_threshold: int,
        retention: Retention,
        mirror: Mirror,
    ) -> None:
        self._storage = storage
        self._database = database
        self._journal = journal
        self._threshold = max(index_threshold, INDEX_ROWS_MIN)
        self._retention = retention
        self._mirror = mirror
        self._turn = threading.Lock()
        self._turn_of_processes = storage.turn("housekeeping")
        self._writes = 0
        self._counts = dict.fromkeys(("merge", "index", "mirror", "sweep", "failure"), 0)
        self._swept = Swept(0, 0, 0)
        self._doing = ""
        self._waiting_since: float | None = None
        self._wake = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="registry-housekeeping", daemon=True)
        self._thread.start()
        # A daemon thread inside LanceDB while the interpreter goes down would take the process with it.
        atexit.register(self.close)
        self._awake()

    def wrote(self) -> None:
        """Count a write, and every so often have the tables looked at."""
        self._writes += 1
        if self._writes % WRITES_BETWEEN == 0:
            self._awake()

    def close(self) -> None:
        """Stop, after what is under way."""
        if self._stopping:
            return
        self._stopping = True
        self._wake.set()
        self._thread.join()
        atexit.unregister(self.close)
        self._turn_of_processes.close()

    def optimize(self) -> None:
        """Merge the pieces of every table now."""
        with self.alone():
            self._merge()

    def build_index(self) -> int:
        """Train the vector index on all rows now; return how many it covers: none below INDEX_ROWS_MIN."""
        with self.alone():
            self._index_columns()
            self._train()
            self._write_mirror()
            for job in upkeep.due(self._storage, self._database.stamped(), INDEX_ROWS_MIN):
                self._persist(job)
        return self._database.versions.indexed_rows()

    def write_mirror(self) -> None:
        """Write the mirror of the versions now."""
        with self.alone():
            self._write_mirror()

    def sweep(self) -> Swept:
        """Remove now what nothing has referred to for as long as the retention says."""
        with self.alone():
            return self._sweep()

    def status(self) -> Status:
        """Return how far everything is."""
        versions = self._database.versions
        rows, indexed = versions.count(), versions.indexed_rows()
        since = self._waiting_since
        return Status(
            versions=rows,
            commits=versions.commit(),
            pieces=sum(table.fragments() for table in self._database.tables),
            indexed_rows=indexed,
            unindexed_rows=rows - indexed if indexed else 0,
            merges=self._counts["merge"],
            trainings=self._counts["index"],
            sweeps=self._counts["sweep"],
            failures=self._counts["failure"],
            removed_files=self._swept.files,
            removed_bytes=self._swept.bytes,
            removed_baselines=self._swept.baselines,
            lag_seconds=0.0 if since is None else time.monotonic() - since,
            doing=self._doing,
        )

    @contextmanager
    def alone(self, patience: float = _PATIENCE) -> Iterator[None]:
        """Keep all housekeeping of all processes from removing or merging anything meanwhile."""
        deadline = time.monotonic() + patience
        if not self._turn.acquire(timeout=patience):
            raise _Busy("registry: housekeeping is under way in another thread; nothing was done")
        try:
            if not self._turn_of_processes.acquire(deadline):
                raise _Busy("registry: housekeeping is under way in another process; nothing was done")
            try:
                yield
            finally:
                self._turn_of_processes.release()
        finally:
            self._turn.release()

    def _awake(self) -> None:
        if self._waiting_since is None:
            self._waiting_since = time.monotonic()
        self._wake.set()

    def _run(self) -> None:
        outage = Outage("housekeeping of the registry")
        while True:
            self._wake.wait(_ASK_EVERY)
            self._wake.clear()
            if self._stopping:
                return
            try:
                self._look()
            except _Busy:
                pass  # another process is at it
            except (ServalError, RuntimeError, ValueError, OSError) as error:
                self._counts["failure"] += 1
                outage.failed(error)
            else:
                outage.answered()
            if not self._wake.is_set():
                self._waiting_since = None

    def _look(self) -> None:
        with self.alone(0.0):
            if any(table.fragments() > FRAGMENTS_MAX for table in self._database.tables):
                self._merge()
            if training.is_due(self._storage.read, self._database.versions, self._threshold):
                self._train()
            self._index_columns()
            if self._mirror.outgrown():
                self._write_mirror()
            for job in upkeep.due(self._storage, self._database.stamped(), self._threshold):
                with self._at("index"):
                    self._persist(job)
            if self._is_time_to_sweep():
                self._sweep()

    def _merge(self) -> None:
        with self._at("merge"):
            gave_way = {table: self._persist(table.merge) for table in self._database.tables}
            # A power cut must not find the merged pieces gone and the merge not yet on disk.
            self._storage.flush()
            for table, conflicts in gave_way.items():
                if conflicts:
                    self._clean(table)
                else:
                    self._persist(lambda table=table: table.merge(self._retention.commits))  # type: ignore[misc]

    def _clean(self, table: Table) -> None:
        """Remove what no commit names, such as the pieces that a merge had written before it gave way.

        Where the lock may be lost unnoticed, LanceDB tells orphans by their age alone: what the next holder has stored
        and not named yet looks like one.
        """
        with self._storage.writers.held():
            table.merge(self._retention.commits, orphans=self._storage.exclusive)

    def _train(self) -> None:
        if self._database.versions.count() < INDEX_ROWS_MIN:
            return
        with self._at("index"):
            training.train(self._storage, self._database.versions, alive(), self._persist)

    def _write_mirror(self) -> None:
        with self._at("mirror"):
            self._mirror.write()

    def _index_columns(self) -> None:
        for table in (self._database.versions, self._database.baselines):
            for job in upkeep.column_jobs(table):
                with self._at("index"):
                    self._persist(job)

    def _sweep(self) -> Swept:
        with self._at("sweep"):
            now = datetime.now(UTC)
            with self._storage.writers.held():
                upkeep.drop_tables(self._storage, self._database, self._journal.dropped())
            swept = sweep(self._storage, self._database, now - self._retention.content)
            self._merge()  # so that under the lock little is left to do
            for table in self._database.tables:
                self._clean(table)
            self._storage.write(_SWEPT, json.dumps({"at": now.timestamp()}).encode())
            self._swept = Swept(*(had + has for had, has in zip(self._swept, swept, strict=True)))
            return swept

    def _is_time_to_sweep(self) -> bool:
        try:
            last = float(json.loads(self._storage.read(_SWEPT) or b"{}")["at"])
        except (OSError, ValueError, KeyError, TypeError):
            last = 0.0
        if not last:
            self._storage.write(_SWEPT, json.dumps({"at": time.time()}).encode())  # new: nothing is old yet
            return False
        return time.time() - last > min(SWEEP_EVERY, self._retention.content).total_seconds()

    @contextmanager
    def _at(self, what: str) -> Iterator[None]:
        self._doing = what
        try:
            yield
            self._counts[what] += 1
        finally:
            self._doing = ""

    def _persist(self, work: Callable[[], None]) -> int:
        """Do what may lose against another writer's commit; the last try is made with no other writer about.

        Returns how often it has lost.
        """
        for attempt in range(_TRIES):
            try:
                work()
            except RuntimeError as conflict:
                logger.debug("housekeeping gave way to a writer: %s", conflict)
                time.sleep(0.05 * 2**attempt)
            else:
                return attempt
        with self._storage.writers.held():
            work()
        return _TRIES


class _Busy(Unavailable):
    """Housekeeping is under way elsewhere."""
