"""Many models in one process: what they hold, and that any of them answers. SERVAL_MODELS=1000 takes minutes."""

import os
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from serval_e2e import connect, registration
from serval_protos.inference import open_inference_pb2 as pb
from serval_protos.v1 import prediction_pb2
from skl2onnx import to_onnx
from sklearn.linear_model import LogisticRegression

pytestmark = pytest.mark.slow("both")

COUNT = int(os.environ.get("SERVAL_MODELS", "40"))
TIMEOUT = 60.0
LIMIT_MB = 20 + 0.18 * COUNT  # 200 for a thousand


def resident_mb(pid: int) -> float:
    with open(f"/proc/{pid}/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmRSS")) / 1024


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_many_logistic_regressions(serve, trained) -> None:
    train = trained["cancer"].train
    labels = trained["cancer"].estimator.predict(train)
    model = LogisticRegression(max_iter=50).fit(train / train.max(axis=0), labels)
    onnx = to_onnx(model, train[:1], options={"zipmap": False}, target_opset={"": 18, "ai.onnx.ml": 3})
    artifact = onnx.SerializeToString()
    server = serve("--memory", "4GiB", "--durability", "process")
    stubs = connect(server.address)
    row = train[0].tolist()

    def register(index: int) -> None:
        stubs.registry.RegisterModel(registration(f"small-{index}", artifact), timeout=TIMEOUT)

    def predict(index: int) -> int:
        request = prediction_pb2.PredictRequest(model=f"small-{index}", values=row)
        return stubs.prediction.Predict(request, timeout=TIMEOUT).version

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(register, range(COUNT)))
    stubs.channel.close()
    server.terminate()

    server = serve("--memory", "4GiB", "--monitor-interval", "1", data=server.data)
    stubs = connect(server.address)
    predict(0)
    empty = resident_mb(server.process.pid)
    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(predict, range(COUNT))) == {1}
    time.sleep(3)  # what was seen of them is written, and let go of
    loaded = resident_mb(server.process.pid)
    assert loaded - empty <= LIMIT_MB, f"{COUNT} models hold {loaded - empty:.0f} MB"

    before = stubs.inference.ModelStatistics(pb.ModelStatisticsRequest(), timeout=TIMEOUT).model_stats
    assert len(before) == COUNT
    for index in np.random.default_rng(0).integers(0, COUNT, 50):
        predict(int(index))
    after = stubs.inference.ModelStatistics(pb.ModelStatisticsRequest(), timeout=TIMEOUT).model_stats
    # A model that had been dropped and loaded again would have begun to count anew.
    assert sum(model.inference_count for model in after) - sum(model.inference_count for model in before) == 50
    stubs.channel.close()
