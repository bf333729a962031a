"""Search requests as queries, and what was found as messages."""

import math
from collections.abc import Callable, Sequence

import numpy as np
from serval_protos.v1 import common_pb2, registry_pb2
from serval_registry.errors import InvalidArgument
from serval_registry.model import Ref, Table, Version
from serval_registry.ranking.asking import BehavesLike, Like, Query, TrainedLike
from serval_registry.ranking.mixing import WEIGHT
from serval_registry.ranking.sampled import Sample
from serval_registry.search import Coverage, HitPart, SearchResult
from serval_registry.spaces.spaces import Space

from serval_server.codec import arrow, tensors

KINDS = ("vector", "model", "text", "behaviour", "sample")


def queries_of(request: registry_pb2.SearchModelsRequest) -> Sequence[Query]:
    """Return what is asked for; InvalidArgument names the field that is wrong."""
    if not request.parts:
        return [_query(request, "query", WEIGHT)]
    if request.WhichOneof("query") is not None:
        raise InvalidArgument(f"parts: came with {request.WhichOneof('query')}; wanted one query, or parts alone")
    if request.space:
        raise InvalidArgument("space: came with parts; wanted it in the parts that it is meant for")
    return [
        _query(part, f"parts[{place}]", part.weight if part.HasField("weight") else WEIGHT)
        for place, part in enumerate(request.parts)
    ]


def result_message(found: SearchResult, message: Callable[[Version], bytes]) -> registry_pb2.SearchModelsReply:
    """Return what was found; `message` makes that of a version, encoded."""
    reply = registry_pb2.SearchModelsReply(
        path=registry_pb2.SearchPath.Value(found.path.upper()),
        indexed_rows=found.indexed_rows,
        recall=None if math.isnan(found.recall) else found.recall,
        coverage=[_coverage_message(one) for one in found.coverage],
    )
    for hit in found.hits:
        added = reply.hits.add()
        added.similarity = hit.similarity
        for part in hit.parts:
            _fill_part(added.parts.add(), part)
        added.version.MergeFromString(message(hit.version))
    return reply


def space_message(space: Space) -> registry_pb2.Space:
    """Return a space as a message."""
    return registry_pb2.Space(name=space.name, dimension=space.dimension, count=space.count)


def _query(asked: registry_pb2.SearchModelsRequest | registry_pb2.SearchPart, field: str, weight: float) -> Query:
    came = asked.WhichOneof("query")
    if asked.space and came in ("behaviour", "sample"):
        raise InvalidArgument(f"space: came with {came}; wanted a vector or a model")
    match came:
        case "vector":
            return Like(tensors.from_elements(asked.vector.values, np.float64), asked.space, weight)
        case "model":
            return Like(Ref.parse(asked.model), asked.space, weight)
        case "text":
            return Like(asked.text, asked.space, weight)
        case "behaviour":
            return BehavesLike(Ref.parse(asked.behaviour, "behaviour"), weight)
        case "sample":
            return TrainedLike(_sample(asked.sample), weight)
        case _:
            raise InvalidArgument(f"{field}: is empty, wanted a {', a '.join(KINDS[:-1])} or a {KINDS[-1]}")


def _sample(rows: common_pb2.Rows) -> Sample:
    match rows.WhichOneof("data"):
        case "arrow_ipc":
            return Sample(arrow.read_table(rows.arrow_ipc, "sample.arrow_ipc"))
        case "tensor":
            matrix = tensors.from_message(rows.tensor, "sample.tensor")
            if matrix.ndim != 2 or matrix.dtype.kind not in "fiub" or not matrix.size:
                raise InvalidArgument(
                    f"sample.tensor: got {matrix.dtype} in shape {list(matrix.shape)}, wanted numbers in [rows, width]"
                )
            columns: Table = {str(place): matrix[:, place] for place in range(matrix.shape[1])}
            return Sample(columns, names=False)
        case _:
            raise InvalidArgument("sample: is empty, wanted a tensor or an Arrow IPC stream")


def _fill_part(message: registry_pb2.HitPart, part: HitPart) -> None:
    message.name = part.name
    message.similarity = part.similarity
    message.weight = part.weight
    message.absent = part.absent
    agreement = part.agreement
    if agreement is not None:
        message.agreement.CopyFrom(
            registry_pb2.Agreement(
                probes=agreement.probes,
                share=agreement.share,
                total_variation=agreement.total_variation,
                correlation=agreement.correlation,
            )
        )


def _coverage_message(coverage: Coverage) -> registry_pb2.SearchCoverage:
    return registry_pb2.SearchCoverage(
        part=coverage.part,
        compared=coverage.compared,
        pending=coverage.pending,
        failed=coverage.failed,
        incomparable=coverage.incomparable,
        cut=coverage.cut,
        probes=coverage.probes,
        probes_source=coverage.probes_source,
    )
