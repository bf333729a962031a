"""What is promised to whoever registers: once, whatever happens on the way, and in a bucket as in a folder."""

import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import numpy as np
import pytest
from serval_bucket import BUCKET, bucket
from serval_client import Client
from serval_client.errors import NotFound
from serval_e2e import Server
from serval_registry.model import Stage
from serval_registry.registry import Registry

pytestmark = pytest.mark.slow("both")

HEADERS = 1


@contextmanager
def losing_answers(address: str, connections: int) -> Iterator[str]:
    """Stand before a server: the first connections end where the answer of a call begins, which nobody gets to see."""
    listener = socket.create_server(("127.0.0.1", 0))
    host, port = address.rsplit(":", 1)
    left = [connections]

    def carry(source: socket.socket, target: socket.socket, *, whole: bool) -> None:
        with suppress(OSError), source, target:
            stream = source.makefile("rb", 0 if whole else -1)
            while True:
                part = stream.read(65536) if whole else stream.read(9)
                if not part or (not whole and part[3] == HEADERS):
                    break
                if not whole:
                    part += stream.read(int.from_bytes(part[:3]))
                target.sendall(part)
            for end in (source, target):
                end.shutdown(socket.SHUT_RDWR)

    def accept() -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 0, 0))
                server = socket.create_connection((host, int(port)))
                loses = left[0] > 0
                left[0] -= 1
                for source, target, whole in ((client, server, True), (server, client, not loses)):
                    threading.Thread(target=carry, args=(source, target), kwargs={"whole": whole}, daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield f"127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def test_a_registration_whose_answer_is_lost_makes_one_version(server: Server, trained: dict) -> None:
    with losing_answers(server.address, 2) as address, Client(address) as client, Client(server.address) as direct:
        told = client.register(trained["cancer"].onnx, "retried", tags={"try": "1"})
        assert told.version == 1
        assert [info.ref for info in direct.models("retried")] == ["retried@1"]
        assert client.register(trained["cancer"].onnx, "retried").version == 2
        mine = [client.register(trained["cancer"].onnx, "retried", request_id="job 7").version for _ in range(2)]
        assert mine == [3, 3]


@pytest.mark.slow
def test_a_server_over_a_bucket(serve: Callable[..., Server], trained: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    model = trained["cancer"]
    with bucket() as environment:
        for name in environment:
            monkeypatch.setenv(name, environment[name])
        data = f"s3://{BUCKET}/served"
        server = serve(data=data)
        with Client(server.address) as client, Registry.open(data) as other:
            client.register(model.onnx, "m", sample=model.train)
            client.register(model.onnx, "m")
            client.set_stage("m@1", "production")
            before = client.predict("m", model.rows[:5])
            other.set_stage("m", 2, Stage.PRODUCTION)  # another process promotes
            begun = time.monotonic()
            while client.predict("m", model.rows[:1]).version != 2:
                assert time.monotonic() < begun + 5
                time.sleep(0.02)
            with pytest.raises(NotFound):
                client.show("absent")
            after = client.predict("m@1", model.rows[:5])
        assert server.terminate() == 0
    for name, values in before.outputs.items():
        np.testing.assert_array_equal(values, after.outputs[name])
