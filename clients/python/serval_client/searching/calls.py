"""One function for each call; see `serval_client.calls`."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from serval_protos.v1 import registry_pb2

from serval_client import forms
from serval_client.calls import Call
from serval_client.errors import InvalidArgument
from serval_client.records import Stage
from serval_client.searching import records

SERVICE = "/serval.v1.RegistryService/"

Numbers = Sequence[float] | npt.NDArray[np.generic]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What is searched for; see `SearchMethods.search`."""

    text: str | None = None
    vector: Numbers | None = None
    like: str | None = None
    behaves_like: str | None = None
    sample: forms.RowsLike = None
    space: str = ""
    weights: Mapping[str, float] = field(default_factory=dict)

    def given(self) -> list[str]:
        """Return the names of what was given."""
        return [name for name in KINDS if getattr(self, name) is not None]

    def fill(self, message: "registry_pb2.SearchModelsRequest | registry_pb2.SearchPart", name: str) -> None:
        """Put one of them into a message."""
        match name:
            case "text":
                message.text = self.text or ""
            case "vector":
                message.vector.CopyFrom(vector_message(self.vector))
            case "like":
                message.model = self.like or ""
            case "behaves_like":
                message.behaviour = self.behaves_like or ""
            case "sample":
                message.sample.CopyFrom(forms.to_message(self.sample, "sample"))
        if name in ("vector", "like"):
            message.space = self.space


KINDS = ("text", "vector", "like", "behaves_like", "sample")


def search(
    asked: Asked, stages: Iterable[str], tags: Mapping[str, str] | None, where: str, k: int
) -> Call[records.SearchResult]:
    """Return the SearchModels call."""
    given = asked.given()
    if not given:
        raise InvalidArgument(f"search: got nothing to look for; wanted one or more of {', '.join(KINDS)}")
    stray = asked.weights.keys() - set(given)
    if stray:
        raise InvalidArgument(f"weights: {sorted(stray)[0]!r} is not among what is asked: {', '.join(given)}")
    if asked.space and not {"vector", "like"} & set(given):
        raise InvalidArgument("space: is for a vector or a model to be like, and neither came")
    numbers = [Stage.read(stage, "stages").number for stage in stages]
    request = registry_pb2.SearchModelsRequest(stages=numbers, tags=tags, filter=where, k=k)
    if len(given) == 1:
        asked.fill(request, given[0])
    else:
        for name in given:
            asked.fill(request.parts.add(weight=asked.weights.get(name)), name)
    return Call(SERVICE + "SearchModels", request, records.search_result)


def set_embedding(model: str, space: str, vector: Numbers) -> Call[records.Space]:
    """Return the SetEmbedding call."""
    request = registry_pb2.SetEmbeddingRequest(model=model, space=space, vector=vector_message(vector))
    return Call(SERVICE + "SetEmbedding", request, lambda reply: records.space(reply.space))


def spaces() -> Call[list[records.Space]]:
    """Return the ListSpaces call."""
    request = registry_pb2.ListSpacesRequest()
    return Call(SERVICE + "ListSpaces", request, lambda reply: [records.space(space) for space in reply.spaces])


def vector_message(values: Numbers | None) -> registry_pb2.Vector:
    """Return numbers as a message."""
    return registry_pb2.Vector(values=np.asarray(values, np.float32).reshape(-1).tolist())


def delete_space(space: str) -> Call[records.Space]:
    """Return the DeleteSpace call."""
    request = registry_pb2.DeleteSpaceRequest(space=space)
    return Call(SERVICE + "DeleteSpace", request, lambda reply: records.space(reply.space))
