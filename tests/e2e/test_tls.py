"""TLS and mutual TLS with certificates made for the test."""

import subprocess
from pathlib import Path

import grpc
import pytest
from serval_client import Client
from serval_e2e import connect
from serval_protos.inference import open_inference_pb2 as pb

pytestmark = pytest.mark.slow("both")


@pytest.fixture(scope="module")
def certificates(tmp_path_factory) -> Path:
    """An authority, a server's certificate for localhost, and a client's."""
    folder = tmp_path_factory.mktemp("certificates")

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=ca")
    (folder / "names").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
    for name in ("server", "client"):
        openssl(
            "req",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-keyout",
            f"{name}.key",
            "-out",
            f"{name}.csr",
            "-subj",
            "/CN=localhost",
        )
        openssl(
            *("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial"),
            *("-out", f"{name}.pem", "-extfile", "names"),
        )
    # A person, without any alternative name.
    openssl("req", "-newkey", "rsa:2048", "-nodes", "-keyout", "alice.key", "-out", "alice.csr", "-subj", "/CN=alice")
    openssl(
        *("x509", "-req", "-in", "alice.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial"),
        *("-out", "alice.pem"),
    )
    return folder


def live(address: str, credentials: grpc.ChannelCredentials | None) -> bool:
    stubs = connect(address, credentials)
    try:
        return stubs.inference.ServerLive(pb.ServerLiveRequest(), timeout=10).live
    finally:
        stubs.channel.close()


def test_tls(serve, certificates: Path) -> None:
    server = serve("--tls-cert", str(certificates / "server.pem"), "--tls-key", str(certificates / "server.key"))
    assert live(server.address, grpc.ssl_channel_credentials((certificates / "ca.pem").read_bytes()))
    with pytest.raises(grpc.RpcError):
        live(server.address, None)


@pytest.mark.slow
def test_mutual_tls(serve, certificates: Path, trained) -> None:
    server = serve(
        *("--tls-cert", str(certificates / "server.pem"), "--tls-key", str(certificates / "server.key")),
        *("--tls-client-ca", str(certificates / "ca.pem")),
    )
    authority = (certificates / "ca.pem").read_bytes()
    key, chain = ((certificates / f"client.{ending}").read_bytes() for ending in ("key", "pem"))
    assert live(server.address, grpc.ssl_channel_credentials(authority, key, chain))
    with pytest.raises(grpc.RpcError):
        live(server.address, grpc.ssl_channel_credentials(authority))

    # The certificate says who acts, and what the caller says beside it is not believed.
    with Client(
        server.address,
        tls=certificates / "ca.pem",
        client_certificate=certificates / "alice.pem",
        client_key=certificates / "alice.key",
        actor="mallory",
    ) as client:
        client.register(trained["cancer"].onnx, "sealed")
        (entry, *_) = client.audit(about="sealed")
        assert (entry.actor.name, entry.actor.proof) == ("alice", "certificate")
        assert list(client.audit(actor="mallory")) == []
