"""Pages over all versions, by name and then by version.

A page begins after the last row of the one before, whatever was registered or deleted in between: nothing that stays is
shown twice or left out.
"""

import base64
import binascii
import json
from bisect import bisect_right
from collections.abc import Sequence
from itertools import islice

import numpy as np

from serval_registry.errors import InvalidArgument
from serval_registry.filters import Where, after, alive, all_of, named
from serval_registry.lance import col, lit
from serval_registry.mirror.mirror import Mirror
from serval_registry.mirror.pages import Line
from serval_registry.mirror.texts import COLUMNS, encoded, key_of
from serval_registry.mirror.walking import walked
from serval_registry.model import check_name
from serval_registry.predicates import Conditions
from serval_registry.tables import Table

PAGE_SIZE = 100
PAGE_SIZE_MAX = 1000

# A span holds about so many rows, or a share of them where they are many more.
ROWS_PER_SPAN = 200
BOUNDS = 8192

# A name and a version that a page comes after.
Place = tuple[str, int]

# Above every version number: a page of one row a name goes on with the next name.
_LAST = 2**62


class Pages:
    """Pages of one table.

    LanceDB sorts all that it finds before it cuts off, so that a page of a million rows would take a second. The names
    are therefore cut into spans by some of them (BOUNDS at most, evenly spread when they were chosen), and a page is
    read from as many spans as it needs. The bounds need not be fresh: they only say where one span ends.
    """

    def __init__(self, table: Table, mirror: Mirror) -> None:
        self._table = table
        self._mirror = mirror
        self._bounds: list[str] = []
        self._chosen_at = 0

    def page(
        self, conditions: Conditions, *, name: str | None, latest_only: bool, page_size: int, page_token: str
    ) -> tuple[list[Line], str]:
        """Return a page and the token of the next, which is empty after the last."""
        if not 0 <= page_size <= PAGE_SIZE_MAX:
            raise InvalidArgument(f"page_size: {page_size}; wanted 1 to {PAGE_SIZE_MAX}, or 0 for {PAGE_SIZE}")
        if name is not None:
            check_name(name, "name")
        size = page_size or PAGE_SIZE
        begin = _read_token(page_token) if page_token else None
        found = self._mirrored(conditions, begin, name, latest_only, size + 1)
        if found is None:
            passing = all_of(alive(), None if name is None else named(name), conditions.where())
            spans = [None] if name is not None else self._spans(begin[0] if begin else "")
            read = self._newest if latest_only else self._rows
            found = read(passing, begin, spans, size + 1)
        shown = found[:size]
        if len(found) == len(shown):
            return shown, ""
        last, version = shown[-1].key
        return shown, token_of(last, _LAST if latest_only else version)

    def _mirrored(
        self, conditions: Conditions, begin: Place | None, name: str | None, latest_only: bool, limit: int
    ) -> list[Line] | None:
        """Return the first rows after a place; None where the table has to be asked."""
        view = self._mirror.view()
        if view is None:
            return None
        after = ("", 0) if begin is None else (begin[0], begin[1] + 1)
        lines = walked(view, conditions, after, name=name, latest_only=latest_only)
        return None if lines is None else list(islice(lines, limit))

    def _spans(self, begin: str) -> list[str | None]:
        """Return where the spans from a name on end: first one, then always twice as many; None is the end of all."""
        count = self._table.count()
        if not self._chosen_at <= count <= 2 * self._chosen_at:
            self._choose(count)
        rest = self._bounds[bisect_right(self._bounds, begin) :]
        ends = [rest[step - 1] for step in _doublings(len(rest))]
        return [*ends, None]

    def _choose(self, count: int) -> None:
        if count > ROWS_PER_SPAN:
            names = np.sort(self._table.strings("name"))
            step = max(ROWS_PER_SPAN, count // BOUNDS)
            self._bounds = np.unique(names[step::step]).tolist()
        else:
            self._bounds = []
        self._chosen_at = count

    def _rows(self, passing: Where, begin: Place | None, ends: Sequence[str | None], limit: int) -> list[Line]:
        lines: list[Line] = []
        for end in ends:
            lines += self._read(all_of(passing, _within(begin, end)), limit - len(lines))
            if len(lines) >= limit:
                break
            begin = begin if end is None else (end, _LAST)
        return lines

    def _read(self, where: Where, limit: int | None = None) -> list[Line]:
        order = {"name": True, "version": True}
        texts = encoded(self._table.values(where, COLUMNS, order=order, limit=limit)).to_pylist()
        return [Line(key_of(text), written=text) for text in texts]

    def _newest(self, passing: Where, begin: Place | None, ends: Sequence[str | None], limit: int) -> list[Line]:
        newest: dict[str, int] = {}
        for end in ends:
            for row in self._table.select(all_of(passing, _within(begin, end)), ["name", "version"]):
                newest[row["name"]] = max(row["version"], newest.get(row["name"], 0))
            if len(newest) >= limit:
                break
            begin = begin if end is None else (end, _LAST)
        chosen = dict(sorted(newest.items())[:limit])
        if not chosen:
            return []
        # A little more than asked for: every combination of these names and numbers.
        wide = all_of(passing, col("name").isin(list(chosen)), col("version").isin(sorted(set(chosen.values()))))
        return [line for line in self._read(wide) if line.key in chosen.items()]


def _within(begin: Place | None, end: str | None) -> Where | None:
    """Return what comes after a place, up to every version of the name `end`."""
    parts: list[Where] = []
    if begin is not None:
        # The name alone as well: LanceDB's index answers that part.
        parts += [col("name") >= lit(begin[0]), after(*begin)]
    if end is not None:
        parts.append(col("name") <= lit(end))
    return all_of(*parts) if parts else None


def _doublings(count: int) -> list[int]:
    """Return the first numbers of the row 1, 3, 7, 15 up to `count`.

    >>> _doublings(8)
    [1, 3, 7]
    """
    return [2**power - 1 for power in range(1, (count + 1).bit_length())]


def token_of(name: str, version: int) -> str:
    """Return the token of the page that comes after a version."""
    return base64.urlsafe_b64encode(json.dumps([name, version]).encode()).decode()


def _read_token(token: str) -> tuple[str, int]:
    try:
        name, version = json.loads(base64.urlsafe_b64decode(token.encode()))
        check_name(name, "page_token")
        if not isinstance(version, int) or not 0 < version <= _LAST:
            raise ValueError(version)
    except (binascii.Error, ValueError, TypeError, RecursionError, InvalidArgument):
        raise InvalidArgument(f"page_token: {token[:80]!r} did not come from a reply of this registry") from None
    return name, version
