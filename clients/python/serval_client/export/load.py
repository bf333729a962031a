"""A model file as people have them: ONNX, joblib, pickle, skops, XGBoost, LightGBM."""

from pathlib import Path
from typing import Any

from serval_client import extras
from serval_client.errors import MissingExtra
from serval_client.export.errors import ExportError, shortened

TRUST_NOTICE = "a pickled model executes code as it is loaded: load only files that you trust"

_PICKLED = {".joblib", ".pkl", ".pickle"}
_XGBOOST = {".json", ".ubj"}
_LIGHTGBM = {".txt"}
_SKOPS = {".skops"}


def executes_code(path: str | Path) -> bool:
    """Whether loading the file executes what is in it; see TRUST_NOTICE."""
    return Path(path).suffix.lower() in _PICKLED


def load(path: str | Path) -> Any:
    """Return the model in a file, by the ending of its name.

    .onnx: the bytes as they are, for there is nothing to export. .joblib, .pkl, .pickle: the object, which **executes
    code from the file: load only what you trust**. .skops: the object, which executes nothing; a file that names types
    that neither skops nor scikit-learn vouches for is refused. .json, .ubj: an xgboost.Booster. .txt: a
    lightgbm.Booster. Raises ExportError where the file is not there or not what its name says.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in {".onnx"} | _PICKLED | _SKOPS | _XGBOOST | _LIGHTGBM:
        raise ExportError(
            f"path: {path.name!r}; wanted a name ending in .onnx, .joblib, .pkl, .skops, .json, .ubj or .txt"
        )
    if not path.is_file():
        raise ExportError(f"path: {str(path)!r} is not a file")
    try:
        return _loaded(path, suffix)
    except MissingExtra:
        raise
    except Exception as error:
        text = shortened(f"{type(error).__name__}: {error}")
        raise ExportError(f"path: {path.name!r} cannot be read as {suffix}: {text}") from error


def _loaded(path: Path, suffix: str) -> Any:
    if suffix == ".onnx":
        return path.read_bytes()
    if suffix in _PICKLED:
        return extras.require("joblib", "reading a pickled model").load(path)
    if suffix in _SKOPS:
        return _read_skops(path)
    if suffix in _XGBOOST:
        booster = extras.require("xgboost", f"reading {suffix}").Booster()
        booster.load_model(str(path))
        return booster
    lightgbm = extras.require("lightgbm", f"reading {suffix}")
    return lightgbm.Booster(model_file=str(path))


def _read_skops(path: Path) -> Any:
    io = extras.require("skops.io", "reading .skops")
    unknown = io.get_untrusted_types(file=path)
    foreign = [name for name in unknown if not name.startswith("sklearn.")]
    if foreign:
        raise ExportError(f"holds types that are not scikit-learn's: {', '.join(sorted(foreign)[:5])}")
    return io.load(path, trusted=unknown)
