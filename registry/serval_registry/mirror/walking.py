"""Versions in the order of name and version, of a view; what is not read costs next to nothing."""

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from heapq import merge
from itertools import groupby, islice
from operator import attrgetter

import numpy as np

from serval_registry.mirror.base import Base, Mask
from serval_registry.mirror.keys import Places
from serval_registry.mirror.pages import Line
from serval_registry.mirror.texts import Key, decoded
from serval_registry.mirror.view import View
from serval_registry.model import Stage, Summary
from serval_registry.predicates import Conditions
from serval_registry.tables import Row

_LAST = 2**62
# Rows are read ahead a page at first, as most walks end there, and then ever more of them.
_CHUNK, _CHUNK_MAX = 128, 4096


def walked(
    view: View, conditions: Conditions, begin: Key, *, name: str | None, latest_only: bool
) -> Iterator[Line] | None:
    """Return the rows of the versions that pass, from a key on; with `latest_only` the newest of each name.

    Of one name where it is given. None: LanceDB has to be asked.
    """
    allowed = view.passing_mask(conditions)
    if allowed is None:
        return None
    end = None if name is None else (name, _LAST)
    if name is not None:
        begin = max(begin, (name, 0))
    late = _late(view, conditions, begin, end)
    if not latest_only:
        return merge(_lines(view.base, _chunks(view.base, allowed, begin, end)), late)
    newest = _lines(view.base, _newest(view.base, allowed, begin, end))
    by_name = groupby(merge(newest, late), key=lambda line: line.key[0])
    return (list(lines)[-1] for _, lines in by_name)


def newest(view: View, name: str, limit: int) -> list[Summary]:
    """Return the newest versions of a name in short, newest first."""
    numbers = view.base.numbers_of(name)
    numbers = numbers[view.allowed[numbers] != 0][-limit:]
    found = [_summary(decoded(view.base.text(number), whole=False)) for number in numbers.tolist()]
    found += [Summary(late.version, late.stage, late.created) for late in view.late_of(name)]
    return sorted(found, key=attrgetter("version"), reverse=True)[:limit]


def _summary(row: Row) -> Summary:
    return Summary(row["version"], Stage(row["stage"]), row["created"])


def _late(view: View, conditions: Conditions, begin: Key, end: Key | None) -> Iterator[Line]:
    stop = len(view.keys) if end is None else bisect_left(view.keys, end)
    for key in islice(view.keys, bisect_left(view.keys, begin), stop):
        late = view.late[key]
        if late.version is not None and conditions.pass_for(late.version):
            yield Line(key, written=late.text)


def _lines(base: Base, runs: Iterable[Places]) -> Iterator[Line]:
    for places in runs:
        for key, place in zip(base.keys.keys_at(places), places.tolist(), strict=True):
            yield Line(key, base, place)


def _newest(base: Base, allowed: Mask, begin: Key, end: Key | None) -> Iterator[Places]:
    """Yield the last place of each name that passes."""
    held: Places | None = None  # the last one of a chunk: the next chunk may go on with its name
    for places in _chunks(base, allowed, begin, end):
        if not len(places):
            continue
        places = places if held is None else np.concatenate([held, places])
        names = base.keys.names_at(places)
        yield places[:-1][names[1:] != names[:-1]]
        held = places[-1:]
    if held is not None:
        yield held


def _chunks(base: Base, allowed: Mask, begin: Key, end: Key | None) -> Iterator[Places]:
    """Yield the places that are allowed, a run of rows at a time."""
    start, size = base.keys.place_of(begin), _CHUNK
    stop = base.rows if end is None else base.keys.place_of(end)
    while start < stop:
        passes = allowed[base.by_key[start : min(start + size, stop)]] != 0
        yield start + np.flatnonzero(passes)
        start, size = start + size, min(2 * size, _CHUNK_MAX)
