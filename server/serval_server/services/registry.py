"""serval.v1.RegistryService."""

import dataclasses
import hashlib
from collections.abc import Callable, Iterator, Sequence

import grpc
from google.protobuf.message import DecodeError
from serval_protos.v1 import common_pb2, registry_pb2, registry_pb2_grpc
from serval_registry import baseline as baselines
from serval_registry import onnx_check
from serval_registry.errors import InvalidArgument, TooLarge
from serval_registry.model import Draft, Feature, Missing, Ref, Signature, Table, Version, check_name
from serval_registry.predicates import Conditions
from serval_registry.recent import Recent
from serval_registry.registry import Registry
from serval_registry.spaces.spaces import DESCRIPTION

from serval_server.codec import arrow, search, tensors
from serval_server.codec.columns import Columns
from serval_server.codec.features import features_of, named_after
from serval_server.codec.listed import PAGE_FORMAT
from serval_server.codec.records import (
    change_message,
    draft_of,
    missing_of,
    pinned,
    stage_of,
    summary_message,
    version_message,
)
from serval_server.config import Options
from serval_server.engine.router import Router
from serval_server.engine.session import Session, passes_missing, trial
from serval_server.errors import Cancelled, streaming, unary
from serval_server.identity import actor_of

CHUNK_BYTES = 1 << 20
TRIAL_ROWS = 1024
VERSIONS_SHOWN = 100
PAGE_SIZE_DEFAULT = 100
PAGE_SIZE_MAX = 1000
K_DEFAULT = 10
K_MAX = 1000
MESSAGES_KEPT = 4096


class RegistryServicer(registry_pb2_grpc.RegistryServiceServicer):
    """Registration and everything that finds, moves or removes what was registered."""

    def __init__(
        self, registry: Registry, router: Router, options: Options, registered: Callable[[], None] = lambda: None
    ) -> None:
        """Take what is to be called after each registration, beside the others."""
        self._registry = registry
        self._registered = registered
        self._router = router
        self._options = options
        # By identity: what the registry holds in memory is the same object until it has changed.
        self._messages: Recent[int, tuple[Version, bytes]] = Recent(MESSAGES_KEPT)

    def _message(self, version: Version) -> bytes:
        """Return the encoded message of a version: making ten messages takes longer than searching a thousand."""
        kept = self._messages.known(id(version))
        if kept is not None and kept[0] is version:
            return kept[1]
        message: bytes = version_message(version).SerializeToString()
        self._messages.put(id(version), (version, message))
        return message

    @unary
    def RegisterModel(
        self,
        request: Iterator[registry_pb2.RegisterModelRequest],
        context: grpc.ServicerContext,
    ) -> registry_pb2.ModelVersion:
        """Check everything, and only then make the version."""
        upload = _Upload(request, self._options)
        header = upload.header
        draft = draft_of(header)
        signature = onnx_check.check(upload.artifact, self._options.artifact_bytes)
        features = features_of(draft.features or _named_by(upload.sample, signature), signature)
        session = Session(upload.artifact)
        columns = Columns(draft.name, features, signature)
        table = columns.table(upload.sample, "sample") if features and upload.sample else None
        trial(session, signature, _trial_inputs(upload.sample, columns, signature, table))
        if not context.is_active():  # a stream that breaks looks like one that ends, until its cancellation is seen
            raise Cancelled("the registration was given up before its stream ended")
        version = self._registry.register(
            _completed(draft, features, missing_of(header), session, signature),
            signature,
            upload.artifact,
            baseline=_baseline_of(table, features, signature),
            sample=arrow.write_table(table) if table is not None and header.keep_sample else None,
            actor=actor_of(context),
        )
        self._router.refresh(version.name)
        self._registered()
        return version_message(version)

    @unary
    def GetModel(
        self, request: registry_pb2.GetModelRequest, context: grpc.ServicerContext
    ) -> registry_pb2.GetModelReply:
        """One version and a list of its siblings."""
        version = self._registry.resolve(Ref.parse(request.model))
        siblings = self._registry.newest(version.name, VERSIONS_SHOWN)
        reply = registry_pb2.GetModelReply(versions=[summary_message(sibling) for sibling in siblings])
        reply.version.MergeFromString(self._message(version))
        if request.include_vector and request.space not in ("", DESCRIPTION):
            reply.vector.extend(self._registry.spaces.own(request.space, version))
        elif request.include_vector:
            reply.vector.extend(self._registry.vector(version.name, version.version))
        return reply

    @unary
    def ListModels(
        self,
        request: registry_pb2.ListModelsRequest,
        context: grpc.ServicerContext,
    ) -> registry_pb2.ListModelsReply:
        """One page."""
        if request.name:
            check_name(request.name, "name")
        stages = [stage_of(stage, "stages") for stage in request.stages]
        lines, token = self._registry.pages.page(
            Conditions.of(stages, dict(request.tags), request.filter),
            name=request.name or None,
            latest_only=request.latest_only,
            page_size=_bounded(request.page_size, PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX, "page_size"),
            page_token=request.page_token,
        )
        reply: registry_pb2.ListModelsReply
        reply = registry_pb2.ListModelsReply.FromString(b"".join([line.part(PAGE_FORMAT) for line in lines]))
        reply.next_page_token = token
        return reply

    @unary
    def SearchModels(
        self,
        request: registry_pb2.SearchModelsRequest,
        context: grpc.ServicerContext,
    ) -> registry_pb2.SearchModelsReply:
        """The versions most like what is asked for."""
        queries = search.queries_of(request)
        stages = [stage_of(stage, "stages") for stage in request.stages]
        conditions = Conditions.of(stages, dict(request.tags), request.filter)
        found = self._registry.asking.search(queries, conditions, _bounded(request.k, K_DEFAULT, K_MAX, "k"))
        return search.result_message(found, self._message)

    @unary
    def SetEmbedding(
        self, request: registry_pb2.SetEmbeddingRequest, context: grpc.ServicerContext
    ) -> registry_pb2.SetEmbeddingReply:
        """Write one vector."""
        name, number = pinned(request.model)
        vector = list(request.vector.values)
        space = self._registry.embeddings.put(name, number, request.space, vector, actor_of(context))
        return registry_pb2.SetEmbeddingReply(name=name, version=number, space=search.space_message(space))

    @unary
    def ListSpaces(
        self, request: registry_pb2.ListSpacesRequest, context: grpc.ServicerContext
    ) -> registry_pb2.ListSpacesReply:
        """The built-in space, then the others."""
        spaces = self._registry.spaces.list()
        return registry_pb2.ListSpacesReply(spaces=[search.space_message(space) for space in spaces])

    @unary
    def DeleteSpace(
        self, request: registry_pb2.DeleteSpaceRequest, context: grpc.ServicerContext
    ) -> registry_pb2.DeleteSpaceReply:
        """Delete one of the others."""
        space = self._registry.embeddings.delete(request.space, actor_of(context))
        return registry_pb2.DeleteSpaceReply(space=search.space_message(space))

    @unary
    def SetStage(
        self, request: registry_pb2.SetStageRequest, context: grpc.ServicerContext
    ) -> registry_pb2.SetStageReply:
        """Move it; the routes follow once the new model is loaded, so that no call waits for that."""
        name, number = pinned(request.model)
        change = self._registry.set_stage(name, number, stage_of(request.stage, "stage"), actor_of(context))
        self._router.refresh(name)
        return change_message(change)

    @unary
    def DeleteVersion(
        self,
        request: registry_pb2.DeleteVersionRequest,
        context: grpc.ServicerContext,
    ) -> registry_pb2.DeleteVersionReply:
        """Remove one version for good."""
        name, number = pinned(request.model)
        self._registry.delete(name, number, actor_of(context))
        self._router.refresh(name)
        return registry_pb2.DeleteVersionReply(name=name, version=number)

    @streaming
    def DownloadArtifact(
        self,
        request: registry_pb2.DownloadArtifactRequest,
        context: grpc.ServicerContext,
    ) -> Iterator[registry_pb2.DownloadArtifactReply]:
        """The header, then the file in chunks."""
        version = self._registry.resolve(Ref.parse(request.model))
        artifact = self._registry.artifact(version)
        yield registry_pb2.DownloadArtifactReply(
            header=registry_pb2.ArtifactHeader(
                name=version.name,
                version=version.version,
                sha256=version.artifact_sha256,
                bytes=version.artifact_bytes,
            )
        )
        for start in range(0, len(artifact), CHUNK_BYTES):
            yield registry_pb2.DownloadArtifactReply(chunk=artifact[start : start + CHUNK_BYTES])


class _Upload:
    """A registration stream, read to its end: `header`, `artifact`, and `sample` or None."""

    def __init__(self, stream: Iterator[registry_pb2.RegisterModelRequest], options: Options) -> None:
        first = next(stream, None)
        if first is None or first.WhichOneof("part") != "header":
            came = "nothing" if first is None else (first.WhichOneof("part") or "an empty message")
            raise InvalidArgument(f"part: the first message must be the header, got {came}")
        self.header: registry_pb2.RegisterHeader = first.header
        _check_size(self.header.artifact_bytes, options.artifact_bytes, "header.artifact_bytes")
        artifact, sample = bytearray(), bytearray()
        for message in stream:
            match message.WhichOneof("part"):
                case "artifact_chunk":
                    artifact += message.artifact_chunk
                    _check_size(len(artifact), options.artifact_bytes, "artifact_chunk")
                case "sample_chunk":
                    sample += message.sample_chunk
                    _check_size(len(sample), options.sample_bytes, "sample_chunk")
                case part:
                    raise InvalidArgument(f"part: wanted artifact_chunk or sample_chunk after the header, got {part}")
        self.artifact = bytes(artifact)
        self._check_digest()
        self.sample = _rows_of(bytes(sample)) if sample else None

    def _check_digest(self) -> None:
        wanted = self.header.artifact_sha256
        if wanted and hashlib.sha256(self.artifact).hexdigest() != wanted:
            raise InvalidArgument(
                f"header.artifact_sha256: the {len(self.artifact)} bytes that came do not have digest {wanted[:64]}"
            )
        if self.header.artifact_bytes and self.header.artifact_bytes != len(self.artifact):
            raise InvalidArgument(
                f"header.artifact_bytes: got {len(self.artifact)} bytes, {self.header.artifact_bytes} were announced"
            )


def _rows_of(data: bytes) -> common_pb2.Rows:
    try:
        return common_pb2.Rows.FromString(data)  # type: ignore[no-any-return]
    except DecodeError as error:
        raise InvalidArgument(f"sample_chunk: {len(data)} bytes are not a serialized serval.v1.Rows") from error


def _check_size(size: int, limit: int, field: str) -> None:
    if size > limit:
        raise TooLarge(f"{field}: {size} bytes are over this server's limit of {limit}")


def _trial_inputs(
    sample: common_pb2.Rows | None, columns: Columns, signature: Signature, table: Table | None
) -> dict[str, tensors.Array] | None:
    """Return the sample's first rows as inputs, or None where no sample came."""
    if sample is None:
        return None
    if table is not None:
        return columns.from_table({name: column[:TRIAL_ROWS] for name, column in table.items()}, "sample")
    if len(signature.inputs) != 1 or sample.WhichOneof("data") != "tensor":
        raise InvalidArgument("sample: a model whose inputs are not columns takes a sample of one tensor for one input")
    return {signature.inputs[0].name: tensors.from_message(sample.tensor, "sample.tensor")[:TRIAL_ROWS]}


def _named_by(sample: common_pb2.Rows | None, signature: Signature) -> tuple[Feature, ...]:
    """Return the model's columns as the sample's columns name them; none where they do not."""
    if sample is None or sample.WhichOneof("data") != "arrow_ipc":
        return ()
    return named_after(arrow.column_names(sample.arrow_ipc, "sample.arrow_ipc"), signature)


def _completed(
    draft: Draft, features: Sequence[Feature], missing: Missing, session: Session, signature: Signature
) -> Draft:
    allowed = passes_missing(session, signature) if missing is Missing.PROBE else missing is Missing.ALLOWED
    return dataclasses.replace(draft, features=features, missing_allowed=allowed)


def _baseline_of(table: Table | None, features: Sequence[Feature], signature: Signature) -> tuple[bytes, int] | None:
    if table is None or len(next(iter(table.values()))) < baselines.ROWS_LEAST:
        return None
    computed = baselines.compute(table, features, exact=baselines.exact_features(features, signature))
    return baselines.to_bytes(computed), computed.rows


def _bounded(value: int, default: int, most: int, field: str) -> int:
    if value < 0 or value > most:
        raise InvalidArgument(f"{field}: got {value}, wanted 1 to {most}, or 0 for {default}")
    return value or default
