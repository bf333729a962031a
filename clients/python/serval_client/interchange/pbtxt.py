"""Protobuf's text format, as much of it as configurations use, as plain values: for messages without their schema.

A message is a dict of lists, for any field may come more than once; a number is an int or a float, and a word that
stands for an enum value or a truth value is a `Word`.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from serval_client.errors import InvalidArgument


class Word(str):
    """An unquoted word: TYPE_FP32, true."""

    __slots__ = ()


_TOKEN = re.compile(
    r"""\s+|\#[^\n]*
    |(?P<string>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')
    |(?P<number>[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?f?(?![A-Za-z_]))
    |(?P<word>[A-Za-z_][A-Za-z0-9_.]*)
    |(?P<mark>[{}\[\]:,;<>])""",
    re.VERBOSE,
)
_ESCAPE = re.compile(r"\\([0-7]{1,3}|x[0-9a-fA-F]{1,2}|.)")
_PLAIN = {"n": "\n", "t": "\t", "r": "\r"}
_CLOSES = {"{": "}", "<": ">"}

Message = dict[str, list[Any]]


def parse(text: str) -> Message:
    """Read a message; InvalidArgument naming the line where it is not one."""
    reader = _Reader(text)
    return reader.message("")


def dump(message: Mapping[str, Any], indent: str = "") -> str:
    """Write a message: a dict's values are messages, lists of values, or values."""
    lines = []
    for name, value in message.items():
        for one in value if isinstance(value, Sequence) and not isinstance(value, str) else [value]:
            if isinstance(one, Mapping):
                lines.append(f"{indent}{name} {{\n{dump(one, indent + '  ')}{indent}}}\n")
            else:
                lines.append(f"{indent}{name}: {_literal(one)}\n")
    return "".join(lines)


class _Reader:
    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = self._read()
        self._token: tuple[str, str, int] = next(self._tokens)

    def message(self, end: str) -> Message:
        fields: Message = {}
        while self._token[1] != end or self._token[0] == "string":
            name = self._take("word")
            separated = self._accept(":")
            values = fields.setdefault(name, [])
            if self._token[1] in _CLOSES and self._token[0] == "mark":
                values.append(self._nested())
            elif self._accept("["):  # of messages, the colon may be left out
                values += self._list()
            elif separated:
                values.append(self._value())
            else:
                raise self._unexpected("':' or '{'")
            self._accept(",") or self._accept(";")
        self._advance()
        return fields

    def _nested(self) -> Message:
        return self.message(_CLOSES[self._take("mark")])

    def _list(self) -> list[Any]:
        values = []
        while not self._accept("]"):
            values.append(self._nested() if self._token[1] in _CLOSES else self._value())
            if not self._accept(",") and self._token[1] != "]":
                raise self._unexpected("',' or ']'")
        return values

    def _value(self) -> Any:
        kind, text, _ = self._token
        if kind == "string":
            parts = []
            while self._token[0] == "string":  # adjacent texts are one
                parts.append(_ESCAPE.sub(_unescaped, self._take("string")[1:-1]))
            return "".join(parts)
        if kind == "number":
            self._advance()
            return int(text) if re.fullmatch(r"[-+]?\d+", text) else float(text.rstrip("f"))
        return Word(self._take("word"))

    def _read(self) -> Iterator[tuple[str, str, int]]:
        place, line = 0, 1
        while place < len(self._text):
            match = _TOKEN.match(self._text, place)
            if match is None:
                raise InvalidArgument(f"line {line}: {self._text[place : place + 20]!r} is no text format")
            if match.lastgroup:
                yield match.lastgroup, match[0], line
            line += match[0].count("\n")
            place = match.end()
        while True:
            yield "end", "", line

    def _advance(self) -> None:
        self._token = next(self._tokens)

    def _accept(self, mark: str) -> bool:
        found = self._token[:2] == ("mark", mark)
        if found:
            self._advance()
        return found

    def _take(self, kind: str) -> str:
        if self._token[0] != kind:
            raise self._unexpected(f"a {kind}")
        text = self._token[1]
        self._advance()
        return text

    def _unexpected(self, wanted: str) -> InvalidArgument:
        kind, text, line = self._token
        return InvalidArgument(f"line {line}: got {text[:40]!r} ({kind}), wanted {wanted}")


def _unescaped(match: re.Match[str]) -> str:
    code = match[1]
    if code[0] == "x":
        return chr(int(code[1:], 16))
    if code[0] in "01234567":
        return chr(int(code, 8))
    return _PLAIN.get(code, code)


def _literal(value: Any) -> str:
    if isinstance(value, Word | int | float) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, bool):
        return str(value).lower()
    escaped = str(value).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\r", "\\r")
    return f'"{escaped}"'
