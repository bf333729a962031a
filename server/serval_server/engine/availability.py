"""Which models an operator has switched off.

One empty file a name below the data folder: every worker sees it, and a restart keeps it.
"""

from pathlib import Path


class Availability:
    """The set of names that do not answer until they are loaded again."""

    def __init__(self, data: Path) -> None:
        self._folder = data / "unloaded"
        self._folder.mkdir(parents=True, exist_ok=True)
        self._unloaded: frozenset[str] = frozenset()
        self.refresh()

    def is_unloaded(self, name: str) -> bool:
        """Tell whether `name` is switched off."""
        return name in self._unloaded

    def unload(self, name: str) -> None:
        """Switch a name off, for every worker."""
        (self._folder / name).touch()
        self.refresh()

    def load(self, name: str) -> None:
        """Switch a name on again, for every worker."""
        (self._folder / name).unlink(missing_ok=True)
        self.refresh()

    def refresh(self) -> frozenset[str]:
        """Look again; return the names whose state has changed."""
        before = self._unloaded
        self._unloaded = frozenset(path.name for path in self._folder.iterdir())
        return before ^ self._unloaded
