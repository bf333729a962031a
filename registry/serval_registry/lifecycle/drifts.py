"""What is kept of comparisons with the baseline: each change of what they say of a version, not each comparison."""

from collections.abc import Sequence

from serval_registry.lifecycle.desk import Desk
from serval_registry.lifecycle.entries import Action, Actor, Entry
from serval_registry.model import Ref

# Of drifted features in one entry.
FEATURES_MAX = 100

# Versions whose last finding is remembered; one that was forgotten is looked up again.
_REMEMBERED = 10_000

_Finding = tuple[str, tuple[str, ...]]


class Drifts:
    """Findings of drift in the journal."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._last: dict[Ref, _Finding] = {}

    def note(self, ref: Ref, verdict: str, drifted: Sequence[str], rows: int, actor: Actor) -> bool:
        """Append a finding of a version unless it says what the last one said; return whether it was appended."""
        finding = (verdict, tuple(drifted[:FEATURES_MAX]))
        if self._last.get(ref) == finding:
            return False
        with self._desk.writing():
            told = self.of(ref)
            new = not told or (told[-1].details["verdict"], tuple(told[-1].details["drifted"])) != finding
            if new:
                said = {"verdict": verdict, "drifted": list(finding[1]), "rows": rows}
                self._desk.journal.append(actor, Action.DRIFT, ref, said)
        if len(self._last) >= _REMEMBERED:
            self._last.clear()
        self._last[ref] = finding
        return new

    def of(self, ref: Ref) -> list[Entry]:
        """Return the findings of a version, oldest first."""
        found = self._desk.journal.facts([ref.name], [Action.DRIFT])
        return [entry for entry in found if entry.version == ref.version]
