"""The steps of the demonstration, in the order in which a user would take them."""

import json
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import numpy.typing as npt
import pandas as pd
from serval_protos.v1 import common_pb2, prediction_pb2, prediction_pb2_grpc

from serval_client import Client
from serval_client.demo import zoo
from serval_client.demo.checks import Checks, say
from serval_client.demo.process import serval_command
from serval_client.records import ModelInfo

Array = npt.NDArray[np.generic]

TOLERANCE = 1e-5
DEADLINE_SECONDS = 30.0
TRAFFIC_THREADS = 4
TRAFFIC_SECONDS = 1.0  # before and again after the promotion
IN_FLIGHT = 64
SHIFTED_COLUMNS = (3, 11, 20)


def register(client: Client, entries: Iterable[zoo.Entry], checks: Checks) -> list[zoo.Entry]:
    """Fit, export, compare and register each model; return those that are registered."""
    registered = []
    worst = 0.0
    for entry in entries:
        version = register_one(client, entry)
        assert version.parity is not None
        worst = max(worst, version.parity.max_difference)
        score = ", ".join(f"{name} {value}" for name, value in version.metrics.items())
        say(
            f"  {version.ref:<20} {version.algorithm:<28} {version.artifact_bytes / 1024:>8.1f} KiB   "
            f"largest difference {version.parity.max_difference:.1e}   {score}"
        )
        registered.append(entry)
    checks.add(
        "models registered",
        len(registered) >= 8 and worst <= TOLERANCE,
        f"{len(registered)}, exports differ by at most {worst:.1e}",
        "every export was compared with its scikit-learn original on real rows before it was accepted",
    )
    return registered


def register_one(client: Client, entry: zoo.Entry) -> ModelInfo:
    """Register one model with the rows it was fitted on, as named columns."""
    return client.register(
        entry.estimator,
        entry.name,
        sample=entry.data.train,
        description=entry.description,
        metrics=entry.metrics,
        dataset=f"scikit-learn: {entry.data.title}",
        tags={"demo": "yes"},
    )


def predict_with_stubs(address: str, entries: Iterable[zoo.Entry], checks: Checks) -> None:
    """Compare held-out rows with scikit-learn through the generated stubs: one batch, then single rows."""
    rows = mismatches = 0
    worst = 0.0
    with grpc.insecure_channel(address) as channel:
        stub = prediction_pb2_grpc.PredictionServiceStub(channel)
        for entry in entries:
            held = entry.data.held
            batch = stub.BatchPredict(_batch_request(entry.name, held), timeout=DEADLINE_SECONDS)
            outputs = {tensor.name: _array(tensor) for tensor in batch.outputs}
            difference, changed = compare(entry, held, outputs)
            single = stub.Predict(
                prediction_pb2.PredictRequest(model=entry.name, values=held.iloc[0].tolist()), timeout=DEADLINE_SECONDS
            )
            first = {output.name: _typed(output) for output in single.outputs}
            one_difference, one_changed = compare(entry, held[:1], first)
            worst = max(worst, difference, one_difference)
            mismatches += changed + one_changed
            rows += len(held) + 1
    checks.add(
        "generated stubs agree with scikit-learn",
        mismatches == 0 and worst <= TOLERANCE,
        f"{rows} held-out rows, {mismatches} labels changed, scores differ by at most {worst:.1e}",
        "Predict and BatchPredict answer what the original model answers",
    )


def predict_with_triton(address: str, entries: Iterable[zoo.Entry], checks: Checks) -> None:
    """Compare held-out rows with scikit-learn through an unmodified tritonclient."""
    import tritonclient.grpc as triton

    rows = mismatches = 0
    worst = 0.0
    client = triton.InferenceServerClient(address)
    for entry in entries:
        held = entry.data.held
        tensor = triton.InferInput("X", list(held.shape), "FP32")
        tensor.set_data_from_numpy(np.ascontiguousarray(held))
        result = client.infer(entry.name, [tensor])
        outputs = {output.name: result.as_numpy(output.name) for output in result.get_response().outputs}
        difference, changed = compare(entry, held, outputs)
        worst = max(worst, difference)
        mismatches += changed
        rows += len(held)
    client.close()
    checks.add(
        "tritonclient agrees with scikit-learn",
        mismatches == 0 and worst <= TOLERANCE,
        f"{rows} held-out rows, {mismatches} labels changed, scores differ by at most {worst:.1e}",
        "clients of the Open Inference Protocol work unchanged",
    )


def compare(entry: zoo.Entry, rows: pd.DataFrame, outputs: dict[str, Array]) -> tuple[float, int]:
    """Return the largest difference of scores (relative above 1) and the number of labels that differ."""
    if not entry.is_classifier:
        wanted = entry.estimator.predict(rows)
        got = next(iter(outputs.values())).reshape(-1)
        return float(np.max(np.abs(got - wanted) / np.maximum(1, np.abs(wanted)))), 0
    changed = int(np.sum(outputs["label"] != entry.estimator.predict(rows)))
    if not hasattr(entry.estimator, "predict_proba"):
        return 0.0, changed
    return float(np.max(np.abs(outputs["probabilities"] - entry.estimator.predict_proba(rows)))), changed


def promote_under_traffic(address: str, client: Client, data: zoo.Split, checks: Checks) -> None:
    """Put version 1 into production, then version 2 while threads call the bare name without a pause."""
    client.set_stage("cancer-logistic@1", "production")
    second = register_one(client, zoo.second_logistic(data))
    callers = [_Caller(address, "cancer-logistic", data.held.iloc[0].tolist()) for _ in range(TRAFFIC_THREADS)]
    for caller in callers:
        caller.start()
    time.sleep(TRAFFIC_SECONDS)
    change = client.set_stage(second.ref, "production")
    time.sleep(TRAFFIC_SECONDS)
    for caller in callers:
        caller.stop()
    calls = sum(len(caller.versions) for caller in callers)
    failed = [error for caller in callers for error in caller.errors]
    orderly = all(caller.versions == sorted(caller.versions) and set(caller.versions) == {1, 2} for caller in callers)
    checks.add(
        "promotion under traffic",
        not failed and orderly and change.archived_version == 1,
        f"{calls} calls, {len(failed)} failed, each caller saw version 1 and then version 2",
        "the new version was loaded before the route moved; nobody waited and nobody failed",
    )


class _Caller(threading.Thread):
    """Calls a model again and again, and notes which version answered."""

    def __init__(self, address: str, model: str, row: list[float]) -> None:
        super().__init__(daemon=True)
        self._channel = grpc.insecure_channel(address, [("grpc.use_local_subchannel_pool", 1)])
        self._request = prediction_pb2.PredictRequest(model=model, values=row)
        self._stopping = threading.Event()
        self.versions: list[int] = []
        self.errors: list[grpc.RpcError] = []

    def run(self) -> None:
        stub = prediction_pb2_grpc.PredictionServiceStub(self._channel)
        while not self._stopping.is_set():
            try:
                self.versions.append(stub.Predict(self._request, timeout=DEADLINE_SECONDS).version)
            except grpc.RpcError as error:
                self.errors.append(error)

    def stop(self) -> None:
        """End after the call in flight."""
        self._stopping.set()
        self.join()
        self._channel.close()


def watch_drift(client: Client, data: zoo.Split, checks: Checks) -> None:
    """Ask for drift on held-out rows as they are, and again with three columns shifted."""
    quiet = client.drift("cancer-forest", data.held)
    checks.add(
        "no drift on held-out rows",
        quiet.verdict == "no_drift" and not quiet.drifted,
        f"{quiet.current_rows} rows, {len(quiet.features)} columns, largest KS distance "
        f"{max(feature.effect for feature in quiet.features):.3f}",
        "the other half of the same data is not mistaken for drift",
    )
    shifted = data.held.copy()
    moved = [str(shifted.columns[place]) for place in SHIFTED_COLUMNS]
    shifted[moved] += 1.5 * data.train[moved].std()
    report = client.drift("cancer-forest", shifted)
    for name in report.drifted:
        found = report[name]
        say(f"    {name:<18} KS {found.ks:.3f}   PSI {found.psi:.2f}   mean moved {found.mean_shift:+.2f} sd")
    checks.add(
        "drift is found and named",
        set(report.drifted) == set(moved),
        f"named {', '.join(report.drifted)}",
        "exactly the three columns that were moved by 1.5 standard deviations",
    )


def search(client: Client, checks: Checks) -> None:
    """Find models by words and by example."""
    found = client.search("random forest for breast cancer", k=3)
    for hit in found:
        say(f"    {hit.similarity:.3f}  {hit.model.ref:<20} {hit.model.algorithm}")
    checks.add(
        "search by words",
        found[0].model.name == "cancer-forest",
        f"'random forest for breast cancer' finds {found[0].model.ref} ({found.path} search)",
        "models are found by what they are",
    )
    alike = client.search(like="diabetes-forest@1", k=3)
    names = {hit.model.name for hit in alike}
    checks.add(
        "search by example",
        "diabetes-forest" not in names and {"diabetes-boosting", "diabetes-ridge"} <= names,
        f"like diabetes-forest@1: {', '.join(hit.model.ref for hit in alike)}",
        "the nearest by vector: both other models of the same data are among the first three",
    )


def load(address: str, seconds: float, checks: Checks) -> None:
    """Run the load harness against the server."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "load.json"
        command = [
            *(serval_command(), "bench", "--server", address, "--model", "cancer-logistic", "--method", "Predict"),
            *("--in-flight", str(IN_FLIGHT), "--seconds", str(seconds), "--json", str(out)),
        ]
        code = subprocess.run(command, check=False).returncode
        result: dict[str, Any] = json.loads(out.read_text()) if code == 0 else {}
    if result:
        latency = result["latency"]
        figure = (
            f"{result['calls_per_second']:,.0f} calls/s, "
            f"p50 {latency['p50'] / 1e6:.2f} ms, p99 {latency['p99'] / 1e6:.2f} ms"
        )
    else:
        figure = f"serval bench ended with code {code}"
    checks.add(
        "load test",
        code == 0,
        figure,
        f"one row a call, {IN_FLIGHT} in flight, client and server on the same cores, for {seconds:g} s",
    )


def _batch_request(model: str, rows: pd.DataFrame) -> prediction_pb2.BatchPredictRequest:
    matrix = np.ascontiguousarray(rows, np.float32)
    tensor = common_pb2.Tensor(datatype=common_pb2.FP32, shape=matrix.shape, data=matrix.tobytes())
    return prediction_pb2.BatchPredictRequest(model=model, rows=common_pb2.Rows(tensor=tensor))


def _array(tensor: common_pb2.Tensor) -> Array:
    dtype = {common_pb2.FP32: np.float32, common_pb2.INT64: np.int64, common_pb2.FP64: np.float64}[tensor.datatype]
    return np.frombuffer(tensor.data, dtype).reshape(tensor.shape)


def _typed(output: prediction_pb2.Output) -> Array:
    values = list(output.floats) or list(output.doubles) or list(output.integers) or list(output.strings)
    return np.array(values).reshape(output.shape)
