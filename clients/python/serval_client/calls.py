"""One function for each call: what is sent, and how the answer is read. Nothing here touches a network.

The sync and the asyncio client only carry what is made here, so that they cannot differ in anything but how they wait.
"""

import hashlib
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from serval_protos.v1 import common_pb2, prediction_pb2, registry_pb2

from serval_client import arrow, channel, errors, forms, prediction, records, tensors
from serval_client.prediction import Prediction
from serval_client.records import Artifact, ModelInfo, Stage

Reply = TypeVar("Reply")

# Up to here the server's shortest path is the fastest; above, one tensor or one Arrow batch is.
FEW_ROWS = 64

# Of rows in one BatchPredict; a quarter of what a message may hold, since outputs can be wider than inputs.
BATCH_BYTES = 16 << 20

PREDICT = "/serval.v1.PredictionService/Predict"
BATCH_PREDICT = "/serval.v1.PredictionService/BatchPredict"
PREDICT_STREAM = "/serval.v1.PredictionService/PredictStream"
REGISTER = "/serval.v1.RegistryService/RegisterModel"
LIST_MODELS = "/serval.v1.RegistryService/ListModels"
WATCH_DRIFT = "/serval.v1.DriftService/WatchDrift"
LIST_REPORTS = "/serval.v1.DriftService/ListReports"
DOWNLOAD = "/serval.v1.RegistryService/DownloadArtifact"

HEALTH_STATES = ("UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN")


@dataclass(frozen=True, slots=True)
class Call(Generic[Reply]):
    """A unary call: the request goes to `path`, `read` makes the answer of the reply."""

    path: str
    request: Any
    read: Callable[[Any], Reply]


def predict(model: str, form: forms.Form, outputs: Sequence[str] | None) -> Call[Prediction]:
    """Return the Predict call for a form that `fits_predict`."""
    return Call(PREDICT, predict_request(model, form, outputs), prediction.from_reply)


def predict_request(model: str, form: forms.Form, outputs: Sequence[str] | None) -> prediction_pb2.PredictRequest:
    """Return a PredictRequest: packed float32 for a matrix, named rows for everything named."""
    request = prediction_pb2.PredictRequest(model=model, outputs=_names(outputs))
    match form:
        case forms.Matrix() if form.packs:
            request.MergeFromString(forms.packed(form))
        case forms.NamedRows():
            request.rows.extend(forms.named_messages(form))
        case forms.Columns():
            request.rows.extend(forms.named_messages(form.named_rows()))
        case _:
            raise errors.InvalidArgument("rows: a stream takes numbers in feature order, or dicts by feature name")
    return request


def fits_predict(form: forms.Form) -> bool:
    """Tell whether Predict is the way for these rows: few of them, and nothing lost as float32."""
    if len(form) > FEW_ROWS:
        return False
    return form.packs if isinstance(form, forms.Matrix) else isinstance(form, forms.NamedRows | forms.Columns)


class Batch:
    """The BatchPredict calls for many rows, one after the other, none too large for a message.

    The first goes to the model as it was named; the rest to the version that answered the first, so that a promotion in
    between does not split the rows over two versions.
    """

    def __init__(self, model: str, form: forms.Form, outputs: Sequence[str] | None) -> None:
        self._model = model
        self._block = forms.block(form)
        self._outputs = _names(outputs)
        self._parts: list[Prediction] = []
        self.rows = len(form)
        self.rows_done = 0
        self._pending = 0

    def __iter__(self) -> Iterator[Call[Prediction]]:
        step = max(1, BATCH_BYTES * self.rows // max(self._block.nbytes, 1))
        for start in range(0, self.rows, step):
            part = self._block.part(start, start + step)
            self._pending = len(part)
            yield Call(BATCH_PREDICT, self._request(part), prediction.from_batch_reply)

    def add(self, part: Prediction) -> None:
        """Take the answer to the call that came last."""
        self._parts.append(part)
        self._model = part.ref
        self.rows_done += self._pending

    def prediction(self) -> Prediction:
        """Return the prediction for all rows."""
        return Prediction.join(self._parts)

    def _request(self, part: forms.Block) -> prediction_pb2.BatchPredictRequest:
        request = prediction_pb2.BatchPredictRequest(model=self._model, outputs=self._outputs)
        match part:
            case forms.Matrix(array):
                request.rows.tensor.CopyFrom(tensors.to_message(array))
            case forms.Table(table):
                request.rows.arrow_ipc = arrow.to_ipc(table)
            case forms.Tensors(arrays):
                request.tensors.extend(tensors.to_message(a, name, f"rows[{name!r}]") for name, a in arrays.items())
        return request


class StreamRequests:
    """The requests of a stream, made of a caller's rows as they come; to be iterated in either way, once.

    grpc would answer an exception in here by cancelling the call under another name, so it is kept for `raise_failure`,
    and the stream ends as if the rows had.
    """

    def __init__(
        self,
        model: str,
        items: Iterable[forms.RowsLike] | AsyncIterable[forms.RowsLike],
        outputs: Sequence[str] | None,
    ) -> None:
        self._model = model
        self._items = items
        self._outputs = outputs
        self._failure: Exception | None = None

    def __iter__(self) -> Iterator[prediction_pb2.PredictRequest]:
        try:
            for item in self._items:  # type: ignore[union-attr]
                yield self._request(item)
        except Exception as error:
            self._failure = error

    async def __aiter__(self) -> AsyncIterator[prediction_pb2.PredictRequest]:
        try:
            if isinstance(self._items, AsyncIterable):
                async for item in self._items:
                    yield self._request(item)
            else:
                for item in self._items:
                    yield self._request(item)
        except Exception as error:
            self._failure = error

    def raise_failure(self) -> None:
        """Raise what the caller's iterator, or reading its rows, raised."""
        if self._failure is not None:
            raise self._failure

    def _request(self, item: forms.RowsLike) -> prediction_pb2.PredictRequest:
        return predict_request(self._model, forms.read(item), self._outputs)


def read_stream_reply(message: prediction_pb2.PredictStreamReply) -> Prediction | errors.ServalError:
    """Return the prediction, or the error that answers one request of a stream."""
    if message.WhichOneof("answer") == "error":
        return errors.of_number(message.error.code, message.error.message)
    return prediction.from_reply(message.reply)


def get_model(model: str, include_vector: bool, space: str) -> Call[records.ModelDetail]:
    """Return the GetModel call."""
    request = registry_pb2.GetModelRequest(model=model, include_vector=include_vector, space=space)
    return Call("/serval.v1.RegistryService/GetModel", request, records.model_detail)


def list_models(
    name: str,
    stages: Iterable[str],
    tags: Mapping[str, str] | None,
    where: str,
    latest_only: bool,
    page_size: int,
    page_token: str,
) -> Call[tuple[list[ModelInfo], str]]:
    """Return the ListModels call for one page; the answer is its models and the next page's token, "" at the end."""
    request = registry_pb2.ListModelsRequest(
        name=name,
        stages=_stages(stages),
        tags=tags,
        filter=where,
        latest_only=latest_only,
        page_size=page_size,
        page_token=page_token,
    )
    return Call(LIST_MODELS, request, lambda r: ([records.model_info(v) for v in r.versions], r.next_page_token))


def set_stage(model: str, stage: str) -> Call[records.StageChange]:
    """Return the SetStage call."""
    request = registry_pb2.SetStageRequest(model=model, stage=Stage.read(stage).number)
    return Call("/serval.v1.RegistryService/SetStage", request, records.stage_change)


def delete(model: str) -> Call[str]:
    """Return the DeleteVersion call; the answer is the reference that is gone."""
    request = registry_pb2.DeleteVersionRequest(model=model)
    return Call("/serval.v1.RegistryService/DeleteVersion", request, lambda r: f"{r.name}@{r.version}")


def health(service: str) -> Call[str]:
    """Return the Check call of the standard health service: `service` is its field 1, as is the status of its reply."""
    name = service.encode()
    if len(name) > 127:
        raise errors.InvalidArgument(f"service: {service[:80]!r} is {len(name)} bytes long, wanted at most 127")
    return Call(channel.HEALTH_CHECK, b"\x0a" + bytes([len(name)]) + name if name else b"", _health_state)


class Download:
    """An artifact as its parts come in."""

    def __init__(self, model: str, path: str | Path | None) -> None:
        self.request = registry_pb2.DownloadArtifactRequest(model=model)
        self._path = path
        self._header = registry_pb2.ArtifactHeader()
        self._chunks: list[bytes] = []
        self.bytes_done = 0

    @property
    def bytes_total(self) -> int:
        """Size of the whole file; 0 before the header came."""
        return self._header.bytes

    def add(self, message: registry_pb2.DownloadArtifactReply) -> None:
        """Take one message of the stream."""
        if message.WhichOneof("part") == "header":
            self._header = message.header
        else:
            self._chunks.append(message.chunk)
            self.bytes_done += len(self._chunks[-1])

    def finish(self) -> Artifact:
        """Return the artifact, saved where that was asked for; raise DataLoss where it is not what the header said."""
        data = b"".join(self._chunks)
        sha256 = hashlib.sha256(data).hexdigest()
        if not self._header.sha256 or sha256 != self._header.sha256:
            raise errors.DataLoss(
                f"{self.request.model}: {len(data)} bytes came with SHA-256 {sha256}; the registry has "
                f"{self._header.bytes} bytes with {self._header.sha256 or 'none'}"
            )
        artifact = Artifact(self._header.name, self._header.version, sha256, data)
        if self._path is not None:
            artifact.save(self._path)
        return artifact


def _names(outputs: Sequence[str] | None) -> Sequence[str]:
    if isinstance(outputs, str):
        raise errors.InvalidArgument(f"outputs: got the text {outputs!r}, wanted a list of names")
    return outputs or ()


def _stages(stages: Iterable[str]) -> list[common_pb2.Stage]:
    names = [stages] if isinstance(stages, str) else stages
    return [Stage.read(stage, "stages").number for stage in names]


def _health_state(reply: bytes) -> str:
    state = int(reply[1]) if len(reply) >= 2 and reply[0] == 0x08 else 0
    return HEALTH_STATES[state] if state < len(HEALTH_STATES) else "UNKNOWN"
