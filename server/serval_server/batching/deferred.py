"""Short runs that a turn of the loop had no time for: they are made in the turns after it, a few at a time."""

import time
from typing import Final

from serval_server.batching.backlog import Backlog

# Of each turn, whatever else comes in it: a call that comes meanwhile waits for so long, or for the longest short run.
TURN_NS: Final = 250_000


class Deferred:
    """Backlogs that wait for time of the loop, by the connections that wait for them.

    Connections take turns, so that one which calls many models holds up no other.
    """

    def __init__(self) -> None:
        self._by_connection: dict[int, dict[Backlog, None]] = {}

    def __bool__(self) -> bool:
        return bool(self._by_connection)

    def add(self, connection: int, backlog: Backlog) -> None:
        """Have a backlog wait behind the others of a connection, once."""
        self._by_connection.setdefault(connection, {})[backlog] = None

    def run(self, turn: int) -> None:
        """Go on with one backlog, and with more as long as there is time."""
        until = time.perf_counter_ns() + TURN_NS
        while self._by_connection:
            connection = next(iter(self._by_connection))
            backlogs = self._by_connection.pop(connection)
            backlog = next(iter(backlogs))
            del backlogs[backlog]
            if backlogs:
                self._by_connection[connection] = backlogs  # behind the other connections
            backlog.go_on(turn)
            if time.perf_counter_ns() >= until:
                return
