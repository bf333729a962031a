"""The Python SDK of serval: register models, predict, find them again, and see their data drift.

The base install needs grpcio, protobuf and numpy. Tables need pyarrow and exporting models needs their libraries; both
come with `pip install 'serval-inference[train]'` and are imported when they are first used.
"""

from serval_client.aio import AsyncClient
from serval_client.client import Client
from serval_client.drift import (
    Baseline,
    DriftReport,
    FeatureBaseline,
    FeatureDrift,
    LiveDrift,
    Severity,
    Verdict,
)
from serval_client.errors import ServalError
from serval_client.life import Life
from serval_client.lifecycle.records import Gates, Threshold
from serval_client.prediction import Prediction
from serval_client.quality import QualityReport
from serval_client.records import (
    Artifact,
    DatasetUse,
    Feature,
    FeatureKind,
    Lineage,
    ModelDetail,
    ModelInfo,
    Parent,
    Stage,
    StageChange,
)
from serval_client.searching.records import Agreement, HitPart, SearchCoverage, SearchHit, SearchResult, Space

__all__ = [
    "Agreement",
    "Artifact",
    "AsyncClient",
    "Baseline",
    "Client",
    "DatasetUse",
    "DriftReport",
    "Feature",
    "FeatureBaseline",
    "FeatureDrift",
    "FeatureKind",
    "Gates",
    "HitPart",
    "Life",
    "Lineage",
    "LiveDrift",
    "ModelDetail",
    "ModelInfo",
    "Parent",
    "Prediction",
    "QualityReport",
    "SearchCoverage",
    "SearchHit",
    "SearchResult",
    "ServalError",
    "Severity",
    "Space",
    "Stage",
    "StageChange",
    "Threshold",
    "Verdict",
]
