"""Versions that were looked at and could not be run then, to be run now that there are probes, or damage is healed.

What is to be run again lives in memory. A start finds anew what was not come to, and every so often what could not be
read is tried once more, as nothing tells of its being healed.
"""

import time
from collections import deque

from serval_registry.behaviour.backlog import AHEAD
from serval_registry.behaviour.observations import Observations
from serval_registry.spaces.living import Stamp

RETRY_SECONDS = 600.0


class Again:
    """Sets of features whose waiting versions are run, one after the other; called by one thread at a time."""

    def __init__(self, observations: Observations) -> None:
        self._observations = observations
        self._schemas: dict[str, Stamp | None] = {}  # in order, each with the version that was reached
        self._ahead: deque[Stamp] = deque()  # of the first
        self._started = False
        self._retry_at = 0.0

    @property
    def due(self) -> bool:
        """Whether it is time to try what could not be read."""
        return time.monotonic() >= self._retry_at

    def add(self, schema: str) -> None:
        """Have every waiting version with these features run; where that is under way, the rest of them."""
        self._schemas.setdefault(schema, None)

    def take(self, limit: int) -> list[Stamp]:
        """Return the next versions; the same again until they are done."""
        if self.due:
            found = self._observations.damaged()
            found |= set() if self._started else self._observations.forgotten()
            for schema in sorted(found):
                self.add(schema)
            self._started = True
            self._retry_at = time.monotonic() + RETRY_SECONDS
        while self._schemas and not self._ahead:
            schema, reached = next(iter(self._schemas.items()))
            self._ahead.extend(self._observations.waiting(schema, reached, AHEAD))
            if not self._ahead:
                del self._schemas[schema]
        return [self._ahead[place] for place in range(min(limit, len(self._ahead)))]

    def done(self, count: int) -> None:
        """Go on to those after the first `count`."""
        schema = next(iter(self._schemas))
        for _ in range(count):
            self._schemas[schema] = self._ahead.popleft()
