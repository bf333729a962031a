"""What each loaded version has done: counts and durations, as Triton's statistics extension names them."""

import threading
import time
from dataclasses import dataclass, field

# Batch sizes told apart; the rest is counted under the size 0.
BATCH_SIZES_MAX = 64


@dataclass(slots=True)
class Duration:
    """A count and the nanoseconds that it took together."""

    count: int = 0
    ns: int = 0

    def add(self, ns: int) -> None:
        """Count one more."""
        self.count += 1
        self.ns += ns


@dataclass(slots=True)
class BatchStatistics:
    """The phases of the runs of one batch size."""

    compute_input: Duration = field(default_factory=Duration)
    compute_infer: Duration = field(default_factory=Duration)
    compute_output: Duration = field(default_factory=Duration)


class Statistics:
    """The counters of one version. Its lock is held for additions only, never while anything runs."""

    __slots__ = (
        "_lock",
        "batches",
        "compute_infer",
        "compute_input",
        "compute_output",
        "execution_count",
        "fail",
        "inference_count",
        "last_inference_ms",
        "success",
    )

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.inference_count = 0
        self.execution_count = 0
        self.last_inference_ms = 0
        self.success = Duration()
        self.fail = Duration()
        self.compute_input = Duration()
        self.compute_infer = Duration()
        self.compute_output = Duration()
        self.batches: dict[int, BatchStatistics] = {}

    def succeeded(self, rows: int, started: int, decoded: int, ran: int, encoded: int) -> None:
        """Count a request of `rows` rows by the times (ns of `time.perf_counter_ns`) at which its phases ended."""
        with self._lock:
            self.inference_count += rows
            self.execution_count += 1
            self.last_inference_ms = time.time_ns() // 1_000_000
            self.success.add(encoded - started)
            self.compute_input.add(decoded - started)
            self.compute_infer.add(ran - decoded)
            self.compute_output.add(encoded - ran)
            batch = self._batch(rows)
            batch.compute_input.add(decoded - started)
            batch.compute_infer.add(ran - decoded)
            batch.compute_output.add(encoded - ran)

    def failed(self, started: int) -> None:
        """Count a request that was answered with an error."""
        with self._lock:
            self.fail.add(time.perf_counter_ns() - started)

    def _batch(self, rows: int) -> BatchStatistics:
        batch = self.batches.get(rows)
        if batch is None:
            if len(self.batches) >= BATCH_SIZES_MAX:
                rows = 0
            batch = self.batches.setdefault(rows, BatchStatistics())
        return batch
