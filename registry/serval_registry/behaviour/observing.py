"""Running versions on the probes of their features, those first that were registered first.

What runs a graph is given by whoever has a runtime for it: `Load` makes a version ready, and what it returns takes rows
by feature name and gives the outputs in the order of the signature.
"""

import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from serval_registry import baseline as baselines
from serval_registry.behaviour import answers, probes
from serval_registry.behaviour.answers import Answers
from serval_registry.behaviour.observations import Observation, Observations, Probes, Status
from serval_registry.errors import InvalidArgument, ServalError, Unavailable
from serval_registry.filters import all_of
from serval_registry.lance import col, lit
from serval_registry.model import Array, DataType, Table, Version
from serval_registry.predicates import Conditions
from serval_registry.spaces.living import Living, Stamp, stamp
from serval_registry.tables import RowList
from serval_registry.tables import Table as Rows
from serval_registry.versions import from_row

logger = logging.getLogger("serval.registry")

Run = Callable[[Table], Sequence[Array]]
Load = Callable[[Version], Run]

# Versions run between two writes.
BATCH = 64

REASON_MAX = 300

_WHOLE = frozenset(kind for kind in DataType if kind.startswith(("INT", "UINT")))


class Observer:
    """Sees to it that every version is run once on the probes of its features; one process at a time should."""

    def __init__(
        self,
        versions: Rows,
        observations: Observations,
        living: Living,
        sample: Callable[[Version], bytes | None],
        baseline: Callable[[str, int], bytes | None],
    ) -> None:
        self._versions = versions
        self._observations = observations
        self._living = living
        self._sample = sample
        self._baseline = baseline
        self._load: Load | None = None
        self._resumed = False  # whether what a crash has left has been looked for
        self._stopping = False
        self._turn = threading.Lock()

    def attach(self, load: Load) -> None:
        """Say how versions are run; without, none is."""
        self._load = load

    def pending(self, limit: int) -> list[Version]:
        """Return versions that have not been looked at, oldest first."""
        fresh, _ = self._fresh(self._observations.looked(), limit)
        known = self._observations.known([stamp(version) for version in fresh])
        return [version for version in fresh if stamp(version) not in known]

    def look(self) -> int:
        """Look at the next BATCH of changed versions, run those that are new, and return how many rows were looked at.

        0 where nothing is left to do, or nothing runs versions.
        """
        if self._load is None:
            return 0
        with self._turn:
            if not self._resumed:
                for schema in self._observations.forgotten():
                    self._observe_waiting(schema)
                self._resumed = True
            looked = self._observations.looked()
            versions, revision = self._fresh(looked, BATCH)
            known = self._observations.known([stamp(version) for version in versions])
            self._observe(
                [each for each in versions if known.get(stamp(each), Status.NO_PROBES) is Status.NO_PROBES], known
            )
            if revision > looked:
                self._observations.note(revision)
            return len(versions) or int(revision > looked)

    def stop(self) -> None:
        """Have whoever works through a backlog end with the versions it is at."""
        self._stopping = True

    def look_at(self, version: Version) -> None:
        """Run one version now, whether it is its turn or not."""
        if self._load is not None:
            with self._turn:
                known = self._observations.known([stamp(version)])
                if known.get(stamp(version), Status.NO_PROBES) is Status.NO_PROBES:
                    self._observe([version], known)

    def _fresh(self, looked: int, limit: int) -> tuple[list[Version], int]:
        """Return versions whose rows have changed since a revision, oldest first, and the revision they reach to."""
        columns = [*self._versions.columns]
        changed = col("revision") > lit(looked)
        # A window over revisions, as to sort a million rows for the first of them takes longer than to look at these.
        newest = self._versions.select(changed, ["revision"], order={"revision": False}, limit=1)
        if not newest:
            return [], looked
        last, until = newest[0]["revision"], looked
        rows: RowList = []
        while not rows and until < last:
            until = min(last, until + max(limit, 2 * (until - looked)))
            rows = self._versions.select(all_of(changed, col("revision") <= lit(until)), columns)
        rows.sort(key=lambda row: int(row["revision"]))
        if len(rows) > limit:
            until = rows[limit - 1]["revision"]
        return [from_row(row) for row in rows if row["revision"] <= until and not row["deleted"]], until

    def _observe(self, versions: Sequence[Version], known: Mapping[Stamp, Status]) -> None:
        self._observations.know(versions)
        fresh = [version for version in versions if version.features]
        drawn = {probes.schema_of(version.features) for version in fresh if self._has_drawn(version)}
        made = [self._observed(version) for version in versions]
        news = [each for each in made if known.get(each.owner) is not each.status]
        if news:
            self._observations.write(news)
        for schema in sorted(drawn):
            self._observe_waiting(schema)

    def _observe_waiting(self, schema: str) -> None:
        for waiting in self._waiting(schema):
            if self._stopping:
                return  # what waits still is found by the next who begins
            self._observations.write([self._observed(version) for version in waiting])

    def _waiting(self, schema: str) -> Iterator[list[Version]]:
        """Yield versions that were looked at before there were probes for their features, until none is left."""
        while True:
            stamps = self._observations.waiting(schema, BATCH)
            living = [version for version in self._living.among(stamps, Conditions()) if version is not None]
            if not living:
                return
            yield living

    def _has_drawn(self, version: Version) -> bool:
        """Draw the probes of a version's features where there are none yet, and tell whether it has."""
        try:
            if self._observations.probes(version.features) is not None:
                return False
            found = self._draw(version)
        except Unavailable:
            raise
        except ServalError as error:
            # Raised, it would keep every later version waiting: what is looked at is looked at together.
            logger.warning("no probes were drawn from %s: %s", version.ref, error)
            return False
        if found is None:
            return False
        self._observations.keep_probes(version, *found)
        return True

    def _draw(self, version: Version) -> Probes | None:
        schema = probes.schema_of(version.features)
        sample = self._sample(version)
        if sample is not None:
            rows = probes.from_sample(probes.from_bytes(sample, version.features, f"sample of {version.ref}"), schema)
            if rows is not None:
                return Probes(rows, "sample")
        content = self._baseline(version.name, version.version)
        if content is None:
            return None
        types = {spec.name: spec.datatype for spec in version.signature.inputs}
        whole = {feature.name for feature in version.features if types.get(feature.input) in _WHOLE}
        return Probes(probes.from_baseline(baselines.from_bytes(content), schema, whole), "baseline")

    def _observed(self, version: Version) -> Observation:
        """Return what comes of running a version; a fault of its own is told, and one of the moment is raised."""
        if not version.features:
            return Observation(stamp(version), "", Status.NO_COLUMNS)
        schema = probes.schema_of(version.features)
        try:
            found = self._observations.probes(version.features)
            if found is None:
                return Observation(stamp(version), schema, Status.NO_PROBES)
            return Observation(stamp(version), schema, Status.OBSERVED, answers=self._answers(version, found.rows))
        except Unavailable:
            raise
        except ServalError as error:
            logger.info("%s was not run on probes: %s", version.ref, error)
            return Observation(stamp(version), schema, Status.FAILED, " ".join(str(error).split())[:REASON_MAX])

    def _answers(self, version: Version, rows: Table) -> Answers:
        if self._load is None:
            raise Unavailable("behaviour: nothing here runs models")
        run = self._load(version)
        count = len(next(iter(rows.values())))
        try:
            outputs, answered = run(rows), np.ones(count, np.bool_)
        except Unavailable:
            raise
        except ServalError as error:
            outputs, answered = _one_by_one(run, rows, count, error)
        found = answers.read(outputs, answered, version.classes)
        if not found.answered.any():
            raise InvalidArgument(f"no probe of {count} has an answer of finite numbers")
        return found


def _one_by_one(run: Run, rows: Table, count: int, error: ServalError) -> tuple[Sequence[Array], npt.NDArray[np.bool_]]:
    """Return the outputs of every row by itself, and which rows the graph did not fail on; `error` where none."""
    found: list[Sequence[Array] | None] = []
    for row in range(count):
        try:
            found.append(run({name: column[row : row + 1] for name, column in rows.items()}))
        except ServalError:
            found.append(None)
    known = [outputs for outputs in found if outputs is not None]
    if not known:
        raise error
    whole = [known[0] if outputs is None else outputs for outputs in found]
    try:
        joined = [np.concatenate(parts) for parts in zip(*whole, strict=True)]
    except ValueError as unlike:
        raise InvalidArgument(f"the outputs for single rows do not fit each other: {unlike}") from error
    return joined, np.array([outputs is not None for outputs in found])
