"""Checking that everything a registry holds is there and whole, and mending what can be mended.

Damage is told, never hidden: a version whose artifact is lost stays, and loading it says so. What `repair` mends is
what has one right answer: a second version in production (the one that was moved there last is meant), and content that
still exists elsewhere, in a backup or in a file that somebody has kept.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from serval_registry.artifacts import digest
from serval_registry.errors import DataLoss, InvalidArgument
from serval_registry.filters import alive, all_of, staged
from serval_registry.lance import col, lit
from serval_registry.lifecycle.entries import MOVES
from serval_registry.model import Ref, Stage
from serval_registry.registry import Registry
from serval_registry.spaces.keyed import EVERY
from serval_registry.spaces.spaces import DESCRIPTION
from serval_registry.tables import Row

# Called with how many things were looked at, and how many there are.
Progress = Callable[[int, int], None]

# Of the length of a vector in single precision.
_ROUNDING = 1e-3

_COLUMNS = ["name", "version", "stage", "deleted", "artifact_sha256", "sample_sha256", "baseline_sha256"]


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that is not as it has to be: of which version, and what; `sha256` where content is concerned."""

    ref: str
    what: str
    sha256: str = ""


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
    """Read everything that versions refer to, compare it with its checksum, and check the rows with each other."""
    rows = registry.database.versions.values(None, _COLUMNS).to_pylist()
    living = [row for row in rows if not row["deleted"]]
    report = Report(versions=len(living))
    report.faults += _twice(rows)
    report.faults += _two_in_production(living)
    owners = _owners(living)
    for row in registry.database.inputs.values(
        col("probes_source") != lit(""), ["probes_sha256", "probes_of"]
    ).to_pylist():
        owners.setdefault(row["probes_sha256"], ("probes", row["probes_of"]))
    report.faults += _broken_vectors(registry)
    for done, (sha256, (kind, owner)) in enumerate(owners.items(), 1):
        try:
            report.bytes += _read(registry, sha256, kind, owner)
            report.contents += 1
        except DataLoss as loss:
            # A baseline is computed from a sample, not put back: `SetBaseline`.
            report.faults.append(Fault(owner, str(loss), "" if kind == "baseline" else sha256))
        progress(done, len(owners))
    report.unreferenced = sum(stored.sha256 not in owners for stored in registry.storage.artifacts.stored())
    return report


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


def _broken_vectors(registry: Registry) -> Iterator[Fault]:
    """Find vectors in spaces that no search can be right about: all of them were stored with length 1."""
    for name in (space.name for space in registry.spaces.list() if space.name != DESCRIPTION):
        table = registry.spaces.keyed(name).table
        _, rows, vectors = table.vectors(EVERY, ["name", "version"], table.count())
        off = np.abs(np.linalg.norm(vectors.astype(np.float64), axis=1) - 1.0)
        for place in np.flatnonzero(~(off < _ROUNDING)).tolist():
            ref = Ref(rows[place]["name"], version=rows[place]["version"])
            yield Fault(str(ref), f"its vector in space {name} does not have length 1")


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
