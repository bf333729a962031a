"""Running versions on the probes of their features, those first that were registered first.

What runs a graph is given by whoever has a runtime for it: `Load` makes a version ready, and what it returns takes rows
by feature name and gives the outputs in the order of the signature.
"""

import logging
import threading
import time
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from serval_registry import baseline as baselines
from serval_registry.behaviour import answers, probes
from serval_registry.behaviour.again import Again
from serval_registry.behaviour.answers import Answers
from serval_registry.behaviour.observations import WAITING, Observation, Observations, Probes, Status
from serval_registry.errors import DataLoss, InvalidArgument, ServalError, Unavailable
from serval_registry.model import Array, DataType, Table, Version
from serval_registry.predicates import Conditions
from serval_registry.spaces.living import Living, Stamp, stamp

logger = logging.getLogger("serval.registry")

Run = Callable[[Table], Sequence[Array]]
Load = Callable[[Version], Run]

# Versions run between two writes, at most, and for how long; another one is begun with in that time.
BATCH = 64
SECONDS = 1.0

REASON_MAX = 300

_WHOLE = frozenset(kind for kind in DataType if kind.startswith(("INT", "UINT")))


class Observer:
    """Sees to it that every version is run once on the probes of its features; one process at a time should."""

    def __init__(
        self,
        observations: Observations,
        living: Living,
        sample: Callable[[Version], bytes | None],
        baseline: Callable[[str, int], bytes | None],
    ) -> None:
        self._observations = observations
        self._backlog = observations.backlog
        self._again = Again(observations)
        self._living = living
        self._sample = sample
        self._baseline = baseline
        self._load: Load | None = None
        self._stopping = False
        self._turn = threading.Lock()

    def attach(self, load: Load) -> None:
        """Say how versions are run; without, none is."""
        self._load = load

    @property
    def due(self) -> bool:
        """Whether it is time to look even where no version has changed."""
        return self._again.due

    def pending(self, limit: int) -> list[Version]:
        """Return versions that have not been looked at, oldest first."""
        steps = self._backlog.peek(self._backlog.looked(), limit)
        owners = [step.owner for step in steps if step.owner is not None]
        known = self._observations.known(owners)
        fresh = [owner for owner in owners if owner not in known]
        return [version for version in self._living.among(fresh, Conditions()) if version is not None]

    def look(self) -> int:
        """Look at the next BATCH of versions that wait, or else have changed; return how many were looked at.

        It ends sooner where that takes long, or once it is told to stop. 0 where nothing is left to do, or nothing runs
        versions.
        """
        if self._load is None:
            return 0
        with self._turn:
            waiting = self._again.take(BATCH)
            if waiting:
                done = self._run(waiting)
                self._again.done(done)
                return done
            steps = self._backlog.take(BATCH)
            done = self._run([step.owner for step in steps])
            if done:
                self._backlog.note(steps[done - 1].place)
            return done

    def stop(self) -> None:
        """Have whoever works through a backlog end with the version it is at."""
        self._stopping = True

    def look_at(self, version: Version) -> None:
        """Run one version now, whether it is its turn or not."""
        if self._load is not None:
            with self._turn:
                self._run([stamp(version)])

    def _run(self, owners: Sequence[Stamp | None]) -> int:
        """Run those of some versions that are there and new, or waiting; return how many were come to."""
        known = self._observations.known([owner for owner in owners if owner is not None])
        due = [owner for owner in owners if owner is not None and known.get(owner, Status.NO_PROBES) in WAITING]
        versions = [version for version in self._living.among(due, Conditions()) if version is not None]
        made = self._made(versions)
        news = [each for each in made if known.get(each.owner) is not each.status]
        if news:
            self._observations.write(news)
        return len(owners) if len(made) == len(versions) else owners.index(stamp(versions[len(made)]))

    def _made(self, versions: Sequence[Version]) -> list[Observation]:
        """Return what comes of running versions; of the first of them, where that takes long."""
        self._observations.know(versions)
        # All are drawn from before any is run: the first may have none, and the last a sample.
        unread = {stamp(version): reason for version in versions if (reason := self._drawn_from(version))}
        until = time.monotonic() + SECONDS
        made: list[Observation] = []
        for version in versions:
            made.append(self._observed(version, unread.get(stamp(version), "")))
            if self._stopping or time.monotonic() > until:
                break  # the others' turn comes, or is another's
        return made

    def _drawn_from(self, version: Version) -> str:
        """Draw the probes of a version's features where there are none; return why they could not be, else nothing."""
        if not version.features or self._has_probes(version):
            return ""
        try:
            found = self._draw(version)
            if found is not None:
                self._observations.keep_probes(version, *found)
                self._again.add(probes.schema_of(version.features))
        except Unavailable:
            raise
        except (ServalError, OSError) as error:
            # Raised, it would keep every later version waiting: what is looked at is looked at together.
            logger.warning("no probes were drawn from %s: %s", version.ref, error)
            return _brief(error)
        return ""

    def _has_probes(self, version: Version) -> bool:
        """Tell whether there are probes for a version's features, whole or not: they are never drawn twice."""
        try:
            return self._observations.probes(version.features) is not None
        except (DataLoss, OSError):
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

    def _observed(self, version: Version, unread: str) -> Observation:
        """Return what comes of running a version; a fault of its own is told, and one of the moment is raised.

        unread: why probes could not be drawn from it, which matters where nothing else gives any.
        """
        if not version.features:
            return Observation(stamp(version), "", Status.NO_COLUMNS)
        schema = probes.schema_of(version.features)
        try:
            found = self._observations.probes(version.features)
            if found is None:
                return Observation(stamp(version), schema, Status.DAMAGED if unread else Status.NO_PROBES, unread)
            return Observation(stamp(version), schema, Status.OBSERVED, answers=self._answers(version, found.rows))
        except Unavailable:
            raise
        except (DataLoss, OSError) as error:
            logger.warning("%s was not run on probes: %s", version.ref, error)
            return Observation(stamp(version), schema, Status.DAMAGED, _brief(error))
        except ServalError as error:
            logger.info("%s was not run on probes: %s", version.ref, error)
            return Observation(stamp(version), schema, Status.FAILED, _brief(error))

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


def _brief(error: Exception) -> str:
    return " ".join(str(error).split())[:REASON_MAX]


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
