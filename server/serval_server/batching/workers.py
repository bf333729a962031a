"""Threads that the loop leaves work to, also where the system lets it start no more of them."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor


class Workers(ThreadPoolExecutor):
    """Threads of which the first is there from the beginning: what they are given is done, if by that one alone."""

    def __init__(self, most: int, name: str, initializer: Callable[[], object] | None = None) -> None:
        super().__init__(most, thread_name_prefix=name, initializer=initializer)
        self.submit(int)

    def _adjust_thread_count(self) -> None:
        """Start a thread where none is idle: the last that `submit` does, when the work is queued."""
        try:
            super()._adjust_thread_count()
        except RuntimeError:
            if not self._threads:
                raise
