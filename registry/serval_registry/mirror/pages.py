"""Rows on a page, and the parts of an encoded page that they become: made once, when the mirror is written.

What a page is encoded as is the caller's: the registry keeps octets that stand for rows, and puts them together.
"""

from collections.abc import Callable
from typing import NamedTuple

from serval_registry.mirror.base import Base
from serval_registry.mirror.texts import Key


class PageFormat(NamedTuple):
    """How the text of a row becomes its part of a page; parts one after the other are a page of them.

    `name` tells a format from all others: parts kept in another are not used.
    """

    name: str
    part_of: Callable[[str], bytes]


class Line(NamedTuple):
    """A row by its key: at a place of a mirror, or a text."""

    key: Key
    base: Base | None = None
    place: int = 0
    written: str = ""

    @property
    def text(self) -> str:
        """The row as text."""
        return self.written if self.base is None else self.base.text_at(self.place)

    def part(self, page_format: PageFormat) -> bytes:
        """Return the row's part of a page."""
        if self.base is not None and self.base.format == page_format.name:
            return self.base.part_at(self.place)
        return page_format.part_of(self.text)
