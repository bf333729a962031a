import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from serval_protos.v1 import common_pb2 as _common_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Missing(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    MISSING_UNSPECIFIED: _ClassVar[Missing]
    MISSING_ALLOWED: _ClassVar[Missing]
    MISSING_REFUSED: _ClassVar[Missing]

class SearchPath(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SEARCH_PATH_UNSPECIFIED: _ClassVar[SearchPath]
    EXACT: _ClassVar[SearchPath]
    IVF_PQ: _ClassVar[SearchPath]
    IVF_SQ8: _ClassVar[SearchPath]
MISSING_UNSPECIFIED: Missing
MISSING_ALLOWED: Missing
MISSING_REFUSED: Missing
SEARCH_PATH_UNSPECIFIED: SearchPath
EXACT: SearchPath
IVF_PQ: SearchPath
IVF_SQ8: SearchPath

class RegisterModelRequest(_message.Message):
    __slots__ = ("header", "artifact_chunk", "sample_chunk")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    ARTIFACT_CHUNK_FIELD_NUMBER: _ClassVar[int]
    SAMPLE_CHUNK_FIELD_NUMBER: _ClassVar[int]
    header: RegisterHeader
    artifact_chunk: bytes
    sample_chunk: bytes
    def __init__(self, header: _Optional[_Union[RegisterHeader, _Mapping]] = ..., artifact_chunk: _Optional[bytes] = ..., sample_chunk: _Optional[bytes] = ...) -> None: ...

class RegisterHeader(_message.Message):
    __slots__ = ("name", "description", "tags", "metrics", "hyperparameters", "algorithm", "framework", "dataset", "features", "classes", "parity", "libraries", "missing", "vector", "keep_sample", "artifact_sha256", "artifact_bytes", "request_id", "label", "bump", "lineage", "embeddings")
    class TagsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    class MetricsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    class HyperparametersEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    class LibrariesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    class EmbeddingsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: Vector
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[Vector, _Mapping]] = ...) -> None: ...
    NAME_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    TAGS_FIELD_NUMBER: _ClassVar[int]
    METRICS_FIELD_NUMBER: _ClassVar[int]
    HYPERPARAMETERS_FIELD_NUMBER: _ClassVar[int]
    ALGORITHM_FIELD_NUMBER: _ClassVar[int]
    FRAMEWORK_FIELD_NUMBER: _ClassVar[int]
    DATASET_FIELD_NUMBER: _ClassVar[int]
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    CLASSES_FIELD_NUMBER: _ClassVar[int]
    PARITY_FIELD_NUMBER: _ClassVar[int]
    LIBRARIES_FIELD_NUMBER: _ClassVar[int]
    MISSING_FIELD_NUMBER: _ClassVar[int]
    VECTOR_FIELD_NUMBER: _ClassVar[int]
    KEEP_SAMPLE_FIELD_NUMBER: _ClassVar[int]
    ARTIFACT_SHA256_FIELD_NUMBER: _ClassVar[int]
    ARTIFACT_BYTES_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    BUMP_FIELD_NUMBER: _ClassVar[int]
    LINEAGE_FIELD_NUMBER: _ClassVar[int]
    EMBEDDINGS_FIELD_NUMBER: _ClassVar[int]
    name: str
    description: str
    tags: _containers.ScalarMap[str, str]
    metrics: _containers.ScalarMap[str, float]
    hyperparameters: _containers.ScalarMap[str, str]
    algorithm: str
    framework: str
    dataset: str
    features: _containers.RepeatedCompositeFieldContainer[_common_pb2.Feature]
    classes: _containers.RepeatedScalarFieldContainer[str]
    parity: Parity
    libraries: _containers.ScalarMap[str, str]
    missing: Missing
    vector: _containers.RepeatedScalarFieldContainer[float]
    keep_sample: bool
    artifact_sha256: str
    artifact_bytes: int
    request_id: str
    label: str
    bump: str
    lineage: Lineage
    embeddings: _containers.MessageMap[str, Vector]
    def __init__(self, name: _Optional[str] = ..., description: _Optional[str] = ..., tags: _Optional[_Mapping[str, str]] = ..., metrics: _Optional[_Mapping[str, float]] = ..., hyperparameters: _Optional[_Mapping[str, str]] = ..., algorithm: _Optional[str] = ..., framework: _Optional[str] = ..., dataset: _Optional[str] = ..., features: _Optional[_Iterable[_Union[_common_pb2.Feature, _Mapping]]] = ..., classes: _Optional[_Iterable[str]] = ..., parity: _Optional[_Union[Parity, _Mapping]] = ..., libraries: _Optional[_Mapping[str, str]] = ..., missing: _Optional[_Union[Missing, str]] = ..., vector: _Optional[_Iterable[float]] = ..., keep_sample: _Optional[bool] = ..., artifact_sha256: _Optional[str] = ..., artifact_bytes: _Optional[int] = ..., request_id: _Optional[str] = ..., label: _Optional[str] = ..., bump: _Optional[str] = ..., lineage: _Optional[_Union[Lineage, _Mapping]] = ..., embeddings: _Optional[_Mapping[str, Vector]] = ...) -> None: ...

class Lineage(_message.Message):
    __slots__ = ("parents", "datasets", "run", "experiment")
    PARENTS_FIELD_NUMBER: _ClassVar[int]
    DATASETS_FIELD_NUMBER: _ClassVar[int]
    RUN_FIELD_NUMBER: _ClassVar[int]
    EXPERIMENT_FIELD_NUMBER: _ClassVar[int]
    parents: _containers.RepeatedCompositeFieldContainer[ParentModel]
    datasets: _containers.RepeatedCompositeFieldContainer[DatasetUse]
    run: str
    experiment: str
    def __init__(self, parents: _Optional[_Iterable[_Union[ParentModel, _Mapping]]] = ..., datasets: _Optional[_Iterable[_Union[DatasetUse, _Mapping]]] = ..., run: _Optional[str] = ..., experiment: _Optional[str] = ...) -> None: ...

class ParentModel(_message.Message):
    __slots__ = ("model", "relationship")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    RELATIONSHIP_FIELD_NUMBER: _ClassVar[int]
    model: str
    relationship: str
    def __init__(self, model: _Optional[str] = ..., relationship: _Optional[str] = ...) -> None: ...

class DatasetUse(_message.Message):
    __slots__ = ("name", "version", "split", "rows")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    SPLIT_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: str
    split: str
    rows: int
    def __init__(self, name: _Optional[str] = ..., version: _Optional[str] = ..., split: _Optional[str] = ..., rows: _Optional[int] = ...) -> None: ...

class Parity(_message.Message):
    __slots__ = ("rows", "max_difference", "mean_difference", "label_mismatch", "tolerance", "relative")
    ROWS_FIELD_NUMBER: _ClassVar[int]
    MAX_DIFFERENCE_FIELD_NUMBER: _ClassVar[int]
    MEAN_DIFFERENCE_FIELD_NUMBER: _ClassVar[int]
    LABEL_MISMATCH_FIELD_NUMBER: _ClassVar[int]
    TOLERANCE_FIELD_NUMBER: _ClassVar[int]
    RELATIVE_FIELD_NUMBER: _ClassVar[int]
    rows: int
    max_difference: float
    mean_difference: float
    label_mismatch: float
    tolerance: float
    relative: bool
    def __init__(self, rows: _Optional[int] = ..., max_difference: _Optional[float] = ..., mean_difference: _Optional[float] = ..., label_mismatch: _Optional[float] = ..., tolerance: _Optional[float] = ..., relative: _Optional[bool] = ...) -> None: ...

class ModelVersion(_message.Message):
    __slots__ = ("name", "version", "stage", "description", "tags", "metrics", "hyperparameters", "algorithm", "framework", "dataset", "inputs", "outputs", "features", "classes", "parity", "libraries", "opsets", "missing_allowed", "artifact_sha256", "artifact_bytes", "baseline_rows", "has_sample", "vector_source", "created", "updated", "label", "aliases", "lineage")
    class TagsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    class MetricsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    class HyperparametersEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    class LibrariesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    class OpsetsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    STAGE_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    TAGS_FIELD_NUMBER: _ClassVar[int]
    METRICS_FIELD_NUMBER: _ClassVar[int]
    HYPERPARAMETERS_FIELD_NUMBER: _ClassVar[int]
    ALGORITHM_FIELD_NUMBER: _ClassVar[int]
    FRAMEWORK_FIELD_NUMBER: _ClassVar[int]
    DATASET_FIELD_NUMBER: _ClassVar[int]
    INPUTS_FIELD_NUMBER: _ClassVar[int]
    OUTPUTS_FIELD_NUMBER: _ClassVar[int]
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    CLASSES_FIELD_NUMBER: _ClassVar[int]
    PARITY_FIELD_NUMBER: _ClassVar[int]
    LIBRARIES_FIELD_NUMBER: _ClassVar[int]
    OPSETS_FIELD_NUMBER: _ClassVar[int]
    MISSING_ALLOWED_FIELD_NUMBER: _ClassVar[int]
    ARTIFACT_SHA256_FIELD_NUMBER: _ClassVar[int]
    ARTIFACT_BYTES_FIELD_NUMBER: _ClassVar[int]
    BASELINE_ROWS_FIELD_NUMBER: _ClassVar[int]
    HAS_SAMPLE_FIELD_NUMBER: _ClassVar[int]
    VECTOR_SOURCE_FIELD_NUMBER: _ClassVar[int]
    CREATED_FIELD_NUMBER: _ClassVar[int]
    UPDATED_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    ALIASES_FIELD_NUMBER: _ClassVar[int]
    LINEAGE_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: int
    stage: _common_pb2.Stage
    description: str
    tags: _containers.ScalarMap[str, str]
    metrics: _containers.ScalarMap[str, float]
    hyperparameters: _containers.ScalarMap[str, str]
    algorithm: str
    framework: str
    dataset: str
    inputs: _containers.RepeatedCompositeFieldContainer[_common_pb2.TensorSpec]
    outputs: _containers.RepeatedCompositeFieldContainer[_common_pb2.TensorSpec]
    features: _containers.RepeatedCompositeFieldContainer[_common_pb2.Feature]
    classes: _containers.RepeatedScalarFieldContainer[str]
    parity: Parity
    libraries: _containers.ScalarMap[str, str]
    opsets: _containers.ScalarMap[str, int]
    missing_allowed: bool
    artifact_sha256: str
    artifact_bytes: int
    baseline_rows: int
    has_sample: bool
    vector_source: str
    created: _timestamp_pb2.Timestamp
    updated: _timestamp_pb2.Timestamp
    label: str
    aliases: _containers.RepeatedScalarFieldContainer[str]
    lineage: Lineage
    def __init__(self, name: _Optional[str] = ..., version: _Optional[int] = ..., stage: _Optional[_Union[_common_pb2.Stage, str]] = ..., description: _Optional[str] = ..., tags: _Optional[_Mapping[str, str]] = ..., metrics: _Optional[_Mapping[str, float]] = ..., hyperparameters: _Optional[_Mapping[str, str]] = ..., algorithm: _Optional[str] = ..., framework: _Optional[str] = ..., dataset: _Optional[str] = ..., inputs: _Optional[_Iterable[_Union[_common_pb2.TensorSpec, _Mapping]]] = ..., outputs: _Optional[_Iterable[_Union[_common_pb2.TensorSpec, _Mapping]]] = ..., features: _Optional[_Iterable[_Union[_common_pb2.Feature, _Mapping]]] = ..., classes: _Optional[_Iterable[str]] = ..., parity: _Optional[_Union[Parity, _Mapping]] = ..., libraries: _Optional[_Mapping[str, str]] = ..., opsets: _Optional[_Mapping[str, int]] = ..., missing_allowed: _Optional[bool] = ..., artifact_sha256: _Optional[str] = ..., artifact_bytes: _Optional[int] = ..., baseline_rows: _Optional[int] = ..., has_sample: _Optional[bool] = ..., vector_source: _Optional[str] = ..., created: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., updated: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., label: _Optional[str] = ..., aliases: _Optional[_Iterable[str]] = ..., lineage: _Optional[_Union[Lineage, _Mapping]] = ...) -> None: ...

class GetModelRequest(_message.Message):
    __slots__ = ("model", "include_vector", "space")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    INCLUDE_VECTOR_FIELD_NUMBER: _ClassVar[int]
    SPACE_FIELD_NUMBER: _ClassVar[int]
    model: str
    include_vector: bool
    space: str
    def __init__(self, model: _Optional[str] = ..., include_vector: _Optional[bool] = ..., space: _Optional[str] = ...) -> None: ...

class GetModelReply(_message.Message):
    __slots__ = ("version", "versions", "vector")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    VERSIONS_FIELD_NUMBER: _ClassVar[int]
    VECTOR_FIELD_NUMBER: _ClassVar[int]
    version: ModelVersion
    versions: _containers.RepeatedCompositeFieldContainer[VersionSummary]
    vector: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, version: _Optional[_Union[ModelVersion, _Mapping]] = ..., versions: _Optional[_Iterable[_Union[VersionSummary, _Mapping]]] = ..., vector: _Optional[_Iterable[float]] = ...) -> None: ...

class VersionSummary(_message.Message):
    __slots__ = ("version", "stage", "created")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    STAGE_FIELD_NUMBER: _ClassVar[int]
    CREATED_FIELD_NUMBER: _ClassVar[int]
    version: int
    stage: _common_pb2.Stage
    created: _timestamp_pb2.Timestamp
    def __init__(self, version: _Optional[int] = ..., stage: _Optional[_Union[_common_pb2.Stage, str]] = ..., created: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class ListModelsRequest(_message.Message):
    __slots__ = ("name", "stages", "tags", "latest_only", "page_size", "page_token", "filter")
    class TagsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    NAME_FIELD_NUMBER: _ClassVar[int]
    STAGES_FIELD_NUMBER: _ClassVar[int]
    TAGS_FIELD_NUMBER: _ClassVar[int]
    LATEST_ONLY_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    name: str
    stages: _containers.RepeatedScalarFieldContainer[_common_pb2.Stage]
    tags: _containers.ScalarMap[str, str]
    latest_only: bool
    page_size: int
    page_token: str
    filter: str
    def __init__(self, name: _Optional[str] = ..., stages: _Optional[_Iterable[_Union[_common_pb2.Stage, str]]] = ..., tags: _Optional[_Mapping[str, str]] = ..., latest_only: _Optional[bool] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., filter: _Optional[str] = ...) -> None: ...

class ListModelsReply(_message.Message):
    __slots__ = ("versions", "next_page_token")
    VERSIONS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    versions: _containers.RepeatedCompositeFieldContainer[ModelVersion]
    next_page_token: str
    def __init__(self, versions: _Optional[_Iterable[_Union[ModelVersion, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class SearchModelsRequest(_message.Message):
    __slots__ = ("vector", "model", "text", "behaviour", "sample", "stages", "tags", "k", "filter", "space", "parts")
    class TagsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    VECTOR_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    BEHAVIOUR_FIELD_NUMBER: _ClassVar[int]
    SAMPLE_FIELD_NUMBER: _ClassVar[int]
    STAGES_FIELD_NUMBER: _ClassVar[int]
    TAGS_FIELD_NUMBER: _ClassVar[int]
    K_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    SPACE_FIELD_NUMBER: _ClassVar[int]
    PARTS_FIELD_NUMBER: _ClassVar[int]
    vector: Vector
    model: str
    text: str
    behaviour: str
    sample: _common_pb2.Rows
    stages: _containers.RepeatedScalarFieldContainer[_common_pb2.Stage]
    tags: _containers.ScalarMap[str, str]
    k: int
    filter: str
    space: str
    parts: _containers.RepeatedCompositeFieldContainer[SearchPart]
    def __init__(self, vector: _Optional[_Union[Vector, _Mapping]] = ..., model: _Optional[str] = ..., text: _Optional[str] = ..., behaviour: _Optional[str] = ..., sample: _Optional[_Union[_common_pb2.Rows, _Mapping]] = ..., stages: _Optional[_Iterable[_Union[_common_pb2.Stage, str]]] = ..., tags: _Optional[_Mapping[str, str]] = ..., k: _Optional[int] = ..., filter: _Optional[str] = ..., space: _Optional[str] = ..., parts: _Optional[_Iterable[_Union[SearchPart, _Mapping]]] = ...) -> None: ...

class SearchPart(_message.Message):
    __slots__ = ("vector", "model", "text", "behaviour", "sample", "space", "weight")
    VECTOR_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    BEHAVIOUR_FIELD_NUMBER: _ClassVar[int]
    SAMPLE_FIELD_NUMBER: _ClassVar[int]
    SPACE_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    vector: Vector
    model: str
    text: str
    behaviour: str
    sample: _common_pb2.Rows
    space: str
    weight: float
    def __init__(self, vector: _Optional[_Union[Vector, _Mapping]] = ..., model: _Optional[str] = ..., text: _Optional[str] = ..., behaviour: _Optional[str] = ..., sample: _Optional[_Union[_common_pb2.Rows, _Mapping]] = ..., space: _Optional[str] = ..., weight: _Optional[float] = ...) -> None: ...

class Vector(_message.Message):
    __slots__ = ("values",)
    VALUES_FIELD_NUMBER: _ClassVar[int]
    values: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, values: _Optional[_Iterable[float]] = ...) -> None: ...

class SearchModelsReply(_message.Message):
    __slots__ = ("hits", "path", "indexed_rows", "recall", "coverage")
    HITS_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    INDEXED_ROWS_FIELD_NUMBER: _ClassVar[int]
    RECALL_FIELD_NUMBER: _ClassVar[int]
    COVERAGE_FIELD_NUMBER: _ClassVar[int]
    hits: _containers.RepeatedCompositeFieldContainer[SearchHit]
    path: SearchPath
    indexed_rows: int
    recall: float
    coverage: _containers.RepeatedCompositeFieldContainer[SearchCoverage]
    def __init__(self, hits: _Optional[_Iterable[_Union[SearchHit, _Mapping]]] = ..., path: _Optional[_Union[SearchPath, str]] = ..., indexed_rows: _Optional[int] = ..., recall: _Optional[float] = ..., coverage: _Optional[_Iterable[_Union[SearchCoverage, _Mapping]]] = ...) -> None: ...

class SearchCoverage(_message.Message):
    __slots__ = ("part", "compared", "pending", "failed", "incomparable", "cut", "probes", "probes_source")
    PART_FIELD_NUMBER: _ClassVar[int]
    COMPARED_FIELD_NUMBER: _ClassVar[int]
    PENDING_FIELD_NUMBER: _ClassVar[int]
    FAILED_FIELD_NUMBER: _ClassVar[int]
    INCOMPARABLE_FIELD_NUMBER: _ClassVar[int]
    CUT_FIELD_NUMBER: _ClassVar[int]
    PROBES_FIELD_NUMBER: _ClassVar[int]
    PROBES_SOURCE_FIELD_NUMBER: _ClassVar[int]
    part: str
    compared: int
    pending: int
    failed: int
    incomparable: int
    cut: bool
    probes: int
    probes_source: str
    def __init__(self, part: _Optional[str] = ..., compared: _Optional[int] = ..., pending: _Optional[int] = ..., failed: _Optional[int] = ..., incomparable: _Optional[int] = ..., cut: _Optional[bool] = ..., probes: _Optional[int] = ..., probes_source: _Optional[str] = ...) -> None: ...

class SearchHit(_message.Message):
    __slots__ = ("version", "similarity", "parts")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    SIMILARITY_FIELD_NUMBER: _ClassVar[int]
    PARTS_FIELD_NUMBER: _ClassVar[int]
    version: ModelVersion
    similarity: float
    parts: _containers.RepeatedCompositeFieldContainer[HitPart]
    def __init__(self, version: _Optional[_Union[ModelVersion, _Mapping]] = ..., similarity: _Optional[float] = ..., parts: _Optional[_Iterable[_Union[HitPart, _Mapping]]] = ...) -> None: ...

class HitPart(_message.Message):
    __slots__ = ("name", "similarity", "weight", "absent", "agreement")
    NAME_FIELD_NUMBER: _ClassVar[int]
    SIMILARITY_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    ABSENT_FIELD_NUMBER: _ClassVar[int]
    AGREEMENT_FIELD_NUMBER: _ClassVar[int]
    name: str
    similarity: float
    weight: float
    absent: bool
    agreement: Agreement
    def __init__(self, name: _Optional[str] = ..., similarity: _Optional[float] = ..., weight: _Optional[float] = ..., absent: _Optional[bool] = ..., agreement: _Optional[_Union[Agreement, _Mapping]] = ...) -> None: ...

class Agreement(_message.Message):
    __slots__ = ("probes", "share", "total_variation", "correlation")
    PROBES_FIELD_NUMBER: _ClassVar[int]
    SHARE_FIELD_NUMBER: _ClassVar[int]
    TOTAL_VARIATION_FIELD_NUMBER: _ClassVar[int]
    CORRELATION_FIELD_NUMBER: _ClassVar[int]
    probes: int
    share: float
    total_variation: float
    correlation: float
    def __init__(self, probes: _Optional[int] = ..., share: _Optional[float] = ..., total_variation: _Optional[float] = ..., correlation: _Optional[float] = ...) -> None: ...

class SetEmbeddingRequest(_message.Message):
    __slots__ = ("model", "space", "vector")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    SPACE_FIELD_NUMBER: _ClassVar[int]
    VECTOR_FIELD_NUMBER: _ClassVar[int]
    model: str
    space: str
    vector: Vector
    def __init__(self, model: _Optional[str] = ..., space: _Optional[str] = ..., vector: _Optional[_Union[Vector, _Mapping]] = ...) -> None: ...

class SetEmbeddingReply(_message.Message):
    __slots__ = ("name", "version", "space")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    SPACE_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: int
    space: Space
    def __init__(self, name: _Optional[str] = ..., version: _Optional[int] = ..., space: _Optional[_Union[Space, _Mapping]] = ...) -> None: ...

class ListSpacesRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListSpacesReply(_message.Message):
    __slots__ = ("spaces",)
    SPACES_FIELD_NUMBER: _ClassVar[int]
    spaces: _containers.RepeatedCompositeFieldContainer[Space]
    def __init__(self, spaces: _Optional[_Iterable[_Union[Space, _Mapping]]] = ...) -> None: ...

class DeleteSpaceRequest(_message.Message):
    __slots__ = ("space",)
    SPACE_FIELD_NUMBER: _ClassVar[int]
    space: str
    def __init__(self, space: _Optional[str] = ...) -> None: ...

class DeleteSpaceReply(_message.Message):
    __slots__ = ("space",)
    SPACE_FIELD_NUMBER: _ClassVar[int]
    space: Space
    def __init__(self, space: _Optional[_Union[Space, _Mapping]] = ...) -> None: ...

class Space(_message.Message):
    __slots__ = ("name", "dimension", "count")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DIMENSION_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    name: str
    dimension: int
    count: int
    def __init__(self, name: _Optional[str] = ..., dimension: _Optional[int] = ..., count: _Optional[int] = ...) -> None: ...

class SetStageRequest(_message.Message):
    __slots__ = ("model", "stage")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    STAGE_FIELD_NUMBER: _ClassVar[int]
    model: str
    stage: _common_pb2.Stage
    def __init__(self, model: _Optional[str] = ..., stage: _Optional[_Union[_common_pb2.Stage, str]] = ...) -> None: ...

class SetStageReply(_message.Message):
    __slots__ = ("version", "archived_version")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    ARCHIVED_VERSION_FIELD_NUMBER: _ClassVar[int]
    version: ModelVersion
    archived_version: int
    def __init__(self, version: _Optional[_Union[ModelVersion, _Mapping]] = ..., archived_version: _Optional[int] = ...) -> None: ...

class DeleteVersionRequest(_message.Message):
    __slots__ = ("model",)
    MODEL_FIELD_NUMBER: _ClassVar[int]
    model: str
    def __init__(self, model: _Optional[str] = ...) -> None: ...

class DeleteVersionReply(_message.Message):
    __slots__ = ("name", "version")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: int
    def __init__(self, name: _Optional[str] = ..., version: _Optional[int] = ...) -> None: ...

class DownloadArtifactRequest(_message.Message):
    __slots__ = ("model",)
    MODEL_FIELD_NUMBER: _ClassVar[int]
    model: str
    def __init__(self, model: _Optional[str] = ...) -> None: ...

class DownloadArtifactReply(_message.Message):
    __slots__ = ("header", "chunk")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    header: ArtifactHeader
    chunk: bytes
    def __init__(self, header: _Optional[_Union[ArtifactHeader, _Mapping]] = ..., chunk: _Optional[bytes] = ...) -> None: ...

class ArtifactHeader(_message.Message):
    __slots__ = ("name", "version", "sha256", "bytes")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: int
    sha256: str
    bytes: int
    def __init__(self, name: _Optional[str] = ..., version: _Optional[int] = ..., sha256: _Optional[str] = ..., bytes: _Optional[int] = ...) -> None: ...
