"""The registry's records and drift reports as messages, and registration headers as records."""

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp
from serval_protos.v1 import common_pb2, registry_pb2
from serval_registry.embedding import DIMENSION
from serval_registry.errors import InvalidArgument
from serval_registry.model import (
    DatasetUse,
    Draft,
    Feature,
    FeatureKind,
    Lineage,
    Missing,
    Parent,
    Parity,
    Ref,
    Signature,
    Stage,
    Summary,
    TensorSpec,
    Version,
    check_name,
)
from serval_registry.recent import Recent
from serval_registry.spaces.spaces import DIMENSION_MAX
from serval_registry.stages import StageChange

from serval_server.codec.tensors import number_of

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MAPS = ("tags", "metrics", "hyperparameters", "libraries")
_STAGE_NUMBERS: dict[Stage, common_pb2.Stage] = {stage: common_pb2.Stage.Value(stage.name) for stage in Stage}
_NO_LINEAGE, _NO_LINEAGE_MESSAGE = Lineage(), registry_pb2.Lineage()

# By identity, with what keeps the identity taken.
_SHAPES: Recent[tuple[int, int], tuple[Signature, tuple[Feature, ...], bytes]] = Recent(1000)

ENTRIES_MAX = 1000
TEXT_MAX = 10_000

MISSING = {
    registry_pb2.MISSING_UNSPECIFIED: Missing.PROBE,
    registry_pb2.MISSING_ALLOWED: Missing.ALLOWED,
    registry_pb2.MISSING_REFUSED: Missing.REFUSED,
}


def stage_number(stage: Stage) -> common_pb2.Stage:
    """Return the enum number of a stage."""
    return _STAGE_NUMBERS[stage]


def stage_of(number: int, field: str) -> Stage:
    """Return the stage of an enum number."""
    if number == common_pb2.STAGE_UNSPECIFIED or number not in common_pb2.Stage.values():
        raise InvalidArgument(f"{field}: {number} is no stage; wanted one of {', '.join(Stage)}")
    return Stage[common_pb2.Stage.Name(number)]


def timestamp(moment: datetime) -> Timestamp:
    """Return a moment as protobuf's Timestamp."""
    message = Timestamp()
    _set_time(message, moment)
    return message


def moment_of(message: Timestamp, field: str) -> datetime:
    """Return protobuf's Timestamp as a moment; raise InvalidArgument, naming the field, where it is none."""
    try:
        return message.ToDatetime(UTC)  # type: ignore[no-any-return]
    except (ValueError, OverflowError) as error:
        raise InvalidArgument(
            f"{field}: {message.seconds} s and {message.nanos} ns; wanted a moment of the years 1 to 9999, "
            "and 0 to 999999999 ns"
        ) from error


def _set_time(message: Timestamp, moment: datetime) -> None:
    # FromDatetime takes three times as long, and a page of versions has two hundred of them.
    since = moment - _EPOCH
    message.seconds = since.days * 86_400 + since.seconds
    message.nanos = since.microseconds * 1000


def version_message(version: Version) -> registry_pb2.ModelVersion:
    """Return all that is known of a version, but for its vector."""
    # Field by field, and nothing of what is empty: half of what the constructor takes.
    message = registry_pb2.ModelVersion()
    message.MergeFromString(_shape(version))
    message.name = version.name
    message.version = version.version
    message.stage = _STAGE_NUMBERS[version.stage]
    message.description = version.description
    message.algorithm = version.algorithm
    message.framework = version.framework
    message.dataset = version.dataset
    message.missing_allowed = version.missing_allowed
    message.artifact_sha256 = version.artifact_sha256
    message.artifact_bytes = version.artifact_bytes
    message.baseline_rows = version.baseline_rows
    message.has_sample = version.has_sample
    message.vector_source = version.vector_source
    message.label = version.label
    _set_time(message.created, version.created)
    _set_time(message.updated, version.updated)
    for field in _MAPS:
        if given := getattr(version, field):
            entries = getattr(message, field)
            for key, value in given.items():  # a map's own `update` takes three times as long
                entries[key] = value
    for field in ("classes", "aliases"):
        if given := getattr(version, field):
            getattr(message, field).extend(given)
    message.lineage.CopyFrom(lineage_message(version.lineage))
    if version.parity is not None:
        message.parity.CopyFrom(_parity_message(version.parity))
    return message


def _shape(version: Version) -> bytes:
    """Return what a version takes and gives, as part of its message; kept, as versions read share it."""
    key = id(version.signature), id(version.features)
    kept = _SHAPES.known(key)
    if kept is not None and kept[0] is version.signature and kept[1] is version.features:
        return kept[2]
    shape: bytes = registry_pb2.ModelVersion(
        inputs=[_spec_message(spec) for spec in version.signature.inputs],
        outputs=[_spec_message(spec) for spec in version.signature.outputs],
        features=[_feature_message(feature) for feature in version.features],
        opsets=version.signature.opsets,
    ).SerializeToString()
    _SHAPES.put(key, (version.signature, version.features, shape))
    return shape


def change_message(change: StageChange) -> registry_pb2.SetStageReply:
    """Return what a change of stage has done."""
    return registry_pb2.SetStageReply(version=version_message(change.version), archived_version=change.archived_version)


def pinned(model: str) -> tuple[str, int]:
    """Return the name and the number of "name@3"; raise InvalidArgument where no version is named."""
    ref = Ref.parse(model)
    if ref.version is None:
        raise InvalidArgument(f"model: {model[:80]!r} names no version; wanted one, such as {ref.name}@1")
    return ref.name, ref.version


def summary_message(version: Summary) -> registry_pb2.VersionSummary:
    """Return what a list of versions shows."""
    return registry_pb2.VersionSummary(
        version=version.version, stage=stage_number(version.stage), created=timestamp(version.created)
    )


def draft_of(header: registry_pb2.RegisterHeader) -> Draft:
    """Return what a caller says of its model; raise InvalidArgument naming the field that is wrong."""
    check_name(header.name, "header.name")
    for field in ("description", "algorithm", "framework", "dataset", "request_id"):
        _check_text(getattr(header, field), f"header.{field}")
    for field in ("tags", "hyperparameters", "libraries"):
        _check_map(getattr(header, field), f"header.{field}")
    metrics: dict[str, float] = {}
    for name, value in header.metrics.items():
        if not math.isfinite(value):
            raise InvalidArgument(f"header.metrics[{name[:80]!r}]: got {value}, wanted a finite number")
        metrics[name] = value
    return Draft(
        name=header.name,
        description=header.description,
        tags=dict(header.tags),
        metrics=metrics,
        hyperparameters=dict(header.hyperparameters),
        algorithm=header.algorithm,
        framework=header.framework,
        dataset=header.dataset,
        features=tuple(_feature_of(feature, index) for index, feature in enumerate(header.features)),
        classes=tuple(header.classes),
        parity=_parity_of(header.parity) if header.HasField("parity") else None,
        libraries=dict(header.libraries),
        vector=_numbers(header.vector, DIMENSION, "vector") or None,
        request_id=header.request_id,
        label=header.label,
        bump=header.bump,
        lineage=lineage_of(header.lineage),
        embeddings={
            space: _numbers(vector.values, DIMENSION_MAX, f"embeddings[{space[:80]!r}]")
            for space, vector in header.embeddings.items()
        },
    )


def lineage_of(message: registry_pb2.Lineage) -> Lineage:
    """Return a lineage as it was sent."""
    return Lineage(
        parents=tuple(Parent(parent.model, parent.relationship) for parent in message.parents),
        datasets=tuple(DatasetUse(used.name, used.version, used.split, used.rows) for used in message.datasets),
        run=message.run,
        experiment=message.experiment,
    )


def lineage_message(lineage: Lineage) -> registry_pb2.Lineage:
    """Return a lineage as a message, which is not to be changed."""
    if lineage == _NO_LINEAGE:
        return _NO_LINEAGE_MESSAGE
    return registry_pb2.Lineage(
        parents=[registry_pb2.ParentModel(**parent._asdict()) for parent in lineage.parents],
        datasets=[registry_pb2.DatasetUse(**used._asdict()) for used in lineage.datasets],
        run=lineage.run,
        experiment=lineage.experiment,
    )


def missing_of(header: registry_pb2.RegisterHeader) -> Missing:
    """Return what the caller says about NaN."""
    missing = MISSING.get(header.missing)
    if missing is None:
        raise InvalidArgument(f"header.missing: {header.missing} is not one of 0 (probe), 1 (allowed), 2 (refused)")
    return missing


def _check_text(text: str, field: str) -> None:
    if len(text) > TEXT_MAX:
        raise InvalidArgument(f"{field}: got {len(text)} characters, at most {TEXT_MAX} are kept")


def _check_map(entries: Mapping[str, str], field: str) -> None:
    if len(entries) > ENTRIES_MAX:
        raise InvalidArgument(f"{field}: got {len(entries)} entries, at most {ENTRIES_MAX} are kept")
    for key, value in entries.items():
        if not key:
            raise InvalidArgument(f"{field}: has an empty key")
        _check_text(key + value, f"{field}[{key[:80]!r}]")


def _numbers(values: Sequence[float], most: int, field: str) -> list[float]:
    """Return the numbers of a vector, which are not so much as copied where there are too many."""
    if len(values) > most:
        raise InvalidArgument(f"{field}: {len(values)} numbers; wanted at most {most}")
    return list(values)


def _feature_of(feature: common_pb2.Feature, index: int) -> Feature:
    field = f"header.features[{index}]"
    if feature.kind == common_pb2.FEATURE_KIND_UNSPECIFIED or feature.kind not in common_pb2.FeatureKind.values():
        raise InvalidArgument(f"{field}.kind: {feature.kind} is no kind; wanted NUMERIC, TEXT or FLAG")
    if not feature.name:
        raise InvalidArgument(f"{field}.name: is empty")
    kind = FeatureKind[common_pb2.FeatureKind.Name(feature.kind)]
    return Feature(feature.name, kind, feature.input, feature.column)


def _feature_message(feature: Feature) -> common_pb2.Feature:
    return common_pb2.Feature(
        name=feature.name, kind=kind_number(feature.kind), input=feature.input, column=feature.column
    )


def kind_number(kind: FeatureKind) -> common_pb2.FeatureKind:
    """Return the enum number of a kind of feature."""
    return common_pb2.FeatureKind.Value(kind.name)  # type: ignore[no-any-return]


def _spec_message(spec: TensorSpec) -> common_pb2.TensorSpec:
    return common_pb2.TensorSpec(name=spec.name, datatype=number_of(spec.datatype), shape=spec.shape)


PARITY_FIELDS = ("rows", "max_difference", "mean_difference", "label_mismatch", "tolerance", "relative")


def _parity_of(parity: registry_pb2.Parity) -> Parity:
    values: dict[str, Any] = {field: getattr(parity, field) for field in PARITY_FIELDS}
    if not all(math.isfinite(value) and value >= 0 for value in values.values()):
        raise InvalidArgument(f"header.parity: got {values}, wanted finite numbers that are not negative")
    return Parity(**values)


def _parity_message(parity: Parity) -> registry_pb2.Parity:
    return registry_pb2.Parity(**{field: getattr(parity, field) for field in PARITY_FIELDS})
