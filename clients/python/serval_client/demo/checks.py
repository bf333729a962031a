"""What the demonstration has shown: a row a check, and one verdict over all."""

import sys
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was to be true."""

    what: str
    holds: bool
    figure: str
    meaning: str


@dataclass(slots=True)
class Checks:
    """All checks, in order."""

    rows: list[Check] = field(default_factory=list)

    def add(self, what: str, holds: bool, figure: str, meaning: str) -> None:
        """Note a check and say at once how it came out."""
        self.rows.append(Check(what, holds, figure, meaning))
        say(f"  {'ok' if holds else 'FAILED'}: {what}: {figure}")

    @property
    def hold(self) -> bool:
        """Tell whether every check holds."""
        return all(check.holds for check in self.rows)


def say(text: str = "") -> None:
    """Print a line at once."""
    print(text)
    sys.stdout.flush()


def title(text: str) -> None:
    """Print the head of a step."""
    say(f"\n== {text}")
