"""Work that waits until a thread has nothing better to do."""

import logging
from collections import deque
from collections.abc import Callable

LOG = logging.getLogger(__name__)


class SpareTime:
    """Steps that anybody offers, and that one thread takes while it waits for something else.

    A step is short, as what the thread waits for may come meanwhile, and returns whether there is more to do.
    """

    def __init__(self) -> None:
        self._steps: deque[Callable[[], bool]] = deque()

    def __len__(self) -> int:
        return len(self._steps)

    def offer(self, step: Callable[[], bool]) -> None:
        """Have this done, again and again until it returns False."""
        self._steps.append(step)

    def take(self) -> None:
        """Do a step. One that fails is not done again: it must not end whoever has time for it."""
        more = False
        try:
            more = self._steps[0]()
        except Exception:
            LOG.exception("work in spare time failed; going on")
        if not more:
            self._steps.popleft()
