"""What every part of the lifecycle works with: the tables, the journal, and the writers' lock."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

from serval_registry import filters
from serval_registry.filters import all_of
from serval_registry.lifecycle.journal import Change, Journal
from serval_registry.model import Ref, Stage, Version
from serval_registry.tables import Table
from serval_registry.versions import from_row


@dataclass(frozen=True, slots=True)
class Desk:
    """`writing` holds the lock around one change; `find` resolves a reference; `artifact` reads and verifies one."""

    versions: Table
    journal: Journal
    writing: Callable[[], AbstractContextManager[Change]]
    find: Callable[[Ref], Version]
    artifact: Callable[[Version], bytes]

    def in_production(self, name: str) -> Version | None:
        """Return the version of a name that is in production, None for none."""
        where = all_of(filters.named(name), filters.alive(), filters.staged([Stage.PRODUCTION]))
        rows = self.versions.select(where, self.versions.columns, limit=1)
        return from_row(rows[0]) if rows else None

    def exists(self, name: str) -> None:
        """Raise NotFound, which says what there is, unless a name has versions."""
        self.find(Ref(name))
