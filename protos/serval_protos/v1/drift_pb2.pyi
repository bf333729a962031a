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

class Verdict(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    VERDICT_UNSPECIFIED: _ClassVar[Verdict]
    NO_DRIFT: _ClassVar[Verdict]
    DRIFT: _ClassVar[Verdict]
    INSUFFICIENT_DATA: _ClassVar[Verdict]

class Severity(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SEVERITY_UNSPECIFIED: _ClassVar[Severity]
    SEVERITY_NONE: _ClassVar[Severity]
    SEVERITY_INFO: _ClassVar[Severity]
    SEVERITY_WARNING: _ClassVar[Severity]
    SEVERITY_CRITICAL: _ClassVar[Severity]
VERDICT_UNSPECIFIED: Verdict
NO_DRIFT: Verdict
DRIFT: Verdict
INSUFFICIENT_DATA: Verdict
SEVERITY_UNSPECIFIED: Severity
SEVERITY_NONE: Severity
SEVERITY_INFO: Severity
SEVERITY_WARNING: Severity
SEVERITY_CRITICAL: Severity

class SetBaselineRequest(_message.Message):
    __slots__ = ("model", "sample")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    SAMPLE_FIELD_NUMBER: _ClassVar[int]
    model: str
    sample: _common_pb2.Rows
    def __init__(self, model: _Optional[str] = ..., sample: _Optional[_Union[_common_pb2.Rows, _Mapping]] = ...) -> None: ...

class GetBaselineRequest(_message.Message):
    __slots__ = ("model",)
    MODEL_FIELD_NUMBER: _ClassVar[int]
    model: str
    def __init__(self, model: _Optional[str] = ...) -> None: ...

class Baseline(_message.Message):
    __slots__ = ("name", "version", "rows", "features", "created")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    CREATED_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: int
    rows: int
    features: _containers.RepeatedCompositeFieldContainer[FeatureBaseline]
    created: _timestamp_pb2.Timestamp
    def __init__(self, name: _Optional[str] = ..., version: _Optional[int] = ..., rows: _Optional[int] = ..., features: _Optional[_Iterable[_Union[FeatureBaseline, _Mapping]]] = ..., created: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class FeatureBaseline(_message.Message):
    __slots__ = ("feature", "kind", "rows", "missing", "infinite", "edges", "counts", "mean", "variance", "minimum", "maximum", "categories", "category_counts", "other_count", "exact")
    FEATURE_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    MISSING_FIELD_NUMBER: _ClassVar[int]
    INFINITE_FIELD_NUMBER: _ClassVar[int]
    EDGES_FIELD_NUMBER: _ClassVar[int]
    COUNTS_FIELD_NUMBER: _ClassVar[int]
    MEAN_FIELD_NUMBER: _ClassVar[int]
    VARIANCE_FIELD_NUMBER: _ClassVar[int]
    MINIMUM_FIELD_NUMBER: _ClassVar[int]
    MAXIMUM_FIELD_NUMBER: _ClassVar[int]
    CATEGORIES_FIELD_NUMBER: _ClassVar[int]
    CATEGORY_COUNTS_FIELD_NUMBER: _ClassVar[int]
    OTHER_COUNT_FIELD_NUMBER: _ClassVar[int]
    EXACT_FIELD_NUMBER: _ClassVar[int]
    feature: str
    kind: _common_pb2.FeatureKind
    rows: int
    missing: int
    infinite: int
    edges: _containers.RepeatedScalarFieldContainer[float]
    counts: _containers.RepeatedScalarFieldContainer[int]
    mean: float
    variance: float
    minimum: float
    maximum: float
    categories: _containers.RepeatedScalarFieldContainer[str]
    category_counts: _containers.RepeatedScalarFieldContainer[int]
    other_count: int
    exact: bool
    def __init__(self, feature: _Optional[str] = ..., kind: _Optional[_Union[_common_pb2.FeatureKind, str]] = ..., rows: _Optional[int] = ..., missing: _Optional[int] = ..., infinite: _Optional[int] = ..., edges: _Optional[_Iterable[float]] = ..., counts: _Optional[_Iterable[int]] = ..., mean: _Optional[float] = ..., variance: _Optional[float] = ..., minimum: _Optional[float] = ..., maximum: _Optional[float] = ..., categories: _Optional[_Iterable[str]] = ..., category_counts: _Optional[_Iterable[int]] = ..., other_count: _Optional[int] = ..., exact: _Optional[bool] = ...) -> None: ...

class DetectDriftRequest(_message.Message):
    __slots__ = ("model", "current", "reference", "alpha", "tolerance", "compatibility")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    CURRENT_FIELD_NUMBER: _ClassVar[int]
    REFERENCE_FIELD_NUMBER: _ClassVar[int]
    ALPHA_FIELD_NUMBER: _ClassVar[int]
    TOLERANCE_FIELD_NUMBER: _ClassVar[int]
    COMPATIBILITY_FIELD_NUMBER: _ClassVar[int]
    model: str
    current: _common_pb2.Rows
    reference: _common_pb2.Rows
    alpha: float
    tolerance: float
    compatibility: str
    def __init__(self, model: _Optional[str] = ..., current: _Optional[_Union[_common_pb2.Rows, _Mapping]] = ..., reference: _Optional[_Union[_common_pb2.Rows, _Mapping]] = ..., alpha: _Optional[float] = ..., tolerance: _Optional[float] = ..., compatibility: _Optional[str] = ...) -> None: ...

class DriftReport(_message.Message):
    __slots__ = ("name", "version", "verdict", "drifted", "features", "reference_rows", "current_rows", "alpha", "tolerance", "mean_cosine", "against_baseline", "rule", "severity", "summary", "compatibility")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    VERDICT_FIELD_NUMBER: _ClassVar[int]
    DRIFTED_FIELD_NUMBER: _ClassVar[int]
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    REFERENCE_ROWS_FIELD_NUMBER: _ClassVar[int]
    CURRENT_ROWS_FIELD_NUMBER: _ClassVar[int]
    ALPHA_FIELD_NUMBER: _ClassVar[int]
    TOLERANCE_FIELD_NUMBER: _ClassVar[int]
    MEAN_COSINE_FIELD_NUMBER: _ClassVar[int]
    AGAINST_BASELINE_FIELD_NUMBER: _ClassVar[int]
    RULE_FIELD_NUMBER: _ClassVar[int]
    SEVERITY_FIELD_NUMBER: _ClassVar[int]
    SUMMARY_FIELD_NUMBER: _ClassVar[int]
    COMPATIBILITY_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: int
    verdict: Verdict
    drifted: _containers.RepeatedScalarFieldContainer[str]
    features: _containers.RepeatedCompositeFieldContainer[FeatureDrift]
    reference_rows: int
    current_rows: int
    alpha: float
    tolerance: float
    mean_cosine: float
    against_baseline: bool
    rule: str
    severity: Severity
    summary: str
    compatibility: str
    def __init__(self, name: _Optional[str] = ..., version: _Optional[int] = ..., verdict: _Optional[_Union[Verdict, str]] = ..., drifted: _Optional[_Iterable[str]] = ..., features: _Optional[_Iterable[_Union[FeatureDrift, _Mapping]]] = ..., reference_rows: _Optional[int] = ..., current_rows: _Optional[int] = ..., alpha: _Optional[float] = ..., tolerance: _Optional[float] = ..., mean_cosine: _Optional[float] = ..., against_baseline: _Optional[bool] = ..., rule: _Optional[str] = ..., severity: _Optional[_Union[Severity, str]] = ..., summary: _Optional[str] = ..., compatibility: _Optional[str] = ...) -> None: ...

class FeatureDrift(_message.Message):
    __slots__ = ("feature", "kind", "verdict", "effect", "p_value", "adjusted_p_value", "reference_rows", "current_rows", "reference_missing", "current_missing", "missing_p_value", "psi", "ks", "ks_error", "wasserstein", "wasserstein_scaled", "js_distance", "reference_mean", "current_mean", "mean_shift", "outside_range", "chi_square", "total_variation", "unseen", "effect_lower", "effect_upper", "missing_adjusted_p_value", "severity", "weight", "summary", "effect_noise", "effect_hidden", "method", "score", "threshold")
    FEATURE_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    VERDICT_FIELD_NUMBER: _ClassVar[int]
    EFFECT_FIELD_NUMBER: _ClassVar[int]
    P_VALUE_FIELD_NUMBER: _ClassVar[int]
    ADJUSTED_P_VALUE_FIELD_NUMBER: _ClassVar[int]
    REFERENCE_ROWS_FIELD_NUMBER: _ClassVar[int]
    CURRENT_ROWS_FIELD_NUMBER: _ClassVar[int]
    REFERENCE_MISSING_FIELD_NUMBER: _ClassVar[int]
    CURRENT_MISSING_FIELD_NUMBER: _ClassVar[int]
    MISSING_P_VALUE_FIELD_NUMBER: _ClassVar[int]
    PSI_FIELD_NUMBER: _ClassVar[int]
    KS_FIELD_NUMBER: _ClassVar[int]
    KS_ERROR_FIELD_NUMBER: _ClassVar[int]
    WASSERSTEIN_FIELD_NUMBER: _ClassVar[int]
    WASSERSTEIN_SCALED_FIELD_NUMBER: _ClassVar[int]
    JS_DISTANCE_FIELD_NUMBER: _ClassVar[int]
    REFERENCE_MEAN_FIELD_NUMBER: _ClassVar[int]
    CURRENT_MEAN_FIELD_NUMBER: _ClassVar[int]
    MEAN_SHIFT_FIELD_NUMBER: _ClassVar[int]
    OUTSIDE_RANGE_FIELD_NUMBER: _ClassVar[int]
    CHI_SQUARE_FIELD_NUMBER: _ClassVar[int]
    TOTAL_VARIATION_FIELD_NUMBER: _ClassVar[int]
    UNSEEN_FIELD_NUMBER: _ClassVar[int]
    EFFECT_LOWER_FIELD_NUMBER: _ClassVar[int]
    EFFECT_UPPER_FIELD_NUMBER: _ClassVar[int]
    MISSING_ADJUSTED_P_VALUE_FIELD_NUMBER: _ClassVar[int]
    SEVERITY_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    SUMMARY_FIELD_NUMBER: _ClassVar[int]
    EFFECT_NOISE_FIELD_NUMBER: _ClassVar[int]
    EFFECT_HIDDEN_FIELD_NUMBER: _ClassVar[int]
    METHOD_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    feature: str
    kind: _common_pb2.FeatureKind
    verdict: Verdict
    effect: float
    p_value: float
    adjusted_p_value: float
    reference_rows: int
    current_rows: int
    reference_missing: float
    current_missing: float
    missing_p_value: float
    psi: float
    ks: float
    ks_error: float
    wasserstein: float
    wasserstein_scaled: float
    js_distance: float
    reference_mean: float
    current_mean: float
    mean_shift: float
    outside_range: float
    chi_square: float
    total_variation: float
    unseen: _containers.RepeatedScalarFieldContainer[str]
    effect_lower: float
    effect_upper: float
    missing_adjusted_p_value: float
    severity: Severity
    weight: float
    summary: str
    effect_noise: float
    effect_hidden: float
    method: str
    score: float
    threshold: float
    def __init__(self, feature: _Optional[str] = ..., kind: _Optional[_Union[_common_pb2.FeatureKind, str]] = ..., verdict: _Optional[_Union[Verdict, str]] = ..., effect: _Optional[float] = ..., p_value: _Optional[float] = ..., adjusted_p_value: _Optional[float] = ..., reference_rows: _Optional[int] = ..., current_rows: _Optional[int] = ..., reference_missing: _Optional[float] = ..., current_missing: _Optional[float] = ..., missing_p_value: _Optional[float] = ..., psi: _Optional[float] = ..., ks: _Optional[float] = ..., ks_error: _Optional[float] = ..., wasserstein: _Optional[float] = ..., wasserstein_scaled: _Optional[float] = ..., js_distance: _Optional[float] = ..., reference_mean: _Optional[float] = ..., current_mean: _Optional[float] = ..., mean_shift: _Optional[float] = ..., outside_range: _Optional[float] = ..., chi_square: _Optional[float] = ..., total_variation: _Optional[float] = ..., unseen: _Optional[_Iterable[str]] = ..., effect_lower: _Optional[float] = ..., effect_upper: _Optional[float] = ..., missing_adjusted_p_value: _Optional[float] = ..., severity: _Optional[_Union[Severity, str]] = ..., weight: _Optional[float] = ..., summary: _Optional[str] = ..., effect_noise: _Optional[float] = ..., effect_hidden: _Optional[float] = ..., method: _Optional[str] = ..., score: _Optional[float] = ..., threshold: _Optional[float] = ...) -> None: ...

class CheckQualityRequest(_message.Message):
    __slots__ = ("model", "sample", "reference", "label", "window")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    SAMPLE_FIELD_NUMBER: _ClassVar[int]
    REFERENCE_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    WINDOW_FIELD_NUMBER: _ClassVar[int]
    model: str
    sample: _common_pb2.Rows
    reference: _common_pb2.Rows
    label: str
    window: Window
    def __init__(self, model: _Optional[str] = ..., sample: _Optional[_Union[_common_pb2.Rows, _Mapping]] = ..., reference: _Optional[_Union[_common_pb2.Rows, _Mapping]] = ..., label: _Optional[str] = ..., window: _Optional[_Union[Window, _Mapping]] = ...) -> None: ...

class QualityReport(_message.Message):
    __slots__ = ("name", "version", "rows", "score", "parts", "columns", "issues", "unchecked")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    PARTS_FIELD_NUMBER: _ClassVar[int]
    COLUMNS_FIELD_NUMBER: _ClassVar[int]
    ISSUES_FIELD_NUMBER: _ClassVar[int]
    UNCHECKED_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: int
    rows: int
    score: float
    parts: _containers.RepeatedCompositeFieldContainer[QualityPart]
    columns: _containers.RepeatedCompositeFieldContainer[ColumnProfile]
    issues: _containers.RepeatedCompositeFieldContainer[QualityIssue]
    unchecked: _containers.RepeatedCompositeFieldContainer[UncheckedQuality]
    def __init__(self, name: _Optional[str] = ..., version: _Optional[int] = ..., rows: _Optional[int] = ..., score: _Optional[float] = ..., parts: _Optional[_Iterable[_Union[QualityPart, _Mapping]]] = ..., columns: _Optional[_Iterable[_Union[ColumnProfile, _Mapping]]] = ..., issues: _Optional[_Iterable[_Union[QualityIssue, _Mapping]]] = ..., unchecked: _Optional[_Iterable[_Union[UncheckedQuality, _Mapping]]] = ...) -> None: ...

class UncheckedQuality(_message.Message):
    __slots__ = ("check", "reason")
    CHECK_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    check: str
    reason: str
    def __init__(self, check: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class QualityPart(_message.Message):
    __slots__ = ("name", "share", "weight")
    NAME_FIELD_NUMBER: _ClassVar[int]
    SHARE_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    name: str
    share: float
    weight: float
    def __init__(self, name: _Optional[str] = ..., share: _Optional[float] = ..., weight: _Optional[float] = ...) -> None: ...

class QualityIssue(_message.Message):
    __slots__ = ("check", "column", "count", "share", "row", "detail")
    CHECK_FIELD_NUMBER: _ClassVar[int]
    COLUMN_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    SHARE_FIELD_NUMBER: _ClassVar[int]
    ROW_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    check: str
    column: str
    count: int
    share: float
    row: int
    detail: str
    def __init__(self, check: _Optional[str] = ..., column: _Optional[str] = ..., count: _Optional[int] = ..., share: _Optional[float] = ..., row: _Optional[int] = ..., detail: _Optional[str] = ...) -> None: ...

class ColumnProfile(_message.Message):
    __slots__ = ("name", "kind", "rows", "missing", "infinite", "distinct", "outliers", "mean", "deviation", "minimum", "maximum", "quantiles", "frequent")
    NAME_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    MISSING_FIELD_NUMBER: _ClassVar[int]
    INFINITE_FIELD_NUMBER: _ClassVar[int]
    DISTINCT_FIELD_NUMBER: _ClassVar[int]
    OUTLIERS_FIELD_NUMBER: _ClassVar[int]
    MEAN_FIELD_NUMBER: _ClassVar[int]
    DEVIATION_FIELD_NUMBER: _ClassVar[int]
    MINIMUM_FIELD_NUMBER: _ClassVar[int]
    MAXIMUM_FIELD_NUMBER: _ClassVar[int]
    QUANTILES_FIELD_NUMBER: _ClassVar[int]
    FREQUENT_FIELD_NUMBER: _ClassVar[int]
    name: str
    kind: _common_pb2.FeatureKind
    rows: int
    missing: int
    infinite: int
    distinct: int
    outliers: int
    mean: float
    deviation: float
    minimum: float
    maximum: float
    quantiles: _containers.RepeatedScalarFieldContainer[float]
    frequent: _containers.RepeatedCompositeFieldContainer[ValueCount]
    def __init__(self, name: _Optional[str] = ..., kind: _Optional[_Union[_common_pb2.FeatureKind, str]] = ..., rows: _Optional[int] = ..., missing: _Optional[int] = ..., infinite: _Optional[int] = ..., distinct: _Optional[int] = ..., outliers: _Optional[int] = ..., mean: _Optional[float] = ..., deviation: _Optional[float] = ..., minimum: _Optional[float] = ..., maximum: _Optional[float] = ..., quantiles: _Optional[_Iterable[float]] = ..., frequent: _Optional[_Iterable[_Union[ValueCount, _Mapping]]] = ...) -> None: ...

class ValueCount(_message.Message):
    __slots__ = ("value", "count")
    VALUE_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    value: str
    count: int
    def __init__(self, value: _Optional[str] = ..., count: _Optional[int] = ...) -> None: ...

class Window(_message.Message):
    __slots__ = ("seconds", "rows")
    SECONDS_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    seconds: float
    rows: int
    def __init__(self, seconds: _Optional[float] = ..., rows: _Optional[int] = ...) -> None: ...

class GetDriftRequest(_message.Message):
    __slots__ = ("model", "window", "alpha", "tolerance", "include_distributions", "compatibility")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    WINDOW_FIELD_NUMBER: _ClassVar[int]
    ALPHA_FIELD_NUMBER: _ClassVar[int]
    TOLERANCE_FIELD_NUMBER: _ClassVar[int]
    INCLUDE_DISTRIBUTIONS_FIELD_NUMBER: _ClassVar[int]
    COMPATIBILITY_FIELD_NUMBER: _ClassVar[int]
    model: str
    window: Window
    alpha: float
    tolerance: float
    include_distributions: bool
    compatibility: str
    def __init__(self, model: _Optional[str] = ..., window: _Optional[_Union[Window, _Mapping]] = ..., alpha: _Optional[float] = ..., tolerance: _Optional[float] = ..., include_distributions: _Optional[bool] = ..., compatibility: _Optional[str] = ...) -> None: ...

class LiveDrift(_message.Message):
    __slots__ = ("report", "start", "end", "rows", "unobserved", "other_rows", "reference", "current", "outputs", "life", "raised")
    REPORT_FIELD_NUMBER: _ClassVar[int]
    START_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    UNOBSERVED_FIELD_NUMBER: _ClassVar[int]
    OTHER_ROWS_FIELD_NUMBER: _ClassVar[int]
    REFERENCE_FIELD_NUMBER: _ClassVar[int]
    CURRENT_FIELD_NUMBER: _ClassVar[int]
    OUTPUTS_FIELD_NUMBER: _ClassVar[int]
    LIFE_FIELD_NUMBER: _ClassVar[int]
    RAISED_FIELD_NUMBER: _ClassVar[int]
    report: DriftReport
    start: _timestamp_pb2.Timestamp
    end: _timestamp_pb2.Timestamp
    rows: int
    unobserved: int
    other_rows: int
    reference: _containers.RepeatedCompositeFieldContainer[FeatureBaseline]
    current: _containers.RepeatedCompositeFieldContainer[FeatureBaseline]
    outputs: _containers.RepeatedCompositeFieldContainer[FeatureBaseline]
    life: Life
    raised: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, report: _Optional[_Union[DriftReport, _Mapping]] = ..., start: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., end: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., rows: _Optional[int] = ..., unobserved: _Optional[int] = ..., other_rows: _Optional[int] = ..., reference: _Optional[_Iterable[_Union[FeatureBaseline, _Mapping]]] = ..., current: _Optional[_Iterable[_Union[FeatureBaseline, _Mapping]]] = ..., outputs: _Optional[_Iterable[_Union[FeatureBaseline, _Mapping]]] = ..., life: _Optional[_Union[Life, _Mapping]] = ..., raised: _Optional[_Iterable[str]] = ...) -> None: ...

class Life(_message.Message):
    __slots__ = ("number", "began", "looked_at", "rows", "looks", "alpha", "tolerance", "p_value", "columns", "alarmed", "rule")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    BEGAN_FIELD_NUMBER: _ClassVar[int]
    LOOKED_AT_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    LOOKS_FIELD_NUMBER: _ClassVar[int]
    ALPHA_FIELD_NUMBER: _ClassVar[int]
    TOLERANCE_FIELD_NUMBER: _ClassVar[int]
    P_VALUE_FIELD_NUMBER: _ClassVar[int]
    COLUMNS_FIELD_NUMBER: _ClassVar[int]
    ALARMED_FIELD_NUMBER: _ClassVar[int]
    RULE_FIELD_NUMBER: _ClassVar[int]
    number: int
    began: _timestamp_pb2.Timestamp
    looked_at: _timestamp_pb2.Timestamp
    rows: int
    looks: int
    alpha: float
    tolerance: float
    p_value: float
    columns: _containers.RepeatedCompositeFieldContainer[ColumnLife]
    alarmed: _containers.RepeatedScalarFieldContainer[str]
    rule: str
    def __init__(self, number: _Optional[int] = ..., began: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., looked_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., rows: _Optional[int] = ..., looks: _Optional[int] = ..., alpha: _Optional[float] = ..., tolerance: _Optional[float] = ..., p_value: _Optional[float] = ..., columns: _Optional[_Iterable[_Union[ColumnLife, _Mapping]]] = ..., alarmed: _Optional[_Iterable[str]] = ..., rule: _Optional[str] = ...) -> None: ...

class ColumnLife(_message.Message):
    __slots__ = ("feature", "p_value", "alarm")
    FEATURE_FIELD_NUMBER: _ClassVar[int]
    P_VALUE_FIELD_NUMBER: _ClassVar[int]
    ALARM_FIELD_NUMBER: _ClassVar[int]
    feature: str
    p_value: float
    alarm: Alarm
    def __init__(self, feature: _Optional[str] = ..., p_value: _Optional[float] = ..., alarm: _Optional[_Union[Alarm, _Mapping]] = ...) -> None: ...

class Alarm(_message.Message):
    __slots__ = ("since", "row", "missing", "effect", "effect_lower", "effect_upper", "window_rows", "acknowledged", "acknowledged_by", "note")
    SINCE_FIELD_NUMBER: _ClassVar[int]
    ROW_FIELD_NUMBER: _ClassVar[int]
    MISSING_FIELD_NUMBER: _ClassVar[int]
    EFFECT_FIELD_NUMBER: _ClassVar[int]
    EFFECT_LOWER_FIELD_NUMBER: _ClassVar[int]
    EFFECT_UPPER_FIELD_NUMBER: _ClassVar[int]
    WINDOW_ROWS_FIELD_NUMBER: _ClassVar[int]
    ACKNOWLEDGED_FIELD_NUMBER: _ClassVar[int]
    ACKNOWLEDGED_BY_FIELD_NUMBER: _ClassVar[int]
    NOTE_FIELD_NUMBER: _ClassVar[int]
    since: _timestamp_pb2.Timestamp
    row: int
    missing: bool
    effect: float
    effect_lower: float
    effect_upper: float
    window_rows: int
    acknowledged: _timestamp_pb2.Timestamp
    acknowledged_by: str
    note: str
    def __init__(self, since: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., row: _Optional[int] = ..., missing: _Optional[bool] = ..., effect: _Optional[float] = ..., effect_lower: _Optional[float] = ..., effect_upper: _Optional[float] = ..., window_rows: _Optional[int] = ..., acknowledged: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., acknowledged_by: _Optional[str] = ..., note: _Optional[str] = ...) -> None: ...

class AcknowledgeAlarmsRequest(_message.Message):
    __slots__ = ("model", "features", "note", "begin_anew")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    NOTE_FIELD_NUMBER: _ClassVar[int]
    BEGIN_ANEW_FIELD_NUMBER: _ClassVar[int]
    model: str
    features: _containers.RepeatedScalarFieldContainer[str]
    note: str
    begin_anew: bool
    def __init__(self, model: _Optional[str] = ..., features: _Optional[_Iterable[str]] = ..., note: _Optional[str] = ..., begin_anew: _Optional[bool] = ...) -> None: ...

class WatchDriftRequest(_message.Message):
    __slots__ = ("drift", "interval")
    DRIFT_FIELD_NUMBER: _ClassVar[int]
    INTERVAL_FIELD_NUMBER: _ClassVar[int]
    drift: GetDriftRequest
    interval: float
    def __init__(self, drift: _Optional[_Union[GetDriftRequest, _Mapping]] = ..., interval: _Optional[float] = ...) -> None: ...

class ListReportsRequest(_message.Message):
    __slots__ = ("model", "since", "until", "page_size", "page_token")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    SINCE_FIELD_NUMBER: _ClassVar[int]
    UNTIL_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    model: str
    since: _timestamp_pb2.Timestamp
    until: _timestamp_pb2.Timestamp
    page_size: int
    page_token: str
    def __init__(self, model: _Optional[str] = ..., since: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., until: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListReportsReply(_message.Message):
    __slots__ = ("reports", "next_page_token")
    REPORTS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    reports: _containers.RepeatedCompositeFieldContainer[LiveDrift]
    next_page_token: str
    def __init__(self, reports: _Optional[_Iterable[_Union[LiveDrift, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...
