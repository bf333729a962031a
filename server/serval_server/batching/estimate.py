"""How long the next run of a model will take, by what its runs took: nothing is configured.

Durations are those of the thread's processor time. By the clock a run is as long as whatever else the machine did.
"""

from typing import Final

_WEIGHT: Final = 0.2  # of the newest run: a spell of slow ones shows within a few
UNKNOWN: Final = 1 << 62


class Estimate:
    """Durations by the number of rows, in classes of powers of two."""

    def __init__(self) -> None:
        self._durations: list[float] = [0.0] * 64

    def add(self, rows: int, duration_ns: int) -> None:
        """Take in a run."""
        size = rows.bit_length()
        known = self._durations[size]
        self._durations[size] = duration_ns if not known else known + _WEIGHT * (duration_ns - known)

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
