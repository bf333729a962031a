"""The Python SDK of serval: register models, predict, find them again, and see their data drift.

The base install needs grpcio, protobuf and numpy. Tables need pyarrow and exporting models needs their libraries; both
come with `pip install 'serval-inference[train]'` and are imported when they are first used.
"""

from serval_client.aio import AsyncClient
from serval_client.client import Client
from serval_client.drift import Baseline, DriftReport, FeatureBaseline, FeatureDrift, Severity, Verdict
from serval_client.errors import ServalError
from serval_client.prediction import Prediction
from serval_client.quality import QualityReport
from serval_client.records import (
    Artifact,
    Feature,
    FeatureKind,
    ModelDetail,
    ModelInfo,
    SearchHit,
    SearchResult,
    Stage,
    StageChange,
)

__all__ = [
    "Artifact",
    "AsyncClient",
    "Baseline",
    "Client",
    "DriftReport",
    "Feature",
    "FeatureBaseline",
    "FeatureDrift",
    "FeatureKind",
    "ModelDetail",
    "ModelInfo",
    "Prediction",
    "QualityReport",
    "SearchHit",
    "SearchResult",
    "ServalError",
    "Severity",
    "Stage",
    "StageChange",
    "Verdict",
]
