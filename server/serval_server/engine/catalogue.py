"""The versions in memory: loaded once each, dropped by least use when over the memory limit."""

import logging
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future

from serval_registry.model import Version

from serval_server.engine.loaded import LoadedModel
from serval_server.engine.session import Session

LOG = logging.getLogger(__name__)

Key = tuple[str, int]


class Catalogue:
    """Loaded models by (name, version).

    Its lock guards the dictionaries only; a model is read and built outside of it, by the first call that wants it,
    while later ones wait for the same future.
    """

    def __init__(
        self,
        read_artifact: Callable[[Version], bytes],
        memory_bytes: int,
        on_load: Callable[[LoadedModel], None] = lambda _: None,
    ) -> None:
        self._read_artifact = read_artifact
        self._on_load = on_load
        self._memory_bytes = memory_bytes
        self._lock = threading.Lock()
        self._models: dict[Key, LoadedModel] = {}
        self._loading: dict[Key, Future[LoadedModel]] = {}
        self._used_bytes = 0
        self.loads = 0
        self.drops = 0

    def get(self, version: Version) -> LoadedModel:
        """Return the version's model, loading it where it is not in memory."""
        key = (version.name, version.version)
        with self._lock:
            model = self._models.get(key)
            if model is not None:
                return model
            future = self._loading.get(key)
            mine = future is None
            if future is None:
                future = self._loading[key] = Future()
        if mine:
            self._load(key, version, future)
        return future.result()

    def loaded(self) -> list[LoadedModel]:
        """Return every model in memory, by name and version."""
        with self._lock:
            return [self._models[key] for key in sorted(self._models)]

    def holds(self, model: LoadedModel) -> bool:
        """Tell whether `model` is in memory still."""
        return self._models.get((model.name, model.number)) is model

    def drop(self, keys: Iterable[Key]) -> None:
        """Forget models; calls in flight end with the ones that they hold."""
        with self._lock:
            for key in keys:
                self._drop(key)

    def _load(self, key: Key, version: Version, future: Future[LoadedModel]) -> None:
        try:
            model = LoadedModel(version, Session(self._read_artifact(version)))
            self._on_load(model)
        except BaseException as error:
            with self._lock:
                del self._loading[key]
            future.set_exception(error)
            return
        with self._lock:
            del self._loading[key]
            self._models[key] = model
            self._used_bytes += model.memory_bytes
            self.loads += 1
            self._make_room(key)
        future.set_result(model)

    def _make_room(self, newest: Key) -> None:
        """Drop the least recently used until the limit holds; the newest stays even where it alone is over it."""
        while self._used_bytes > self._memory_bytes and len(self._models) > 1:
            oldest = min((key for key in self._models if key != newest), key=lambda key: self._models[key].last_used)
            LOG.info("dropping %s@%d from memory: over the limit of %d bytes", *oldest, self._memory_bytes)
            self._drop(oldest)

    def _drop(self, key: Key) -> None:
        model = self._models.pop(key, None)
        if model is not None:
            self._used_bytes -= model.memory_bytes
            self.drops += 1
