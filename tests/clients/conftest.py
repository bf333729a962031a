"""A server of the contract on a real socket: everything in memory, a model that adds up its features."""

import hashlib
import time
from collections.abc import Iterator
from concurrent import futures

import grpc
import numpy as np
import pyarrow as pa
import pytest
from serval_client import Client
from serval_protos.v1 import (
    common_pb2,
    drift_pb2,
    drift_pb2_grpc,
    prediction_pb2,
    prediction_pb2_grpc,
    registry_pb2,
    registry_pb2_grpc,
)

FEATURES = ("width", "height")


class Server(
    prediction_pb2_grpc.PredictionServiceServicer,
    registry_pb2_grpc.RegistryServiceServicer,
    drift_pb2_grpc.DriftServiceServicer,
):
    """Answers as the contract says; `seen` has the requests by method, `failures` what a method fails with next."""

    def __init__(self):
        self.seen = {}
        self.failures = {}
        self.peers = set()
        self.versions = {}
        self.artifacts = {}
        self.vectors = {}
        self.serving = 1
        self.delay_seconds = 0
        self.promote_after_batch = None

    def enter(self, method, request, context):
        self.seen.setdefault(method, []).append(request)
        self.peers.add(context.peer())
        time.sleep(self.delay_seconds)
        pending = self.failures.get(method)
        if pending:
            context.abort(*pending.pop(0))

    def find(self, model, context):
        name, _, tail = model.partition("@")
        versions = self.versions.get(name, [])
        wanted = [tail] if tail else ["production", ""]
        for tail, version in ((tail, version) for tail in wanted for version in reversed(versions)):
            if not tail or tail == str(version.version) or tail == common_pb2.Stage.Name(version.stage).lower():
                return version
        return context.abort(grpc.StatusCode.NOT_FOUND, f"model: there is no {model!r}")

    # Predictions

    def Predict(self, request, context):
        self.enter("Predict", request, context)
        version = self.find(request.model, context)
        try:
            return self._predict(request, version)
        except ValueError as error:
            return context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))

    def _predict(self, request, version):
        if request.rows:
            matrix = np.array([[row.features[name].number for name in FEATURES] for row in request.rows])
        else:
            if len(request.values) % len(FEATURES):
                raise ValueError(f"values: got {len(request.values)} numbers")
            matrix = np.array(request.values).reshape(-1, len(FEATURES))
        reply = prediction_pb2.PredictReply(name=version.name, version=version.version, id=request.id)
        label, shares = answers(matrix)
        rows = len(matrix)
        reply.outputs.add(name="label", datatype="INT64", shape=[rows], integers=label)
        reply.outputs.add(name="probabilities", datatype="FP32", shape=[rows, 2], floats=shares.ravel())
        reply.outputs.add(name="name", datatype="STRING", shape=[rows], strings=["small", "big"][: 2 * rows])
        if rows != 2:
            del reply.outputs[-1]
        if request.outputs:
            kept = {output.name: output for output in reply.outputs}
            del reply.outputs[:]
            reply.outputs.extend(kept[name] for name in request.outputs)
        return reply

    def PredictStream(self, request_iterator, context):
        for request in request_iterator:
            self.seen.setdefault("PredictStream", []).append(request)
            version = self.find(request.model, context)
            try:
                yield prediction_pb2.PredictStreamReply(reply=self._predict(request, version))
            except ValueError as error:
                yield prediction_pb2.PredictStreamReply(error=common_pb2.Error(code=3, message=str(error)))

    def BatchPredict(self, request, context):
        self.enter("BatchPredict", request, context)
        version = self.find(request.model, context)
        reply = prediction_pb2.BatchPredictReply(name=version.name, version=version.version, id=request.id)
        if request.tensors:
            for tensor in request.tensors:
                reply.outputs.add().CopyFrom(tensor)
            return reply
        matrix = matrix_of(request.rows)
        label, shares = answers(matrix)
        rows = len(matrix)
        reply.outputs.add(name="label", datatype="INT64", shape=[rows], data=label.tobytes())
        reply.outputs.add(name="probabilities", datatype="FP32", shape=[rows, 2], data=shares.tobytes())
        if self.promote_after_batch:
            self.promote_after_batch()
        return reply

    # Registry

    def RegisterModel(self, request_iterator, context):
        header, artifact, sample, sizes = None, b"", b"", []
        for message in request_iterator:
            if message.WhichOneof("part") == "header":
                header = message.header
            else:
                sizes.append(len(message.artifact_chunk) or len(message.sample_chunk))
                artifact += message.artifact_chunk
                sample += message.sample_chunk
        self.enter("RegisterModel", (header, artifact, sample, sizes), context)
        if hashlib.sha256(artifact).hexdigest() != header.artifact_sha256:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "artifact: does not match artifact_sha256")
        versions = self.versions.setdefault(header.name, [])
        version = registry_pb2.ModelVersion(
            name=header.name,
            version=len(versions) + 1,
            stage=common_pb2.NONE,
            description=header.description,
            tags=header.tags,
            metrics=header.metrics,
            hyperparameters=header.hyperparameters,
            algorithm=header.algorithm,
            framework=header.framework,
            dataset=header.dataset,
            features=header.features,
            classes=header.classes,
            artifact_sha256=header.artifact_sha256,
            artifact_bytes=len(artifact),
            vector_source="user" if header.vector else "default",
            missing_allowed=header.missing == registry_pb2.MISSING_ALLOWED,
        )
        if not version.features:
            for column, name in enumerate(FEATURES):
                version.features.add(name=name, kind="NUMERIC", input="X", column=column)
        version.inputs.add(name="X", datatype="FP32", shape=[-1, 2])
        version.outputs.add(name="label", datatype="INT64", shape=[-1])
        version.opsets[""] = 17
        if sample:
            version.baseline_rows = len(matrix_of(common_pb2.Rows.FromString(sample)))
        if header.HasField("parity"):
            version.parity.CopyFrom(header.parity)
        version.created.FromSeconds(1_700_000_000)
        version.updated.FromSeconds(1_700_000_060)
        versions.append(version)
        self.artifacts[version.name, version.version] = artifact
        self.vectors[version.name, version.version] = list(header.vector)
        return version

    def GetModel(self, request, context):
        self.enter("GetModel", request, context)
        version = self.find(request.model, context)
        reply = registry_pb2.GetModelReply(version=version)
        for other in reversed(self.versions[version.name]):
            reply.versions.add(version=other.version, stage=other.stage, created=other.created)
        if request.include_vector:
            reply.vector.extend(self.vectors[version.name, version.version])
        return reply

    def ListModels(self, request, context):
        self.enter("ListModels", request, context)
        found = [
            version
            for name in sorted(self.versions)
            for version in self.versions[name]
            if (not request.name or request.name == name)
            and (not request.stages or version.stage in request.stages)
            and all(version.tags.get(key) == value for key, value in request.tags.items())
        ]
        start, size = int(request.page_token or 0), request.page_size or 100
        end = start + size
        return registry_pb2.ListModelsReply(
            versions=found[start:end], next_page_token=str(end) if end < len(found) else ""
        )

    def SearchModels(self, request, context):
        self.enter("SearchModels", request, context)
        reply = registry_pb2.SearchModelsReply(path=registry_pb2.EXACT)
        for rank, name in enumerate(sorted(self.versions)):
            reply.hits.add(version=self.versions[name][-1], similarity=1 - rank / 4)
        return reply

    def SetStage(self, request, context):
        self.enter("SetStage", request, context)
        version = self.find(request.model, context)
        reply = registry_pb2.SetStageReply()
        for other in self.versions[version.name]:
            if other.stage == request.stage == common_pb2.PRODUCTION:
                other.stage = common_pb2.ARCHIVED
                reply.archived_version = other.version
        version.stage = request.stage
        reply.version.CopyFrom(version)
        return reply

    def DeleteVersion(self, request, context):
        self.enter("DeleteVersion", request, context)
        version = self.find(request.model, context)
        if version.stage == common_pb2.PRODUCTION:
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, f"model: {request.model} is in production")
        self.versions[version.name].remove(version)
        return registry_pb2.DeleteVersionReply(name=version.name, version=version.version)

    def DownloadArtifact(self, request, context):
        self.enter("DownloadArtifact", request, context)
        version = self.find(request.model, context)
        data = self.artifacts[version.name, version.version]
        yield registry_pb2.DownloadArtifactReply(
            header=registry_pb2.ArtifactHeader(
                name=version.name, version=version.version, sha256=version.artifact_sha256, bytes=len(data)
            )
        )
        for start in range(0, len(data), 1 << 20):
            yield registry_pb2.DownloadArtifactReply(chunk=data[start : start + (1 << 20)])

    # Drift

    def SetBaseline(self, request, context):
        self.enter("SetBaseline", request, context)
        version = self.find(request.model, context)
        version.baseline_rows = len(matrix_of(request.sample))
        return self.GetBaseline(drift_pb2.GetBaselineRequest(model=request.model), context)

    def GetBaseline(self, request, context):
        version = self.find(request.model, context)
        if not version.baseline_rows:
            context.abort(grpc.StatusCode.NOT_FOUND, f"model: {request.model} has no baseline")
        reply = drift_pb2.Baseline(name=version.name, version=version.version, rows=version.baseline_rows)
        reply.features.add(
            feature="width", kind="NUMERIC", rows=version.baseline_rows, edges=[0, 1], counts=[1, 2, 3], variance=0.5
        )
        reply.features.add(feature="height", kind="TEXT", categories=["a"], category_counts=[3])
        return reply

    def DetectDrift(self, request, context):
        self.enter("DetectDrift", request, context)
        version = self.find(request.model, context)
        current = matrix_of(request.current)
        against_baseline = not request.HasField("reference")
        if against_baseline and not version.baseline_rows:
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, f"model: {request.model} has no baseline")
        rows = version.baseline_rows if against_baseline else len(matrix_of(request.reference))
        reply = drift_pb2.DriftReport(
            name=version.name,
            version=version.version,
            reference_rows=rows,
            current_rows=len(current),
            alpha=request.alpha or 0.01,
            tolerance=request.tolerance or 0.1,
            against_baseline=against_baseline,
            rule="effect over tolerance",
        )
        for name, column in zip(FEATURES, current.T, strict=True):
            effect = min(float(np.abs(column).mean()) / 100, 1)
            verdict = drift_pb2.INSUFFICIENT_DATA
            if len(current) >= 10:
                verdict = drift_pb2.DRIFT if effect > reply.tolerance else drift_pb2.NO_DRIFT
            reply.features.add(feature=name, kind="NUMERIC", verdict=verdict, effect=effect, p_value=0.5, ks=effect)
        verdicts = [feature.verdict for feature in reply.features]
        reply.verdict = next(
            v for v in (drift_pb2.DRIFT, drift_pb2.INSUFFICIENT_DATA, drift_pb2.NO_DRIFT) if v in verdicts
        )
        reply.drifted.extend(feature.feature for feature in reply.features if feature.verdict == drift_pb2.DRIFT)
        return reply

    def GetDrift(self, request, context):
        self.enter("GetDrift", request, context)
        return self.live(request, context)

    def WatchDrift(self, request, context):
        self.enter("WatchDrift", request, context)
        for rows in (100, 200, 300):
            yield self.live(request.drift, context, rows)

    def ListReports(self, request, context):
        self.enter("ListReports", request, context)
        page = int(request.page_token or 0)
        reports = [self.live(drift_pb2.GetDriftRequest(model=request.model), context, 10 * page + i) for i in range(2)]
        return drift_pb2.ListReportsReply(reports=reports, next_page_token="" if page == 2 else str(page + 1))

    def live(self, request, context, rows=100):
        """A window in which width moved and height has a new category."""
        version = self.find(request.model, context)
        report = drift_pb2.DriftReport(
            name=version.name, version=version.version, verdict="DRIFT", drifted=["width"], alpha=0.01, tolerance=0.1
        )
        report.features.add(feature="height", kind="TEXT", verdict="NO_DRIFT", effect=0.05, unseen=["<b>tall</b>"])
        report.features.add(
            feature="width", kind="NUMERIC", verdict="DRIFT", effect=0.7, outside_range=0.71, ks=0.7,
            reference_mean=1.0, current_mean=2.0, mean_shift=1.5,
        )  # fmt: skip
        report.compatibility = request.compatibility
        reply = drift_pb2.LiveDrift(report=report, rows=rows, unobserved=7, other_rows=3)
        reply.start.FromSeconds(1_800_000_000)
        reply.end.FromSeconds(1_800_000_000 + 60)
        reply.life.CopyFrom(self.life())
        if request.include_distributions:
            edges = [-1.0, 0.0, 0.5, 1.0]
            numbers = {"feature": "width", "kind": "NUMERIC", "edges": edges, "minimum": -2.0, "maximum": 3.0}
            texts = {"feature": "height", "kind": "TEXT"}
            reply.reference.add(rows=10, counts=[1, 2, 4, 2, 1], **numbers)
            reply.reference.add(rows=10, categories=["short"], category_counts=[10], **texts)
            reply.current.add(rows=10, counts=[0, 0, 0, 0, 10], **numbers)
            reply.current.add(rows=10, categories=["short", "<b>tall</b>"], category_counts=[9, 1], **texts)
            reply.outputs.add(feature="score", kind="NUMERIC", rows=10, edges=[0.5], counts=[5, 5], maximum=1.0)
            reply.outputs.add(feature="label", kind="TEXT", rows=10, categories=["yes"], category_counts=[10])
            reply.outputs.add(feature="silent", kind="NUMERIC", rows=0, edges=[0.5], counts=[0, 0])
        return reply

    def life(self):
        """A life in which width has an alarm."""
        life = drift_pb2.Life(number=1, rows=12_300, looks=99, alpha=0.01, tolerance=0.04, p_value=1e-9, rule="Rule.")
        life.columns.add(feature="height", p_value=0.5)
        alarm = life.columns.add(feature="width", p_value=1e-9).alarm
        alarm.row, alarm.effect, alarm.effect_lower, alarm.effect_upper, alarm.window_rows = 4200, 0.3, 0.1, 0.5, 400
        alarm.since.FromSeconds(1_800_000_030)
        life.alarmed.append("width")
        life.began.FromSeconds(1_800_000_000)
        return life

    def AcknowledgeAlarms(self, request, context):
        self.enter("AcknowledgeAlarms", request, context)
        self.find(request.model, context)
        life = self.life()
        if request.begin_anew:
            del life.columns[:], life.alarmed[:]
            return drift_pb2.Life(number=2, alpha=0.01, p_value=1.0, began=life.began)
        alarm = life.columns[1].alarm
        alarm.acknowledged_by, alarm.note = "ann", request.note
        alarm.acknowledged.FromSeconds(1_800_000_090)
        return life

    def Check(self, request, _context):
        self.seen.setdefault("Check", []).append(request)
        return bytes([0x08, self.serving])


def answers(matrix):
    """The model: label 1 where the features add up to more than 0."""
    total = matrix.sum(axis=1)
    share = 1 / (1 + np.exp(-total))
    return (total > 0).astype(np.int64), np.stack([1 - share, share], axis=1).astype(np.float32)


def matrix_of(rows):
    """The rows of a Rows message as a matrix in feature order."""
    if rows.WhichOneof("data") == "tensor":
        dtypes = {common_pb2.FP32: np.float32, common_pb2.FP64: np.float64, common_pb2.INT64: np.int64}
        return np.frombuffer(rows.tensor.data, dtypes[rows.tensor.datatype]).reshape(rows.tensor.shape)
    table = pa.ipc.open_stream(rows.arrow_ipc).read_all()
    return np.stack([table.column(name).to_numpy() for name in FEATURES], axis=1)


def start(servicer, credentials=None, address="127.0.0.1:0"):
    """Start a grpcio server and return it with its port."""
    server = grpc.server(
        futures.ThreadPoolExecutor(8), options=[("grpc.max_receive_message_length", 64 << 20), ("grpc.so_reuseport", 0)]
    )
    prediction_pb2_grpc.add_PredictionServiceServicer_to_server(servicer, server)
    registry_pb2_grpc.add_RegistryServiceServicer_to_server(servicer, server)
    drift_pb2_grpc.add_DriftServiceServicer_to_server(servicer, server)
    check = grpc.unary_unary_rpc_method_handler(servicer.Check)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("grpc.health.v1.Health", {"Check": check}),))
    insecure = credentials is None
    port = server.add_insecure_port(address) if insecure else server.add_secure_port(address, credentials)
    server.start()
    return server, port


@pytest.fixture
def servicer():
    return Server()


@pytest.fixture
def serve():
    """Start servers as `start` does; those that a test leaves running are stopped after it."""
    servers = []

    def started(*args, **kwargs):
        server, port = start(*args, **kwargs)
        servers.append(server)
        return server, port

    yield started
    for server in servers:
        server.stop(None).wait()


@pytest.fixture
def target(servicer, serve):
    return f"127.0.0.1:{serve(servicer)[1]}"


@pytest.fixture
def client(target) -> Iterator[Client]:
    with Client(target, timeout=20) as opened:
        yield opened


@pytest.fixture
def registered(client):
    """One version of a model "area", without a sample."""
    return client.register(b"onnx bytes", "area")
