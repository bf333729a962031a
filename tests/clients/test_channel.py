import json
import subprocess
from pathlib import Path

import grpc
import pytest
from serval_client import Client, channel, errors
from serval_protos import services

ISSUE = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=serval.test"]


@pytest.fixture(scope="module")
def certificates(tmp_path_factory) -> Path:
    """A self-signed certificate for the name serval.test, and one for a client."""
    folder = tmp_path_factory.mktemp("certificates")
    for who in ("server", "client"):
        command = [*ISSUE, "-keyout", folder / f"{who}.key", "-out", folder / f"{who}.pem"]
        subprocess.run([*command, "-addext", "subjectAltName=DNS:serval.test"], check=True, capture_output=True)
    return folder


def secured(folder: Path, ask_client: bool) -> grpc.ServerCredentials:
    pair = ((folder / "server.key").read_bytes(), (folder / "server.pem").read_bytes())
    roots = (folder / "client.pem").read_bytes() if ask_client else None
    return grpc.ssl_server_credentials([pair], roots, ask_client)


@pytest.mark.slow
def test_tls_by_a_file_of_authorities(servicer, serve, certificates):
    _, port = serve(servicer, secured(certificates, False))
    arguments = {"tls": certificates / "server.pem", "server_name": "serval.test"}
    with Client(f"127.0.0.1:{port}", **arguments) as client:
        assert client.health() == "SERVING"
    distrustful = Client(f"127.0.0.1:{port}", tls=True, server_name="serval.test", timeout=5)
    with distrustful, pytest.raises(errors.Unavailable):
        distrustful.health()


def test_mutual_tls(servicer, serve, certificates):
    _, port = serve(servicer, secured(certificates, True))
    arguments = {"tls": str(certificates / "server.pem"), "server_name": "serval.test", "timeout": 5}
    identity = {"client_certificate": certificates / "client.pem", "client_key": certificates / "client.key"}
    with Client(f"127.0.0.1:{port}", **arguments, **identity) as known:
        assert known.health() == "SERVING"
    unknown = Client(f"127.0.0.1:{port}", **arguments)
    with unknown, pytest.raises(errors.Unavailable):
        unknown.health()


def test_files_that_are_no_certificates_are_told_before_a_call(certificates, tmp_path):
    note, locked = tmp_path / "note.pem", tmp_path / "locked.key"
    note.write_text("not PEM")
    key = ["openssl", "genrsa", "-aes128", "-passout", "pass:x", "-out", locked, "2048"]
    subprocess.run(key, check=True, capture_output=True)
    authority, own = certificates / "server.pem", certificates / "client.pem"
    for tls, certificate, key, words in (
        (note, None, None, "tls: '.*note.pem' holds no certificates"),
        (authority, note, certificates / "client.key", "client_certificate, client_key: '.*note.pem' and"),
        (authority, own, certificates / "server.key", "client_certificate, client_key: .*(?i:mismatch)"),
        (authority, own, locked, "a key with a password"),
    ):
        with pytest.raises(errors.InvalidArgument, match=words):
            Client("localhost:1", tls=tls, client_certificate=certificate, client_key=key)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"tls": True, "client_key": "k.pem"}, "mutual TLS needs both"),
        ({"server_name": "serval.test"}, "tls: is off"),
        ({"tls": "/nowhere/ca.pem"}, "tls: cannot read '/nowhere/ca.pem'"),
        ({"channels": 0}, "channels: got 0"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(arguments, words):
    with pytest.raises(errors.InvalidArgument, match=words):
        Client("localhost:1", **arguments)


def test_every_method_of_the_retry_policy_is_in_the_contract():
    names = json.loads(channel.SERVICE_CONFIG)["methodConfig"][0]["name"]
    paths = {f"/{name['service']}/{name['method']}" for name in names}
    assert paths - {channel.HEALTH_CHECK} <= services.METHODS.keys()


@pytest.mark.usefixtures("servicer")
def test_loopback_goes_past_a_proxy(target, monkeypatch):
    for name in ("http_proxy", "https_proxy", "grpc_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY", "no_grpc_proxy"):
        monkeypatch.delenv(name, raising=False)
    with Client(target, timeout=5) as client:
        assert client.health() == "SERVING"
