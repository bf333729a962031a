"""Keeping the tables quick: merging the small pieces that single writes leave, and the vector index.

A thousand single-row writes make queries twenty times slower; merging them takes less than a second and stops no
reader. One process at a time does it, in a thread of its own. LanceDB lets every other writer win over a merge, so a
merge is tried again, and in the end under the writer's lock.
"""

import atexit
import json
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from serval_registry.errors import ServalError, Unavailable
from serval_registry.locks import FileLock, WriterLock
from serval_registry.search import partitions
from serval_registry.tables import INDEX_ROWS_MIN, Database

logger = logging.getLogger("serval.registry")

# A query over this many pieces takes about half as long again as over one.
FRAGMENTS_MAX = 32

# How many writes of this process pass before the tables are looked at again.
WRITES_BETWEEN = 8

# The index is trained anew at this many times the rows it was trained on; till then new rows are added to it.
_GROWTH = 2

_TRIES = 4
_PATIENCE = 120.0


class Housekeeper:
    """Looks after the tables of one directory; nothing depends on it but speed."""

    def __init__(self, directory: Path, database: Database, writers: WriterLock, index_threshold: int) -> None:
        self._database = database
        self._writers = writers
        self._threshold = max(index_threshold, INDEX_ROWS_MIN)
        self._trained_file = directory / "index.json"
        self._turn = threading.Lock()
        self._turn_of_processes = FileLock(directory / "housekeeping.lock")
        self._writes = 0
        self._wake = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="registry-housekeeping", daemon=True)
        self._thread.start()
        # A daemon thread inside LanceDB while the interpreter goes down would take the process with it.
        atexit.register(self.close)
        self._wake.set()

    def wrote(self) -> None:
        """Count a write, and every so often have the tables looked at."""
        self._writes += 1
        if self._writes % WRITES_BETWEEN == 0:
            self._wake.set()

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
        """Merge the pieces of both tables now."""
        with self._alone(_PATIENCE):
            self._merge()

    def build_index(self) -> int:
        """Train the vector index on all rows now; return how many it covers: none below INDEX_ROWS_MIN."""
        with self._alone(_PATIENCE):
            self._train()
        return self._database.versions.indexed_rows()

    def _run(self) -> None:
        while True:
            self._wake.wait()
            self._wake.clear()
            if self._stopping:
                return
            try:
                self._look()
            except _Busy:
                continue  # another process is at it
            except (ServalError, RuntimeError, ValueError, OSError):
                logger.exception("housekeeping of the registry failed; it is tried again later")

    def _look(self) -> None:
        with self._alone(0.0):
            if any(table.fragments() > FRAGMENTS_MAX for table in self._database.tables()):
                self._merge()
            if self._outgrown():
                self._train()

    @contextmanager
    def _alone(self, patience: float) -> Iterator[None]:
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

    def _merge(self) -> None:
        for table in self._database.tables():
            self._persist(table.optimize)

    def _train(self) -> None:
        rows = self._database.versions.count()
        if rows < INDEX_ROWS_MIN:
            return
        self._persist(lambda: self._database.versions.build_index(partitions(rows)))
        aside = self._trained_file.with_suffix(".new")
        aside.write_text(json.dumps({"rows": rows}))
        os.replace(aside, self._trained_file)

    def _outgrown(self) -> bool:
        rows = self._database.versions.count()
        if rows < self._threshold:
            return False
        return self._database.versions.indexed_rows() == 0 or rows >= _GROWTH * self._trained_rows()

    def _trained_rows(self) -> int:
        try:
            return int(json.loads(self._trained_file.read_text())["rows"])
        except (OSError, ValueError, KeyError, TypeError):
            return 0  # unknown: train, and know

    def _persist(self, work: Callable[[], None]) -> None:
        """Do what may lose against another writer's commit; the last try is made with no other writer about."""
        for attempt in range(_TRIES):
            try:
                work()
            except RuntimeError as conflict:
                logger.debug("housekeeping gave way to a writer: %s", conflict)
                time.sleep(0.05 * 2**attempt)
            else:
                return
        with self._writers.held():
            work()


class _Busy(Unavailable):
    """Housekeeping is under way elsewhere."""
