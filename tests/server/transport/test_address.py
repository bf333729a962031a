"""--listen: what it takes, and that every transport and the workers say the same of what it does not."""

import socket

import pytest
from serval_registry.errors import InvalidArgument
from serval_server import workers
from serval_server.config import Options
from serval_server.transport.address import host_and_port
from serval_server.transport.grpcio.server import GrpcioTransport
from serval_server.transport.vectorized.sockets import bind


def grpcio(address, tmp_path):
    transport = GrpcioTransport(Options(data=tmp_path, listen=address), share_port=False)
    try:
        return transport.listen()
    finally:
        transport.server.stop(None).wait()


def vectorized(address, _tmp_path):
    listener, port = bind(address)
    listener.close()
    return port


def shared(address, _tmp_path):
    with workers._reserved(address) as reserved:
        return int(reserved.rpartition(":")[2])


@pytest.mark.parametrize("listen", [grpcio, vectorized, shared])
@pytest.mark.parametrize(
    "address", ["127.0.0.1:99999", "127.0.0.1:65536", "127.0.0.1:-1", "127.0.0.1:x", "127.0.0.1:\u00b2", "127.0.0.1"]
)
def test_what_is_no_address_is_said_in_one_line(listen, address, tmp_path):
    with pytest.raises(InvalidArgument, match=r"^listen: '.*'; wanted HOST:PORT, with a port up to 65535"):
        listen(address, tmp_path)


@pytest.mark.parametrize("listen", [grpcio, vectorized, shared])
@pytest.mark.parametrize("address", ["unix:", "nobody..at.all:8470"])
def test_what_cannot_be_had_names_the_option(listen, address, tmp_path):
    with pytest.raises(InvalidArgument, match=r"^listen: ") as caught:
        listen(address, tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("listen", [grpcio, vectorized, shared])
def test_a_free_port_is_found(listen, tmp_path):
    assert 0 < listen("127.0.0.1:0", tmp_path) <= 65535


def test_brackets_are_taken_off():
    assert host_and_port("[::1]:65535") == ("::1", 65535)


@pytest.mark.parametrize("listen", [vectorized, shared])
@pytest.mark.parametrize(
    ("address", "advice"),
    [
        ("192.0.2.1:80", "wanted an address of this machine"),  # TEST-NET-1 of RFC 5737: nobody's
        ("no-such-host.invalid:80", "its host is not known"),
    ],
)
def test_why_an_address_cannot_be_had_is_said(listen, address, advice, tmp_path):
    with pytest.raises(InvalidArgument, match=advice):
        listen(address, tmp_path)


@pytest.mark.parametrize("listen", [vectorized, shared])
def test_a_port_that_is_taken_may_be_another_servers(listen, tmp_path):
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        pytest.raises(InvalidArgument, match="another server running"),
    ):
        listen(f"127.0.0.1:{taken.getsockname()[1]}", tmp_path)


@pytest.mark.parametrize(
    ("path", "advice"),
    [("missing/socket", "is its folder there"), ("file", "that is no socket"), ("x" * 200, "too long")],
)
def test_why_a_path_cannot_be_had_is_said(path, advice, tmp_path):
    (tmp_path / "file").write_bytes(b"kept")
    with pytest.raises(InvalidArgument, match=advice):
        bind(f"unix:{tmp_path}/{path}")
    assert (tmp_path / "file").read_bytes() == b"kept"
