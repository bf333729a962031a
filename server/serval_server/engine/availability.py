"""Which models an operator has switched off.

One empty document a name, where the registry lies: every worker sees it, and a restart keeps it.
"""

from serval_registry.storage import Storage

_FOLDER = "unloaded"


class Availability:
    """The set of names that do not answer until they are loaded again."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._unloaded: frozenset[str] = frozenset()
        self.refresh()

    def is_unloaded(self, name: str) -> bool:
        """Tell whether `name` is switched off."""
        return name in self._unloaded

    def unload(self, name: str) -> None:
        """Switch a name off, for every worker."""
        self._storage.write(f"{_FOLDER}/{name}", b"")
        self.refresh()

    def load(self, name: str) -> None:
        """Switch a name on again, for every worker."""
        self._storage.remove(f"{_FOLDER}/{name}")
        self.refresh()

    def refresh(self) -> frozenset[str]:
        """Look again; return the names whose state has changed."""
        before = self._unloaded
        self._unloaded = self._storage.names(_FOLDER)
        return before ^ self._unloaded
