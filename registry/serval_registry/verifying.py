"""Checking that everything a registry holds is there and whole, and mending what can be mended.

Damage is told, never hidden: a version whose artifact is lost stays, and loading it says so. What `repair` mends is
what has one right answer: a second version in production (the one that was moved there last is meant), and content that
still exists elsewhere, in a backup or in a file that somebody has kept.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from serval_registry.artifacts import digest
from serval_registry.errors import DataLoss, InvalidArgument
from serval_registry.filters import alive, all_of, staged
from serval_registry.lance import col, lit
from serval_registry.lifecycle import audit
from serval_registry.lifecycle.entries import MOVES
from serval_registry.mending import mend
from serval_registry.model import Ref, Stage
from serval_registry.registry import Registry
from serval_registry.storage import storage_of
from serval_registry.table_check import Fault, Step, check_tables
from serval_registry.tables import Row

# Called with how many things were looked at, and how many there are.
Progress = Callable[[int, int], None]

_COLUMNS = ["name", "version", "stage", "deleted", "artifact_sha256", "sample_sha256", "baseline_sha256"]


@dataclass(slots=True)
class Report:
    """What a check has found."""

    versions: int = 0
    contents: int = 0
    bytes: int = 0
    unreferenced: int = 0  # contents that no version refers to; housekeeping removes them
    faults: list[Fault] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Repair:
    """What was mended, in words, and the faults that are left."""

    mended: list[str]
    left: list[Fault]


def verify(registry: Registry, progress: Progress = lambda _done, _total: None) -> Report:
    """Read everything and compare it: contents with their checksums, rows with each other, the audit log as a chain."""
    journal, database = registry.journal, registry.database
    rows = database.versions.values(None, _COLUMNS).to_pylist()
    living = [row for row in rows if not row["deleted"]]
    owners = _owners(living)
    with suppress(DataLoss):  # what cannot be read is told with its table
        for row in database.inputs.values(col("probes_source") != lit(""), ["probes_sha256", "probes_of"]).to_pylist():
            owners.setdefault(row["probes_sha256"], ("probes", row["probes_of"]))
    step = _Steps(progress, len(owners) + journal.horizon() + sum(table.count() for table in database.tables))
    report = Report(versions=len(living))
    report.faults += _twice(rows)
    report.faults += _two_in_production(living)
    report.faults += check_tables(registry, step)
    report.faults += _check_journal(registry, step)
    for sha256, (kind, owner) in owners.items():
        try:
            report.bytes += _read(registry, sha256, kind, owner)
            report.contents += 1
        except DataLoss as loss:
            # A baseline is computed from a sample, not put back: `SetBaseline`.
            report.faults.append(Fault(owner, str(loss), "" if kind == "baseline" else sha256))
        step(1)
    report.unreferenced = sum(stored.sha256 not in owners for stored in registry.storage.artifacts.stored())
    return report


class _Steps:
    """How much of a check is done; what others write meanwhile is no part of it."""

    def __init__(self, progress: Progress, total: int) -> None:
        self._progress = progress
        self._total = total
        self._done = 0

    def __call__(self, count: int) -> None:
        """Take how much more was looked at."""
        self._done = min(self._done + count, self._total)
        self._progress(self._done, self._total)


def repair(registry: Registry, sources: Iterable[Path] = (), progress: Progress = lambda _done, _total: None) -> Repair:
    """Mend what can be mended; `sources` are files, or folders of files, that may hold lost content."""
    before = verify(registry, progress)
    wanted = {fault.sha256 for fault in before.faults if fault.sha256}
    mended = [f"{ref}: archived, another version was moved to production later" for ref in _archive_older(registry)]
    for content in _contents(sources) if wanted else ():
        sha256 = digest(content)
        if sha256 in wanted:
            registry.storage.artifacts.put(content)
            mended.append(f"SHA-256 {sha256}: put back")
    return Repair(mended, verify(registry, progress).faults if mended else before.faults)


def mend_tables(data: Path | str) -> list[str]:
    """Mend what keeps a registry from being opened, and say what was done; DataLoss where that cannot be."""
    storage = storage_of(data)
    try:
        with storage.writers.held():
            words = mend(storage, anyway=True)
        storage.flush()
    finally:
        storage.close()
    return words


def _owners(rows: Iterable[Row]) -> dict[str, tuple[str, str]]:
    """Return every content that is referred to, with what it is and the version that says so."""
    owners: dict[str, tuple[str, str]] = {}
    for row in rows:
        for kind in ("artifact", "sample", "baseline"):
            sha256 = row[f"{kind}_sha256"]
            if sha256 is not None:
                owners.setdefault(sha256, (kind, str(Ref(row["name"], version=row["version"]))))
    return owners


def _read(registry: Registry, sha256: str, kind: str, owner: str) -> int:
    if kind != "baseline":
        return len(registry.storage.artifacts.get(sha256, f"{kind} of {owner}"))
    ref = Ref.parse(owner)
    return len(registry.baseline(ref.name, ref.version or 0) or b"")


def _check_journal(registry: Registry, step: Step) -> Iterator[Fault]:
    try:
        proof = audit.verify(registry.journal, registry.database.versions, {}, step)
    except DataLoss as error:
        yield Fault("audit log", str(error))
    else:
        yield from (Fault("audit log", fault) for fault in proof.faults)


def _twice(rows: Iterable[Row]) -> Iterator[Fault]:
    seen: set[tuple[str, int]] = set()
    for row in rows:
        key = (row["name"], row["version"])
        if key in seen:
            yield Fault(f"{key[0]}@{key[1]}", "two versions have this number")
        seen.add(key)


def _two_in_production(rows: Iterable[Row]) -> Iterator[Fault]:
    first: dict[str, int] = {}
    for row in rows:
        if row["stage"] != Stage.PRODUCTION:
            continue
        other = first.setdefault(row["name"], row["version"])
        if other != row["version"]:
            yield Fault(f"{row['name']}@{row['version']}", f"is in production, and so is {row['name']}@{other}")


def _archive_older(registry: Registry) -> Iterator[str]:
    """Archive every version in production but the one of each name that was moved there last."""
    where = all_of(alive(), staged([Stage.PRODUCTION]))
    rows = registry.database.versions.select(where, ["name", "version", "revision"])
    by_name: dict[str, list[Row]] = {}
    for row in rows:
        by_name.setdefault(row["name"], []).append(row)
    for name, several in sorted(by_name.items()):
        moved = _moved(registry, name) if len(several) > 1 else {}
        newest_first = sorted(several, key=lambda row: -int(moved.get(row["version"]) or row["revision"]))
        for row in newest_first[1:]:
            registry.set_stage(name, row["version"], Stage.ARCHIVED)
            yield f"{name}@{row['version']}"


def _moved(registry: Registry, name: str) -> dict[int, int]:
    """Return of each version of a name the revision of its last move to production that the journal tells of.

    The revision of its row says that only until a tag or an alias is set, which raises it too.
    """
    moves = (
        (entry.revision, move) for entry in registry.journal.facts([name], MOVES) for move in entry.details["moves"]
    )
    return {version: revision for revision, (version, _, after) in moves if after == Stage.PRODUCTION}


def _contents(sources: Iterable[Path]) -> Iterator[bytes]:
    for source in sources:
        if not source.exists():
            raise InvalidArgument(f"from: {str(source)!r} is neither a file nor a folder")
        for path in sorted(source.rglob("*")) if source.is_dir() else [source]:
            if path.is_file():
                yield path.read_bytes()
