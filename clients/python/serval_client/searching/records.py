"""What a search and the spaces of vectors are answered with."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from serval_protos.v1 import registry_pb2

from serval_client.records import ModelInfo, model_info


@dataclass(frozen=True, slots=True)
class Agreement:
    """How alike two models decide on the `probes` that both answer.

    share: of these, 0 to 1, with the same class; of values, those within a tenth of a standard deviation.
    total_variation: mean over the probes of sum |p - q| / 2, where both give probabilities. correlation: of values.
    """

    probes: int
    share: float
    total_variation: float | None = None
    correlation: float | None = None


@dataclass(frozen=True, slots=True)
class HitPart:
    """What one part of a query says of a hit: a similarity, 0 where it can say nothing, which is `absent`.

    name: "text", "behaviour", "sample", or the name of a space. The weights of a hit's parts add up to 1.
    """

    name: str
    similarity: float
    weight: float
    absent: bool = False
    agreement: Agreement | None = None


@dataclass(frozen=True, slots=True)
class SearchHit:
    """A version found, and its similarity to the query, -1 to 1: the sum of similarity x weight over the parts."""

    model: ModelInfo
    similarity: float
    parts: tuple[HitPart, ...] = ()


@dataclass(frozen=True, slots=True)
class SearchCoverage:
    """What a part ("behaviour", "sample") has looked at, and what it could not.

    compared: behaviours, or different baselines. pending: not yet run on the probes. failed: answer no probe.
    incomparable: another kind of answer, or no class in common. cut: there was more than one search looks at.
    probes, probes_source: how many, drawn from a kept "sample" or a "baseline".
    """

    part: str
    compared: int
    pending: int
    failed: int
    incomparable: int
    cut: bool
    probes: int
    probes_source: str


@dataclass(frozen=True, slots=True)
class SearchResult(Sequence[SearchHit]):
    """What a search found, most similar first; a sequence of its hits.

    path: "exact" (all were compared), "ivf_pq" or "ivf_sq8" (LanceDB's index, or that of the registry's mirror, chose
        candidates, re-ranked by their vectors).
    indexed_rows: how many vectors the index holds, 0 without one. recall: of the ten nearest the share that the index
    finds; None where it is not known. coverage: of the parts that cannot look at every version.
    """

    hits: tuple[SearchHit, ...]
    path: str
    indexed_rows: int
    recall: float | None = None
    coverage: tuple[SearchCoverage, ...] = ()

    def __len__(self) -> int:
        return len(self.hits)

    def __getitem__(self, index: Any) -> Any:
        return self.hits[index]

    def __iter__(self) -> Iterator[SearchHit]:
        return iter(self.hits)


@dataclass(frozen=True, slots=True)
class Space:
    """A space of vectors, the size of these, and how many versions have one in it."""

    name: str
    dimension: int
    count: int


def search_result(message: registry_pb2.SearchModelsReply) -> SearchResult:
    """Read a SearchModelsReply."""
    return SearchResult(
        tuple(SearchHit(model_info(hit.version), hit.similarity, tuple(map(_part, hit.parts))) for hit in message.hits),
        registry_pb2.SearchPath.Name(message.path).lower(),
        message.indexed_rows,
        message.recall if message.HasField("recall") else None,
        tuple(_coverage(coverage) for coverage in message.coverage),
    )


def space(message: registry_pb2.Space) -> Space:
    """Read a Space."""
    return Space(message.name, message.dimension, message.count)


def _part(message: registry_pb2.HitPart) -> HitPart:
    agreement = _agreement(message.agreement) if message.HasField("agreement") else None
    return HitPart(message.name, message.similarity, message.weight, message.absent, agreement)


def _agreement(message: registry_pb2.Agreement) -> Agreement:
    return Agreement(
        message.probes,
        message.share,
        message.total_variation if message.HasField("total_variation") else None,
        message.correlation if message.HasField("correlation") else None,
    )


def _coverage(message: registry_pb2.SearchCoverage) -> SearchCoverage:
    return SearchCoverage(
        message.part,
        message.compared,
        message.pending,
        message.failed,
        message.incomparable,
        message.cut,
        message.probes,
        message.probes_source,
    )
