"""The row that a reference leads to, asked of the mirror where there is one, else of the table."""

from collections.abc import Collection

from serval_registry import filters
from serval_registry.embedding import Vector
from serval_registry.errors import ServalError
from serval_registry.filters import Where
from serval_registry.mirror.mirror import Mirror
from serval_registry.mirror.resolving import TooMany, resolved
from serval_registry.model import Ref, Stage, Version
from serval_registry.tables import Row, RowList, Table
from serval_registry.versions import from_row, not_found


class Finder:
    """References resolved in one table; called from any thread."""

    def __init__(self, table: Table, mirror: Mirror) -> None:
        self._table = table
        self._mirror = mirror

    def find(self, ref: Ref) -> Version:
        """Return the version that a reference leads to; NotFound says what was asked and what exists."""
        view = self._mirror.view()
        try:
            found = resolved(view, ref) if view is not None else None
        except TooMany:
            found = None
        return found or from_row(self.row(ref, self._table.columns))

    def row(self, ref: Ref, columns: Collection[str]) -> Row:
        """Return that version's row, with these columns at least."""
        mirrored = self._mirrored(ref)
        if mirrored is not None and mirrored.keys() >= set(columns):
            return mirrored
        alive = filters.all_of(filters.named(ref.name), filters.alive())
        exact = filters.by_name(ref)
        if exact is not None:
            found = self._table.select(filters.all_of(alive, exact), [*columns], limit=1)
        else:
            found = self._newest(filters.all_of(alive, filters.staged([ref.stage or Stage.PRODUCTION])), columns)
            if not found and ref.stage is None:
                found = self._newest(alive, columns)
        if not found:
            raise self.not_found(ref)
        return found[0]

    def vector(self, name: str, version: int) -> Vector:
        """Return a version's vector; NotFound as `find`."""
        view = self._mirror.view()
        vector = None if view is None else view.vector((name, version))
        if vector is None:
            vector = self._table.vector(filters.all_of(filters.exactly(name, version), filters.alive()))
        if vector is None:
            raise self.not_found(Ref(name, version=version))
        return vector

    def _mirrored(self, ref: Ref) -> Row | None:
        view = self._mirror.view() if ref.version is not None else None
        return None if view is None or ref.version is None else view.row((ref.name, ref.version))

    def not_found(self, ref: Ref) -> ServalError:
        """Return the error that names what was asked and what exists."""
        return not_found(ref, self._table.select(filters.named(ref.name), ["version", "deleted"]))

    def _newest(self, where: Where, columns: Collection[str]) -> RowList:
        return self._table.select(where, [*columns], order={"version": False}, limit=1)
