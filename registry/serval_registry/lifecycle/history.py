"""What was in production when, and what a rollback goes back to: both told by the journal's moves."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from serval_registry.lifecycle.entries import Action, Actor, Entry
from serval_registry.model import Stage


@dataclass(frozen=True, slots=True)
class Period:
    """A time in production: from `since` (None: before the journal began) to `until` (None: still)."""

    version: int
    since: datetime | None
    until: datetime | None
    promoted_by: Actor | None
    how: str  # "stage" or "rollback"; "" before the journal began
    entry: int


def periods(moves: Sequence[Entry]) -> list[Period]:
    """Return the times in production of one name, oldest first; `moves` are its facts."""
    found: list[Period] = []
    for entry in moves:
        for version, before, _ in entry.details["moves"]:
            if before == Stage.PRODUCTION:
                found = _ended(found, version, entry)
        for version, _, after in entry.details["moves"]:
            if after == Stage.PRODUCTION:
                found.append(Period(version, entry.time, None, entry.actor, str(entry.action), entry.number))
    return found


def before_last(moves: Sequence[Entry], alive: Collection[int]) -> int | None:
    """Return the version that was in production before the one that is, as far as it exists; None for none.

    A rollback goes back for good: what it went back over is not gone back to by the next one. Where nothing is in
    production, it is the version that was so last.
    """
    stack: list[int] = []
    current: int | None = None
    for entry in moves:
        for version, before, _ in entry.details["moves"]:
            if before == Stage.PRODUCTION:
                current = None
                if version not in stack[-1:]:
                    stack.append(version)
        for version, _, after in entry.details["moves"]:
            if after == Stage.PRODUCTION:
                current = version
                if entry.action is Action.ROLLBACK and version in stack:
                    del stack[len(stack) - 1 - stack[::-1].index(version) :]
                stack.append(version)
    past = stack[:-1] if current is not None else stack
    return next((version for version in reversed(past) if version in alive and version != current), None)


def served(moves: Sequence[Entry]) -> list[int]:
    """Return the versions that have been in production, each once, in order."""
    return list(dict.fromkeys(period.version for period in periods(moves)))


def _ended(found: list[Period], version: int, entry: Entry) -> list[Period]:
    if any(period.version == version and period.until is None for period in found):
        return [replace(p, until=entry.time) if p.version == version and p.until is None else p for p in found]
    return [*found, Period(version, None, entry.time, None, "", 0)]
