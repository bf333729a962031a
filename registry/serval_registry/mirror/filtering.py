"""Filters answered by a mirror: which of its rows pass, as masks. What needs the rows' texts is left to LanceDB.

As in SQL a comparison with nothing is neither true nor false, so a filter gives two masks: where it holds, and where
its contrary does.
"""

import operator
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from functools import reduce
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from serval_registry.grammar import And, Comparison, Kind, Node, Not, Op, Or, Value
from serval_registry.metrics import INDEXED_METRICS, metric_column
from serval_registry.mirror.base import STAGES, Base
from serval_registry.model import Stage
from serval_registry.predicates import Conditions

Mask = npt.NDArray[np.bool_]

_COMPARE: Mapping[Op, Callable[[Any, Any], Any]] = {
    Op.EQ: operator.eq,
    Op.IN: operator.eq,
    Op.NE: operator.ne,
    Op.LT: operator.lt,
    Op.LE: operator.le,
    Op.GT: operator.gt,
    Op.GE: operator.ge,
}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class _Answer(NamedTuple):
    holds: Mask
    fails: Mask


class _Texts(Exception):
    """The filter looks at texts."""


def passing(base: Base, conditions: Conditions, source: str | None) -> Mask | None:
    """Return where the conditions hold and the vector is of a source: bool [rows]. None: LanceDB has to be asked."""
    masks = []
    if source is not None:
        masks.append(_coded(base.sources, (at for at, name in enumerate(base.source_names) if name == source)))
    if conditions.stages:
        masks.append(_staged(base, conditions.stages))
    masks += [_tagged(base, key, value) for key, value in conditions.tags.items()]
    try:
        if conditions.node is not None:
            masks.append(_answer(base, conditions.node).holds)
    except _Texts:
        return None
    return reduce(operator.and_, masks, np.ones(base.rows, np.bool_))


def _answer(base: Base, node: Node) -> _Answer:
    match node:
        case And(left, right):
            a, b = _answer(base, left), _answer(base, right)
            return _Answer(a.holds & b.holds, a.fails | b.fails)
        case Or(left, right):
            a, b = _answer(base, left), _answer(base, right)
            return _Answer(a.holds | b.holds, a.fails & b.fails)
        case Not(inner):
            holds, fails = _answer(base, inner)
            return _Answer(fails, holds)
        case Comparison():
            return _comparison(base, node)


def _comparison(base: Base, node: Comparison) -> _Answer:
    match node.kind:
        case Kind.TAG:
            return _sure(_tag(base, node))
        case Kind.STAGE:
            found = _staged(base, [Stage(str(value)) for value in node.values])
            return _sure(~found if node.op is Op.NE else found)
        case Kind.NUMBER | Kind.MOMENT:
            return _numbers(base.column(node.name), node)
        case Kind.METRIC if node.name in INDEXED_METRICS:
            return _numbers(base.column(metric_column(node.name)), node)
    raise _Texts


def _sure(holds: Mask) -> _Answer:
    return _Answer(holds, ~holds)


def _tag(base: Base, node: Comparison) -> Mask:
    has = np.zeros(base.rows, np.bool_)
    if node.op in (Op.EXISTS, Op.NE):
        # "=" is followed by ">": between them lies whatever begins with the key.
        has[base.terms.rows(f"{node.name}=", f"{node.name}>")] = True
        if node.op is Op.EXISTS:
            return has
    equal = reduce(operator.or_, (_tagged(base, node.name, str(value)) for value in node.values))
    return has & ~equal if node.op is Op.NE else equal


def _tagged(base: Base, key: str, value: str) -> Mask:
    found = np.zeros(base.rows, np.bool_)
    found[base.terms.rows(f"{key}={value}", f"{key}={value}\0")] = True
    return found


def _staged(base: Base, stages: Iterable[Stage]) -> Mask:
    return _coded(base.stages, (STAGES.index(stage) for stage in stages))


def _coded(codes: npt.NDArray[np.uint8], wanted: Iterable[int]) -> Mask:
    is_wanted = np.zeros(256, np.bool_)
    is_wanted[list(wanted)] = True
    return is_wanted[codes]


def _numbers(column: npt.NDArray[np.float64], node: Comparison) -> _Answer:
    there = ~np.isnan(column)
    if node.op is Op.EXISTS:
        return _sure(there)
    compare = _COMPARE[node.op]
    holds = there & reduce(operator.or_, (compare(column, _number(value)) for value in node.values))
    return _Answer(holds, there & ~holds)


def _number(value: Value) -> float:
    if isinstance(value, datetime):
        return float((value - _EPOCH) // timedelta(microseconds=1))
    return float(value)
