"""How long the next run of a model will take, by what its runs took: nothing is configured.

Runs are timed by the clock, which other work on the machine disturbs; so one that took many times as long as runs of
its size do is believed only when it is not alone.
"""

from typing import Final

_WEIGHT: Final = 0.2  # of the newest run: a spell of slow ones shows within a few
UNKNOWN: Final = 1 << 62
_SURPRISE: Final = 4.0  # times what was known
_SURPRISES: Final = 3  # in a row, to be believed


class Estimate:
    """Durations by the number of rows, in classes of powers of two."""

    def __init__(self) -> None:
        self._durations: list[float] = [0.0] * 64
        self._surprises = 0

    def add(self, rows: int, duration_ns: int) -> None:
        """Take in a run."""
        size = rows.bit_length()
        known = self._durations[size]
        if known and duration_ns > _SURPRISE * known and self._surprises < _SURPRISES:
            self._surprises += 1
            return
        self._surprises = 0
        self._durations[size] = duration_ns if not known else known + _WEIGHT * (duration_ns - known)

    def is_short(self, rows: int, limit_ns: int) -> bool:
        """Tell whether a run of `rows` will take no more than `limit_ns`."""
        duration = self._durations[rows.bit_length()]
        return 0 < duration <= limit_ns or self.of(rows) <= limit_ns

    def of(self, rows: int) -> float:
        """Return the nanoseconds that a run of `rows` will take at most; UNKNOWN before the first run.

        Fewer rows do not take longer than more, and twice as many take no more than twice as long.
        """
        size = rows.bit_length()
        shortest: float = UNKNOWN
        for known, duration in enumerate(self._durations):
            if duration:
                shortest = min(shortest, duration * (1 << max(0, size - known)))
        return shortest
