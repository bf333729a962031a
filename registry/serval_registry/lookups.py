"""The versions that references lead to, and the newest of names, kept for the names asked for last.

What is kept is as true as a question to the table: at every lookup the table's newest commit is asked for, which costs
microseconds, and names that have changed are forgotten.
"""

import threading
from collections.abc import Callable, Sequence

from serval_registry.changes import Cursor, changed
from serval_registry.errors import NotFound
from serval_registry.filters import alive, all_of, named
from serval_registry.mirror.mirror import Mirror
from serval_registry.mirror.walking import newest
from serval_registry.model import Ref, Stage, Summary, Version
from serval_registry.recent import Recent
from serval_registry.tables import Table

# Names: some 10 KiB each, so 50 MiB at most.
NAMES_KEPT = 5000
_REFS_PER_NAME = 32
HISTORY_MAX = 100


class _Known:
    """What is known of a name."""

    def __init__(self) -> None:
        self.refs: dict[Ref, Version | str] = {}  # a text: there is none, and what NotFound says of it
        self.newest: Sequence[Summary] | None = None


class Lookups:
    """Lookups in one table; called from any thread."""

    def __init__(self, table: Table, mirror: Mirror) -> None:
        self._table = table
        self._mirror = mirror
        self._names: Recent[str, _Known] = Recent(NAMES_KEPT)
        self._following = threading.Lock()
        self._cursor: Cursor = changed(table, None).cursor

    def version(self, ref: Ref, find: Callable[[], Version]) -> Version:
        """Return the version that a reference leads to; `find` asks the table, and what it raises is passed on.

        That there is none is kept as well: a question to the table costs as much as hundreds of predictions.
        """
        known = self._of(ref.name)
        found = known.refs.get(ref)
        if found is None:
            try:
                found = find()
            except NotFound as error:
                found = str(error)
            if len(known.refs) < _REFS_PER_NAME:
                known.refs[ref] = found
        if isinstance(found, str):
            raise NotFound(found)
        return found

    def newest(self, name: str) -> Sequence[Summary]:
        """Return the newest HISTORY_MAX versions of a name in short, newest first."""
        known = self._of(name)
        if known.newest is None:
            known.newest = self._newest(name)
        return known.newest

    def _newest(self, name: str) -> Sequence[Summary]:
        view = self._mirror.view()
        if view is not None:
            return newest(view, name, HISTORY_MAX)
        rows = self._table.select(
            all_of(named(name), alive()), ["version", "stage", "created"], order={"version": False}, limit=HISTORY_MAX
        )
        return [Summary(row["version"], Stage(row["stage"]), row["created"]) for row in rows]

    def _of(self, name: str) -> _Known:
        """Return what is known of a name and still true.

        Who loads something of a state that is then changed writes it into what has been dropped meanwhile.
        """
        if self._table.commit() != self._cursor.commit:
            self._follow()
        return self._names.get(name, _Known)

    def _follow(self) -> None:
        with self._following:
            changes = changed(self._table, self._cursor)
            for name in changes.names:
                self._names.drop(name)
            self._cursor = changes.cursor
