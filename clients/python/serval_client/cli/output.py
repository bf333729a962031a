"""What commands print: aligned tables and JSON for stdout, notes for stderr."""

import json
import math
import sys
from argparse import ArgumentParser
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from serval_client.errors import InvalidArgument

CELL_MAX = 60


def add_json(parser: ArgumentParser) -> None:
    """Add --json."""
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")


def table(headers: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return the rows as aligned text, columns of numbers to the right; None is shown as "-"."""
    values = [list(row) for row in rows]
    texts = [[cell(value) for value in row] for row in values]
    widths = [max(map(len, column)) for column in zip(headers, *texts, strict=True)]
    right = [
        any(_is_number(row[i]) for row in values) and all(_is_number(row[i]) or row[i] is None for row in values)
        for i in range(len(headers))
    ]
    return "\n".join(
        "  ".join(
            text.rjust(width) if to_right else text.ljust(width)
            for text, width, to_right in zip(line, widths, right, strict=True)
        ).rstrip()
        for line in (headers, *texts)
    )


def cell(value: object) -> str:
    """Return one value as a cell of a table."""
    match value:
        case None:
            return "-"
        case float() | np.floating():
            return f"{value:.4g}"
        case datetime():
            return value.strftime("%Y-%m-%d %H:%M")
        case _:
            text = visible(" ".join(str(value).split()))
            return text if len(text) <= CELL_MAX else text[: CELL_MAX - 3] + "..."


def visible(text: str) -> str:
    """Return one line whose control characters, ends of lines among them, are told as escapes.

    Categories are whatever callers sent: they are not to move the cursor of whoever reads of them, or worse.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def size(count: int) -> str:
    """Return a number of bytes as people say it."""
    for unit, step in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if count >= step:
            return f"{count / step:.1f} {unit}"
    return f"{count} B"


def print_json(value: object) -> None:
    """Print a record, or records, as JSON; what JSON cannot say of numbers (NaN, infinity) is null."""
    print(json.dumps(plain(value), indent=2, ensure_ascii=not _writes_unicode()))


def print_json_line(value: object) -> None:
    """Print a record as JSON on a line of its own, at once."""
    print(json.dumps(plain(value), ensure_ascii=not _writes_unicode()), flush=True)


def plain(value: Any) -> Any:
    """Return a record, an array or a container as what JSON is made of."""
    match value:
        case float() | np.floating():
            return float(value) if math.isfinite(value) else None
        case np.integer() | np.bool_():
            return value.item()
        case np.ndarray():
            return plain(value.tolist())
        case datetime():
            return value.isoformat()
        case bytes():
            return len(value)
        case Mapping():
            return {str(key): plain(item) for key, item in value.items()}
        case _ if is_dataclass(value):
            return {entry.name: plain(getattr(value, entry.name)) for entry in fields(value)}
        case list() | tuple():
            return [plain(item) for item in value]
        case _:
            return value


def check_folder(path: Path, option: str) -> None:
    """Raise InvalidArgument where there is no folder to write `path` in, or it is one itself: before the work."""
    if not path.parent.is_dir():
        raise InvalidArgument(f"{option}: there is no folder {str(path.parent)!r}")
    if path.is_dir():
        raise InvalidArgument(f"{option}: {str(path)!r} is a folder; wanted a file")


def note(text: str) -> None:
    """Tell something beside the result."""
    print(f"serval: {text}", file=sys.stderr)


def figure(value: float | None, form: str) -> str | None:
    """Return a number in a fixed form, for a column where every number should be read at the same scale."""
    return None if value is None else format(value, form)


def _writes_unicode() -> bool:
    """Tell whether stdout takes every character; JSON escapes those that it does not take by rules of its own."""
    return (sys.stdout.encoding or "").lower().replace("-", "").startswith("utf")


def _is_number(value: object) -> bool:
    if isinstance(value, bool | np.bool_) or value is None:
        return False
    try:
        float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return False
    return True
