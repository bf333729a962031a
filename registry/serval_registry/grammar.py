"""What people write as a filter, read into a tree: accuracy > 0.9 and stage = production and tags.team = "fraud".

    filter     = all ("or" all)*
    all        = one ("and" one)*
    one        = "not" one | "(" filter ")" | comparison
    comparison = field ("=" | "!=" | "<" | "<=" | ">" | ">=") value
               | field "in" "(" value ("," value)* ")"
               | field "contains" value
               | field "exists"
    field      = a word, or tags.KEY, metrics.NAME; keys that are no words in quotes: tags."cost centre"
    value      = number | word | "text" | date (2026-01-31) | moment (2026-01-31T12:00:00, UTC, or with an offset)

A word that names no field is a metric. An absent tag is neither equal nor unequal to any text; a comparison with an
absent metric, and its contrary, hold for no version.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum, StrEnum
from typing import NamedTuple

from serval_registry.errors import InvalidArgument
from serval_registry.model import Stage

TEXT_MAX = 4096
_DEPTH_MAX = 32
_TERMS_MAX = 64


class Kind(Enum):
    """What the values of a field are."""

    TEXT = "text"
    NUMBER = "a number"
    MOMENT = "a date"
    STAGE = "a stage"
    MEMBER = "a name that it has"
    TAG = "a tag's text"
    METRIC = "a metric's number"


class Op(StrEnum):
    """How a field is compared with a value."""

    EQ = "="
    NE = "!="
    LT = "<"
    LE = "<="
    GT = ">"
    GE = ">="
    IN = "in"
    CONTAINS = "contains"
    EXISTS = "exists"


# What can be asked of every version. The last five hold for a version that has such a one among others.
FIELDS: Mapping[str, Kind] = {
    "name": Kind.TEXT,
    "version": Kind.NUMBER,
    "stage": Kind.STAGE,
    "label": Kind.TEXT,
    "created": Kind.MOMENT,
    "updated": Kind.MOMENT,
    "algorithm": Kind.TEXT,
    "framework": Kind.TEXT,
    "dataset": Kind.TEXT,
    "description": Kind.TEXT,
    "baseline_rows": Kind.NUMBER,
    "alias": Kind.MEMBER,
    "feature": Kind.MEMBER,
    "class": Kind.MEMBER,
    "input": Kind.MEMBER,
    "output": Kind.MEMBER,
}

_ORDER = frozenset({Op.EQ, Op.NE, Op.LT, Op.LE, Op.GT, Op.GE, Op.IN})
_OPS: Mapping[Kind, frozenset[Op]] = {
    Kind.TEXT: frozenset({Op.EQ, Op.NE, Op.IN, Op.CONTAINS}),
    Kind.NUMBER: _ORDER,
    Kind.MOMENT: _ORDER,
    Kind.STAGE: frozenset({Op.EQ, Op.NE, Op.IN}),
    Kind.MEMBER: frozenset({Op.EQ, Op.NE, Op.IN}),
    Kind.TAG: frozenset({Op.EQ, Op.NE, Op.IN, Op.EXISTS}),
    Kind.METRIC: _ORDER | {Op.EXISTS},
}

Value = str | float | datetime


@dataclass(frozen=True, slots=True)
class Comparison:
    """A field held against values; `name` is the field's own, or the key of a tag, or a metric's name."""

    kind: Kind
    name: str
    op: Op
    values: tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class And:
    """Both."""

    left: "Node"
    right: "Node"


@dataclass(frozen=True, slots=True)
class Or:
    """Either."""

    left: "Node"
    right: "Node"


@dataclass(frozen=True, slots=True)
class Not:
    """What is false."""

    node: "Node"


Node = Comparison | And | Or | Not


def parse(text: str, field_name: str = "filter") -> Node:
    """Return the tree of a filter; InvalidArgument names the position, from 1, and what was wanted there."""
    if len(text) > TEXT_MAX:
        raise InvalidArgument(f"{field_name}: {len(text)} characters; wanted at most {TEXT_MAX}")
    return _Parser(text, field_name).whole()


class _Token(NamedTuple):
    kind: str
    text: str
    at: int


_LEXER = re.compile(
    r"""\s*(?:
      (?P<moment>\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d{1,6})?)?(?:Z|[+-]\d\d:\d\d)?)?(?![\w.-]))
    | (?P<number>[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?(?![\w-]))
    | (?P<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
    | (?P<word>\w[\w-]*)
    | (?P<op><=|>=|!=|==|<>|[=<>(),.])
    | (?P<end>$)
    )""",
    re.VERBOSE,
)
_SPELLINGS = {"==": "=", "<>": "!="}


class _Parser:
    def __init__(self, text: str, field_name: str) -> None:
        self._field_name = field_name
        self._tokens = list(self._read(text))
        self._place = self._depth = self._terms = 0

    def whole(self) -> Node:
        node = self._either()
        if self._next.kind != "end":
            raise self._wanted("'and', 'or' or the end")
        return node

    def _read(self, text: str) -> "list[_Token]":
        tokens: list[_Token] = []
        at = 0
        while not tokens or tokens[-1].kind != "end":
            found = _LEXER.match(text, at)
            if found is None or found.lastgroup is None:
                at += len(text[at:]) - len(text[at:].lstrip())
                hint = "; the text that begins there does not end" if text[at] in "\"'" else ""
                raise InvalidArgument(
                    f"{self._field_name}: column {at + 1}: {text[at:][:20]!r} is not understood{hint}"
                )
            word = found[found.lastgroup]
            tokens.append(_Token(found.lastgroup, _SPELLINGS.get(word, word), found.start(found.lastgroup)))
            at = found.end()
        return tokens

    @property
    def _next(self) -> _Token:
        return self._tokens[self._place]

    def _take(self) -> _Token:
        token = self._next
        self._place += 1
        return token

    def _is(self, word: str) -> bool:
        """Take a word or a sign, where it is the next."""
        token = self._next
        if token.kind in ("word", "op") and token.text.lower() == word:
            self._place += 1
            return True
        return False

    def _wanted(self, what: str, token: _Token | None = None) -> InvalidArgument:
        token = token or self._next
        came = "the end" if token.kind == "end" else repr(token.text[:40])
        return InvalidArgument(f"{self._field_name}: column {token.at + 1}: {came}; wanted {what}")

    def _either(self) -> Node:
        node = self._all()
        while self._is("or"):
            node = Or(node, self._all())
        return node

    def _all(self) -> Node:
        node = self._one()
        while self._is("and"):
            node = And(node, self._one())
        return node

    def _one(self) -> Node:
        self._depth += 1
        if self._depth > _DEPTH_MAX:
            raise self._wanted(f"at most {_DEPTH_MAX} levels of 'not' and brackets")
        if self._is("not"):
            node: Node = Not(self._one())
        elif self._is("("):
            node = self._either()
            if not self._is(")"):
                raise self._wanted("')'")
        else:
            node = self._comparison()
        self._depth -= 1
        return node

    def _comparison(self) -> Comparison:
        self._terms += 1
        if self._terms > _TERMS_MAX:
            raise self._wanted(f"at most {_TERMS_MAX} comparisons")
        kind, name = self._field()
        token = self._take()
        words = [op.value for op in Op if op in _OPS[kind]]
        if token.kind not in ("op", "word") or token.text.lower() not in words:
            raise self._wanted(f"one of {', '.join(words)} after {name!r}", token)
        op = Op(token.text.lower())
        return Comparison(kind, name, op, self._values(kind, op))

    def _field(self) -> tuple[Kind, str]:
        token = self._take()
        if token.kind != "word" or token.text.lower() in ("and", "or", "not", "in"):
            raise self._wanted("a field, such as stage, accuracy or tags.team", token)
        if token.text in ("tags", "metrics"):
            if not self._is("."):
                raise self._wanted(f"'.' and a key, such as {token.text}.{'team' if token.text == 'tags' else 'auc'}")
            key = self._take()
            if key.kind not in ("word", "text", "number"):
                raise self._wanted(f"a key of {token.text}", key)
            return (Kind.TAG if token.text == "tags" else Kind.METRIC), _unquoted(key)
        kind = FIELDS.get(token.text)
        return (kind, token.text) if kind is not None else (Kind.METRIC, token.text)

    def _values(self, kind: Kind, op: Op) -> tuple[Value, ...]:
        if op is Op.EXISTS:
            return ()
        if op is not Op.IN:
            return (self._value(kind),)
        if not self._is("("):
            raise self._wanted("'(' and values")
        values = [self._value(kind)]
        while self._is(","):
            values.append(self._value(kind))
        if not self._is(")"):
            raise self._wanted("',' or ')'")
        return tuple(values)

    def _value(self, kind: Kind) -> Value:
        token = self._take()
        if kind in (Kind.NUMBER, Kind.METRIC):
            if token.kind != "number":
                raise self._wanted("a number", token)
            return float(token.text)
        if kind is Kind.MOMENT:
            moment = _moment(_unquoted(token))
            if moment is None:
                raise self._wanted("a date such as 2026-01-31, or a moment such as 2026-01-31T12:00:00", token)
            return moment
        if token.kind not in ("word", "text", "number", "moment"):
            raise self._wanted("a word, or a text in quotes", token)
        if kind is Kind.STAGE and _unquoted(token) not in Stage.__members__.values():
            raise self._wanted(f"one of {', '.join(Stage)}", token)
        return _unquoted(token)


def _unquoted(token: _Token) -> str:
    return re.sub(r"\\(.)", r"\1", token.text[1:-1]) if token.kind == "text" else token.text


def _moment(text: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    try:
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except OverflowError:
        return None
