"""Arguments of the form KEY=VALUE."""

import argparse
import json
from collections.abc import Sequence


def text(argument: str) -> tuple[str, str]:
    """Return the key and the value of "key=value"."""
    key, equals, value = argument.partition("=")
    if not key or not equals:
        raise argparse.ArgumentTypeError(f"got {argument!r}, wanted KEY=VALUE")
    return key, value


def number(argument: str) -> tuple[str, float]:
    """Return the key and the value of "key=0.93"."""
    key, value = text(argument)
    try:
        return key, float(value)
    except ValueError:
        raise argparse.ArgumentTypeError(f"got {argument!r}, wanted KEY=NUMBER") from None


def anything(argument: str) -> tuple[str, object]:
    """Return the key and the value of "key=value", read as JSON where it is JSON."""
    key, value = text(argument)
    try:
        return key, json.loads(value)
    except ValueError:
        return key, value


def shown(pairs: Sequence[tuple[str, object]]) -> str:
    """Return pairs as one cell of a table."""
    return ", ".join(f"{key}={value:.4g}" if isinstance(value, float) else f"{key}={value}" for key, value in pairs)
