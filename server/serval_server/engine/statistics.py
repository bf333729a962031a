"""What each loaded version has done: counts and durations, as Triton's statistics extension names them."""

import threading
import time

# Batch sizes told apart; the rest is counted under the size 0.
BATCH_SIZES_MAX = 64

# Runs that are noted before they are added up. Some hundreds at once would be seen in the p99 of those who wait.
RECENT_MAX = 16


class Phases:
    """Requests that succeeded, and the nanoseconds that their phases took together."""

    __slots__ = ("compute_infer_ns", "compute_input_ns", "compute_output_ns", "count")

    def __init__(self) -> None:
        self.count = 0
        self.compute_input_ns = 0
        self.compute_infer_ns = 0
        self.compute_output_ns = 0

    def add(self, compute_input_ns: int, compute_infer_ns: int, compute_output_ns: int, count: int) -> None:
        """Count some more."""
        self.count += count
        self.compute_input_ns += compute_input_ns
        self.compute_infer_ns += compute_infer_ns
        self.compute_output_ns += compute_output_ns

    @property
    def total_ns(self) -> int:
        """Return the nanoseconds of all phases."""
        return self.compute_input_ns + self.compute_infer_ns + self.compute_output_ns


class Statistics:
    """The counters of one version, true after `settle`. Its lock is held for additions only, never in a run."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last_inference = 0.0
        self._recent: list[tuple[int, int, int, int, int, int]] = []
        self.inference_count = 0
        self.execution_count = 0
        self.fail_count = 0
        self.fail_ns = 0
        self.success = Phases()
        self.batches: dict[int, Phases] = {}

    @property
    def last_inference_ms(self) -> int:
        """Return when the last request succeeded, in milliseconds since the epoch; 0: never."""
        return int(self._last_inference * 1000)

    def succeeded(self, rows: int, started: int, decoded: int, ran: int, encoded: int, requests: int = 1) -> None:
        """Count a run of `rows` rows by the times (ns of `time.perf_counter_ns`) at which its phases ended.

        `requests` is how many were answered by it. Each of them took as long as the run, which is how Triton counts.
        """
        self._recent.append((rows, requests, started, decoded, ran, encoded))
        if len(self._recent) >= RECENT_MAX:
            self.settle()

    def settle(self) -> None:
        """Add up what has succeeded lately: before the counters are read."""
        with self._lock:
            recent, self._recent = self._recent, []
            if recent:
                self._add(recent)
                self._last_inference = time.time() - (time.perf_counter_ns() - recent[-1][-1]) / 1e9

    def _add(self, recent: list[tuple[int, int, int, int, int, int]]) -> None:
        """Add up runs in one loop: a call for each took a microsecond of every turn of the loop."""
        count = input_ns = infer_ns = output_ns = inferences = 0
        batches = self.batches
        for rows, requests, started, decoded, ran, encoded in recent:
            batch = batches.get(rows) or self._new_batch(rows)
            batch.count += 1
            batch.compute_input_ns += decoded - started
            batch.compute_infer_ns += ran - decoded
            batch.compute_output_ns += encoded - ran
            count += requests
            input_ns += requests * (decoded - started)
            infer_ns += requests * (ran - decoded)
            output_ns += requests * (encoded - ran)
            inferences += rows
        self.inference_count += inferences
        self.execution_count += len(recent)
        self.success.add(input_ns, infer_ns, output_ns, count)

    def failed(self, started: int) -> None:
        """Count a request that was answered with an error."""
        with self._lock:
            self.fail_count += 1
            self.fail_ns += time.perf_counter_ns() - started

    def _new_batch(self, rows: int) -> Phases:
        return self.batches.setdefault(rows if len(self.batches) < BATCH_SIZES_MAX else 0, Phases())
