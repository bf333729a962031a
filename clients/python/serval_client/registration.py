"""What is sent to register a model: a header, the ONNX file, and a sample of the rows it was trained on."""

import hashlib
import json
import math
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from serval_protos.v1 import common_pb2, registry_pb2

from serval_client import extras, forms
from serval_client.errors import InvalidArgument
from serval_client.records import Lineage, lineage_message

CHUNK_BYTES = 1 << 20

# Seconds before each further try to register where the server was not reachable, or went away under the call: the
# request id makes one version of all of them.
PAUSES = (0.2, 0.6, 2.0)

# Called with the bytes or rows that are done, and how many there are.
Progress = Callable[[int, int], None]

# A model object of scikit-learn, XGBoost or LightGBM, an onnx ModelProto, what `serval_client.export` made of one, a
# path, or the bytes of an ONNX file.
ModelLike = Any


class FeatureLike(Protocol):
    """A column a model takes: `records.Feature`, or the exporter's own."""

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def kind(self) -> str: ...  # noqa: D102
    @property
    def input(self) -> str: ...  # noqa: D102
    @property
    def column(self) -> int: ...  # noqa: D102


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """What a caller says of a model; see `Client.register` for each."""

    name: str
    description: str = ""
    tags: Mapping[str, str] | None = None
    metrics: Mapping[str, float] | None = None
    hyperparameters: Mapping[str, object] | None = None
    algorithm: str = ""
    framework: str = ""
    dataset: str = ""
    features: Sequence[FeatureLike] | None = None
    classes: Sequence[str] | None = None
    missing_allowed: bool | None = None
    vector: Sequence[float] | None = None
    embeddings: Mapping[str, Sequence[float]] | None = None
    sample: forms.RowsLike = None
    keep_sample: bool = False
    request_id: str = ""
    label: str = ""
    bump: str = ""
    lineage: Lineage | None = None


@dataclass(frozen=True, slots=True)
class Registration:
    """A registration ready to be sent."""

    header: registry_pb2.RegisterHeader
    artifact: bytes
    sample: bytes

    def messages(self, progress: Progress | None = None) -> Iterator[registry_pb2.RegisterModelRequest]:
        """Yield the messages of the stream; `progress` hears of bytes handed on."""
        total, done = len(self.artifact) + len(self.sample), 0
        yield registry_pb2.RegisterModelRequest(header=self.header)
        parts = chain(
            (registry_pb2.RegisterModelRequest(artifact_chunk=chunk) for chunk in _chunks(self.artifact)),
            (registry_pb2.RegisterModelRequest(sample_chunk=chunk) for chunk in _chunks(self.sample)),
        )
        for part in parts:
            yield part
            done += len(part.artifact_chunk) or len(part.sample_chunk)
            if progress is not None:
                progress(done, total)


def prepare(model: ModelLike, draft: Draft) -> Registration:
    """Return the registration of `model`, exported to ONNX where it is not yet.

    What the draft says goes before what the exporter found; its hyperparameters are added to the model's own. Raises
    InvalidArgument, MissingExtra, and from the exporter `serval_client.export.ExportError`.
    """
    artifact = _artifact(model)
    exported = None
    if artifact is None:
        if not _is_export(model):
            model, draft = _export(model, draft), replace(draft, sample=None)
        exported, artifact = model, model.onnx
        draft = _merged(draft, exported)
    sample = b"" if draft.sample is None else forms.to_message(draft.sample, "sample").SerializeToString()
    header = _header(draft)
    header.artifact_bytes = len(artifact)
    header.artifact_sha256 = hashlib.sha256(artifact).hexdigest()
    if exported is not None:
        _describe_export(header, exported)
    return Registration(header, artifact, sample)


def for_export(sample: forms.RowsLike) -> Any:
    """Return a sample as what the exporter takes: a DataFrame for whatever has names, the rest as it is."""
    is_arrow = hasattr(sample, "to_pandas")
    is_rows = isinstance(sample, list) and bool(sample) and isinstance(sample[0], Mapping)
    if not (is_arrow or is_rows or isinstance(sample, Mapping)):
        return sample
    pandas = extras.require("pandas", "exporting a model with named columns", "pandas")
    return sample.to_pandas() if is_arrow else pandas.DataFrame(sample)


def _artifact(model: ModelLike) -> bytes | None:
    """Return the ONNX file where the model is one already."""
    if isinstance(model, bytes | bytearray | memoryview):
        return bytes(model)
    if isinstance(model, str | Path):
        return _read(Path(model)) if Path(model).suffix.lower() == ".onnx" else None
    if hasattr(model, "SerializeToString") and hasattr(model, "graph"):
        return model.SerializeToString()  # type: ignore[no-any-return]
    return None


def _is_export(model: ModelLike) -> bool:
    return isinstance(getattr(model, "onnx", None), bytes)


def _export(model: ModelLike, draft: Draft) -> Any:
    """Return what the exporter made of a model object, or of a file of one."""
    export = extras.require("serval_client.export", "registering a model that is not ONNX yet")
    if draft.sample is None:
        raise InvalidArgument("sample: got none; an exported model is compared with its original on real rows")
    if isinstance(model, str | Path):
        model = export.load(model)
    return export.export(model, for_export(draft.sample), labels=draft.classes)


def _merged(draft: Draft, exported: Any) -> Draft:
    return replace(
        draft,
        algorithm=draft.algorithm or exported.algorithm,
        framework=draft.framework or exported.framework,
        features=draft.features if draft.features is not None else exported.features,
        classes=draft.classes if draft.classes is not None else exported.classes,
        missing_allowed=draft.missing_allowed if draft.missing_allowed is not None else exported.missing_allowed,
        sample=draft.sample if draft.sample is not None else exported.sample,
    )


def _header(draft: Draft) -> registry_pb2.RegisterHeader:
    for name, value in (draft.metrics or {}).items():
        if not isinstance(value, int | float) or not math.isfinite(value):
            raise InvalidArgument(f"metrics[{name!r}]: got {value!r}, wanted a finite number")
    missing = {
        None: registry_pb2.MISSING_UNSPECIFIED,
        True: registry_pb2.MISSING_ALLOWED,
        False: registry_pb2.MISSING_REFUSED,
    }
    return registry_pb2.RegisterHeader(
        name=draft.name,
        description=draft.description,
        tags=draft.tags,
        metrics={name: float(value) for name, value in (draft.metrics or {}).items()},
        hyperparameters={name: json.dumps(value, default=str) for name, value in (draft.hyperparameters or {}).items()},
        algorithm=draft.algorithm,
        framework=draft.framework,
        dataset=draft.dataset,
        features=[_feature(feature) for feature in draft.features or ()],
        classes=[str(label) for label in draft.classes or ()],
        missing=missing[draft.missing_allowed],
        vector=[float(value) for value in draft.vector] if draft.vector is not None else None,
        embeddings={
            space: registry_pb2.Vector(values=np.asarray(vector, np.float32).tolist())
            for space, vector in (draft.embeddings or {}).items()
        },
        keep_sample=draft.keep_sample,
        request_id=draft.request_id or uuid.uuid4().hex,
        label=draft.label,
        bump=draft.bump,
        lineage=lineage_message(draft.lineage),
    )


def _feature(feature: FeatureLike) -> common_pb2.Feature:
    kind = str(getattr(feature.kind, "value", feature.kind)).upper()
    if kind not in ("NUMERIC", "TEXT", "FLAG"):
        raise InvalidArgument(f"features: {feature.name!r} has kind {feature.kind!r}; wanted numeric, text or flag")
    return common_pb2.Feature(
        name=feature.name, kind=common_pb2.FeatureKind.Value(kind), input=feature.input, column=int(feature.column)
    )


def _describe_export(header: registry_pb2.RegisterHeader, exported: Any) -> None:
    for name, text in exported.hyperparameters.items():
        if name not in header.hyperparameters:
            header.hyperparameters[name] = text
    header.libraries.update({str(name): str(version) for name, version in exported.libraries.items()})
    parity = exported.parity
    if parity is not None:
        header.parity.CopyFrom(
            registry_pb2.Parity(
                rows=int(parity.rows),
                max_difference=float(parity.max_difference),
                mean_difference=float(parity.mean_difference),
                label_mismatch=float(parity.label_mismatch),
                tolerance=float(parity.tolerance),
                relative=bool(parity.relative),
            )
        )


def _chunks(data: bytes) -> Iterator[bytes]:
    return (data[start : start + CHUNK_BYTES] for start in range(0, len(data), CHUNK_BYTES))


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InvalidArgument(f"model: cannot read {str(path)!r}: {error.strerror}") from error
