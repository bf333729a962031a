"""Messages of the versions on a page, from their rows' texts: a third of the way over records of them.

What many versions share (what they take and give, their framework, their stage) is made into a part of a message once
and kept; what is a version's own is written field by field.
"""

from collections.abc import Mapping
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp
from serval_protos.v1 import registry_pb2
from serval_registry.filters import read_tag_line
from serval_registry.lifecycle.lineage import read as read_lineage
from serval_registry.mirror.texts import split, version_of
from serval_registry.recent import Recent
from serval_registry.versions import read_object

from serval_server.codec.records import lineage_message, version_message

_SHARED_KEPT = 1000
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

_shared: Recent[tuple[str, ...], bytes] = Recent(_SHARED_KEPT)


def fill(message: registry_pb2.ModelVersion, text: str) -> None:
    """Write all that is known of the version in a row, but for its vector, into an empty message."""
    row, record = split(text)
    name, version, _, stage, _, tags, aliases, lineage, created, updated, _, baseline_rows = row
    description, algorithm, framework, dataset, missing_allowed, sha256, size, sample, *rest = record
    metrics, hyperparameters, signature, features, classes, parity, libraries, source, label = rest
    shape = signature, features, classes, libraries
    shared = stage, aliases, algorithm, framework, dataset, missing_allowed, source, *shape
    message.MergeFromString(_part_of(shared, text))
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
    _set_entries(message.tags, read_tag_line(tags))
    _set_entries(message.metrics, read_object(metrics))
    _set_entries(message.hyperparameters, read_object(hyperparameters))
    message.lineage.CopyFrom(lineage_message(read_lineage(lineage)))
    if parity:
        message.parity.CopyFrom(registry_pb2.Parity(**read_object(parity)))


def _part_of(shared: tuple[str, ...], text: str) -> bytes:
    """Return what a version shares with others, as part of its message."""
    kept = _shared.known(shared)
    if kept is None:
        message = version_message(version_of(text))
        for field in _OWN:
            message.ClearField(field)
        kept = message.SerializeToString()
        _shared.put(shared, kept)
    return kept


def _set_time(message: Timestamp, microseconds: str) -> None:
    message.seconds, fraction = divmod(int(microseconds), 1_000_000)
    message.nanos = 1000 * fraction


def _set_entries(field: Any, entries: Mapping[str, Any]) -> None:
    for key, value in entries.items():  # a map's own `update` takes three times as long
        field[key] = value
