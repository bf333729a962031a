"""What the server answers with, as plain immutable values. No message object leaves the SDK."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt
from serval_protos.v1 import common_pb2, registry_pb2

from serval_client.errors import InvalidArgument
from serval_client.whole_file import whole_file

Array = npt.NDArray[np.generic]


class Stage(StrEnum):
    """Where a version stands. At most one version of a name is in production."""

    NONE = "none"
    STAGING = "staging"
    PRODUCTION = "production"
    ARCHIVED = "archived"

    @classmethod
    def read(cls, text: str, field_name: str = "stage") -> Self:
        """Return the stage that `text` names; raise InvalidArgument naming `field_name`."""
        try:
            return cls(str(text).lower())
        except ValueError:
            raise InvalidArgument(f"{field_name}: {text!r} is no stage; wanted one of {', '.join(cls)}") from None

    @property
    def number(self) -> common_pb2.Stage:
        """The stage as the contract numbers it."""
        number: common_pb2.Stage = common_pb2.Stage.Value(self.name)
        return number


class FeatureKind(StrEnum):
    """What the values of a column are."""

    NUMERIC = "numeric"
    TEXT = "text"
    FLAG = "flag"


@dataclass(frozen=True, slots=True)
class Feature:
    """One column a model takes, and its place: column `column` of the ONNX input `input`."""

    name: str
    kind: FeatureKind
    input: str
    column: int = 0


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """An input or output of a model; -1 in `shape` is any size, the first dimension is the batch."""

    name: str
    datatype: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Parity:
    """How an ONNX model compares with the model it was exported from, on the same rows.

    Differences are over scores, absolute, or divided by max(1, |original|) where `relative`; `label_mismatch` is the
    share of rows, 0 to 1, whose label changed.
    """

    rows: int
    max_difference: float
    mean_difference: float
    label_mismatch: float
    tolerance: float
    relative: bool = False


@dataclass(frozen=True, slots=True)
class Parent:
    """A version that another was made from, and how, such as "fine-tuned-from"."""

    model: str
    relationship: str


@dataclass(frozen=True, slots=True)
class DatasetUse:
    """A dataset that a version has seen: version and split in your own terms, its size in rows; 0: not said."""

    name: str
    version: str = ""
    split: str = ""
    rows: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Lineage:
    """Where a version comes from; `run` and `experiment` are ids in your own terms."""

    parents: Sequence[Parent] = ()
    datasets: Sequence[DatasetUse] = ()
    run: str = ""
    experiment: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelInfo:
    """One registered version, as the registry has it. Times are UTC; `artifact_bytes` is the size of the ONNX file."""

    name: str
    version: int
    stage: Stage
    description: str
    tags: Mapping[str, str]
    metrics: Mapping[str, float]
    hyperparameters: Mapping[str, str]
    algorithm: str
    framework: str
    dataset: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    features: tuple[Feature, ...]
    classes: tuple[str, ...]
    parity: Parity | None
    libraries: Mapping[str, str]
    opsets: Mapping[str, int]
    missing_allowed: bool
    artifact_sha256: str
    artifact_bytes: int
    baseline_rows: int
    has_sample: bool
    vector_source: str
    created: datetime
    updated: datetime
    label: str = ""
    aliases: tuple[str, ...] = ()
    lineage: Lineage = Lineage()

    @property
    def ref(self) -> str:
        """The reference that names exactly this version, such as "churn@3"."""
        return f"{self.name}@{self.version}"


@dataclass(frozen=True, slots=True)
class VersionSummary:
    """One line of a model's history."""

    version: int
    stage: Stage
    created: datetime


@dataclass(frozen=True, slots=True)
class ModelDetail:
    """A version, every version of its name (newest first, at most 100), and its vector where it was asked for."""

    model: ModelInfo
    versions: tuple[VersionSummary, ...]
    vector: npt.NDArray[np.float32] | None = None


@dataclass(frozen=True, slots=True)
class StageChange:
    """The version as it stands now, and the version that left production for it, if one did."""

    model: ModelInfo
    archived_version: int | None


@dataclass(frozen=True, slots=True)
class Artifact:
    """An ONNX file as it was registered. `data` was checked against `sha256` when it arrived."""

    name: str
    version: int
    sha256: str
    data: bytes = field(repr=False)

    def save(self, path: str | Path) -> Path:
        """Write the file to `path` whole or not at all, and return the path; OSError names it."""
        target = Path(path)
        with whole_file(target) as part:
            part.write_bytes(self.data)
        return target


def model_info(message: registry_pb2.ModelVersion) -> ModelInfo:
    """Read a ModelVersion message."""
    return ModelInfo(
        name=message.name,
        version=message.version,
        stage=stage_of(message.stage),
        description=message.description,
        tags=dict(message.tags),
        metrics=dict(message.metrics),
        hyperparameters=dict(message.hyperparameters),
        algorithm=message.algorithm,
        framework=message.framework,
        dataset=message.dataset,
        inputs=tuple(_spec(spec) for spec in message.inputs),
        outputs=tuple(_spec(spec) for spec in message.outputs),
        features=tuple(_feature(feature) for feature in message.features),
        classes=tuple(message.classes),
        parity=_parity(message.parity) if message.HasField("parity") else None,
        libraries=dict(message.libraries),
        opsets=dict(message.opsets),
        missing_allowed=message.missing_allowed,
        artifact_sha256=message.artifact_sha256,
        artifact_bytes=message.artifact_bytes,
        baseline_rows=message.baseline_rows,
        has_sample=message.has_sample,
        vector_source=message.vector_source,
        created=message.created.ToDatetime(UTC),
        updated=message.updated.ToDatetime(UTC),
        label=message.label,
        aliases=tuple(message.aliases),
        lineage=lineage_of(message.lineage),
    )


def lineage_of(message: registry_pb2.Lineage) -> Lineage:
    """Read a Lineage message."""
    return Lineage(
        parents=tuple(Parent(parent.model, parent.relationship) for parent in message.parents),
        datasets=tuple(DatasetUse(used.name, used.version, used.split, used.rows) for used in message.datasets),
        run=message.run,
        experiment=message.experiment,
    )


def lineage_message(lineage: Lineage | None) -> registry_pb2.Lineage | None:
    """Return a lineage as a message, None for none."""
    if lineage is None:
        return None
    return registry_pb2.Lineage(
        parents=[registry_pb2.ParentModel(model=p.model, relationship=p.relationship) for p in lineage.parents],
        datasets=[
            registry_pb2.DatasetUse(name=used.name, version=used.version, split=used.split, rows=used.rows)
            for used in lineage.datasets
        ],
        run=lineage.run,
        experiment=lineage.experiment,
    )


def model_detail(message: registry_pb2.GetModelReply) -> ModelDetail:
    """Read a GetModelReply."""
    return ModelDetail(
        model_info(message.version),
        tuple(VersionSummary(v.version, stage_of(v.stage), v.created.ToDatetime(UTC)) for v in message.versions),
        np.array(message.vector, np.float32) if message.vector else None,
    )


def stage_change(message: registry_pb2.SetStageReply) -> StageChange:
    """Read a SetStageReply."""
    return StageChange(model_info(message.version), message.archived_version or None)


def stage_of(number: int) -> Stage:
    """Return a stage by its number in the contract; one that a newer server added reads as none."""
    names = common_pb2.Stage.DESCRIPTOR.values_by_number
    name = names[number].name if number in names else "NONE"
    return Stage[name] if name in Stage.__members__ else Stage.NONE


def kind_of(number: int) -> FeatureKind:
    """Return a feature's kind by its number in the contract."""
    kinds: dict[int, FeatureKind] = {common_pb2.TEXT: FeatureKind.TEXT, common_pb2.FLAG: FeatureKind.FLAG}
    return kinds.get(number, FeatureKind.NUMERIC)


def _spec(message: common_pb2.TensorSpec) -> TensorSpec:
    return TensorSpec(message.name, common_pb2.DataType.Name(message.datatype), tuple(message.shape))


def _feature(message: common_pb2.Feature) -> Feature:
    return Feature(message.name, kind_of(message.kind), message.input, message.column)


def _parity(message: registry_pb2.Parity) -> Parity:
    return Parity(
        message.rows,
        message.max_difference,
        message.mean_difference,
        message.label_mismatch,
        message.tolerance,
        message.relative,
    )
