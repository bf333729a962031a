"""How a server is set up. Every default has a name and a reason."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path

from serval_registry.durability import Durability

MIB = 1 << 20

DEFAULT_LISTEN = "127.0.0.1:8470"  # this machine only, until the operator says otherwise

# gRPC's own 4 MiB fails image and embedding batches; Triton lifts the limit altogether.
DEFAULT_MESSAGE_BYTES = 64 * MIB

# A 100-tree forest is 0.2 MB and a boosted ensemble of thousands of trees below 100 MB.
DEFAULT_ARTIFACT_BYTES = 512 * MIB

# A baseline needs no more: a million rows of sixteen float32 columns.
DEFAULT_SAMPLE_BYTES = 64 * MIB

DEFAULT_MEMORY_BYTES = 2048 * MIB

# Threads share one interpreter: more of them only hand it around, which costs throughput and the slowest calls.
DEFAULT_THREADS = 8

# Time for load balancers to see NOT_SERVING before new calls are refused.
DEFAULT_DRAIN_SECONDS = 0.2

DEFAULT_GRACE_SECONDS = 10.0
# In the background a process may be at the index of a million rows, which cannot be interrupted.
BACKGROUND_SECONDS = 10.0

# More rows in a run of ONNX Runtime gain nothing, and the first of them would wait for the last.
DEFAULT_BATCH_ROWS = 8192

# What a killed process may lose of what it has seen of its rows.
DEFAULT_MONITOR_SECONDS = 5.0

# How long artifacts that no version refers to are kept; the bounds are a minute and a century.
DEFAULT_RETENTION_DAYS = 7.0
RETENTION_DAYS_LEAST, RETENTION_DAYS_MOST = 1 / 1440, 36_525.0

# One report an hour and version is kept as history.
DEFAULT_REPORT_SECONDS = 3600.0

# The share of false alarms, among reports and among models' lives, and the largest effect that does not count.
DEFAULT_ALPHA = 0.01
DEFAULT_TOLERANCE = 0.04

# As grpc has them.
DEFAULT_KEEPALIVE_SECONDS = 7200.0
DEFAULT_KEEPALIVE_TIMEOUT_SECONDS = 20.0


class Warm(StrEnum):
    """Which models are loaded before the server says that it is ready."""

    NONE = "none"
    PRODUCTION = "production"
    ALL = "all"


class Transport(StrEnum):
    """Who speaks gRPC to the callers."""

    VECTORIZED = "vectorized"  # serval's own: compiled kernels over all that has arrived
    GRPCIO = "grpcio"  # the reference, and the fallback


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """PEM files; with `client_ca`, clients must present a certificate that it signed."""

    certificate: Path
    key: Path
    client_ca: Path | None = None


@dataclass(frozen=True, slots=True)
class BatchRows:
    """The most rows of one run: of models by their names, and of all others."""

    others: int = DEFAULT_BATCH_ROWS
    models: Mapping[str, int] = field(default_factory=dict)

    def of(self, name: str) -> int:
        """Return the most rows of one run of a model."""
        return self.models.get(name, self.others)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Everything that `serval serve` can be told."""

    data: Path | str
    durability: Durability = Durability.DISK
    listen: str = DEFAULT_LISTEN
    transport: Transport = Transport.VECTORIZED
    workers: int = 1
    threads: int = DEFAULT_THREADS
    warm: Warm = Warm.PRODUCTION
    memory_bytes: int = DEFAULT_MEMORY_BYTES
    message_bytes: int = DEFAULT_MESSAGE_BYTES
    artifact_bytes: int = DEFAULT_ARTIFACT_BYTES
    sample_bytes: int = DEFAULT_SAMPLE_BYTES
    index_threshold: int | None = None
    retention_days: float = DEFAULT_RETENTION_DAYS
    max_batch_rows: BatchRows = BatchRows()
    keepalive_seconds: float = DEFAULT_KEEPALIVE_SECONDS
    keepalive_timeout_seconds: float = DEFAULT_KEEPALIVE_TIMEOUT_SECONDS
    max_connection_idle_seconds: float | None = None
    max_connection_age_seconds: float | None = None
    max_connection_age_grace_seconds: float | None = None
    drain_seconds: float = DEFAULT_DRAIN_SECONDS
    grace_seconds: float = DEFAULT_GRACE_SECONDS
    monitor: bool = True
    monitor_seconds: float = DEFAULT_MONITOR_SECONDS
    report_seconds: float = DEFAULT_REPORT_SECONDS
    alarm_alpha: float = DEFAULT_ALPHA
    alarm_tolerance: float = DEFAULT_TOLERANCE
    metrics: str | None = None
    tls: Tls | None = None

    def to_json(self) -> str:
        """Return the options as a JSON text, for a worker process."""
        return json.dumps(asdict(self), default=str)

    @classmethod
    def from_json(cls, text: str) -> "Options":
        """Read what `to_json` wrote."""
        values = json.loads(text)
        tls = values.pop("tls")
        if tls is not None:
            tls = Tls(**{name: Path(path) if path else None for name, path in tls.items()})  # type: ignore[arg-type]
        values |= {"durability": Durability(values["durability"]), "warm": Warm(values["warm"]), "tls": tls}
        values |= {"transport": Transport(values["transport"]), "max_batch_rows": BatchRows(**values["max_batch_rows"])}
        return cls(**values)
