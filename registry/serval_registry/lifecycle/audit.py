"""The audit log: the journal as it is asked and as it is proved."""

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from serval_registry import filters
from serval_registry.errors import DataLoss, InvalidArgument
from serval_registry.lance import Expr, col, lit
from serval_registry.lifecycle import entries
from serval_registry.lifecycle.entries import MOVES, NOTHING_BEFORE, Action, Entry
from serval_registry.lifecycle.journal import Journal
from serval_registry.model import Ref, Stage
from serval_registry.tables import Row, Table

PAGE_SIZE = 100
PAGE_SIZE_MAX = 1000

# So many entries are proved at a time: some MB of memory.
_BATCH = 4096

# So many faults are told; whoever meddled with more knows of them.
FAULTS_MAX = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """Which entries are asked for; what is not given is no condition. `until` is not included, `since` is."""

    actor: str = ""
    object: Ref | None = None
    actions: tuple[Action, ...] = ()
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """What `verify` found: how many entries were checked, the newest of them, and what is wrong, worst first."""

    entries: int
    head: int
    head_sha256: str
    faults: tuple[str, ...]

    @property
    def holds(self) -> bool:
        """Whether nothing is wrong."""
        return not self.faults


def page(journal: Journal, question: Question, *, before: int, size: int) -> tuple[list[Entry], int]:
    """Return entries, newest first, and the number to give as `before` for more of them; 0: that was all.

    before: only entries with smaller numbers; 0: from the newest. size: 1 to 1000, 0 means 100.
    """
    if not 0 <= size <= PAGE_SIZE_MAX or before < 0:
        raise InvalidArgument(f"page_size: {size}; wanted 1 to {PAGE_SIZE_MAX}, or 0 for {PAGE_SIZE}")
    size = size or PAGE_SIZE
    where = filters.maybe_all_of(*_conditions(question), col("number") < lit(before) if before else None)
    found = journal.select(where, limit=size + 1, newest_first=True)
    return found[:size], found[size - 1].number if len(found) > size else 0


def verify(
    journal: Journal, versions: Table, known: Mapping[int, str], step: Callable[[int], None] = lambda _count: None
) -> Proof:
    """Prove the whole chain, and that the stages of all versions are what it tells.

    known: digests of entries by number that were noted elsewhere; without one, a log that was rewritten from some entry
    to its end looks whole. step: called with how many more entries were read.
    """
    chain, told = _Chain(known), _Told(_voided(journal))
    horizon = journal.horizon()
    for row in _rows(journal, horizon, step):
        entry = chain.follow(row)
        if entry is not None:
            told.add(entry)
    faults = [*chain.faults, *(f"entry {n}: is missing" for n in known if n > chain.length)]
    if chain.length != horizon:
        faults.append(f"entries: {chain.length} are there; the newest has number {horizon}")
    if journal.highest_revision() > told.revision:
        faults.append(f"entries: none tells of the newest versions; the log ends with entry {chain.length}")
    if not faults:
        faults = _strangers(versions, told)
    return Proof(entries=chain.length, head=chain.length, head_sha256=chain.previous, faults=tuple(faults[:FAULTS_MAX]))


class _Chain:
    """The chain as far as it was followed."""

    def __init__(self, known: Mapping[int, str]) -> None:
        self._known = known
        self.length = 0
        self.previous = NOTHING_BEFORE
        self.faults: list[str] = []

    def follow(self, row: Row) -> Entry | None:
        """Take the next row, note what is wrong with it, and return its entry where it can be read."""
        self.length += 1
        try:
            entry = entries.read(row["entry"])
        except (ValueError, KeyError, TypeError):
            self.faults.append(f"entry {row['number']}: cannot be read")
            return None
        else:
            self.faults += (f"entry {row['number']}: {fault}" for fault in self._faults(row, entry))
            return entry
        finally:
            self.previous = row["sha256"]

    def _faults(self, row: Row, entry: Entry) -> Iterator[str]:
        """Yield what is wrong with an entry."""
        if entries.digest(row["entry"]) != row["sha256"]:
            yield "its text does not have the digest beside it"
        if entry.previous != self.previous:
            yield "does not follow the one before it"
        if not row["number"] == entry.number == self.length:
            yield f"stands in place {self.length} and says {entry.number}"
        columns = (entry.actor.name, str(entry.action), entry.name, entry.version, entry.revision, entry.time)
        if columns != tuple(row[c] for c in ("actor", "action", "name", "version", "revision", "time")):
            yield "its columns are not what its text says"
        noted = self._known.get(self.length, row["sha256"])
        if noted != row["sha256"]:
            yield f"has digest {row['sha256'][:16]}...; {noted[:16]}... was noted"


class _Told:
    """What the entries tell of the versions: their stages, and up to which revision."""

    def __init__(self, voided: Collection[int]) -> None:
        self._voided = voided
        self.stages: dict[tuple[str, int], str] = {}
        self.revision = 0
        self.begin = 0  # what is not newer was there before the log
        self._registered: set[tuple[str, int]] = set()
        self._edited: set[tuple[str, int]] = set()  # names, and revisions that some of their versions have

    def add(self, entry: Entry) -> None:
        """Take the next entry; one that was voided tells of nothing."""
        if entry.number in self._voided:
            return
        if entry.action in MOVES:
            self.stages.update(((entry.name, version), after) for version, _, after in entry.details["moves"])
        elif entry.action is Action.REGISTER:
            self._registered.add((entry.name, entry.version))
        elif entry.revision:
            self._edited.add((entry.name, entry.revision))
        if entry.action is Action.BEGIN:
            self.begin = entry.details["revision"]
        if entry.action is Action.RECOVERED:
            self.stages[entry.name, entry.version] = entry.details["stage"]
        told = entry.details["revision"] if entry.action in (Action.BEGIN, Action.RECOVERED) else entry.revision
        self.revision = max(self.revision, told)

    def is_older(self, name: str, version: int, revision: int) -> bool:
        """Tell whether a version was there before the log, and what was done to it since is told."""
        if revision <= self.begin:
            return True
        return (name, version) not in self._registered and (name, revision) in self._edited


def _voided(journal: Journal) -> Collection[int]:
    try:
        return journal.voided()
    except DataLoss:  # which the chain tells in full
        return ()


def _conditions(question: Question) -> Iterator[Expr]:
    if question.actor:
        yield col("actor") == lit(question.actor)
    if question.object is not None:
        yield filters.named(question.object.name)
        if question.object.version is not None:
            yield col("version") == lit(question.object.version)
    if question.actions:
        yield filters.acted(*question.actions)
    if question.since is not None:
        yield col("time") >= lit(question.since)
    if question.until is not None:
        yield col("time") < lit(question.until)


def _rows(journal: Journal, horizon: int, step: Callable[[int], None]) -> Iterator[Row]:
    for first in range(1, horizon + 1, _BATCH):
        rows = journal.rows(first, min(first + _BATCH - 1, horizon))
        yield from rows
        step(len(rows))


def _strangers(versions: Table, told: _Told) -> list[str]:
    """Return where the table of versions is not what the log tells."""
    staged = filters.all_of(filters.alive(), filters.staged([s for s in Stage if s is not Stage.NONE]))
    rows = versions.select(staged, ["name", "version", "stage", "revision"])
    found = {(row["name"], row["version"]): row["stage"] for row in rows}
    older = (row for row in rows if told.is_older(row["name"], row["version"], row["revision"]))
    known = {(row["name"], row["version"]): row["stage"] for row in older} | told.stages
    faults = [
        f"{name}@{version} is in stage {stage}; the log tells {known.get((name, version), 'of no move')}"
        for (name, version), stage in sorted(found.items())
        if known.get((name, version)) != stage
    ]
    counts = Counter(name for (name, _), stage in found.items() if stage == Stage.PRODUCTION)
    return faults + [f"{name} has {count} versions in production" for name, count in counts.items() if count > 1]
