"""Parts of pages, written place by place: those of rows that are as in the mirror before are copied from there."""

import time
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from serval_registry.mirror.base import Base
from serval_registry.mirror.files import PARTS, ROWS, Draft, Files
from serval_registry.mirror.keys import Keys, Places
from serval_registry.mirror.pages import PageFormat

_TOGETHER = 100


class Before(NamedTuple):
    """A mirror in the same format, and the revision of the newest row in it."""

    base: Base
    revision: int


def write(draft: Draft, revisions: npt.NDArray[np.int64], page_format: PageFormat, before: Before | None) -> None:
    """Write the parts of rows whose texts and keys are written; `revisions` are those of the rows at each place."""
    drawn = Files(draft.folder, {})
    texts = drawn.octets(ROWS)
    copied = np.full(len(revisions), -1) if before is None else _copied(Keys(drawn), revisions, before)
    with draft.octets(PARTS) as put:
        for start in range(0, len(revisions), _TOGETHER):
            begin = time.perf_counter()
            for place, there in enumerate(copied[start : start + _TOGETHER].tolist(), start):
                if before is None or there < 0:
                    put(page_format.part_of(texts[place].decode()))
                else:
                    put(before.base.part_at(there))
            # All of this holds the interpreter: whoever serves in this process has it half of the time.
            time.sleep(time.perf_counter() - begin)


def _copied(keys: Keys, revisions: npt.NDArray[np.int64], before: Before) -> Places:
    """Return the place in the mirror before of each row that is as it was there, and -1 for the others.

    A row that is no newer than that mirror is in it, unless another took its place since; so both have these rows, in
    one order.
    """
    found = np.full(len(revisions), -1)
    old = revisions <= before.revision
    stays = np.ones(before.base.rows, np.bool_)
    for key in keys.keys_at(np.flatnonzero(~old)):
        place = before.base.keys.place_at(key)
        if place is not None:
            stays[place] = False
    here, there = np.flatnonzero(old), np.flatnonzero(stays)
    if _same(keys, here, before.base.keys, there):
        found[here] = there
    return found


def _same(keys: Keys, places: Places, others: Keys, other_places: Places) -> bool:
    if len(places) != len(other_places):
        return False
    return all(one == other for one, other in zip(_keys(keys, places), _keys(others, other_places), strict=True))


def _keys(keys: Keys, places: Places) -> Iterator[object]:
    for start in range(0, len(places), _TOGETHER):
        yield keys.keys_at(places[start : start + _TOGETHER])
