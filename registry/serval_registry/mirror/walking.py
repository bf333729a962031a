"""Versions in the order of name and version, of a view; what is not read costs next to nothing."""

from bisect import bisect_left
from collections.abc import Iterator
from heapq import merge
from itertools import groupby, islice
from operator import attrgetter

import numpy as np

from serval_registry.mirror.base import Base, Mask, Numbers
from serval_registry.mirror.texts import Key, decoded
from serval_registry.mirror.view import View
from serval_registry.model import Stage, Summary, Version
from serval_registry.predicates import Conditions
from serval_registry.tables import Row

_LAST = 2**62
# Rows are read ahead a page at first, as most walks end there, and then ever more of them.
_CHUNK, _CHUNK_MAX = 128, 4096


def key_of(version: Version) -> Key:
    """Return what versions are ordered by."""
    return version.name, version.version


def walked(
    view: View, conditions: Conditions, begin: Key, *, name: str | None, latest_only: bool
) -> Iterator[Version] | None:
    """Return the versions that pass, from a key on; with `latest_only` the newest of each name.

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
        numbers = _numbers(view.base, allowed, begin, end)
        return merge(map(view.base.version, numbers), late, key=key_of)
    newest = map(view.base.version, _newest(view.base, allowed, begin, end))
    by_name = groupby(merge(newest, late, key=key_of), key=attrgetter("name"))
    return (list(versions)[-1] for _, versions in by_name)


def newest(view: View, name: str, limit: int) -> list[Summary]:
    """Return the newest versions of a name in short, newest first."""
    numbers = view.base.numbers_of(name)
    numbers = numbers[view.allowed[numbers] != 0][-limit:]
    found = [_summary(decoded(view.base.text(number), whole=False)) for number in numbers.tolist()]
    found += [Summary(late.version, late.stage, late.created) for late in view.late_of(name)]
    return sorted(found, key=attrgetter("version"), reverse=True)[:limit]


def _summary(row: Row) -> Summary:
    return Summary(row["version"], Stage(row["stage"]), row["created"])


def _late(view: View, conditions: Conditions, begin: Key, end: Key | None) -> Iterator[Version]:
    stop = len(view.keys) if end is None else bisect_left(view.keys, end)
    for key in islice(view.keys, bisect_left(view.keys, begin), stop):
        version = view.late[key].version
        if version is not None and conditions.pass_for(version):
            yield version


def _numbers(base: Base, allowed: Mask, begin: Key, end: Key | None) -> Iterator[int]:
    for at in _chunks(base, begin, end):
        numbers = base.by_key[at]
        yield from numbers[allowed[numbers] != 0].tolist()


def _newest(base: Base, allowed: Mask, begin: Key, end: Key | None) -> Iterator[int]:
    """Yield the last number of each name that passes."""
    held = None  # the last one of a chunk: the next chunk may go on with its name
    for at in _chunks(base, begin, end):
        numbers: Numbers = base.by_key[at]
        passes = allowed[numbers] != 0
        numbers, names = numbers[passes], base.names[at][passes]
        if not len(numbers):
            continue
        if held is not None and held[1] != names[0]:
            yield held[0]
        last = np.flatnonzero(names[1:] != names[:-1])
        yield from numbers[last].tolist()
        held = int(numbers[-1]), int(names[-1])
    if held is not None:
        yield held[0]


def _chunks(base: Base, begin: Key, end: Key | None) -> Iterator[slice]:
    start, size = base.place_of(begin), _CHUNK
    stop = base.rows if end is None else base.place_of(end)
    while start < stop:
        yield slice(start, min(start + size, stop))
        start, size = start + size, min(2 * size, _CHUNK_MAX)
