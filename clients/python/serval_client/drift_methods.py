"""What a client asks of serval.v1.DriftService."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from datetime import datetime
from typing import TypeVar

from serval_client import calls, drift, drift_calls, forms
from serval_client.channel import Pool
from serval_client.drift import Baseline, DriftReport, LiveDrift, WindowLike
from serval_client.life import Life
from serval_client.quality import QualityReport

Reply = TypeVar("Reply")


class DriftMethods(ABC):
    """The part of `serval_client.Client` that is about drift and the quality of samples."""

    _pool: Pool

    @abstractmethod
    def _send(self, call: calls.Call[Reply], timeout: float | None) -> Reply: ...

    @abstractmethod
    def _errors(self) -> AbstractContextManager[None]: ...

    def drift(
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
        """Compare a current sample with the version's baseline, or with `reference`; both as for `predict`.

        alpha: share of false alarms allowed over all columns together; None means 0.01.
        tolerance: largest effect that does not count, from 0 to below 1; None means 0.04. With 0 any difference counts.
        compatibility: "evidently" or "nannyml" for their verdicts instead; these compare with `reference`, or with the
        sample that was kept of the version's registration.
        """
        return self._send(drift_calls.detect_drift(model, current, reference, alpha, tolerance, compatibility), timeout)

    def acknowledge_alarms(
        self, model: str, features: Iterable[str] = (), *, note: str = "", begin_anew: bool = False
    ) -> Life:
        """Note that alarms were seen, those of some features or all; or end them, with the life they belong to.

        note: at most 1,000 characters. begin_anew: a life with all of alpha begins, from the rows that come now.
        """
        return self._send(drift_calls.acknowledge_alarms(model, features, note, begin_anew), None)

    def check_quality(
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
        return self._send(drift_calls.check_quality(model, sample, reference, label, live, window), timeout)

    def set_baseline(self, model: str, sample: forms.RowsLike, *, timeout: float | None = None) -> Baseline:
        """Compute the baseline of a version from at least 2 rows, in place of what was there, and return it."""
        return self._send(drift_calls.set_baseline(model, sample), timeout)

    def baseline(self, model: str) -> Baseline:
        """Return the statistics that a version's data is compared with."""
        return self._send(drift_calls.get_baseline(model), None)

    def live_drift(
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
        """Compare the rows that a version was asked for lately with its baseline.

        window: a timedelta, seconds, or words: "15m", "1h" (the default), "7d", "5000 rows" (the last ones).
        alpha, tolerance, compatibility: as for `drift`. distributions: fill in `reference`, `current` and `outputs`.
        """
        request = drift_calls.drift_request(model, window, alpha, tolerance, distributions, compatibility)
        return self._send(drift_calls.live_drift(request), timeout)

    def watch_drift(
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
    ) -> Iterator[LiveDrift]:
        """Yield `live_drift` now and every `interval` seconds, until the iterator is closed or `timeout` is over."""
        request = drift_calls.drift_request(model, window, alpha, tolerance, distributions, compatibility)
        with self._errors():
            stream = self._pool.method(calls.WATCH_DRIFT)(drift_calls.watch_drift(request, interval), timeout=timeout)
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
            page, token = self._send(drift_calls.list_reports(model, since, until, page_size, token), None)
            yield from page
            if not token:
                return
