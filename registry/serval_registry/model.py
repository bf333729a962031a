"""The records of the registry: plain values, no storage.

A version is immutable but for its stage, tags, aliases, lineage, its baseline and its deletion.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt

from serval_registry.errors import InvalidArgument

NAME_MAX = 128
NAME_PATTERN = re.compile(rf"[A-Za-z0-9][A-Za-z0-9_.-]{{0,{NAME_MAX - 1}}}")

Array = npt.NDArray[np.generic]

# Columns of samples by name, all of one length: float32 or float64 (NaN is missing), bool, or object arrays of
# str and None (None is missing).
Table = Mapping[str, Array]


class Stage(StrEnum):
    """Where a version stands. At most one version of a name is in production."""

    NONE = "none"
    STAGING = "staging"
    PRODUCTION = "production"
    ARCHIVED = "archived"


_STAGES = frozenset(stage.value for stage in Stage)

# Digits and dots are left to numbers and labels, so that no tail of a reference can be read in two ways.
ALIAS_PATTERN = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")
_LABEL_PATTERN = re.compile(r"[0-9]+\.[0-9]+\.[0-9]+[0-9A-Za-z.+-]{0,56}")


class DataType(StrEnum):
    """Element types of tensors; the names are those of the Open Inference Protocol, but for STRING (its BYTES)."""

    BOOL = "BOOL"
    UINT8 = "UINT8"
    UINT16 = "UINT16"
    UINT32 = "UINT32"
    UINT64 = "UINT64"
    INT8 = "INT8"
    INT16 = "INT16"
    INT32 = "INT32"
    INT64 = "INT64"
    FP16 = "FP16"
    FP32 = "FP32"
    FP64 = "FP64"
    STRING = "STRING"


class FeatureKind(StrEnum):
    """What the values of a column are."""

    NUMERIC = "numeric"
    TEXT = "text"
    FLAG = "flag"


class Missing(StrEnum):
    """Whether NaN may be sent in numeric features. PROBE: found by running the model on a row of NaN."""

    PROBE = "probe"
    ALLOWED = "allowed"
    REFUSED = "refused"


class Ref(NamedTuple):
    """A model as people name it: a name, and a version, a stage, an alias, a label or none of them.

    None means the production version where there is one, else the newest.
    """

    name: str
    version: int | None = None
    stage: Stage | None = None
    alias: str | None = None
    label: str | None = None

    @classmethod
    def parse(cls, text: str, field_name: str = "model") -> Self:
        """Read "name", "name@3", "name@production", "name@champion" or "name@1.4.0".

        Raises InvalidArgument naming `field_name`.
        """
        name, at, tail = text.partition("@")
        check_name(name, field_name)
        if not at:
            return cls(name)
        return cls.of(name, tail, field_name)

    @classmethod
    def of(cls, name: str, tail: str, field_name: str = "version") -> Self:
        """Read a name and what follows the @: a version number, a stage, an alias, a label, or nothing."""
        if not tail:
            return cls(name)
        if tail.isascii() and tail.isdigit() and len(tail) <= 18 and int(tail) > 0:
            return cls(name, version=int(tail))
        if tail in _STAGES:
            return cls(name, stage=Stage(tail))
        if ALIAS_PATTERN.fullmatch(tail):
            return cls(name, alias=tail)
        if _LABEL_PATTERN.fullmatch(tail):
            return cls(name, label=tail)
        raise InvalidArgument(
            f"{field_name}: {tail[:80]!r} is neither a version number (1, 2, 3), a stage ({', '.join(Stage)}), "
            "an alias (letters, digits, '_' and '-', beginning with a letter) nor a semantic version (1.4.0)"
        )

    def __str__(self) -> str:
        tail = self.version or self.stage or self.alias or self.label
        return f"{self.name}@{tail}" if tail else self.name


def check_alias(alias: str) -> None:
    """Raise InvalidArgument unless `alias` can lead to a version."""
    if not ALIAS_PATTERN.fullmatch(alias) or alias.lower() in _STAGES:
        raise InvalidArgument(
            f"alias: {alias[:80]!r}; wanted 1 to 64 letters, digits, '_' or '-', beginning with a letter, and no stage"
        )


def check_name(name: str, field_name: str) -> None:
    """Raise InvalidArgument unless `name` can name a model."""
    if not NAME_PATTERN.fullmatch(name):
        raise InvalidArgument(
            f"{field_name}: {name[:80]!r} is no model name; wanted 1 to {NAME_MAX} letters, digits, '_', '.' or '-', "
            "beginning with a letter or digit"
        )


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """An input or output; -1 in `shape` is any size, the first dimension is the batch."""

    name: str
    datatype: DataType
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Feature:
    """One column a model takes, and its place: column `column` of the input `input`."""

    name: str
    kind: FeatureKind
    input: str
    column: int = 0


@dataclass(frozen=True, slots=True)
class Parity:
    """How an ONNX model compares with its original on the same `rows` rows; see registry.proto."""

    rows: int
    max_difference: float
    mean_difference: float
    label_mismatch: float
    tolerance: float
    relative: bool = False


class Parent(NamedTuple):
    """What a version was made from: a version of this registry, "name@3", and how, such as "fine-tuned-from"."""

    model: str
    relationship: str


class DatasetUse(NamedTuple):
    """A dataset that a version has seen: its version and split in the caller's terms, its size in rows; 0: not said."""

    name: str
    version: str = ""
    split: str = ""
    rows: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Lineage:
    """Where a version comes from; `run` and `experiment` are ids in the caller's terms."""

    parents: tuple[Parent, ...] = ()
    datasets: tuple[DatasetUse, ...] = ()
    run: str = ""
    experiment: str = ""


@dataclass(frozen=True, slots=True)
class Signature:
    """What an ONNX file takes and gives."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    opsets: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """What a caller says of a model that is to be registered."""

    name: str
    description: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    hyperparameters: Mapping[str, str] = field(default_factory=dict)
    algorithm: str = ""
    framework: str = ""
    dataset: str = ""
    features: Sequence[Feature] = ()
    classes: Sequence[str] = ()
    parity: Parity | None = None
    libraries: Mapping[str, str] = field(default_factory=dict)
    vector: Sequence[float] | None = None
    missing_allowed: bool = False
    request_id: str = ""
    label: str = ""  # a semantic version
    bump: str = ""  # or which number of the name's highest label is to grow: major, minor, patch
    lineage: Lineage = Lineage()
    embeddings: Mapping[str, Sequence[float]] = field(default_factory=dict)  # by space


class Version(NamedTuple):
    """One registered version, as stored. A page has a hundred: as a dataclass each would take four times as long."""

    name: str
    version: int
    stage: Stage
    description: str
    tags: Mapping[str, str]
    metrics: Mapping[str, float]
    hyperparameters: Mapping[str, str]
    algorithm: str
    framework: str
    dataset: str
    signature: Signature
    features: tuple[Feature, ...]
    classes: tuple[str, ...]
    parity: Parity | None
    libraries: Mapping[str, str]
    missing_allowed: bool
    artifact_sha256: str
    artifact_bytes: int
    baseline_rows: int
    has_sample: bool
    vector_source: str
    created: datetime
    updated: datetime
    label: str = ""
    aliases: tuple[str, ...] = ()
    lineage: Lineage = Lineage()

    @property
    def ref(self) -> Ref:
        """Return the reference that names exactly this version."""
        return Ref(self.name, version=self.version)


class Summary(NamedTuple):
    """A version in short."""

    version: int
    stage: Stage
    created: datetime
