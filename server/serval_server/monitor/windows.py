"""What of a version is looked back at: so many seconds, or so many rows."""

from dataclasses import dataclass
from typing import Final

from serval_registry.errors import InvalidArgument

from serval_server.monitor.accumulator import Accumulator
from serval_server.monitor.layout import Layout
from serval_server.monitor.slots import KEPT_SECONDS

DEFAULT_SECONDS: Final = 3600.0


@dataclass(frozen=True, slots=True)
class Window:
    """The last `seconds`, or the last `rows` where these are given: at least as many, as slots are not divided."""

    seconds: float = DEFAULT_SECONDS
    rows: int | None = None

    def __post_init__(self) -> None:
        """Raise InvalidArgument for a span that is not kept, or no span."""
        if not 0 < self.seconds <= KEPT_SECONDS:
            raise InvalidArgument(f"window.seconds: {self.seconds}; wanted more than 0 and at most {KEPT_SECONDS}")
        if self.rows is not None and self.rows <= 0:
            raise InvalidArgument(f"window.rows: {self.rows}; wanted more than 0")


@dataclass(slots=True)
class Seen:
    """What was seen in a window. `total` is of the layout's digest; rows of other layouts are only counted.

    start, end: seconds since the epoch; the first slot may have begun before the window.
    """

    layout: Layout
    total: Accumulator
    start: float
    end: float
    other_rows: int = 0

    def add(self, part: Accumulator, start: float) -> None:
        """Add what one slot holds."""
        if part.digest == self.layout.digest:
            self.total.add(part)
        else:
            self.other_rows += part.rows
        self.start = min(self.start, start)
