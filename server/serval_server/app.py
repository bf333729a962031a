"""The only place that knows every room: it builds them, wires them together, and runs them until told to stop."""

import contextlib
import gc
import hashlib
import logging
import os
import resource
import threading
import time
from collections.abc import Callable, Iterable
from datetime import timedelta
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2_grpc
from serval_protos import services as contract
from serval_protos.inference import open_inference_pb2_grpc
from serval_protos.v1 import drift_pb2_grpc, lifecycle_pb2_grpc, prediction_pb2_grpc, registry_pb2_grpc
from serval_registry.housekeeping import Retention
from serval_registry.model import Ref, Stage, Version
from serval_registry.registry import Registry
from serval_registry.search import INDEX_THRESHOLD

from serval_server.codec.listed import PAGE_FORMAT
from serval_server.config import BACKGROUND_SECONDS, Options, Transport, Warm
from serval_server.engine.availability import Availability
from serval_server.engine.catalogue import Catalogue
from serval_server.engine.probing import Prober
from serval_server.engine.router import Router, every_version
from serval_server.monitor.monitor import Monitor
from serval_server.monitor.verdict import Rule
from serval_server.services.drift import DriftServicer
from serval_server.services.lifecycle import LifecycleServicer
from serval_server.services.open_inference import OpenInferenceServicer
from serval_server.services.prediction import PredictionServicer
from serval_server.services.registry import RegistryServicer
from serval_server.signals import INTERRUPTED, told_to_stop
from serval_server.spare import SpareTime
from serval_server.transport.grpcio.server import GrpcioTransport
from serval_server.transport.threads import give_streams_their_own_threads

if TYPE_CHECKING:
    from prometheus_client.registry import Collector

    from serval_server.metrics import Metrics
    from serval_server.transport.vectorized.transport import VectorizedTransport

LOG = logging.getLogger(__name__)

SERVICE_NAMES = tuple(service.full_name for service in contract.SERVICES)
WATCH_SECONDS = 1.0
WARM_MAX = 256  # a start waits for no more models than these; any other is loaded by its first call
OVERALL = ""  # the health service's name for the whole server


class App:
    """One serving process: its registry, engine, services and transport."""

    def __init__(self, options: Options, *, share_port: bool = False) -> None:
        self._options = options
        self.registry = _open_registry(options)
        availability = Availability(self.registry.storage)
        self._spare = SpareTime() if options.transport is Transport.VECTORIZED else None
        self.monitor = (
            Monitor(
                self.registry,
                _monitor_folder(options.data),
                options.monitor_seconds,
                options.report_seconds,
                Rule(options.alarm_alpha, options.alarm_tolerance),
                self._spare,
            )
            if options.monitor
            else None
        )
        self._metrics = self._new_metrics(options, shared=share_port)
        on_load = self.monitor.watch if self.monitor is not None else lambda _: None
        self.catalogue = Catalogue(self.registry.artifact, options.memory_bytes, on_load)
        self.router = Router(self.registry, self.catalogue, availability)
        self._prober = Prober(self.registry)
        self._health = health.HealthServicer()
        self._open_inference = OpenInferenceServicer(self.router, self.catalogue, self.registry, availability)
        self._transport = self._new_transport(options, share_port)
        self._register_services()
        self.port = 0

    def start(self) -> None:
        """Bind, load what is to be warm, and then answer."""
        self.port = self._transport.listen()
        self.router.start()
        self._prober.start()
        if self.monitor is not None:
            self.monitor.start()
        if self._metrics is not None:
            self._metrics.start()
        self.router.warm(self._refs_to_warm())
        self._open_inference.ready = True
        self._set_health(health_pb2.HealthCheckResponse.SERVING)
        gc.collect()
        gc.enable()
        gc.freeze()  # what is here now stays: collections during calls need not walk through it
        self._transport.start()

    def has_ended(self) -> bool:
        """Tell whether the transport has failed: a process that serves nothing is not to stay."""
        return self._transport.has_ended()

    def stop(self) -> None:
        """Drain: say NOT_SERVING, give balancers time to see it, let calls in flight end, then close."""
        self._open_inference.ready = False
        self._set_health(health_pb2.HealthCheckResponse.NOT_SERVING)
        time.sleep(self._options.drain_seconds)
        self._transport.stop()
        if self._metrics is not None:
            self._metrics.stop()
        if self.monitor is not None:
            self.monitor.stop()
        self._prober.stop()
        self.router.stop()
        self.registry.close()

    def _new_transport(self, options: Options, share_port: bool) -> "GrpcioTransport | VectorizedTransport":
        """Return the transport; the vectorized one compiles when it is imported, and shows that first."""
        if options.transport is Transport.GRPCIO:
            return GrpcioTransport(options, share_port=share_port)
        from serval_server.transport.vectorized.transport import VectorizedTransport

        transport = VectorizedTransport(options, share_port=share_port, spare=self._spare)
        transport.add_methods(self.router)
        return transport

    def _new_metrics(self, options: Options, *, shared: bool) -> "Metrics | None":
        if options.metrics is None:
            return None
        from serval_server.metrics import Address, Metrics
        from serval_server.monitor.metrics import DriftCollector
        from serval_server.registry_metrics import RegistryCollector

        collectors: list[Collector] = [RegistryCollector(self.registry)]
        if self.monitor is not None:
            collectors.append(DriftCollector(self.registry, self.monitor))
        return Metrics(Address.parse(options.metrics), collectors, shared=shared)

    def _register_services(self) -> None:
        server = self._transport.server
        prediction = PredictionServicer(self.router)
        registry = RegistryServicer(self.registry, self.router, self._options, self._prober.wake)
        prediction_pb2_grpc.add_PredictionServiceServicer_to_server(prediction, server)
        registry_pb2_grpc.add_RegistryServiceServicer_to_server(registry, server)
        lifecycle = LifecycleServicer(self.registry, self.router)
        lifecycle_pb2_grpc.add_LifecycleServiceServicer_to_server(lifecycle, server)
        drift = DriftServicer(self.registry, self.monitor)
        drift_pb2_grpc.add_DriftServiceServicer_to_server(drift, server)
        open_inference_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(self._open_inference, server)
        streaming = (
            (prediction, contract.PREDICTION),
            (registry, contract.REGISTRY),
            (drift, contract.DRIFT),
            (self._open_inference, contract.OPEN_INFERENCE),
        )
        for servicer, service in streaming:
            give_streams_their_own_threads(servicer, service)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        _add_reflection(server)

    def _set_health(self, status: "health_pb2.HealthCheckResponse.ServingStatus") -> None:
        for name in (OVERALL, *SERVICE_NAMES):
            self._health.set(name, status)

    def _refs_to_warm(self) -> list[Ref]:
        """Return the names to load; a bare name is what its callers will ask for."""
        match self._options.warm:
            case Warm.NONE:
                versions: Iterable[Version] = ()
            case Warm.PRODUCTION:
                versions = islice(every_version(self.registry, stages=[Stage.PRODUCTION]), WARM_MAX)
            case Warm.ALL:
                versions = islice(every_version(self.registry, latest_only=True), WARM_MAX)
        return [Ref(version.name) for version in versions]


def run(options: Options, *, share_port: bool = False, on_ready: Callable[[App], None]) -> None:
    """Serve until a signal says to stop, then drain."""
    stopping = told_to_stop(_interrupt)
    over = _leaves_after(options.drain_seconds + options.grace_seconds + BACKGROUND_SECONDS)
    _have_files()
    app = App(options, share_port=share_port)
    app.start()
    on_ready(app)
    while not stopping.wait(WATCH_SECONDS):
        if app.has_ended():
            LOG.error("the transport has ended by itself; what is said above tells why")
            os._exit(1)  # without waiting for handlers: who starts the process again does so at its end
    LOG.info("draining")
    over.set()
    app.stop()  # and then the interpreter waits for the threads of executors, as long as they take


def _leaves_after(seconds: float) -> threading.Event:
    """Return what has the process end so long after it is set. Its thread is there before it may not be had."""
    over = threading.Event()

    def leave() -> None:
        over.wait()
        time.sleep(seconds)
        _leave()

    threading.Thread(target=leave, name="serval-overdue", daemon=True).start()
    return over


def _have_files() -> None:
    """Take as many file descriptors as the process may have: the usual 1,024 are for programs that call select(2)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(OSError, ValueError):  # then those that there are have to do
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _interrupt() -> None:
    """End the process within its drain, as a second Ctrl-C wants it."""
    LOG.warning("interrupted in the drain: calls in flight are cut off")
    os._exit(INTERRUPTED)


def _leave() -> None:
    """End the process now. All that is stored is stored such that a crash loses none of it."""
    LOG.warning("work in the background did not end in %.0f s; it is left, and done again later", BACKGROUND_SECONDS)
    os._exit(0)


def _open_registry(options: Options) -> Registry:
    retention = Retention(content=timedelta(days=options.retention_days))
    threshold = INDEX_THRESHOLD if options.index_threshold is None else options.index_threshold
    return Registry.open(
        options.data,
        durability=options.durability,
        index_threshold=threshold,
        retention=retention,
        page_format=PAGE_FORMAT,
    )


def _add_reflection(server: grpc.Server) -> None:
    names = (*SERVICE_NAMES, health.SERVICE_NAME, reflection.SERVICE_NAME)
    pool = contract.reflection_pool(health_pb2.DESCRIPTOR, reflection._reflection_pb2.DESCRIPTOR)
    servicer = reflection.ReflectionServicer(names, pool=pool)
    service = reflection._reflection_pb2.DESCRIPTOR.services_by_name["ServerReflection"]
    give_streams_their_own_threads(servicer, service)
    reflection_pb2_grpc.add_ServerReflectionServicer_to_server(servicer, server)


def _monitor_folder(data: Path | str) -> Path:
    """Return where the workers of this machine keep what they have seen: in the registry's folder, where it has one."""
    text = str(data)
    if "://" not in text:
        return Path(text) / "monitor"
    base = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    return base / "serval" / "monitor" / hashlib.sha256(text.encode()).hexdigest()[:16]
