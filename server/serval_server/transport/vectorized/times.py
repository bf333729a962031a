"""How long connections may live and be silent."""

from typing import NamedTuple

import numpy as np
from serval_kernels.wire import limits, turn
from serval_kernels.wire import state as engine


class Times(NamedTuple):
    """How long connections may live and be silent, in seconds; None: for ever. Named as grpc's channel arguments."""

    keepalive_time: float = 7200.0
    keepalive_timeout: float = 20.0
    max_connection_idle: float | None = None
    max_connection_age: float | None = None
    max_connection_age_grace: float | None = None

    def for_engine(self) -> engine.Records:
        """Return them as the engine takes them: turn.TIMES[1], nanoseconds."""
        times = np.zeros(1, turn.TIMES)
        times[0] = (limits.HANDSHAKE, *(_nanoseconds(seconds) for seconds in self))
        return times


def _nanoseconds(seconds: float | None) -> int:
    return turn.NEVER if seconds is None else min(int(seconds * limits.SECOND), turn.NEVER)
