"""Triton's model repository: NAME/config.pbtxt and NAME/VERSION/model.onnx, read and written."""

import json
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from serval_client.client import Client
from serval_client.errors import FailedPrecondition, InvalidArgument
from serval_client.interchange import pbtxt
from serval_client.interchange.found import Found
from serval_client.interchange.pbtxt import Message, Word
from serval_client.records import Feature, FeatureKind, ModelInfo, TensorSpec

# Ours by theirs; BYTES is STRING there too.
_TYPES = {f"TYPE_{name}": name for name in ("BOOL", "FP16", "FP32", "FP64", "STRING")} | {
    f"TYPE_{sign}INT{bits}": f"{sign}INT{bits}" for sign in ("", "U") for bits in (8, 16, 32, 64)
}
_NAMES = {ours: Word(theirs) for theirs, ours in _TYPES.items()}

# Where what Triton has no field for is kept: parameters of the model.
_FEATURES, _CLASSES = "serval.features", "serval.classes"

# As the server's own --max-batch-rows.
MAX_BATCH = 8192


def versions(folder: Path, names: Collection[str] = (), *, promote: bool = False) -> Iterator[Found]:
    """Yield the versions of a repository's models, by name and number; those that are not ONNX with the reason.

    promote: what Triton would serve where a call names no version is to be in production here.
    """
    if not folder.is_dir():
        raise InvalidArgument(f"folder: {str(folder)!r} is no folder")
    models = [path for path in sorted(folder.iterdir()) if path.is_dir() and (not names or path.name in names)]
    for name in set(names) - {path.name for path in models}:
        raise InvalidArgument(f"name: {name!r} is not in {str(folder)!r}")
    for path in models:
        config = _config(path)
        numbers = sorted(int(entry.name) for entry in path.iterdir() if entry.is_dir() and entry.name.isdigit())
        served = _served(config, numbers)
        for number in numbers:
            yield _found(path, config, number, "production" if promote and number == served else "")
        if not numbers:
            yield Found(name=path.name, origin=f"triton:{path.name}", reason="holds no version")


def write(client: Client, folder: Path, names: Collection[str] = ()) -> Iterator[str]:
    """Write models into a repository and yield the references written: a name's version in production, else its newest.

    Triton is told to serve exactly this version, under its own number. FailedPrecondition for a model that is there.
    """
    for name in names or sorted({info.name for info in client.models(latest_only=True)}):
        info = client.show(name).model
        place = folder / info.name
        if place.exists():
            raise FailedPrecondition(f"folder: {str(place)!r} is there already")
        version = place / str(info.version)
        version.mkdir(parents=True)
        client.download(info.ref, version / "model.onnx")
        (place / "config.pbtxt").write_text(pbtxt.dump(config_of(info)))
        yield info.ref


def config_of(info: ModelInfo) -> dict[str, Any]:
    """Return a version's ModelConfig, as `pbtxt.dump` takes it."""
    batches = all(spec.shape and spec.shape[0] == -1 for spec in (*info.inputs, *info.outputs))
    features = [[f.name, str(f.kind), f.input, f.column] for f in info.features]
    return {
        "name": info.name,
        "platform": "onnxruntime_onnx",
        "backend": "onnxruntime",
        "max_batch_size": MAX_BATCH if batches else 0,
        "version_policy": {"specific": {"versions": info.version}},
        "input": [_tensor(spec, batches) for spec in info.inputs],
        "output": [_tensor(spec, batches) for spec in info.outputs],
        **({"dynamic_batching": {}} if batches else {}),
        "parameters": [
            {"key": key, "value": {"string_value": json.dumps(value)}}
            for key, value in ((_FEATURES, features), (_CLASSES, list(info.classes)))
            if value
        ],
    }


def _tensor(spec: TensorSpec, batches: bool) -> dict[str, Any]:
    dims = [int(size) for size in (spec.shape[1:] if batches else spec.shape)]
    tensor: dict[str, Any] = {"name": spec.name, "data_type": _NAMES[str(spec.datatype)], "dims": dims or [1]}
    if not dims:  # Triton wants a dimension beside the batch's
        tensor["reshape"] = {"shape": []}
    return tensor


def _config(path: Path) -> Message:
    file = path / "config.pbtxt"
    if not file.is_file():
        return {}  # Triton completes it from the ONNX file, which says all that matters here
    try:
        return pbtxt.parse(file.read_text())
    except InvalidArgument as error:
        raise InvalidArgument(f"{file}: {error.details}") from error


def _served(config: Message, numbers: list[int]) -> int:
    """Return the version that a call without one gets: the highest of those that the policy lets in."""
    (policy,) = config.get("version_policy", [{}])
    specific = [number for part in policy.get("specific", ()) for number in part.get("versions", ())]
    return max((number for number in specific or numbers if number in numbers), default=0)


def _found(path: Path, config: Message, number: int, stage: str) -> Found:
    name, origin = path.name, f"triton:{path.name}/{number}"
    backend = (config.get("backend") or config.get("platform") or ["onnxruntime"])[0]
    if backend not in ("onnxruntime", "onnxruntime_onnx"):
        return Found(name=name, origin=origin, reason=f"is for the backend {backend}; wanted onnxruntime")
    file = path / str(number) / (config.get("default_model_filename") or ["model.onnx"])[0]
    if not file.is_file():
        return Found(name=name, origin=origin, reason=f"{file.name} is missing")
    parameters = {
        key: value["string_value"][0]
        for entry in config.get("parameters", ())
        for key in entry.get("key", ())
        for value in entry.get("value", ())
    }
    return Found(
        name=name,
        origin=origin,
        model=file,
        tags={"triton.version": str(number)},
        stage=stage,
        details=_details(parameters),
    )


def _details(parameters: Mapping[str, str]) -> dict[str, Any]:
    details: dict[str, Any] = {}
    if _FEATURES in parameters:
        details["features"] = [
            Feature(name, FeatureKind(kind), tensor, column)
            for name, kind, tensor, column in json.loads(parameters[_FEATURES])
        ]
    if _CLASSES in parameters:
        details["classes"] = json.loads(parameters[_CLASSES])
    return details
