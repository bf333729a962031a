"""A version as a record and as a row of the table, and back; and what a draft must be to become one."""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from functools import lru_cache
from typing import Any

from serval_registry.errors import InvalidArgument, NotFound
from serval_registry.filters import check_tags, read_line, read_tag_line, tag_columns
from serval_registry.lifecycle import lineage, names
from serval_registry.metrics import metric_columns
from serval_registry.model import (
    DataType,
    Draft,
    Feature,
    FeatureKind,
    Parity,
    Ref,
    Signature,
    Stage,
    TensorSpec,
    Version,
    check_name,
)
from serval_registry.tables import Row

VersionList = list[Version]

# Bounds on what is said about a model; far above what people write, far below what would slow a listing down.
DESCRIPTION_MAX = 16_384
WORD_MAX = 1_024
ENTRIES_MAX = 1_000

_SHAPES_KEPT = 1_000

# Called, the enum takes ten times as long, and so do `json.loads` and a generator: a page has a hundred of each.
_STAGES = {str(stage): stage for stage in Stage}
_read_json = json.JSONDecoder().raw_decode


def check_draft(draft: Draft) -> None:
    """Raise InvalidArgument naming the first field that cannot be stored."""
    check_name(draft.name, "name")
    check_tags(draft.tags)
    for field, limit in (
        ("description", DESCRIPTION_MAX),
        ("algorithm", WORD_MAX),
        ("framework", WORD_MAX),
        ("dataset", WORD_MAX),
        ("request_id", WORD_MAX),
    ):
        size = len(getattr(draft, field))
        if size > limit:
            raise InvalidArgument(f"{field}: {size} characters; wanted at most {limit}")
    for field in ("metrics", "hyperparameters", "libraries"):
        size = len(getattr(draft, field))
        if size > ENTRIES_MAX:
            raise InvalidArgument(f"{field}: {size} entries; wanted at most {ENTRIES_MAX}")
    for name, value in draft.metrics.items():
        if not math.isfinite(value):
            raise InvalidArgument(f"metrics: {name[:80]!r} is {value}; wanted a finite number")
    lineage.check(draft.lineage)
    names.check_label(draft)


def to_row(draft: Draft, signature: Signature) -> Row:
    """Return the columns that the draft and the signature fill."""
    return {
        "name": draft.name,
        "stage": str(Stage.NONE),
        "deleted": False,
        **tag_columns(draft.tags),
        "label": draft.label,
        "aliases": "",
        **lineage.columns(draft.lineage),
        "description": draft.description,
        "algorithm": draft.algorithm,
        "framework": draft.framework,
        "dataset": draft.dataset,
        "missing_allowed": draft.missing_allowed,
        "metrics": _json({name: float(value) for name, value in draft.metrics.items()}),
        **metric_columns(draft.metrics),
        "hyperparameters": _json(dict(draft.hyperparameters)),
        "signature": _json(_signature_json(signature)),
        "features": _json([[f.name, str(f.kind), f.input, f.column] for f in draft.features]),
        "classes": _json(list(draft.classes)),
        "parity": None if draft.parity is None else _json(asdict(draft.parity)),
        "libraries": _json(dict(draft.libraries)),
    }


def from_row(row: Row) -> Version:
    """Return the version that a row holds."""
    parity = row["parity"]
    return Version(
        name=row["name"],
        version=row["version"],
        stage=_STAGES[row["stage"]],
        description=row["description"],
        tags=read_tag_line(row["tags"]),
        metrics=read_object(row["metrics"]),
        hyperparameters=read_object(row["hyperparameters"]),
        algorithm=row["algorithm"],
        framework=row["framework"],
        dataset=row["dataset"],
        signature=_read_signature(row["signature"]),
        features=_read_features(row["features"]),
        classes=() if row["classes"] == "[]" else tuple(json.loads(row["classes"])),
        parity=None if parity is None else Parity(**json.loads(parity)),
        libraries=read_object(row["libraries"]),
        missing_allowed=row["missing_allowed"],
        artifact_sha256=row["artifact_sha256"],
        artifact_bytes=row["artifact_bytes"],
        baseline_rows=row["baseline_rows"],
        has_sample=row["sample_sha256"] is not None,
        vector_source=row["vector_source"],
        created=row["created"],
        updated=row["updated"],
        label=row["label"],
        aliases=tuple(read_line(row["aliases"])),
        lineage=lineage.read(row["lineage"]),
    )


def not_found(ref: Ref, rows: Iterable[Row]) -> NotFound:
    """Return the error that names what was asked and what exists; `rows` are all of the name, with tombstones."""
    known = {row["version"]: row["deleted"] for row in rows}
    numbers = [number for number, deleted in sorted(known.items()) if not deleted]
    is_registered_since = bool(numbers) and ref == Ref(ref.name)  # any version would do, and it was not there yet
    if not known or is_registered_since:
        return NotFound(f"no model is named {ref.name!r}")
    if not numbers:
        return NotFound(f"model {ref.name!r} has no versions left: all {len(known)} were deleted")
    if ref.stage is not None:
        asked = f"has no version in stage {ref.stage}"
    elif ref.alias is not None:
        asked = f"has no alias {ref.alias!r} (and stages are {', '.join(Stage)})"
    elif ref.label is not None:
        asked = f"has no version labelled {ref.label}"
    elif known.get(ref.version or 0):
        asked = f"has no version {ref.version} any more: it was deleted"
    else:
        asked = f"has no version {ref.version}"
    return NotFound(f"model {ref.name!r} {asked}; its versions are {_ranges(numbers)}")


def _ranges(numbers: list[int]) -> str:
    """Return ascending numbers in words, shortened in the middle.

    >>> _ranges([1, 2, 3, 4, 7])
    '1 to 4, 7'
    """
    runs: list[tuple[int, int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1] = (runs[-1][0], number)
        else:
            runs.append((number, number))
    texts = [f"{first} to {last}" if last > first else str(first) for first, last in runs]
    return ", ".join(texts if len(texts) <= 8 else [*texts[:4], "...", *texts[-3:]])


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def _signature_json(signature: Signature) -> Mapping[str, Any]:
    def specs(tensors: Iterable[TensorSpec]) -> list[list[Any]]:
        return [[spec.name, str(spec.datatype), list(spec.shape)] for spec in tensors]

    return {"inputs": specs(signature.inputs), "outputs": specs(signature.outputs), "opsets": dict(signature.opsets)}


def read_object(text: str) -> dict[str, Any]:
    """Return the object that a column of JSON holds."""
    found: dict[str, Any] = {} if text == "{}" else _read_json(text)[0]
    return found


# Reading a page took most of its time, and the versions of a name, at least, mostly take and give the same.
@lru_cache(_SHAPES_KEPT)
def _read_signature(text: str) -> Signature:
    def specs(tensors: Iterable[Any]) -> tuple[TensorSpec, ...]:
        return tuple(TensorSpec(name, DataType(datatype), tuple(shape)) for name, datatype, shape in tensors)

    stored = json.loads(text)
    return Signature(inputs=specs(stored["inputs"]), outputs=specs(stored["outputs"]), opsets=stored["opsets"])


@lru_cache(_SHAPES_KEPT)
def _read_features(text: str) -> tuple[Feature, ...]:
    return tuple(Feature(name, FeatureKind(kind), tensor, column) for name, kind, tensor, column in json.loads(text))
