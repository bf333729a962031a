import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from serval_protos.v1 import common_pb2 as _common_pb2
from serval_protos.v1 import registry_pb2 as _registry_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Actor(_message.Message):
    __slots__ = ("name", "proof")
    NAME_FIELD_NUMBER: _ClassVar[int]
    PROOF_FIELD_NUMBER: _ClassVar[int]
    name: str
    proof: str
    def __init__(self, name: _Optional[str] = ..., proof: _Optional[str] = ...) -> None: ...

class Threshold(_message.Message):
    __slots__ = ("metric", "value", "at_most")
    METRIC_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    AT_MOST_FIELD_NUMBER: _ClassVar[int]
    metric: str
    value: float
    at_most: bool
    def __init__(self, metric: _Optional[str] = ..., value: _Optional[float] = ..., at_most: _Optional[bool] = ...) -> None: ...

class Gates(_message.Message):
    __slots__ = ("thresholds", "compatible", "parity", "intact", "approvals", "self_approval", "checklist", "through_staging")
    THRESHOLDS_FIELD_NUMBER: _ClassVar[int]
    COMPATIBLE_FIELD_NUMBER: _ClassVar[int]
    PARITY_FIELD_NUMBER: _ClassVar[int]
    INTACT_FIELD_NUMBER: _ClassVar[int]
    APPROVALS_FIELD_NUMBER: _ClassVar[int]
    SELF_APPROVAL_FIELD_NUMBER: _ClassVar[int]
    CHECKLIST_FIELD_NUMBER: _ClassVar[int]
    THROUGH_STAGING_FIELD_NUMBER: _ClassVar[int]
    thresholds: _containers.RepeatedCompositeFieldContainer[Threshold]
    compatible: bool
    parity: bool
    intact: bool
    approvals: int
    self_approval: bool
    checklist: _containers.RepeatedScalarFieldContainer[str]
    through_staging: bool
    def __init__(self, thresholds: _Optional[_Iterable[_Union[Threshold, _Mapping]]] = ..., compatible: _Optional[bool] = ..., parity: _Optional[bool] = ..., intact: _Optional[bool] = ..., approvals: _Optional[int] = ..., self_approval: _Optional[bool] = ..., checklist: _Optional[_Iterable[str]] = ..., through_staging: _Optional[bool] = ...) -> None: ...

class SetGatesRequest(_message.Message):
    __slots__ = ("name", "gates", "standard")
    NAME_FIELD_NUMBER: _ClassVar[int]
    GATES_FIELD_NUMBER: _ClassVar[int]
    STANDARD_FIELD_NUMBER: _ClassVar[int]
    name: str
    gates: Gates
    standard: bool
    def __init__(self, name: _Optional[str] = ..., gates: _Optional[_Union[Gates, _Mapping]] = ..., standard: _Optional[bool] = ...) -> None: ...

class GetGatesRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class GatesReply(_message.Message):
    __slots__ = ("gates",)
    GATES_FIELD_NUMBER: _ClassVar[int]
    FROM_FIELD_NUMBER: _ClassVar[int]
    gates: Gates
    def __init__(self, gates: _Optional[_Union[Gates, _Mapping]] = ..., **kwargs) -> None: ...

class CheckGatesRequest(_message.Message):
    __slots__ = ("model",)
    MODEL_FIELD_NUMBER: _ClassVar[int]
    model: str
    def __init__(self, model: _Optional[str] = ...) -> None: ...

class GateResult(_message.Message):
    __slots__ = ("name", "asked", "found", "passed")
    NAME_FIELD_NUMBER: _ClassVar[int]
    ASKED_FIELD_NUMBER: _ClassVar[int]
    FOUND_FIELD_NUMBER: _ClassVar[int]
    PASSED_FIELD_NUMBER: _ClassVar[int]
    name: str
    asked: str
    found: str
    passed: bool
    def __init__(self, name: _Optional[str] = ..., asked: _Optional[str] = ..., found: _Optional[str] = ..., passed: _Optional[bool] = ...) -> None: ...

class CheckGatesReply(_message.Message):
    __slots__ = ("name", "version", "gates", "passed")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    GATES_FIELD_NUMBER: _ClassVar[int]
    PASSED_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: int
    gates: _containers.RepeatedCompositeFieldContainer[GateResult]
    passed: bool
    def __init__(self, name: _Optional[str] = ..., version: _Optional[int] = ..., gates: _Optional[_Iterable[_Union[GateResult, _Mapping]]] = ..., passed: _Optional[bool] = ...) -> None: ...

class TransitionRequest(_message.Message):
    __slots__ = ("id", "name", "version", "stage", "requester", "time", "reason", "checklist", "approvals_needed", "status", "reviews")
    class Status(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        STATUS_UNSPECIFIED: _ClassVar[TransitionRequest.Status]
        OPEN: _ClassVar[TransitionRequest.Status]
        APPROVED: _ClassVar[TransitionRequest.Status]
        REFUSED: _ClassVar[TransitionRequest.Status]
        WITHDRAWN: _ClassVar[TransitionRequest.Status]
        DONE: _ClassVar[TransitionRequest.Status]
    STATUS_UNSPECIFIED: TransitionRequest.Status
    OPEN: TransitionRequest.Status
    APPROVED: TransitionRequest.Status
    REFUSED: TransitionRequest.Status
    WITHDRAWN: TransitionRequest.Status
    DONE: TransitionRequest.Status
    ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    STAGE_FIELD_NUMBER: _ClassVar[int]
    REQUESTER_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    CHECKLIST_FIELD_NUMBER: _ClassVar[int]
    APPROVALS_NEEDED_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    REVIEWS_FIELD_NUMBER: _ClassVar[int]
    id: int
    name: str
    version: int
    stage: _common_pb2.Stage
    requester: Actor
    time: _timestamp_pb2.Timestamp
    reason: str
    checklist: _containers.RepeatedCompositeFieldContainer[ChecklistItem]
    approvals_needed: int
    status: TransitionRequest.Status
    reviews: _containers.RepeatedCompositeFieldContainer[Review]
    def __init__(self, id: _Optional[int] = ..., name: _Optional[str] = ..., version: _Optional[int] = ..., stage: _Optional[_Union[_common_pb2.Stage, str]] = ..., requester: _Optional[_Union[Actor, _Mapping]] = ..., time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., reason: _Optional[str] = ..., checklist: _Optional[_Iterable[_Union[ChecklistItem, _Mapping]]] = ..., approvals_needed: _Optional[int] = ..., status: _Optional[_Union[TransitionRequest.Status, str]] = ..., reviews: _Optional[_Iterable[_Union[Review, _Mapping]]] = ...) -> None: ...

class ChecklistItem(_message.Message):
    __slots__ = ("text", "done")
    TEXT_FIELD_NUMBER: _ClassVar[int]
    DONE_FIELD_NUMBER: _ClassVar[int]
    text: str
    done: bool
    def __init__(self, text: _Optional[str] = ..., done: _Optional[bool] = ...) -> None: ...

class Review(_message.Message):
    __slots__ = ("actor", "action", "time", "reason")
    ACTOR_FIELD_NUMBER: _ClassVar[int]
    ACTION_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    actor: Actor
    action: str
    time: _timestamp_pb2.Timestamp
    reason: str
    def __init__(self, actor: _Optional[_Union[Actor, _Mapping]] = ..., action: _Optional[str] = ..., time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., reason: _Optional[str] = ...) -> None: ...

class RequestTransitionRequest(_message.Message):
    __slots__ = ("model", "stage", "reason", "done")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    STAGE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    DONE_FIELD_NUMBER: _ClassVar[int]
    model: str
    stage: _common_pb2.Stage
    reason: str
    done: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, model: _Optional[str] = ..., stage: _Optional[_Union[_common_pb2.Stage, str]] = ..., reason: _Optional[str] = ..., done: _Optional[_Iterable[str]] = ...) -> None: ...

class CompleteChecklistRequest(_message.Message):
    __slots__ = ("id", "done")
    ID_FIELD_NUMBER: _ClassVar[int]
    DONE_FIELD_NUMBER: _ClassVar[int]
    id: int
    done: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, id: _Optional[int] = ..., done: _Optional[_Iterable[str]] = ...) -> None: ...

class DecideTransitionRequest(_message.Message):
    __slots__ = ("id", "decision", "reason", "apply")
    class Decision(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        DECISION_UNSPECIFIED: _ClassVar[DecideTransitionRequest.Decision]
        APPROVE: _ClassVar[DecideTransitionRequest.Decision]
        REFUSE: _ClassVar[DecideTransitionRequest.Decision]
        WITHDRAW: _ClassVar[DecideTransitionRequest.Decision]
    DECISION_UNSPECIFIED: DecideTransitionRequest.Decision
    APPROVE: DecideTransitionRequest.Decision
    REFUSE: DecideTransitionRequest.Decision
    WITHDRAW: DecideTransitionRequest.Decision
    ID_FIELD_NUMBER: _ClassVar[int]
    DECISION_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    APPLY_FIELD_NUMBER: _ClassVar[int]
    id: int
    decision: DecideTransitionRequest.Decision
    reason: str
    apply: bool
    def __init__(self, id: _Optional[int] = ..., decision: _Optional[_Union[DecideTransitionRequest.Decision, str]] = ..., reason: _Optional[str] = ..., apply: _Optional[bool] = ...) -> None: ...

class DecideTransitionReply(_message.Message):
    __slots__ = ("request", "change")
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    CHANGE_FIELD_NUMBER: _ClassVar[int]
    request: TransitionRequest
    change: _registry_pb2.SetStageReply
    def __init__(self, request: _Optional[_Union[TransitionRequest, _Mapping]] = ..., change: _Optional[_Union[_registry_pb2.SetStageReply, _Mapping]] = ...) -> None: ...

class ListTransitionsRequest(_message.Message):
    __slots__ = ("name", "pending")
    NAME_FIELD_NUMBER: _ClassVar[int]
    PENDING_FIELD_NUMBER: _ClassVar[int]
    name: str
    pending: bool
    def __init__(self, name: _Optional[str] = ..., pending: _Optional[bool] = ...) -> None: ...

class ListTransitionsReply(_message.Message):
    __slots__ = ("requests",)
    REQUESTS_FIELD_NUMBER: _ClassVar[int]
    requests: _containers.RepeatedCompositeFieldContainer[TransitionRequest]
    def __init__(self, requests: _Optional[_Iterable[_Union[TransitionRequest, _Mapping]]] = ...) -> None: ...

class GetStagesRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class GetStagesReply(_message.Message):
    __slots__ = ("versions", "production")
    VERSIONS_FIELD_NUMBER: _ClassVar[int]
    PRODUCTION_FIELD_NUMBER: _ClassVar[int]
    versions: _containers.RepeatedCompositeFieldContainer[Standing]
    production: _containers.RepeatedCompositeFieldContainer[Period]
    def __init__(self, versions: _Optional[_Iterable[_Union[Standing, _Mapping]]] = ..., production: _Optional[_Iterable[_Union[Period, _Mapping]]] = ...) -> None: ...

class Standing(_message.Message):
    __slots__ = ("version", "stage", "label", "aliases", "next")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    STAGE_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    ALIASES_FIELD_NUMBER: _ClassVar[int]
    NEXT_FIELD_NUMBER: _ClassVar[int]
    version: int
    stage: _common_pb2.Stage
    label: str
    aliases: _containers.RepeatedScalarFieldContainer[str]
    next: _containers.RepeatedScalarFieldContainer[_common_pb2.Stage]
    def __init__(self, version: _Optional[int] = ..., stage: _Optional[_Union[_common_pb2.Stage, str]] = ..., label: _Optional[str] = ..., aliases: _Optional[_Iterable[str]] = ..., next: _Optional[_Iterable[_Union[_common_pb2.Stage, str]]] = ...) -> None: ...

class Period(_message.Message):
    __slots__ = ("version", "since", "until", "promoted_by", "how")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    SINCE_FIELD_NUMBER: _ClassVar[int]
    UNTIL_FIELD_NUMBER: _ClassVar[int]
    PROMOTED_BY_FIELD_NUMBER: _ClassVar[int]
    HOW_FIELD_NUMBER: _ClassVar[int]
    version: int
    since: _timestamp_pb2.Timestamp
    until: _timestamp_pb2.Timestamp
    promoted_by: Actor
    how: str
    def __init__(self, version: _Optional[int] = ..., since: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., until: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., promoted_by: _Optional[_Union[Actor, _Mapping]] = ..., how: _Optional[str] = ...) -> None: ...

class RollbackRequest(_message.Message):
    __slots__ = ("name", "to", "reason")
    NAME_FIELD_NUMBER: _ClassVar[int]
    TO_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    name: str
    to: int
    reason: str
    def __init__(self, name: _Optional[str] = ..., to: _Optional[int] = ..., reason: _Optional[str] = ...) -> None: ...

class SetAliasRequest(_message.Message):
    __slots__ = ("name", "alias", "version")
    NAME_FIELD_NUMBER: _ClassVar[int]
    ALIAS_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    name: str
    alias: str
    version: int
    def __init__(self, name: _Optional[str] = ..., alias: _Optional[str] = ..., version: _Optional[int] = ...) -> None: ...

class SetAliasReply(_message.Message):
    __slots__ = ("name", "alias", "version", "before")
    NAME_FIELD_NUMBER: _ClassVar[int]
    ALIAS_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    BEFORE_FIELD_NUMBER: _ClassVar[int]
    name: str
    alias: str
    version: int
    before: int
    def __init__(self, name: _Optional[str] = ..., alias: _Optional[str] = ..., version: _Optional[int] = ..., before: _Optional[int] = ...) -> None: ...

class EditTagsRequest(_message.Message):
    __slots__ = ("model", "add", "remove")
    class AddEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    MODEL_FIELD_NUMBER: _ClassVar[int]
    ADD_FIELD_NUMBER: _ClassVar[int]
    REMOVE_FIELD_NUMBER: _ClassVar[int]
    model: str
    add: _containers.ScalarMap[str, str]
    remove: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, model: _Optional[str] = ..., add: _Optional[_Mapping[str, str]] = ..., remove: _Optional[_Iterable[str]] = ...) -> None: ...

class SetLineageRequest(_message.Message):
    __slots__ = ("model", "lineage")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    LINEAGE_FIELD_NUMBER: _ClassVar[int]
    model: str
    lineage: _registry_pb2.Lineage
    def __init__(self, model: _Optional[str] = ..., lineage: _Optional[_Union[_registry_pb2.Lineage, _Mapping]] = ...) -> None: ...

class GetLineageRequest(_message.Message):
    __slots__ = ("model", "up", "down")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    UP_FIELD_NUMBER: _ClassVar[int]
    DOWN_FIELD_NUMBER: _ClassVar[int]
    model: str
    up: int
    down: int
    def __init__(self, model: _Optional[str] = ..., up: _Optional[int] = ..., down: _Optional[int] = ...) -> None: ...

class GetLineageReply(_message.Message):
    __slots__ = ("root", "nodes", "edges", "cut", "text", "svg")
    ROOT_FIELD_NUMBER: _ClassVar[int]
    NODES_FIELD_NUMBER: _ClassVar[int]
    EDGES_FIELD_NUMBER: _ClassVar[int]
    CUT_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    SVG_FIELD_NUMBER: _ClassVar[int]
    root: str
    nodes: _containers.RepeatedCompositeFieldContainer[LineageNode]
    edges: _containers.RepeatedCompositeFieldContainer[LineageEdge]
    cut: bool
    text: str
    svg: str
    def __init__(self, root: _Optional[str] = ..., nodes: _Optional[_Iterable[_Union[LineageNode, _Mapping]]] = ..., edges: _Optional[_Iterable[_Union[LineageEdge, _Mapping]]] = ..., cut: _Optional[bool] = ..., text: _Optional[str] = ..., svg: _Optional[str] = ...) -> None: ...

class LineageNode(_message.Message):
    __slots__ = ("model", "stage", "label", "algorithm", "deleted", "lineage")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    STAGE_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    ALGORITHM_FIELD_NUMBER: _ClassVar[int]
    DELETED_FIELD_NUMBER: _ClassVar[int]
    LINEAGE_FIELD_NUMBER: _ClassVar[int]
    model: str
    stage: str
    label: str
    algorithm: str
    deleted: bool
    lineage: _registry_pb2.Lineage
    def __init__(self, model: _Optional[str] = ..., stage: _Optional[str] = ..., label: _Optional[str] = ..., algorithm: _Optional[str] = ..., deleted: _Optional[bool] = ..., lineage: _Optional[_Union[_registry_pb2.Lineage, _Mapping]] = ...) -> None: ...

class LineageEdge(_message.Message):
    __slots__ = ("parent", "child", "relationship")
    PARENT_FIELD_NUMBER: _ClassVar[int]
    CHILD_FIELD_NUMBER: _ClassVar[int]
    RELATIONSHIP_FIELD_NUMBER: _ClassVar[int]
    parent: str
    child: str
    relationship: str
    def __init__(self, parent: _Optional[str] = ..., child: _Optional[str] = ..., relationship: _Optional[str] = ...) -> None: ...

class CompareVersionsRequest(_message.Message):
    __slots__ = ("models", "directions")
    class DirectionsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    MODELS_FIELD_NUMBER: _ClassVar[int]
    DIRECTIONS_FIELD_NUMBER: _ClassVar[int]
    models: _containers.RepeatedScalarFieldContainer[str]
    directions: _containers.ScalarMap[str, str]
    def __init__(self, models: _Optional[_Iterable[str]] = ..., directions: _Optional[_Mapping[str, str]] = ...) -> None: ...

class CompareVersionsReply(_message.Message):
    __slots__ = ("models", "metrics", "hyperparameters", "properties", "schema")
    MODELS_FIELD_NUMBER: _ClassVar[int]
    METRICS_FIELD_NUMBER: _ClassVar[int]
    HYPERPARAMETERS_FIELD_NUMBER: _ClassVar[int]
    PROPERTIES_FIELD_NUMBER: _ClassVar[int]
    SCHEMA_FIELD_NUMBER: _ClassVar[int]
    models: _containers.RepeatedScalarFieldContainer[str]
    metrics: _containers.RepeatedCompositeFieldContainer[MetricRow]
    hyperparameters: _containers.RepeatedCompositeFieldContainer[TextRow]
    properties: _containers.RepeatedCompositeFieldContainer[TextRow]
    schema: _containers.RepeatedCompositeFieldContainer[SchemaDifferences]
    def __init__(self, models: _Optional[_Iterable[str]] = ..., metrics: _Optional[_Iterable[_Union[MetricRow, _Mapping]]] = ..., hyperparameters: _Optional[_Iterable[_Union[TextRow, _Mapping]]] = ..., properties: _Optional[_Iterable[_Union[TextRow, _Mapping]]] = ..., schema: _Optional[_Iterable[_Union[SchemaDifferences, _Mapping]]] = ...) -> None: ...

class MetricRow(_message.Message):
    __slots__ = ("name", "direction", "values")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DIRECTION_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    name: str
    direction: str
    values: _containers.RepeatedCompositeFieldContainer[MetricValue]
    def __init__(self, name: _Optional[str] = ..., direction: _Optional[str] = ..., values: _Optional[_Iterable[_Union[MetricValue, _Mapping]]] = ...) -> None: ...

class MetricValue(_message.Message):
    __slots__ = ("value", "delta", "best")
    VALUE_FIELD_NUMBER: _ClassVar[int]
    DELTA_FIELD_NUMBER: _ClassVar[int]
    BEST_FIELD_NUMBER: _ClassVar[int]
    value: float
    delta: float
    best: bool
    def __init__(self, value: _Optional[float] = ..., delta: _Optional[float] = ..., best: _Optional[bool] = ...) -> None: ...

class TextRow(_message.Message):
    __slots__ = ("name", "values", "same")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    SAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    values: _containers.RepeatedScalarFieldContainer[str]
    same: bool
    def __init__(self, name: _Optional[str] = ..., values: _Optional[_Iterable[str]] = ..., same: _Optional[bool] = ...) -> None: ...

class SchemaDifferences(_message.Message):
    __slots__ = ("differences",)
    DIFFERENCES_FIELD_NUMBER: _ClassVar[int]
    differences: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, differences: _Optional[_Iterable[str]] = ...) -> None: ...

class GetModelCardRequest(_message.Message):
    __slots__ = ("model", "html")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    HTML_FIELD_NUMBER: _ClassVar[int]
    model: str
    html: bool
    def __init__(self, model: _Optional[str] = ..., html: _Optional[bool] = ...) -> None: ...

class ModelCard(_message.Message):
    __slots__ = ("name", "version", "text")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: int
    text: str
    def __init__(self, name: _Optional[str] = ..., version: _Optional[int] = ..., text: _Optional[str] = ...) -> None: ...

class AuditEntry(_message.Message):
    __slots__ = ("number", "time", "actor", "action", "object", "details", "text", "sha256")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    ACTOR_FIELD_NUMBER: _ClassVar[int]
    ACTION_FIELD_NUMBER: _ClassVar[int]
    OBJECT_FIELD_NUMBER: _ClassVar[int]
    DETAILS_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    number: int
    time: _timestamp_pb2.Timestamp
    actor: Actor
    action: str
    object: str
    details: str
    text: str
    sha256: str
    def __init__(self, number: _Optional[int] = ..., time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., actor: _Optional[_Union[Actor, _Mapping]] = ..., action: _Optional[str] = ..., object: _Optional[str] = ..., details: _Optional[str] = ..., text: _Optional[str] = ..., sha256: _Optional[str] = ...) -> None: ...

class ListAuditEntriesRequest(_message.Message):
    __slots__ = ("actor", "object", "actions", "since", "until", "page_size", "page_token")
    ACTOR_FIELD_NUMBER: _ClassVar[int]
    OBJECT_FIELD_NUMBER: _ClassVar[int]
    ACTIONS_FIELD_NUMBER: _ClassVar[int]
    SINCE_FIELD_NUMBER: _ClassVar[int]
    UNTIL_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    actor: str
    object: str
    actions: _containers.RepeatedScalarFieldContainer[str]
    since: _timestamp_pb2.Timestamp
    until: _timestamp_pb2.Timestamp
    page_size: int
    page_token: str
    def __init__(self, actor: _Optional[str] = ..., object: _Optional[str] = ..., actions: _Optional[_Iterable[str]] = ..., since: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., until: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListAuditEntriesReply(_message.Message):
    __slots__ = ("entries", "next_page_token")
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    entries: _containers.RepeatedCompositeFieldContainer[AuditEntry]
    next_page_token: str
    def __init__(self, entries: _Optional[_Iterable[_Union[AuditEntry, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class VerifyAuditRequest(_message.Message):
    __slots__ = ("known",)
    class KnownEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: int
        value: str
        def __init__(self, key: _Optional[int] = ..., value: _Optional[str] = ...) -> None: ...
    KNOWN_FIELD_NUMBER: _ClassVar[int]
    known: _containers.ScalarMap[int, str]
    def __init__(self, known: _Optional[_Mapping[int, str]] = ...) -> None: ...

class VerifyAuditReply(_message.Message):
    __slots__ = ("holds", "entries", "head", "head_sha256", "faults")
    HOLDS_FIELD_NUMBER: _ClassVar[int]
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    HEAD_FIELD_NUMBER: _ClassVar[int]
    HEAD_SHA256_FIELD_NUMBER: _ClassVar[int]
    FAULTS_FIELD_NUMBER: _ClassVar[int]
    holds: bool
    entries: int
    head: int
    head_sha256: str
    faults: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, holds: _Optional[bool] = ..., entries: _Optional[int] = ..., head: _Optional[int] = ..., head_sha256: _Optional[str] = ..., faults: _Optional[_Iterable[str]] = ...) -> None: ...
