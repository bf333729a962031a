"""Running every version on the probes of its features, in the background, once it is registered.

Of all processes one does it at a time. A registration wakes it; what others register, and what a crash has left undone,
is seen within LOOK_SECONDS. Its thread asks the kernel for less of the processor than calls get; as what it has LanceDB
do is done in threads of LanceDB's, and calls wait for the interpreter's lock, it also rests, REST times as long as it
worked, whenever there is more to do.
"""

import logging
import threading
import time
from collections.abc import Sequence

from serval_registry.behaviour.observing import Run
from serval_registry.errors import ServalError
from serval_registry.model import Array, Table, Version
from serval_registry.registry import Registry

from serval_server.codec.columns import Columns
from serval_server.engine.session import Session
from serval_server.priority import stand_back

LOG = logging.getLogger(__name__)

LOOK_SECONDS = 1.0

# Registrations come in rows: what has come meanwhile is run and written together.
GATHER_SECONDS = 0.25
NICENESS = 10
REST = 3.0

# After a failure of the storage.
_PAUSE_SECONDS = 10.0


class Prober:
    """A thread that runs what is new."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._turn = registry.storage.turn("behaviour")
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._commit = -1
        self._thread = threading.Thread(target=self._run, name="serval-prober", daemon=True)
        registry.observer.attach(self._load)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def wake(self) -> None:
        """Look now: something was registered."""
        self._wake.set()

    def stop(self) -> None:
        """End, after the model that is being run."""
        self._stopping.set()
        self._registry.observer.stop()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join()
        self._turn.close()

    def _load(self, version: Version) -> Run:
        """Return what runs a version on rows by feature name."""
        session = Session(self._registry.artifact(version))
        columns = Columns(str(version.ref), version.features, version.signature)
        names = [spec.name for spec in version.signature.outputs]

        def run(rows: Table) -> Sequence[Array]:
            return session.run(names, columns.from_table(rows, "probes"))

        return run

    def _run(self) -> None:
        stand_back(NICENESS)
        while not self._stopping.is_set():
            try:
                self._look()
            except (ServalError, RuntimeError, ValueError, OSError):
                LOG.exception("running models on their probes failed; it is tried again later")
                self._commit = -1
                self._wake.wait(_PAUSE_SECONDS)
            if self._wake.wait(LOOK_SECONDS):
                self._stopping.wait(GATHER_SECONDS)
            self._wake.clear()

    def _look(self) -> None:
        commit, observer = self._registry.database.versions.commit(), self._registry.observer
        if (commit == self._commit and not observer.due) or not self._turn.acquire(time.monotonic()):
            return
        try:
            begin = time.monotonic()
            while not self._stopping.is_set() and observer.look():
                self._stopping.wait(REST * (time.monotonic() - begin))
                begin = time.monotonic()
        finally:
            self._turn.release()
        if not self._stopping.is_set():
            self._commit = commit
