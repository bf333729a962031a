"""A part of a search: what it finds, and what it says of versions that other parts have found."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from serval_registry.behaviour.agreement import Agreement
from serval_registry.model import Version
from serval_registry.predicates import Conditions
from serval_registry.search import Coverage, SearchPath
from serval_registry.spaces.living import Stamp


class Said(NamedTuple):
    """What a part says of a version: -1 to 1, and of behaviours the agreement."""

    similarity: float
    agreement: Agreement | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """Versions, most similar first, and how they were found; see `SearchResult`."""

    hits: Sequence[tuple[Version, Said]]
    path: SearchPath = SearchPath.EXACT
    indexed_rows: int = 0
    recall: float = 1.0
    coverage: Coverage | None = None


class Part(Protocol):
    """One query, ready to be asked."""

    @property
    def name(self) -> str:
        """What it is called in the answer."""

    @property
    def without(self) -> Stamp | None:
        """The version that it is an example of, which is left out."""

    def nearest(self, conditions: Conditions, count: int) -> Found:
        """Return the `count` most similar versions that pass."""

    def of(self, versions: Sequence[Version]) -> list[Said | None]:
        """Return what it says of each version; None where it can say nothing."""
