"""Registered models of an MLflow store: those of the ONNX and the scikit-learn flavours.

A version's ONNX file is taken as it is. A scikit-learn model is exported, and compared with its original on the input
example that MLflow keeps beside it; without one it cannot be. Metrics and parameters are those of the version's run.
"""

import json
import os
import tempfile
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

import numpy as np

from serval_client import extras
from serval_client.errors import InvalidArgument
from serval_client.forms import RowsLike
from serval_client.interchange.found import Found

INSTALL = "'serval-inference[train]' mlflow-skinny"

# An address that nobody answers at is to be told within seconds (MLflow's own five tries take minutes), and a store of
# files, which MLflow opens no more to be written to, is only read here.
SETTINGS = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_ALLOW_FILE_STORE": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}

# What MLflow itself has, and mlflow-skinny leaves out.
DATABASES = ("sqlite", "postgresql", "mysql", "mssql")
DATABASE_INSTALL = "sqlalchemy alembic"

# MLflow's older stages; "None" is none.
_STAGES = {"Staging": "staging", "Production": "production", "Archived": "archived"}

ALIASES_TAG = "mlflow.aliases"


def versions(
    uri: str,
    names: Collection[str] = (),
    *,
    production: str = "",
    samples: Mapping[str, RowsLike] | None = None,
) -> Iterator[Found]:
    """Yield the versions of a store's registered models, by name and number; their files last until the next one.

    uri: of the store, such as "http://host:5000", "sqlite:///mlflow.db" or a folder. names: only these.
    production: the alias whose version is to be in production here, such as "champion".
    samples: rows by name of model, in place of the input examples.
    """
    _check_there(uri)
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    mlflow = extras.require("mlflow", "importing from MLflow", INSTALL)
    # The artifacts of a version are found by the registry of the process, not of a client.
    mlflow.set_tracking_uri(uri)
    mlflow.set_registry_uri(uri)
    try:
        client = mlflow.MlflowClient()
        models = sorted(_all(client.search_registered_models), key=lambda model: str(model.name))
    except mlflow.exceptions.MlflowException as error:
        raise InvalidArgument(f"uri: {uri!r} cannot be read: {_with_advice(uri, error)}") from error
    for name in set(names) - {model.name for model in models}:
        raise InvalidArgument(f"name: {name!r} is not registered at {uri!r}")
    for model in models:
        if names and model.name not in names:
            continue
        aliases: dict[int, list[str]] = {}
        for alias, number in model.aliases.items():
            aliases.setdefault(int(number), []).append(alias)
        found = _all(client.search_model_versions, filter_string=f"name='{model.name}'")
        for version in sorted(found, key=lambda version: int(version.version)):
            with tempfile.TemporaryDirectory() as folder:
                yield _found(
                    mlflow, client, version, aliases.get(int(version.version), []), production, samples or {}, folder
                )


def _check_there(uri: str) -> None:
    """Raise InvalidArgument for a folder or a file that is not there: MLflow would make an empty store of it."""
    scheme, colon, rest = uri.partition(":")
    if scheme.partition("+")[0] == "sqlite":
        path = rest.removeprefix("///").partition("?")[0]
        if path and path != ":memory:" and not Path(path).is_file():
            raise InvalidArgument(f"uri: {uri!r}: there is no file {path!r}")
    elif not colon or scheme == "file":
        folder = Path(url2pathname(urlsplit(uri).path) if colon else uri)
        if not folder.is_dir():
            raise InvalidArgument(f"uri: {uri!r}: there is no folder {str(folder)!r}")


def _with_advice(uri: str, error: Exception) -> str:
    said = " ".join(str(error).split())
    if uri.partition(":")[0].partition("+")[0] in DATABASES:
        return f"{said} A store in a database also needs: pip install {DATABASE_INSTALL}"
    return said


def _all(search: Any, **query: Any) -> Iterator[Any]:
    token = None
    while True:
        page = search(page_token=token, **query)
        yield from page
        token = page.token
        if not token:
            return


def _found(
    mlflow: Any,
    client: Any,
    version: Any,
    aliases: list[str],
    production: str,
    samples: Mapping[str, RowsLike],
    folder: str,
) -> Found:
    origin = f"mlflow:{version.name}/{version.version}"
    try:
        files = Path(mlflow.artifacts.download_artifacts(f"models:/{version.name}/{version.version}", dst_path=folder))
        flavors = mlflow.models.Model.load(str(files)).flavors
    except (mlflow.exceptions.MlflowException, OSError) as error:
        return Found(name=version.name, origin=origin, reason=f"its files cannot be had: {error}")
    model, reason = _model(flavors, files)
    sample = samples.get(version.name)
    if sample is None:
        sample = _example(files)
        # An ONNX file has tensors where the example has columns.
        sample = _matrix(sample) if "onnx" in flavors else sample
    if reason:
        return Found(name=version.name, origin=origin, reason=reason)
    if "onnx" not in flavors and sample is None:
        return Found(name=version.name, origin=origin, reason="has no input example to export by; give --sample")
    run = client.get_run(version.run_id).data if version.run_id else None
    return Found(
        name=version.name,
        origin=origin,
        model=model,
        sample=sample,
        description=version.description or "",
        tags={**version.tags, **({ALIASES_TAG: ",".join(sorted(aliases))} if aliases else {})},
        metrics={name: value for name, value in (run.metrics if run else {}).items() if np.isfinite(value)},
        hyperparameters=dict(run.params) if run else {},
        aliases=tuple(sorted(aliases)),
        stage="production" if production and production in aliases else _STAGES.get(version.current_stage or "", ""),
    )


def _model(flavors: Mapping[str, Any], files: Path) -> tuple[Any, str]:
    """Return what `Client.register` takes, or why there is nothing to take."""
    if "onnx" in flavors:
        return files / flavors["onnx"]["data"], ""
    if "sklearn" in flavors:
        export = extras.require("serval_client.export", "importing scikit-learn models")
        try:
            return export.load(files / flavors["sklearn"]["pickled_model"]), ""
        except export.ExportError as error:
            return None, str(error)
    return None, f"is of the flavours {', '.join(sorted(flavors))}; wanted onnx or sklearn"


def _example(files: Path) -> RowsLike:
    """Return the rows that MLflow keeps beside a model: a DataFrame, an array, or None."""
    path = files / "input_example.json"
    if not path.is_file():
        return None
    held = json.loads(path.read_text())
    if isinstance(held, dict) and "data" in held and "columns" in held:
        pandas = extras.require("pandas", "reading MLflow's input examples", "pandas")
        return pandas.DataFrame(held["data"], columns=held["columns"])
    rows = held["inputs"] if isinstance(held, dict) and "inputs" in held else held
    array = np.asarray(rows)
    return array if array.ndim == 2 else None


def _matrix(rows: RowsLike) -> RowsLike:
    """Return rows of numbers in feature order, None for other rows."""
    try:
        return None if rows is None else np.asarray(rows, np.float32)
    except (TypeError, ValueError):
        return None
