"""What only the vectorized transport promises, of a whole `serval serve`."""

import signal
import stat
import threading
import time
from pathlib import Path

import grpc
import numpy as np
import pytest
import serval_frames as h2
from serval_e2e import TIMEOUT, connect, registration, start_server
from serval_protos.inference import open_inference_pb2 as pb
from serval_protos.v1 import prediction_pb2

PREDICT = "/serval.v1.PredictionService/Predict"
LAST = 2**31 - 1


@pytest.fixture
def start(tmp_path):
    """Start servers on the vectorized transport; all of them are ended."""
    servers = []

    def begin(*arguments):
        servers.append(start_server(tmp_path / f"data{len(servers)}", "--transport", "vectorized", *arguments))
        return servers[-1]

    yield begin
    for server in servers:
        server.terminate()


def infer(rows):
    tensor = pb.ModelInferRequest.InferInputTensor(name="X", datatype="FP32", shape=rows.shape)
    return pb.ModelInferRequest(model_name="cancer", inputs=[tensor], raw_input_contents=[rows.tobytes()])


def labels(reply):
    return np.frombuffer(reply.raw_output_contents[0], np.int64)


def answers_well(stubs, trained):
    """Predict, ModelInfer and a stream, held against the estimator."""
    model = trained["cancer"]
    rows = np.ascontiguousarray(model.rows[:32])
    wanted = model.estimator.predict(rows)
    futures = [
        stubs.prediction.Predict.future(prediction_pb2.PredictRequest(model="cancer", values=row), timeout=TIMEOUT)
        for row in rows
    ]
    assert [future.result().outputs[0].integers[0] for future in futures] == list(wanted)
    assert (labels(stubs.inference.ModelInfer(infer(rows), timeout=TIMEOUT)) == wanted).all()
    replies = stubs.inference.ModelStreamInfer((infer(row[None]) for row in rows), timeout=TIMEOUT)
    assert [int(labels(reply.infer_response)[0]) for reply in replies] == list(wanted)


@pytest.mark.slow
def test_a_unix_socket(start, trained, tmp_path):
    path = tmp_path / "serval.sock"
    killed = start("--listen", f"unix:{path}")
    killed.process.kill()
    killed.process.wait(TIMEOUT)
    assert path.exists()
    server = start("--listen", f"unix:{path}")
    assert server.address == f"unix:{path}"
    stubs = connect(server.address)
    stubs.registry.RegisterModel(registration("cancer", trained["cancer"].onnx), timeout=TIMEOUT)
    answers_well(stubs, trained)
    stubs.channel.close()
    assert stat.S_ISSOCK(path.stat().st_mode)
    assert server.terminate() == 0
    assert not path.exists()


@pytest.mark.slow
def test_two_workers(start, trained):
    server = start("--workers", "2")
    clients = [connect(server.address) for _ in range(8)]
    clients[0].registry.RegisterModel(registration("cancer", trained["cancer"].onnx), timeout=TIMEOUT)
    for stubs in clients:
        answers_well(stubs, trained)
        stubs.channel.close()
    children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children").read_text().split()
    assert len(children) == 2
    assert server.terminate() == 0


class Pipeline(threading.Thread):
    """A raw client with forty calls in flight until it is told that the server goes; then it waits for the rest."""

    def __init__(self, address, row):
        super().__init__(daemon=True)
        self.address = address
        self.message = prediction_pb2.PredictRequest(model="cancer", values=row).SerializeToString()
        self.sent = 0
        self.failure = None

    def run(self):
        host, _, port = self.address.rpartition(":")
        try:
            with h2.FrameClient(h2.Address(host, int(port)), timeout=TIMEOUT) as self.client:
                self.talk(self.client)
        except Exception as error:
            self.failure = error

    def talk(self, client):
        over = 0
        while client.goaway is None or client.goaway_last == LAST:
            while self.sent - over < 40:
                client.send(client.grpc_request(2 * self.sent + 1, PREDICT, self.message))
                self.sent += 1
            if client.receive() is None:
                return
            over = sum(reply.over for reply in client.replies.values())
        while client.receive() is not None:
            pass


@pytest.mark.slow
def test_sigterm_loses_no_call_that_the_server_took(start, trained):
    """Every stream up to the one that the last GOAWAY names is answered OK; no other has an answer (RFC 9113, 6.8)."""
    server = start("--grace", "10")
    stubs = connect(server.address)
    stubs.registry.RegisterModel(registration("cancer", trained["cancer"].onnx), timeout=TIMEOUT)
    answers_well(stubs, trained)
    stubs.channel.close()
    pipelines = [Pipeline(server.address, trained["cancer"].rows[0]) for _ in range(4)]
    for pipeline in pipelines:
        pipeline.start()
    time.sleep(0.5)
    server.process.send_signal(signal.SIGTERM)
    for pipeline in pipelines:
        pipeline.join(TIMEOUT)
        assert not pipeline.is_alive()
        assert pipeline.failure is None
        client = pipeline.client
        assert client.goaway == h2.NO_ERROR
        assert 40 <= client.goaway_last // 2 < LAST // 2
        for stream_id in range(1, 2 * pipeline.sent, 2):
            reply = client.replies.get(stream_id, h2.Reply())
            if stream_id <= client.goaway_last:
                assert reply.ended
                assert reply.grpc_status == 0
            else:
                assert reply.reset in (None, h2.REFUSED_STREAM)
                assert not reply.headers
    assert server.wait() == 0


@pytest.mark.slow
def test_sigterm_under_load_fails_calls_only_with_unavailable(start, trained):
    """grpcio's client: what it is told to try elsewhere was not begun, and a call that is answered is answered OK."""
    server = start("--grace", "10")
    stubs = connect(server.address)
    stubs.registry.RegisterModel(registration("cancer", trained["cancer"].onnx), timeout=TIMEOUT)
    row = trained["cancer"].rows[0]
    request = prediction_pb2.PredictRequest(model="cancer", values=row)
    answers_well(stubs, trained)
    futures = [stubs.prediction.Predict.future(request, timeout=TIMEOUT) for _ in range(200)]
    server.process.send_signal(signal.SIGTERM)
    futures += [stubs.prediction.Predict.future(request, timeout=TIMEOUT) for _ in range(200)]
    codes = {grpc.StatusCode.OK if future.exception() is None else future.exception().code() for future in futures}
    assert grpc.StatusCode.OK in codes
    assert codes <= {grpc.StatusCode.OK, grpc.StatusCode.UNAVAILABLE}
    stubs.channel.close()
    assert server.wait() == 0
