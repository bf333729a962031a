"""Export: a fitted model into ONNX, compared with its original on real rows before it is let go.

    exported = export(model, rows)   # bytes, features, classes, and how the two compare

Needs the extra `train`. Nothing of it is imported before the first export.
"""

from serval_client.export.errors import ConversionTimeout, ExportError, ExportRefused, NotConvertible
from serval_client.export.exporting import TARGET_OPSET, TIMEOUT_SECONDS, TOLERANCE, Exported, export
from serval_client.export.features import Feature, feeds
from serval_client.export.load import TRUST_NOTICE, executes_code, load
from serval_client.export.parity import Parity
from serval_client.export.process import close

__all__ = [
    "TARGET_OPSET",
    "TIMEOUT_SECONDS",
    "TOLERANCE",
    "TRUST_NOTICE",
    "ConversionTimeout",
    "ExportError",
    "ExportRefused",
    "Exported",
    "Feature",
    "NotConvertible",
    "Parity",
    "close",
    "executes_code",
    "export",
    "feeds",
    "load",
]
