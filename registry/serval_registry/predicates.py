"""Filters, as conditions that LanceDB answers and as questions to one version. Both say the same of every row."""

import json
import operator
from collections.abc import Callable, Collection, Mapping
from functools import reduce
from typing import Any, NamedTuple

from serval_registry.filters import (
    SEPARATOR,
    Where,
    aliased,
    both,
    check_tags,
    either,
    maybe_all_of,
    negation,
    staged,
    tag_is,
    tagged,
)
from serval_registry.grammar import And, Comparison, Kind, Node, Not, Op, Or, Value, parse
from serval_registry.lance import col, lit
from serval_registry.metrics import INDEXED_METRICS, metric_column, metric_sql
from serval_registry.model import Stage, Version

_COMPARE: Mapping[Op, Callable[[Any, Any], Any]] = {
    Op.EQ: operator.eq,
    Op.NE: operator.ne,
    Op.LT: operator.lt,
    Op.LE: operator.le,
    Op.GT: operator.gt,
    Op.GE: operator.ge,
}

# Where the names lie that a version has: the column, and how one of them stands in its JSON.
_MEMBERS: Mapping[str, tuple[str, str]] = {
    "feature": ("features", "[%s,"),
    "class": ("classes", "%s"),
    "input": ("split_part(signature, ',\"outputs\":', 1)", "[%s,"),
    "output": ("split_part(signature, ',\"outputs\":', 2)", "[%s,"),
}


class Conditions(NamedTuple):
    """What a version has to be: in one of `stages` (none given: any), with all of `tags`, and where `node` holds."""

    stages: Collection[Stage] = ()
    tags: Mapping[str, str] = {}
    node: Node | None = None

    @classmethod
    def of(cls, stages: Collection[Stage], tags: Mapping[str, str] | None, text: str) -> "Conditions":
        """Return checked conditions; `text` is a filter of `grammar`, or empty."""
        check_tags(tags or {})
        return cls(stages, tags or {}, parse(text) if text.strip() else None)

    @property
    def given(self) -> bool:
        """Whether there is any condition."""
        return bool(self.stages or self.tags or self.node is not None)

    def where(self) -> Where | None:
        """Return the condition on rows, None for none."""
        node = None if self.node is None else compiled(self.node)
        return maybe_all_of(staged(self.stages), tagged(self.tags), node)

    def pass_for(self, version: Version) -> bool:
        """Tell whether a version is such."""
        if self.stages and version.stage not in self.stages:
            return False
        if any(version.tags.get(key) != value for key, value in self.tags.items()):
            return False
        return self.node is None or holds(self.node, version) is True


def compiled(node: Node) -> Where:
    """Return a filter as a condition: every text in it was quoted by LanceDB, every name of a column is ours."""
    match node:
        case And(left, right):
            return both(compiled(left), compiled(right))
        case Or(left, right):
            return either(compiled(left), compiled(right))
        case Not(inner):
            return negation(compiled(inner))
        case Comparison():
            return _comparison(node)


def holds(node: Node, version: Version) -> bool | None:
    """Tell whether a filter holds for a version; None, as SQL's null, where it cannot be said."""
    match node:
        case And(left, right):
            answers = holds(left, version), holds(right, version)
            return False if False in answers else None if None in answers else True
        case Or(left, right):
            answers = holds(left, version), holds(right, version)
            return True if True in answers else None if None in answers else False
        case Not(inner):
            answer = holds(inner, version)
            return None if answer is None else not answer
        case Comparison():
            return _holds(node, version)


def _comparison(node: Comparison) -> Where:
    match node.kind:
        case Kind.TAG:
            return _tag(node)
        case Kind.METRIC:
            return _metric(node)
        case Kind.MEMBER:
            return _any_of(node, [_member(node.name, str(value)) for value in node.values])
    if node.kind is Kind.NUMBER:
        return _any_of(node, [_number(node.name, _single(node.op), value) for value in node.values])
    column = col(node.name)
    if node.op is Op.CONTAINS:
        return column.contains(lit(str(node.values[0])))
    return _any_of(node, [_COMPARE[_single(node.op)](column, lit(value)) for value in node.values])


def _number(name: str, op: Op, value: Value) -> Where:
    """Return a comparison of a column of integers: beside SQL, LanceDB compares it with integers only."""
    number = float(value)  # type: ignore[arg-type]
    if number.is_integer() and abs(number) < 2**63:
        compared: Where = _COMPARE[op](col(name), lit(int(number)))
        return compared
    return f"cast({name} as double) {_sign(op)} {lit(number).to_sql()}"


def _any_of(node: Comparison, conditions: list[Where]) -> Where:
    """Return the disjunction; its contrary for members, of which a version has many and != means that none is such."""
    found = reduce(either, conditions)
    return negation(found) if node.op is Op.NE and node.kind in (Kind.MEMBER, Kind.TAG) else found


def _tag(node: Comparison) -> Where:
    has = f"contains(tags, {lit(f'{SEPARATOR}{node.name}=').to_sql()})"
    if node.op is Op.EXISTS:
        return has
    found = _any_of(node, [tag_is(node.name, str(value)) for value in node.values])
    # An absent tag is neither equal nor unequal to any text.
    return both(has, found) if node.op is Op.NE else found


def _metric(node: Comparison) -> Where:
    indexed = node.name in INDEXED_METRICS
    if node.op is Op.EXISTS:
        return f"({metric_column(node.name) if indexed else metric_sql(node.name)}) is not null"
    if indexed:
        return _any_of(node, [_COMPARE[_single(node.op)](col(metric_column(node.name)), lit(v)) for v in node.values])
    sign = _sign(_single(node.op))
    compared: list[Where] = [f"{metric_sql(node.name)} {sign} {lit(value).to_sql()}" for value in node.values]
    return reduce(either, compared)


def _member(name: str, value: str) -> Where:
    if name == "alias":
        return aliased(value)
    column, shape = _MEMBERS[name]
    return f"contains({column}, {lit(shape % json.dumps(value, ensure_ascii=False)).to_sql()})"


def _sign(op: Op) -> str:
    return "<>" if op is Op.NE else op.value


def _single(op: Op) -> Op:
    return Op.EQ if op is Op.IN else op


def _holds(node: Comparison, version: Version) -> bool | None:
    if node.kind is Kind.MEMBER:
        found = any(value in _names(node.name, version) for value in node.values)
        return found is not (node.op is Op.NE)
    has = _value(node, version)
    if node.op is Op.EXISTS:
        return has is not None
    if has is None:
        return False if node.kind is Kind.TAG else None
    if node.op is Op.CONTAINS:
        return str(node.values[0]) in str(has)
    return any(_COMPARE[_single(node.op)](has, value) for value in node.values)


def _value(node: Comparison, version: Version) -> Value | None:
    match node.kind:
        case Kind.TAG:
            return version.tags.get(node.name)
        case Kind.METRIC:
            return version.metrics.get(node.name)
    value: Value = getattr(version, node.name)
    return value


def _names(field: str, version: Version) -> Collection[str]:
    match field:
        case "alias":
            return version.aliases
        case "feature":
            return [feature.name for feature in version.features]
        case "class":
            return version.classes
        case "input":
            return [spec.name for spec in version.signature.inputs]
    return [spec.name for spec in version.signature.outputs]
