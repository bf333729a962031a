"""Idle connections, at a real gRPC server that is not serval's."""

import resource
import socket
import threading
import time

import pytest
from serval_benchmarks import idle
from serval_benchmarks.errors import BenchmarkError


def test_connections_stay_until_the_server_ends_them(server):
    with idle.connections(server.address, 70) as held:
        time.sleep(0.2)
        assert held.ended() == 0
        server.stop()
        limit = time.monotonic() + 5
        while held.ended() < 70 and time.monotonic() < limit:
            time.sleep(0.05)
        assert held.ended() == 70


def test_a_server_that_hangs_up_is_told_from_one_that_takes_all():
    def hang_up(listener):
        accepted, _ = listener.accept()
        accepted.recv(100)
        accepted.close()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=hang_up, args=(listener,))
        thread.start()
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        with pytest.raises(BenchmarkError, match="refused idle connection"), idle.connections(address, 1):
            pass
        thread.join()


def test_the_limit_of_open_files_is_raised_or_the_reason_told():
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert "open files, and the limit is" in (idle.allow_files(2**40) or "")
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == before
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (512, before[1]))
        assert idle.allow_files(500) is None
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] >= 500
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
