"""Queries as callers put them, made into parts of a search."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from serval_registry.behaviour.observations import Observations
from serval_registry.behaviour.observing import Observer
from serval_registry.embedding import Vector, check_vector, describe_text, embed_text
from serval_registry.errors import InvalidArgument
from serval_registry.model import Ref, Version
from serval_registry.predicates import Conditions
from serval_registry.ranking.behaving import Behaving, Behaviours
from serval_registry.ranking.described import Described
from serval_registry.ranking.embedded import Embedded
from serval_registry.ranking.mixing import PARTS_MAX, WEIGHT, check_weight, mixed
from serval_registry.ranking.part import Part
from serval_registry.ranking.sampled import Baselines, Sample, Sampled
from serval_registry.search import DEFAULT_VECTOR, Searcher, SearchResult, Wanted
from serval_registry.spaces.keyed import Keyed
from serval_registry.spaces.living import Living, stamp
from serval_registry.spaces.spaces import DESCRIPTION, Spaces
from serval_registry.storage import Storage
from serval_registry.tables import Database, Table

Asked = Ref | str | Sequence[float] | npt.NDArray[np.generic]


@dataclass(frozen=True, slots=True)
class Like:
    """Like a version, or a vector, in a space; or, of the space of descriptions, like words."""

    query: Asked
    space: str = ""  # empty: that of descriptions
    weight: float = WEIGHT


@dataclass(frozen=True, slots=True)
class BehavesLike:
    """Decides like a version."""

    example: Ref
    weight: float = WEIGHT


@dataclass(frozen=True, slots=True)
class TrainedLike:
    """Was trained on data like a sample."""

    sample: Sample
    weight: float = WEIGHT


Query = Like | BehavesLike | TrainedLike


class Reading(Protocol):
    """What is read of a registry."""

    def resolve(self, ref: Ref) -> Version:
        """Return the version that a reference leads to."""

    def vector(self, name: str, version: int) -> Vector:
        """Return a version's vector in the space of descriptions."""

    def sample(self, version: Version) -> bytes | None:
        """Return the sample that a version keeps."""

    def baseline(self, name: str, version: int) -> bytes | None:
        """Return a version's baseline."""


class Asking:
    """All that can be searched by; called from any thread."""

    def __init__(
        self,
        searcher: Searcher,
        versions: Table,
        spaces: Spaces,
        behaviours: Behaviours,
        baselines: Baselines,
        reading: Reading,
    ) -> None:
        self._searcher = searcher
        self._versions = versions
        self._spaces = spaces
        self._behaviours = behaviours
        self._baselines = baselines
        self._find = reading.resolve
        self._vector = reading.vector

    def nearest(self, query: Asked, conditions: Conditions, k: int) -> SearchResult:
        """Return the k versions nearest in the space of descriptions."""
        return self._searcher.search(self._wanted(query), conditions, k)

    def search(self, queries: Sequence[Query], conditions: Conditions, k: int) -> SearchResult:
        """Return the k versions most like the queries taken together; see `mixed`."""
        if not 1 <= len(queries) <= PARTS_MAX:
            raise InvalidArgument(f"parts: {len(queries)}; wanted 1 to {PARTS_MAX}")
        return mixed([(self._part(query), check_weight(query.weight, "weight")) for query in queries], conditions, k)

    def _part(self, query: Query) -> Part:
        match query:
            case BehavesLike(example):
                return Behaving(self._behaviours, self._find(example))
            case TrainedLike(sample):
                return Sampled(self._baselines, sample)
            case Like(asked, space) if space and space != DESCRIPTION:
                return self._embedded(asked, space)
            case Like(asked):
                name = "text" if isinstance(asked, str) else DESCRIPTION
                return Described(name, self._wanted(asked), self._searcher, self._versions, self._find)

    def _embedded(self, asked: Asked, space: str) -> Part:
        if isinstance(asked, str):
            raise InvalidArgument(
                f"space: words came for {space[:80]!r}; wanted a vector or a model, words mean nothing there"
            )
        keyed = self._spaces.keyed(space)
        if not isinstance(asked, Ref):
            return Embedded(space, keyed, self._spaces.query(space, asked), None)
        example = self._find(asked)
        return Embedded(space, keyed, self._spaces.vector(space, example), stamp(example))

    def _wanted(self, asked: Asked) -> Wanted:
        if isinstance(asked, str):
            return Wanted(embed_text(asked), source=DEFAULT_VECTOR, words=describe_text(asked))
        if not isinstance(asked, Ref):
            return Wanted(check_vector(asked))
        example = self._find(asked)
        vector = self._vector(example.name, example.version)
        return Wanted(vector, source=example.vector_source, without=example.ref)


def assembled(
    reading: Reading,
    storage: Storage,
    database: Database,
    searcher: Searcher,
    spaces: Spaces,
    living: Living,
    index_threshold: int,
) -> tuple[Observer, Asking]:
    """Return what sees to it that versions are run, and what searches."""
    observations = Observations(database, storage)
    keyed = Keyed(database.behaviours, living, storage.read, index_threshold)
    observer = Observer(observations, living, reading.sample, reading.baseline)
    behaviours = Behaviours(observations, observer, living, keyed)
    baselines = Baselines(database.baselines, database.versions, observations, living)
    return observer, Asking(searcher, database.versions, spaces, behaviours, baselines, reading)
