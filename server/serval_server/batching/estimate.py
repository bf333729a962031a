"""How long the next run of a model will take, by what its runs took: nothing is configured."""

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
        """Return the nanoseconds that a run of `rows` will take; UNKNOWN before the first run.

        From a smaller size it is taken to grow with the rows, which is too much rather than too little.
        """
        size = rows.bit_length()
        for smaller in range(size, -1, -1):
            if self._durations[smaller]:
                return self._durations[smaller] * (1 << (size - smaller))
        larger = [duration for duration in self._durations[size:] if duration]
        return larger[0] if larger else UNKNOWN
