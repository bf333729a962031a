"""Many rows, each by itself: against grpcio's server in this process, and against the server itself."""

import contextlib
import itertools
import os
import resource
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
import pytest
from serval_client import Client, errors, extras, pipelined
from serval_e2e import start_server
from serval_protos.v1 import common_pb2
from sklearn.datasets import load_wine
from sklearn.linear_model import LogisticRegression, Ridge

ROWS = np.random.default_rng(0).normal(size=(500, 2)).astype(np.float32)


def expected(rows):
    share = 1 / (1 + np.exp(-rows.sum(axis=1)))
    return np.stack([1 - share, share], axis=1)


@pytest.mark.slow
@pytest.mark.usefixtures("registered")
def test_every_row_is_a_call_of_its_own(client, servicer):
    told = []
    each = client.predict_each("area", ROWS, in_flight=7, progress=lambda done, rows: told.append((done, rows)))
    assert len(each) == 500
    assert each.errors == {}
    each.raise_first()
    together = client.batch_predict("area", ROWS)
    assert list(each.outputs) == list(together.outputs)
    for name, array in together.outputs.items():
        assert each.outputs[name].dtype == array.dtype
        assert each.outputs[name].shape == array.shape
        np.testing.assert_allclose(each.outputs[name], array, rtol=1e-5)  # the server adds up in another type here
    assert set(each.versions) == {1}
    assert len(servicer.seen["Predict"]) == 500
    assert told[-1] == (500, 500)
    assert told == sorted(told)


@pytest.mark.usefixtures("registered")
def test_outputs_are_chosen_by_name(client):
    name = next(iter(client.predict("area", ROWS[:1]).outputs))
    each = client.predict_each("area", ROWS[:20], [name])
    assert list(each.outputs) == [name]


@pytest.mark.usefixtures("registered")
def test_a_bad_row_loses_no_other(client, servicer):
    servicer.failures["Predict"] = [(grpc.StatusCode.INVALID_ARGUMENT, "values: not this one")] * 3 + [
        (grpc.StatusCode.NOT_FOUND, "model: gone for a moment: café")
    ]
    each = client.predict_each("area", ROWS, in_flight=10)
    kinds = sorted(type(error).__name__ for error in each.errors.values())
    assert kinds == ["InvalidArgument"] * 3 + ["NotFound"]
    assert {error.details for error in each.errors.values()} == {
        "values: not this one",
        "model: gone for a moment: café",
    }
    np.testing.assert_array_equal(np.flatnonzero(~each.answered), list(each.errors))
    shares = next(array for array in each.outputs.values() if array.dtype.kind == "f")
    np.testing.assert_allclose(shares[each.answered], expected(ROWS)[each.answered], rtol=1e-5)
    assert np.isnan(shares[~each.answered]).all()
    with pytest.raises(type(each.errors[min(each.errors)])):
        each.raise_first()


def test_all_rows_bad(client):
    each = client.predict_each("nobody", ROWS[:30])
    assert [type(error) for error in each.errors.values()] == [errors.NotFound] * 30
    assert each.outputs == {}
    assert not each.answered.any()


@pytest.mark.slow
@pytest.mark.usefixtures("registered")
def test_rows_beyond_the_deadline_fail_alone(client, servicer, monkeypatch):
    plain, asked, in_time, over = servicer._predict, itertools.count(), [], threading.Event()

    def predict(request, version):
        if next(asked) < 8:
            in_time.append(request.values[0])
        else:
            over.wait(30)
        return plain(request, version)

    monkeypatch.setattr(servicer, "_predict", predict)
    began = time.monotonic()
    try:
        each = client.predict_each("area", ROWS[:24], in_flight=24, timeout=3)
        assert time.monotonic() - began < 15
    finally:
        over.set()
    assert len(in_time) == 8
    np.testing.assert_array_equal(each.answered, np.isin(ROWS[:24, 0], in_time))
    np.testing.assert_array_equal(np.flatnonzero(~each.answered), list(each.errors))
    assert {type(error) for error in each.errors.values()} == {errors.DeadlineExceeded}


def test_texts_and_another_version_with_other_outputs(serve, servicer, monkeypatch):
    plain, answered = servicer._predict, itertools.count()

    def predict(request, version):
        reply = plain(request, version)
        word = f"w{request.values[0]:.2f}"
        reply.outputs.add(name="word", datatype=common_pb2.STRING, shape=[1], strings=[word])
        if next(answered) >= 40:
            del reply.outputs[0]
        return reply

    monkeypatch.setattr(servicer, "_predict", predict)
    with Client(f"127.0.0.1:{serve(servicer)[1]}") as client:
        client.register(b"onnx bytes", "area")
        each = client.predict_each("area", ROWS[:50], in_flight=1)
    assert each.outputs["word"][:40].tolist() == [f"w{value:.2f}" for value in ROWS[:40, 0]]
    assert each.outputs["word"][40:].tolist() == [None] * 10
    np.testing.assert_array_equal(each.outputs["label"][:40], ROWS[:40].sum(axis=1) > 0)
    assert list(each.errors) == list(range(40, 50))
    assert {type(error) for error in each.errors.values()} == {errors.Aborted}


@pytest.mark.parametrize("word", [False, True])
def test_an_output_without_a_shape_is_one_a_row(serve, servicer, monkeypatch, word):
    plain = servicer._predict

    def predict(request, version):
        reply = plain(request, version)
        reply.outputs.add(name="total", datatype=common_pb2.FP32, floats=[sum(request.values)])
        if word:
            reply.outputs.add(name="word", datatype=common_pb2.STRING, strings=[f"w{request.values[0]:.2f}"])
        return reply

    monkeypatch.setattr(servicer, "_predict", predict)
    with Client(f"127.0.0.1:{serve(servicer)[1]}") as client:
        client.register(b"onnx bytes", "area")
        each = client.predict_each("area", ROWS[:50])
    assert each.errors == {}
    np.testing.assert_allclose(each.outputs["total"], ROWS[:50].sum(axis=1), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(each.outputs["label"], ROWS[:50].sum(axis=1) > 0)
    if word:
        assert each.outputs["word"].tolist() == [f"w{value:.2f}" for value in ROWS[:50, 0]]


@pytest.mark.usefixtures("registered")
@pytest.mark.parametrize("timeout", [float("inf"), 1e9])
def test_a_timeout_without_end(client, timeout):
    assert client.predict_each("area", ROWS[:20], timeout=timeout).errors == {}


@pytest.mark.usefixtures("registered")
@pytest.mark.parametrize("timeout", [0, -1])
def test_a_timeout_that_is_over(client, timeout):
    each = client.predict_each("area", ROWS[:20], timeout=timeout)
    assert not each.answered.any()
    assert list(each.errors) == list(range(20))
    assert {type(error) for error in each.errors.values()} == {errors.DeadlineExceeded}


def test_a_server_that_does_not_greet_within_the_timeout():
    with socket.create_server(("127.0.0.1", 0)) as silent, Client(f"127.0.0.1:{silent.getsockname()[1]}") as client:
        each = client.predict_each("area", ROWS[:3], timeout=0.2)
    assert [type(error) for error in each.errors.values()] == [errors.DeadlineExceeded] * 3


def test_rows_of_more_than_a_connections_output(client):
    each = client.predict_each("nobody", np.zeros((4, 300_000), np.float32), timeout=30)
    assert [type(error) for error in each.errors.values()] == [errors.NotFound] * 4


@pytest.mark.parametrize(
    ("rows", "complaint"),
    [
        ([{"width": 1.0}], "numbers in feature order"),
        (np.array([[1 << 30, 1]]), "float32"),
        (np.zeros((0, 2)), "0 rows"),
    ],
)
def test_rows_that_cannot_go(client, rows, complaint):
    with pytest.raises(errors.InvalidArgument, match=complaint):
        client.predict_each("area", rows)


def test_in_flight_below_one(client):
    with pytest.raises(errors.InvalidArgument, match="in_flight: got 0"):
        client.predict_each("area", ROWS, in_flight=0)


def test_no_server():
    with (
        Client("127.0.0.1:1") as client,
        pytest.raises(errors.Unavailable, match=r"no server answers at 127\.0\.0\.1:1"),
    ):
        client.predict_each("area", ROWS)


@pytest.mark.usefixtures("registered")
def test_a_process_with_many_files_open(client):
    """select takes no file descriptor from 1,024 on."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 2048:
        pytest.skip("no more than 1,024 files may be open here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2048), hard))
    try:
        with contextlib.ExitStack() as stack:
            while stack.enter_context(open(os.devnull)).fileno() < 1024:
                pass
            assert client.predict_each("area", ROWS[:40], in_flight=4).errors == {}
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.slow
@pytest.mark.usefixtures("registered")
def test_a_connection_that_ends_is_opened_again(servicer, target):
    """Through a relay that cuts the line twice: what was under way is sent again, as Predict may be."""
    relay = Relay(target, cuts=2)
    try:
        with Client(relay.address) as through:
            each = through.predict_each("area", np.tile(ROWS, (5, 1)), in_flight=50)
    finally:
        relay.close()
    assert each.errors == {}
    assert relay.accepted == 3
    np.testing.assert_array_equal(each.outputs["label"], np.tile(ROWS, (5, 1)).sum(axis=1) > 0)
    assert len(servicer.seen["Predict"]) >= 2500


class Relay:
    """Passes octets on to an address; cuts its first connections after some have come back."""

    def __init__(self, target, cuts):
        self._target, self._cuts = target, cuts
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.accepted = 0
        self._threads = ThreadPoolExecutor(8)
        self._threads.submit(self._accept)

    def _accept(self):
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            self.accepted += 1
            host, _, port = self._target.rpartition(":")
            far = socket.create_connection((host, int(port)))
            limit = 20_000 if self.accepted <= self._cuts else None
            self._threads.submit(self._pass_on, near, far, None)
            self._threads.submit(self._pass_on, far, near, limit)

    def _pass_on(self, source, sink, limit):
        passed = 0
        with contextlib.suppress(OSError):
            while (data := source.recv(65536)) and (limit is None or passed < limit):
                sink.sendall(data)
                passed += len(data)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def close(self):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._threads.shutdown()


@pytest.mark.usefixtures("registered")
def test_a_unix_socket_goes_by_the_stub(servicer, serve, tmp_path):
    address = f"unix:{tmp_path}/socket"
    serve(servicer, address=address)
    with Client(address) as other:
        each = other.predict_each("area", ROWS[:40], in_flight=4)
        failing = other.predict_each("nobody", ROWS[:3])
    np.testing.assert_array_equal(each.versions, 1)
    assert [type(error) for error in failing.errors.values()] == [errors.NotFound] * 3


@pytest.mark.parametrize(
    ("target", "wanted"),
    [
        ("localhost:8470", ("localhost", 8470)),
        ("dns:///a.b:1", ("a.b", 1)),
        ("ipv4:127.0.0.1:2", ("127.0.0.1", 2)),
        ("[::1]:3", ("::1", 3)),
        ("ipv6:[::1]:3", ("::1", 3)),
        ("unix:/a/b", None),
        ("unix:///a:1", None),
        ("localhost", None),
        ("ipv4:1.2.3.4:5,1.2.3.4:6", None),
    ],
)
def test_addresses(target, wanted):
    assert pipelined.address(target) == wanted


def test_what_is_missing_is_named(client, monkeypatch):
    def missing(_name):
        raise ModuleNotFoundError("No module named 'numba'")

    monkeypatch.setattr(extras.importlib, "import_module", missing)
    with pytest.raises(errors.MissingExtra, match=r"pip install 'serval-inference\[server\]'"):
        client.predict_each("area", ROWS)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    running = start_server(tmp_path_factory.mktemp("served") / "data")
    yield running
    running.terminate()


@pytest.mark.slow
def test_rows_of_more_than_a_connections_output_against_the_server_itself(server):
    with Client(server.address) as client:
        each = client.predict_each("nobody", np.zeros((8, 300_000), np.float32), in_flight=4, timeout=30)
    assert [type(error) for error in each.errors.values()] == [errors.NotFound] * 8


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_against_the_server_itself(server):
    X, y = load_wine(return_X_y=True)
    X = X.astype(np.float32)
    rows = np.tile(X, (12, 1))
    with Client(server.address) as client:
        client.register(LogisticRegression(max_iter=5000).fit(X, y), "wine", sample=X)
        client.register(Ridge().fit(X.astype(np.float64), y), "ridge", sample=X)
        for name in ("wine", "ridge"):
            together = client.batch_predict(name, rows)
            each = client.predict_each(name, rows)
            assert each.errors == {}
            assert {output: array.dtype for output, array in each.outputs.items()} == {
                output: array.dtype for output, array in together.outputs.items()
            }
            for output, array in together.outputs.items():
                np.testing.assert_allclose(each.outputs[output], array, rtol=1e-5, atol=1e-6)
        bad = rows.copy()
        bad[[3, 70]] = np.inf
        each = client.predict_each("wine", bad)
        assert len(each) == len(rows)
        assert each.answered.sum() + len(each.errors) == len(rows)
        wrong = client.predict_each("wine", rows[:20, :5])
        assert {type(error) for error in wrong.errors.values()} == {errors.InvalidArgument}
        twice = client.predict_each("wine", np.hstack([rows, rows])[:20])
        assert not twice.answered.any()
        assert {str(error) for error in twice.errors.values()} == {
            "rows: wine@1 took one of 26 values for 2; wanted as many values as the model has features"
        }
