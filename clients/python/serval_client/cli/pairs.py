"""Arguments of the form KEY=VALUE, and whole numbers."""

import argparse
import json
from collections.abc import Callable, Sequence

_DIGITS_MAX = 18  # of a whole number that 64 bits hold, whatever the digits are


def is_number(text: str) -> bool:
    """Tell whether a text is the number of something, in digits alone and within 64 bits."""
    return text.isdecimal() and len(text) <= _DIGITS_MAX


def whole(bits: int, least: int | None = None) -> Callable[[str], int]:
    """Return what reads a whole number, of `least` or more, that the contract's fields of so many bits can hold.

    Without `least` the server tells what it takes.
    """

    def read(argument: str) -> int:
        try:
            number = int(argument)
        except ValueError:
            raise argparse.ArgumentTypeError(f"got {argument[:80]!r}, wanted a whole number") from None
        most = (1 << (bits - 1)) - 1
        if not (-most if least is None else least) <= number <= most:
            within = f"of at most {most}" if least is None else f"from {least} to {most}"
            raise argparse.ArgumentTypeError(f"got {argument[:80]!r}, wanted a whole number {within}")
        return number

    return read


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
