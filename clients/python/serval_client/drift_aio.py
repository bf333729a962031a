"""The drift methods of the asyncio client; see `serval_client.drift_methods`."""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterable
from contextlib import AbstractContextManager
from datetime import datetime
from typing import TypeVar

from serval_client import calls, drift, drift_calls, forms
from serval_client.channel import Pool
from serval_client.drift import Baseline, DriftReport, LiveDrift, WindowLike
from serval_client.life import Life
from serval_client.quality import QualityReport

Reply = TypeVar("Reply")


class AsyncDriftMethods(ABC):
    """What `AsyncClient` inherits."""

    @property
    @abstractmethod
    def _pool(self) -> Pool: ...

    @abstractmethod
    async def _send(self, call: calls.Call[Reply], timeout: float | None) -> Reply: ...

    @abstractmethod
    def _errors(self) -> AbstractContextManager[None]: ...

    async def drift(
        self,
        model: str,
        current: forms.RowsLike,
        reference: forms.RowsLike = None,
        *,
        alpha: float | None = None,
        tolerance: float | None = None,
        compatibility: str = "",
        timeout: float | None = None,
    ) -> DriftReport:
        """Compare a current sample with the version's baseline, or with `reference`; see `Client.drift`."""
        return await self._send(
            drift_calls.detect_drift(model, current, reference, alpha, tolerance, compatibility), timeout
        )

    async def live_drift(
        self,
        model: str,
        window: WindowLike = None,
        *,
        alpha: float | None = None,
        tolerance: float | None = None,
        compatibility: str = "",
        distributions: bool = False,
        timeout: float | None = None,
    ) -> LiveDrift:
        """Compare the rows that a version was asked for lately with its baseline; see `Client.live_drift`."""
        request = drift_calls.drift_request(model, window, alpha, tolerance, distributions, compatibility)
        return await self._send(drift_calls.live_drift(request), timeout)

    async def watch_drift(
        self,
        model: str,
        window: WindowLike = None,
        *,
        interval: float = 5.0,
        alpha: float | None = None,
        tolerance: float | None = None,
        compatibility: str = "",
        distributions: bool = False,
        timeout: float | None = None,
    ) -> AsyncIterator[LiveDrift]:
        """Yield `live_drift` now and every `interval` seconds; see `Client.watch_drift`."""
        request = drift_calls.drift_request(model, window, alpha, tolerance, distributions, compatibility)
        with self._errors():
            stream = self._pool.method(calls.WATCH_DRIFT)(drift_calls.watch_drift(request, interval), timeout=timeout)
            try:
                async for message in stream:
                    yield drift.live(message)
            finally:
                stream.cancel()

    async def drift_reports(
        self, model: str, *, since: datetime | None = None, until: datetime | None = None, page_size: int = 100
    ) -> AsyncIterator[LiveDrift]:
        """Yield the reports that the server has kept, newest first; see `Client.drift_reports`."""
        token = ""
        while True:
            page, token = await self._send(drift_calls.list_reports(model, since, until, page_size, token), None)
            for entry in page:
                yield entry
            if not token:
                return

    async def acknowledge_alarms(
        self, model: str, features: Iterable[str] = (), *, note: str = "", begin_anew: bool = False
    ) -> Life:
        """Note that alarms were seen, those of some features or all; or end them, with the life they belong to.

        note: at most 1,000 characters. begin_anew: a life with all of alpha begins, from the rows that come now.
        """
        return await self._send(drift_calls.acknowledge_alarms(model, features, note, begin_anew), None)

    async def check_quality(
        self,
        model: str,
        sample: forms.RowsLike = None,
        reference: forms.RowsLike = None,
        *,
        label: str = "",
        live: bool = False,
        window: WindowLike = None,
        timeout: float | None = None,
    ) -> QualityReport:
        """Tell what is wrong with a sample, or, without one, with that of the version's registration.

        reference: rows that none of the sample's should be. label: the column of classes. Columns may be any.
        live: instead, the rows that were predicted lately; window: as for `live_drift`, which implies it.
        """
        return await self._send(drift_calls.check_quality(model, sample, reference, label, live, window), timeout)

    async def set_baseline(self, model: str, sample: forms.RowsLike, *, timeout: float | None = None) -> Baseline:
        """Compute the baseline of a version from at least 2 rows and return it."""
        return await self._send(drift_calls.set_baseline(model, sample), timeout)

    async def baseline(self, model: str) -> Baseline:
        """Return the statistics that a version's data is compared with."""
        return await self._send(drift_calls.get_baseline(model), None)
