"""Likeness of behaviour: how alike versions of the same features decide on their probes.

Up to EXACT versions with the same features, all are compared. Beyond, those whose projected answers lie nearest are
candidates, CANDIDATES_PER_HIT for each hit, and these are compared.
"""

import logging
from collections.abc import Sequence

from serval_registry.behaviour import probes
from serval_registry.behaviour.agreement import Agreement, agreement
from serval_registry.behaviour.answers import Answers, Kind
from serval_registry.behaviour.gathered import Gathered, compared
from serval_registry.behaviour.observations import Observations, Probes, Status
from serval_registry.behaviour.observing import Observer
from serval_registry.behaviour.projection import projected
from serval_registry.errors import DataLoss, FailedPrecondition, ServalError
from serval_registry.model import Version
from serval_registry.predicates import Conditions
from serval_registry.ranking.part import Found, Said
from serval_registry.recent import Recent
from serval_registry.search import K_MAX, Coverage, SearchPath
from serval_registry.spaces.keyed import Keyed
from serval_registry.spaces.living import Living, Stamp, stamp

logger = logging.getLogger("serval.registry")

NAME = "behaviour"

# Versions of one set of features: their decisions are 2 MiB in memory.
EXACT = 4096

CANDIDATES_PER_HIT = 10
_CANDIDATES_LEAST = 200

# Versions registered just now that a search runs itself, so that who registers a few finds them at once.
CAUGHT_UP = 8

# Versions not yet looked at are counted up to here.
_PENDING_MAX = 1000


class Behaviours:
    """What behaviours are compared with; called from any thread."""

    def __init__(self, observations: Observations, observer: Observer, living: Living, keyed: Keyed) -> None:
        self.observations = observations
        self.observer = observer
        self.living = living
        self.keyed = keyed
        self._known: Recent[tuple[int, str], list[Gathered]] = Recent(2)

    def all_of(self, schema: str) -> list[Gathered]:
        """Return the answers of all versions with these features, without probabilities."""
        commit = self.observations.table.commit()
        return self._known.get((commit, schema), lambda: self.observations.all_of(schema))

    def answers(self, version: Version) -> Answers:
        """Return a version's answers, running it first where it has not been; FailedPrecondition where it has none."""
        found = self.observations.of([version])
        if not found:
            self.observer.look_at(version)
            found = self.observations.of([version])
        if found:
            return found[stamp(version)]
        status = self.observations.known([stamp(version)]).get(stamp(version))
        why = {
            None: "has not been run on its probes yet",
            Status.NO_COLUMNS: "takes inputs that are not columns, and so has no probes",
            Status.NO_PROBES: "has no probes: no version with its features has a baseline; SetBaseline gives it one",
            Status.DAMAGED: f"could not be run on its probes: {self.observations.reason(version)}",
            Status.FAILED: f"fails on its probes: {self.observations.reason(version)}",
        }
        raise FailedPrecondition(f"behaviour: {version.ref} {why.get(status, 'was deleted')}")


class Behaving:
    """A search for versions that decide like an example."""

    name = NAME

    def __init__(self, behaviours: Behaviours, example: Version) -> None:
        self.without: Stamp | None = stamp(example)
        self._behaviours = behaviours
        self._example = example
        self._answers = behaviours.answers(example)
        self._schema = probes.schema_of(example.features)
        for waiting in self._waiting()[:CAUGHT_UP]:
            _look_at(behaviours.observer, waiting)

    def nearest(self, conditions: Conditions, count: int) -> Found:
        """Return the versions that agree most, and of those the ones whose scores or values are most alike."""
        rows = self._behaviours.observations.count(self._schema, Status.OBSERVED)
        if rows <= EXACT:
            return self._exactly(conditions, count)
        wanted = min(K_MAX, max(CANDIDATES_PER_HIT * count, _CANDIDATES_LEAST))
        where = self._behaviours.observations.with_schema(self._schema, Status.OBSERVED)
        vector = projected(self._answers)
        near = self._behaviours.keyed.nearest(vector, conditions, wanted, without=self.without, where=where)
        versions = [*{stamp(version): version for version, _ in near.hits}.values()]  # one may have two rows
        said = list(zip(versions, self.of(versions), strict=True))
        hits = [(version, one) for version, one in said if one is not None]
        hits.sort(key=_rank)
        coverage = self._coverage(len(hits), len(said) - len(hits), cut=len(said) == wanted)
        return Found(hits[:count], near.path, near.indexed_rows, near.recall, coverage)

    def of(self, versions: Sequence[Version]) -> list[Said | None]:
        """Return the agreement with each."""
        same = [version for version in versions if probes.schema_of(version.features) == self._schema]
        answers = self._behaviours.observations.of(same)
        found = (answers.get(stamp(version)) for version in versions)
        return [None if other is None else _said(agreement(self._answers, other)) for other in found]

    def _exactly(self, conditions: Conditions, count: int) -> Found:
        known = self._behaviours.all_of(self._schema)
        others = sum(len(gathered.owners) for gathered in known) - 1
        found = (one for gathered in known for one in compared(self._answers, gathered) if one.owner != self.without)
        ranked = sorted(found, key=lambda one: (-one.share, -one.correlation))
        # Probabilities decide among those that agree alike, and are read of these.
        last = ranked[min(count, len(ranked)) - 1].share if ranked else 0.0
        level = sum(one.share >= last for one in ranked) if self._answers.kind is Kind.CLASSES else count
        pairs = [(one.owner, one) for one in ranked]
        first = self._behaviours.living.first(pairs, conditions, max(count, min(level, K_MAX)))
        versions = [version for version, _ in first]
        said = zip(versions, self.of(versions), strict=True)
        hits = sorted(((version, one) for version, one in said if one is not None), key=_rank)
        coverage = self._coverage(len(ranked), others - len(ranked), cut=False)
        return Found(hits[:count], SearchPath.EXACT, coverage=coverage)

    def _waiting(self) -> list[Version]:
        """Return versions with the same features that were registered just now."""
        pending = self._behaviours.observer.pending(_PENDING_MAX)
        return [version for version in pending if probes.schema_of(version.features) == self._schema]

    def _probes(self) -> Probes | None:
        """Return what the answers were given to; None also where it is damaged, as the answers are there still."""
        try:
            return self._behaviours.observations.probes(self._example.features)
        except DataLoss as error:
            logger.warning("%s", error)
            return None

    def _coverage(self, compared: int, incomparable: int, *, cut: bool) -> Coverage:
        observations = self._behaviours.observations
        drawn = self._probes()
        return Coverage(
            part=NAME,
            compared=compared,
            pending=len(self._waiting()),
            failed=sum(observations.count(self._schema, status) for status in (Status.FAILED, Status.DAMAGED)),
            incomparable=incomparable,
            cut=cut,
            probes=0 if drawn is None else len(next(iter(drawn.rows.values()))),
            probes_source="" if drawn is None else drawn.source,
        )


def _look_at(observer: Observer, version: Version) -> None:
    try:
        observer.look_at(version)
    except ServalError as error:
        logger.warning("%s was not run for a search for its like: %s", version.ref, error)


def _said(found: Agreement | None) -> Said | None:
    return None if found is None else Said(found.share, found)


def _rank(hit: tuple[Version, Said]) -> tuple[float, float, float]:
    found = hit[1].agreement
    return (0.0, 0.0, 0.0) if found is None else found.rank
