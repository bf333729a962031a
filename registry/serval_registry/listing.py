"""Pages over all versions, by name and then by version.

A page begins after the last row of the one before, whatever was registered or deleted in between: nothing that stays is
shown twice or left out.
"""

import base64
import binascii
import json
from collections.abc import Collection, Mapping

from lancedb import col
from lancedb.expr import Expr

from serval_registry.errors import InvalidArgument
from serval_registry.filters import after, alive, all_of, named, staged, tagged
from serval_registry.model import Stage, check_name
from serval_registry.tables import Row, Table
from serval_registry.versions import VersionList, from_row

PAGE_SIZE = 100
PAGE_SIZE_MAX = 1000

# Above every version number: a page of one row a name goes on with the next name.
_LAST = 2**62


def page(
    table: Table,
    *,
    name: str | None,
    stages: Collection[Stage],
    tags: Mapping[str, str],
    latest_only: bool,
    page_size: int,
    page_token: str,
) -> tuple[VersionList, str]:
    """Return a page and the token of the next, which is empty after the last."""
    if not 0 <= page_size <= PAGE_SIZE_MAX:
        raise InvalidArgument(f"page_size: {page_size}; wanted 1 to {PAGE_SIZE_MAX}, or 0 for {PAGE_SIZE}")
    if name is not None:
        check_name(name, "name")
    size = page_size or PAGE_SIZE
    passing = all_of(alive(), named(name) if name is not None else None, staged(stages), tagged(tags))
    rest = all_of(passing, after(*_read_token(page_token)) if page_token else None)
    rows = _newest(table, passing, rest, size + 1) if latest_only else _rows(table, rest, size + 1)
    shown = rows[:size]
    more = len(rows) > size
    token = _token(shown[-1]["name"], _LAST if latest_only else shown[-1]["version"]) if more else ""
    return [from_row(row) for row in shown], token


def _rows(table: Table, where: Expr, limit: int) -> list[Row]:
    return table.select(where, table.columns, order={"name": True, "version": True}, limit=limit)


def _newest(table: Table, passing: Expr, rest: Expr, limit: int) -> list[Row]:
    newest: dict[str, int] = {}
    for row in table.select(rest, ["name", "version"]):
        newest[row["name"]] = max(row["version"], newest.get(row["name"], 0))
    chosen = dict(sorted(newest.items())[:limit])
    if not chosen:
        return []
    # A little more than asked for: every combination of these names and numbers.
    wide = all_of(passing, col("name").isin(list(chosen)), col("version").isin(sorted(set(chosen.values()))))
    rows = table.select(wide, table.columns, order={"name": True, "version": True})
    return [row for row in rows if chosen[row["name"]] == row["version"]]


def _token(name: str, version: int) -> str:
    return base64.urlsafe_b64encode(json.dumps([name, version]).encode()).decode()


def _read_token(token: str) -> tuple[str, int]:
    try:
        name, version = json.loads(base64.urlsafe_b64decode(token.encode()))
        check_name(name, "page_token")
        if not isinstance(version, int) or not 0 < version <= _LAST:
            raise ValueError(version)
    except (binascii.Error, ValueError, TypeError, InvalidArgument):
        raise InvalidArgument(f"page_token: {token[:80]!r} did not come from a reply of this registry") from None
    return name, version
