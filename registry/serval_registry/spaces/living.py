"""The versions that a row of another table stands for: those that are there, and pass."""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import NamedTuple, TypeVar

from serval_registry.filters import Where, alive, all_of
from serval_registry.held import NARROW_ROWS, Snapshot
from serval_registry.lance import col
from serval_registry.model import Version
from serval_registry.predicates import Conditions
from serval_registry.tables import Row, Table
from serval_registry.versions import from_row

Found = TypeVar("Found")

# Looked up in one question.
_TOGETHER = 500


class Stamp(NamedTuple):
    """A version as tables beside that of versions name it; see `schemas`."""

    name: str
    version: int
    created: datetime


def stamp(version: Version) -> Stamp:
    """Return what a version is named by."""
    return Stamp(version.name, version.version, version.created)


def stamp_of(row: Row) -> Stamp:
    """Return what a row stands for."""
    return Stamp(row["name"], row["version"], row["created"])


def stamped(stamps: Sequence[Stamp]) -> Where:
    """Return a condition that the rows of all these pass, and perhaps others of the same names."""
    names, numbers = {each.name for each in stamps}, {each.version for each in stamps}
    return col("name").isin(sorted(names)) & col("version").isin(sorted(numbers))


class Living:
    """The versions that are there; called from any thread."""

    def __init__(self, table: Table, held: Callable[[], Snapshot | None]) -> None:
        """Take the table of versions, and what gives all of them while they are few."""
        self._table = table
        self._held = held

    def narrow(self, conditions: Conditions) -> list[Stamp] | None:
        """Return the versions that pass where they are few; None where they are many, or nothing is asked of them."""
        where = conditions.where()
        if where is None:
            return None
        held = self._held()
        if held is not None:
            return [stamp(version) for version in held.versions if conditions.pass_for(version)]
        rows = self._table.select(all_of(alive(), where), ["name", "version", "created"], limit=NARROW_ROWS + 1)
        return None if len(rows) > NARROW_ROWS else [stamp_of(row) for row in rows]

    def among(self, stamps: Sequence[Stamp], conditions: Conditions) -> list[Version | None]:
        """Return the version of each stamp where it is there and passes."""
        held = self._held()
        if held is not None:
            places = (held.places.get((name, version)) for name, version, _ in stamps)
            found: Iterable[Version] = [held.versions[place] for place in places if place is not None]
        else:
            found = self._looked_up(stamps)
        known = {stamp(version): version for version in found if conditions.pass_for(version)}
        return [known.get(each) for each in stamps]

    def first(
        self, ranked: Sequence[tuple[Stamp, Found]], conditions: Conditions, count: int
    ) -> list[tuple[Version, Found]]:
        """Return the first `count` that are there and pass, looking them up a few at a time."""
        hits: list[tuple[Version, Found]] = []
        start, size = 0, max(2 * count, 16)
        while start < len(ranked) and len(hits) < count:
            part = ranked[start : start + size]
            versions = self.among([each for each, _ in part], conditions)
            hits += [(version, said) for version, (_, said) in zip(versions, part, strict=True) if version is not None]
            start, size = start + size, 2 * size
        return hits[:count]

    def _looked_up(self, stamps: Sequence[Stamp]) -> Iterable[Version]:
        for start in range(0, len(stamps), _TOGETHER):
            where = all_of(alive(), stamped(stamps[start : start + _TOGETHER]))
            yield from (from_row(row) for row in self._table.select(where, self._table.columns))
