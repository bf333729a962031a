"""serval.v1.DriftService."""

import logging
import threading
from collections.abc import Iterator
from dataclasses import replace

import grpc
from serval_protos.v1 import common_pb2, drift_pb2, drift_pb2_grpc
from serval_registry import baseline as baselines
from serval_registry.baseline import Baseline
from serval_registry.errors import FailedPrecondition, InvalidArgument, NotFound, ServalError
from serval_registry.lifecycle.entries import Actor
from serval_registry.model import Ref, Table, Version
from serval_registry.registry import Registry

from serval_server.codec import arrow
from serval_server.codec.columns import Columns
from serval_server.codec.drift import baseline_message, life_message, live_message, report_message
from serval_server.codec.quality import quality_message
from serval_server.codec.records import moment_of
from serval_server.errors import streaming, unary
from serval_server.identity import actor_of
from serval_server.monitor.compare import compare_tables, compare_with_baseline
from serval_server.monitor.likeness import checked, judged_like, window_table
from serval_server.monitor.live import LiveDrift, live_drift
from serval_server.monitor.monitor import Monitor
from serval_server.monitor.quality import QualityReport, check_quality
from serval_server.monitor.quality_live import check_window
from serval_server.monitor.report import DriftReport, Verdict
from serval_server.monitor.severity import weights_of
from serval_server.monitor.verdict import Rule
from serval_server.monitor.windows import Window

WATCH_SECONDS = 5.0
WATCH_SECONDS_LEAST = 0.1
WATCH_SECONDS_MOST = 3600.0
NOTE_MAX = 1000

LOG = logging.getLogger(__name__)


class DriftServicer(drift_pb2_grpc.DriftServiceServicer):
    """Baselines, and samples compared with them."""

    def __init__(self, registry: Registry, monitor: Monitor | None) -> None:
        self._registry = registry
        self._monitor = monitor

    @unary
    def SetBaseline(self, request: drift_pb2.SetBaselineRequest, context: grpc.ServicerContext) -> drift_pb2.Baseline:
        """Compute from a sample and store."""
        version = self._registry.resolve(Ref.parse(request.model))
        table = _columns(version).table(request.sample, "sample")
        exact = baselines.exact_features(version.features, version.signature)
        baseline = baselines.compute(table, version.features, exact=exact)
        stored = baselines.to_bytes(baseline)
        self._registry.set_baseline(version.name, version.version, stored, baseline.rows, actor_of(context))
        return baseline_message(version, baseline)

    @unary
    def GetBaseline(self, request: drift_pb2.GetBaselineRequest, context: grpc.ServicerContext) -> drift_pb2.Baseline:
        """Return what is stored."""
        version = self._registry.resolve(Ref.parse(request.model))
        baseline = self._baseline(version)
        if baseline is None:
            raise NotFound(f"{version.ref} has no baseline; set one with SetBaseline")
        return baseline_message(version, baseline)

    @unary
    def DetectDrift(
        self, request: drift_pb2.DetectDriftRequest, context: grpc.ServicerContext
    ) -> drift_pb2.DriftReport:
        """Compare a sample with the baseline or with a reference."""
        version = self._registry.resolve(Ref.parse(request.model))
        rule = Rule.asked(request.alpha, request.tolerance if request.HasField("tolerance") else None)
        columns, weights, tool = _columns(version), weights_of(version.metrics), checked(request.compatibility)
        current = columns.table(request.current, "current")
        if request.HasField("reference") or tool:
            given = request.HasField("reference")
            reference = columns.table(request.reference, "reference") if given else self._registered(version)
            report = compare_tables(current, reference, version.features, rule, weights)
            if tool:
                report = judged_like(tool, report, current, reference, version.features)
            return report_message(version, report)
        baseline = self._baseline(version)
        if baseline is None:
            raise FailedPrecondition(
                f"{version.ref} has no baseline: register it with a sample, call SetBaseline, or send a reference"
            )
        report = compare_with_baseline(current, baseline, rule, weights)
        self._note(version, report, actor_of(context))
        return report_message(version, report)

    def _note(self, version: Version, report: DriftReport, actor: Actor) -> None:
        """Keep what the report says where it is news; the caller gets the report whether that works or not."""
        if report.verdict is Verdict.INSUFFICIENT_DATA:
            return
        try:
            self._registry.drifts.note(version.ref, str(report.verdict), report.drifted, report.current_rows, actor)
        except ServalError as error:
            LOG.warning("drift of %s is not on record: %s", version.ref, error)

    @unary
    def GetDrift(self, request: drift_pb2.GetDriftRequest, context: grpc.ServicerContext) -> drift_pb2.LiveDrift:
        """Compare what has been predicted lately with the baseline."""
        return self._live(request)

    @streaming
    def WatchDrift(
        self, request: drift_pb2.WatchDriftRequest, context: grpc.ServicerContext
    ) -> Iterator[drift_pb2.LiveDrift]:
        """GetDrift again and again, until the caller has gone."""
        interval = request.interval or WATCH_SECONDS
        if not WATCH_SECONDS_LEAST <= interval <= WATCH_SECONDS_MOST:
            raise InvalidArgument(
                f"interval: {interval:g} seconds; wanted {WATCH_SECONDS_LEAST:g} to {WATCH_SECONDS_MOST:g}"
            )
        gone = threading.Event()
        if not context.add_callback(gone.set):
            return
        while True:
            yield self._live(request.drift)
            if gone.wait(interval):
                return

    @unary
    def ListReports(
        self, request: drift_pb2.ListReportsRequest, context: grpc.ServicerContext
    ) -> drift_pb2.ListReportsReply:
        """One page of the history."""
        ref = Ref.parse(request.model)
        version = self._registry.resolve(ref)
        page, token = self._registry.history.page(
            version.name,
            version.version if ref.version or ref.stage else None,
            since=moment_of(request.since, "since") if request.HasField("since") else None,
            until=moment_of(request.until, "until") if request.HasField("until") else None,
            page_size=request.page_size,
            page_token=request.page_token,
        )
        reports = [drift_pb2.LiveDrift.FromString(content) for content in page]
        return drift_pb2.ListReportsReply(reports=reports, next_page_token=token)

    def _live(self, request: drift_pb2.GetDriftRequest) -> drift_pb2.LiveDrift:
        tolerance = request.tolerance if request.HasField("tolerance") else None
        rule, window, tool = Rule.asked(request.alpha, tolerance), _window(request), checked(request.compatibility)
        version = self._registry.resolve(Ref.parse(request.model))
        monitor = self._monitored()
        seen = monitor.seen(version, window)
        live = live_drift(seen, rule, weights_of(version.metrics))
        if tool:
            live = self._like(tool, version, live)
        life = monitor.life(version)
        return live_message(version, live, seen.layout.baseline, whole=request.include_distributions, life=life)

    def _like(self, tool: str, version: Version, live: LiveDrift) -> LiveDrift:
        """Return a window with the verdicts of another tool, which needs the rows of the reference."""
        if not live.report.features:
            raise FailedPrecondition(f"{version.ref} has no baseline, so nothing was compared")
        reference = self._registered(version)
        current = window_table(live.current, reference)
        return replace(live, report=judged_like(tool, live.report, current, reference, version.features))

    def _registered(self, version: Version) -> Table:
        """Return the features of the sample that a version was registered with."""
        kept = self._registry.sample(version)
        if kept is None:
            raise FailedPrecondition(
                f"{version.ref} has no rows to compare with, which the rules of others need: register it with "
                "keep_sample, or send a reference to DetectDrift"
            )
        return _columns(version).table(common_pb2.Rows(arrow_ipc=kept), "sample")

    @unary
    def AcknowledgeAlarms(
        self, request: drift_pb2.AcknowledgeAlarmsRequest, context: grpc.ServicerContext
    ) -> drift_pb2.Life:
        """Note that alarms were seen, or begin a new life."""
        if len(request.note) > NOTE_MAX:
            raise InvalidArgument(f"note: {len(request.note)} characters; wanted at most {NOTE_MAX}")
        if request.begin_anew and request.features:
            raise InvalidArgument("features: came with begin_anew, which ends the alarms of all; wanted one of the two")
        version, lives = self._registry.resolve(Ref.parse(request.model)), self._monitored().lives
        if request.begin_anew:
            return life_message(lives.begin_anew(version))
        by = actor_of(context).name
        return life_message(lives.acknowledge(version, tuple(request.features), by, request.note))

    def _monitored(self) -> Monitor:
        if self._monitor is None:
            raise FailedPrecondition("this server does not monitor what it predicts; it was started with --no-monitor")
        return self._monitor

    @unary
    def CheckQuality(
        self, request: drift_pb2.CheckQualityRequest, context: grpc.ServicerContext
    ) -> drift_pb2.QualityReport:
        """Check a sample, the one that the version was registered with, or what was predicted lately."""
        version = self._registry.resolve(Ref.parse(request.model))
        if request.HasField("window"):
            return quality_message(version, self._window_quality(version, request))
        reference = None
        if request.HasField("reference"):
            reference = _columns(version).any_table(request.reference, "reference").columns
        sample = self._sample(version, request)
        report = check_quality(
            sample.columns,
            foreign=sample.foreign,
            features=version.features,
            baseline=self._baseline(version),
            label=request.label,
            reference=reference,
        )
        return quality_message(version, report)

    def _window_quality(self, version: Version, request: drift_pb2.CheckQualityRequest) -> QualityReport:
        for name in ("sample", "reference"):
            if request.HasField(name):
                raise InvalidArgument(f"{name}: came with a window, which keeps no rows; wanted one of the two")
        seen = self._monitored().seen(version, _window(request))
        return check_window(live_drift(seen), seen.layout.baseline, request.label)

    def _sample(self, version: Version, request: drift_pb2.CheckQualityRequest) -> arrow.Sample:
        if request.HasField("sample"):
            return _columns(version).any_table(request.sample, "sample")
        kept = self._registry.sample(version)
        if kept is None:
            raise FailedPrecondition(f"{version.ref} was registered without a sample; send one")
        return arrow.read_sample(kept, "sample")

    def _baseline(self, version: Version) -> Baseline | None:
        stored = self._registry.baseline(version.name, version.version)
        return baselines.from_bytes(stored) if stored is not None else None


def _columns(version: Version) -> Columns:
    return Columns(str(version.ref), version.features, version.signature)


def _window(request: drift_pb2.GetDriftRequest | drift_pb2.CheckQualityRequest) -> Window:
    match request.window.WhichOneof("span"):
        case "seconds":
            return Window(seconds=request.window.seconds)
        case "rows":
            return Window(rows=request.window.rows)
        case _:
            return Window()
