"""Pages of versions: encoded replies that hold one version each, made of its row's text; one after the other, a page.

Making the message takes a quarter of the way over records.

What many versions share (what they take and give, their framework, their tags) is made into a part of a message once
and kept: parts one after the other are one message. What is a version's own is written field by field.
"""

import hashlib
from functools import lru_cache

from google.protobuf.timestamp_pb2 import Timestamp
from serval_protos.v1 import common_pb2, registry_pb2
from serval_registry.filters import read_tag_line
from serval_registry.lifecycle.lineage import read as read_lineage
from serval_registry.mirror.pages import PageFormat
from serval_registry.mirror.texts import split, version_of
from serval_registry.recent import Recent
from serval_registry.versions import read_object

from serval_server.codec.records import lineage_message, version_message

# To be raised when the same row is to give another message: parts that were kept before are then made anew.
_EDITION = 1

_PARTS_KEPT = 1000
_OWN = (
    "name",
    "version",
    "description",
    "artifact_sha256",
    "artifact_bytes",
    "baseline_rows",
    "has_sample",
    "label",
    "created",
    "updated",
    "tags",
    "metrics",
    "hyperparameters",
    "lineage",
    "parity",
)

_shared: Recent[tuple[str, ...], bytes] = Recent(_PARTS_KEPT)


def part_of(text: str) -> bytes:
    """Return a page of the version in a row alone, with all that is known of it but for its vector."""
    reply = registry_pb2.ListModelsReply()
    _fill(reply.versions.add(), text)
    return reply.SerializeToString()  # type: ignore[no-any-return]


# The parts that are kept are those of this contract, and of what this release says in it.
_CONTRACT = registry_pb2.DESCRIPTOR.serialized_pb + common_pb2.DESCRIPTOR.serialized_pb
PAGE_FORMAT = PageFormat(f"ListModelsReply {_EDITION} {hashlib.sha256(_CONTRACT).hexdigest()[:16]}", part_of)


def _fill(message: registry_pb2.ModelVersion, text: str) -> None:
    row, record = split(text)
    name, version, _, stage, _, tags, aliases, lineage, created, updated, _, baseline_rows = row
    description, algorithm, framework, dataset, missing_allowed, sha256, size, sample, *rest = record
    metrics, hyperparameters, signature, features, classes, parity, libraries, source, label = rest
    shape = signature, features, classes, libraries
    shared = stage, aliases, algorithm, framework, dataset, missing_allowed, source, *shape
    parts = (
        _shared_part(shared, text),
        _tags(tags),
        _hyperparameters(hyperparameters),
        _lineage(lineage),
        _parity(parity),
    )
    message.MergeFromString(b"".join(parts))
    message.name = name
    message.version = int(version)
    message.description = description
    message.artifact_sha256 = sha256
    message.artifact_bytes = int(size)
    message.baseline_rows = int(baseline_rows)
    message.has_sample = sample != ""
    message.label = label
    _set_time(message.created, created)
    _set_time(message.updated, updated)
    entries = message.metrics
    for metric, value in read_object(metrics).items():  # a map's own `update` takes three times as long
        entries[metric] = value


def _shared_part(shared: tuple[str, ...], text: str) -> bytes:
    kept = _shared.known(shared)
    if kept is None:
        message = version_message(version_of(text))
        for field in _OWN:
            message.ClearField(field)
        kept = message.SerializeToString()
        _shared.put(shared, kept)
    return kept


@lru_cache(_PARTS_KEPT)
def _tags(text: str) -> bytes:
    return _encoded(registry_pb2.ModelVersion(tags=read_tag_line(text)))


@lru_cache(_PARTS_KEPT)
def _hyperparameters(text: str) -> bytes:
    return _encoded(registry_pb2.ModelVersion(hyperparameters=read_object(text)))


@lru_cache(_PARTS_KEPT)
def _lineage(text: str) -> bytes:
    return _encoded(registry_pb2.ModelVersion(lineage=lineage_message(read_lineage(text))))


@lru_cache(_PARTS_KEPT)
def _parity(text: str) -> bytes:
    return _encoded(registry_pb2.ModelVersion(parity=read_object(text))) if text else b""


def _encoded(part: registry_pb2.ModelVersion) -> bytes:
    return part.SerializeToString()  # type: ignore[no-any-return]


def _set_time(message: Timestamp, microseconds: str) -> None:
    message.seconds, fraction = divmod(int(microseconds), 1_000_000)
    message.nanos = 1000 * fraction
