"""What has changed in the table of versions since one last looked."""

from typing import NamedTuple

from serval_registry.lance import col, lit
from serval_registry.tables import Table


class Cursor(NamedTuple):
    """A place in the history of a registry: the table's newest commit, and the newest change, that have been seen."""

    commit: int
    revision: int


class Changes(NamedTuple):
    """The names of which something changed since a cursor, and the cursor to ask with next."""

    cursor: Cursor
    names: frozenset[str]


def changed(table: Table, since: Cursor | None) -> Changes:
    """Return what changed since a cursor; with None, the cursor of now and no names."""
    commit = table.commit()
    if since is None:
        # The commit's own number will not do: a merge may be committed between a write's being numbered and its commit.
        newest = table.select(None, ["revision"], order={"revision": False}, limit=1)
        return Changes(Cursor(commit, newest[0]["revision"] if newest else 0), frozenset())
    if since.commit == commit:
        return Changes(since, frozenset())
    rows = table.select(col("revision") > lit(since.revision), ["name", "revision"])
    seen = max((row["revision"] for row in rows), default=since.revision)
    return Changes(Cursor(commit, seen), frozenset(row["name"] for row in rows))
