"""What a client asks of the rows that a server has predicted lately."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager
from datetime import datetime
from typing import TypeVar

from serval_client import calls, drift
from serval_client.channel import Pool
from serval_client.drift import LiveDrift, WindowLike

Reply = TypeVar("Reply")


class LiveDriftCalls(ABC):
    """The part of `serval_client.Client` that is about live drift."""

    _pool: Pool

    @abstractmethod
    def _send(self, call: calls.Call[Reply], timeout: float | None) -> Reply: ...

    @abstractmethod
    def _errors(self) -> AbstractContextManager[None]: ...

    def live_drift(
        self,
        model: str,
        window: WindowLike = None,
        *,
        alpha: float | None = None,
        tolerance: float | None = None,
        distributions: bool = False,
        timeout: float | None = None,
    ) -> LiveDrift:
        """Compare the rows that a version was asked for lately with its baseline.

        window: a timedelta, seconds, or words: "15m", "1h" (the default), "7d", "5000 rows" (the last ones).
        alpha, tolerance: as for `drift`. distributions: fill in `reference`, `current` and `outputs`.
        """
        request = calls.drift_request(model, window, alpha, tolerance, distributions)
        return self._send(calls.live_drift(request), timeout)

    def watch_drift(
        self,
        model: str,
        window: WindowLike = None,
        *,
        interval: float = 5.0,
        alpha: float | None = None,
        tolerance: float | None = None,
        distributions: bool = False,
        timeout: float | None = None,
    ) -> Iterator[LiveDrift]:
        """Yield `live_drift` now and every `interval` seconds, until the iterator is closed or `timeout` is over."""
        request = calls.drift_request(model, window, alpha, tolerance, distributions)
        with self._errors():
            stream = self._pool.method(calls.WATCH_DRIFT)(calls.watch_drift(request, interval), timeout=timeout)
            try:
                for message in stream:
                    yield drift.live(message)
            finally:
                stream.cancel()

    def drift_reports(
        self, model: str, *, since: datetime | None = None, until: datetime | None = None, page_size: int = 100
    ) -> Iterator[LiveDrift]:
        """Yield the reports that the server has kept, one an hour for each version that was asked, newest first.

        A bare name means all of its versions. since, until: only windows that end from then on, or before.
        """
        token = ""
        while True:
            page, token = self._send(calls.list_reports(model, since, until, page_size, token), None)
            yield from page
            if not token:
                return
