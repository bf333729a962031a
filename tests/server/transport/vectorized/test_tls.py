"""The Server over TLS and mutual TLS, with grpcio's clients and with raw ones."""

import contextlib
import os
import socket
import ssl
import time

import grpc
import pytest
import serval_frames as h2f
from serval_protos.inference import open_inference_pb2 as inference
from serval_protos.inference import open_inference_pb2_grpc as inference_grpc
from serval_protos.v1 import registry_pb2 as registry
from serval_protos.v1 import registry_pb2_grpc as registry_grpc
from serval_registry.errors import InvalidArgument
from serval_served import PATIENCE, READING_SECONDS, SERVER_LIVE, SIZED, assert_told_to_go, live, raw, running, waits
from serval_server.transport.vectorized.sockets import server_context


def credentials(certificates, *, known=False):
    key, chain = ("client.key", "client.pem") if known else (None, None)
    return grpc.ssl_channel_credentials(
        (certificates / "ca.pem").read_bytes(),
        (certificates / key).read_bytes() if key else None,
        (certificates / chain).read_bytes() if chain else None,
    )


@contextlib.contextmanager
def secure(certificates, *, mutual=False, **more):
    authority = certificates / "ca.pem" if mutual else None
    context = server_context(certificates / "server.pem", certificates / "server.key", authority)
    with running(context=context, **more) as server:
        yield server


@pytest.mark.slow
def test_tls(certificates):
    with secure(certificates) as server:
        stub = server.stub(credentials=credentials(certificates))
        assert live(stub)
        octets = os.urandom(8 << 20)
        assert stub.ModelInfer(raw(octets), timeout=PATIENCE).raw_output_contents[0] == octets[::-1]
        futures = [stub.ModelInfer.future(raw(octets[: i * 100]), timeout=PATIENCE) for i in range(300)]
        assert [len(future.result().raw_output_contents[0]) for future in futures] == [i * 100 for i in range(300)]
        models = registry_grpc.RegistryServiceStub(server.channel(credentials=credentials(certificates)))
        parts = models.DownloadArtifact(registry.DownloadArtifactRequest(model="20x300000"), timeout=PATIENCE)
        assert sum(len(part.chunk) for part in parts) == 6_000_000
        reply = stub.ServerMetadata(inference.ServerMetadataRequest(), timeout=PATIENCE)
        assert "transport_security_type=[b'ssl']" in reply.extensions


def test_mutual_tls(certificates):
    with secure(certificates, mutual=True) as server:
        stub = server.stub(credentials=credentials(certificates, known=True))
        reply = stub.ServerMetadata(inference.ServerMetadataRequest(), timeout=PATIENCE)
        assert "x509_common_name=[b'some client']" in reply.extensions
        # and not the name of a directory, which is no text
        assert "x509_subject_alternative_name=[b'localhost', b'127.0.0.1']" in reply.extensions
        with pytest.raises(grpc.RpcError) as caught:
            server.stub(credentials=credentials(certificates)).ServerLive(
                inference.ServerLiveRequest(), timeout=PATIENCE
            )
        assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
        assert live(stub)


def test_clear_text_to_a_tls_port_and_the_other_way_round(certificates, shared):
    with secure(certificates) as server:
        with pytest.raises(grpc.RpcError) as caught:
            server.stub().ServerLive(inference.ServerLiveRequest(), timeout=PATIENCE)
        assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
        channel = grpc.secure_channel(shared.address, credentials(certificates))
        with channel, pytest.raises(grpc.RpcError) as caught:
            inference_grpc.GRPCInferenceServiceStub(channel).ServerLive(inference.ServerLiveRequest(), timeout=PATIENCE)
        assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
        assert live(server.stub(credentials=credentials(certificates)))


def tls_client(server, certificates, protocols):
    context = ssl.create_default_context(cafile=certificates / "ca.pem")
    if protocols:
        context.set_alpn_protocols(protocols)
    return context.wrap_socket(socket.create_connection(server.where, PATIENCE), server_hostname="localhost")


def test_a_slow_reader_of_tls_has_its_replies_before_the_end(certificates):
    with secure(certificates) as server, tls_client(server, certificates, ["h2"]) as client:
        block, calls, size = h2f.literals(*h2f.fields_of(SIZED)), 60, 16_000  # below UNREAD_OCTETS: all calls are read
        client.sendall(h2f.PREFACE + h2f.settings((h2f.INITIAL_WINDOW_SIZE, 1 << 30)) + h2f.window_update(0, 1 << 30))
        message = h2f.grpc_message(b"%d" % size)
        asked = [h2f.headers(i, block, end=False) + h2f.data(i, message, end=True) for i in range(1, 2 * calls, 2)]
        client.sendall(b"".join(asked))
        time.sleep(0.5)
        ended = server.server.stop(PATIENCE)
        time.sleep(READING_SECONDS)
        heard = 0
        while octets := client.recv(50_000):
            heard += len(octets)
            with contextlib.suppress(OSError):  # the last may be late
                client.sendall(h2f.window_update(0, len(octets)))
        assert heard > calls * size
        client.close()
        assert ended.wait(5)


def test_who_sends_window_over_tls_while_its_last_replies_are_on_their_way_has_them_all(certificates):
    with secure(certificates) as server, socket.socket() as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        slow.settimeout(PATIENCE)
        slow.connect(server.where)
        context = ssl.create_default_context(cafile=certificates / "ca.pem")
        context.set_alpn_protocols(["h2"])
        with context.wrap_socket(slow, server_hostname="localhost") as client:
            block, calls, size = h2f.literals(*h2f.fields_of(SIZED)), 10, 16_000  # its system takes them at once
            client.sendall(h2f.PREFACE + h2f.settings((h2f.INITIAL_WINDOW_SIZE, 1 << 30)))
            message = h2f.grpc_message(b"%d" % size)
            asked = [h2f.headers(i, block, end=False) + h2f.data(i, message, end=True) for i in range(1, 2 * calls, 2)]
            client.sendall(h2f.window_update(0, 1 << 30) + b"".join(asked))
            time.sleep(0.5)
            ended = server.server.stop(PATIENCE)
            heard = 0
            while octets := client.recv(10_000):
                heard += len(octets)
                time.sleep(0.05)
                with contextlib.suppress(OSError):  # the last may be late
                    client.sendall(h2f.window_update(0, len(octets)))
            assert heard > calls * size
        assert ended.wait(5)


def test_a_tls_handshake_that_ends_in_a_drain_is_told_to_go(certificates):
    with secure(certificates) as server, socket.create_connection(server.where, PATIENCE) as late:
        future = waits(server, server.stub(credentials=credentials(certificates)), timeout=PATIENCE)
        ended = server.server.stop(PATIENCE)
        time.sleep(0.3)
        context = ssl.create_default_context(cafile=certificates / "ca.pem")
        context.set_alpn_protocols(["h2"])
        with context.wrap_socket(late, server_hostname="localhost") as client:
            assert_told_to_go(client.sendall, lambda: client.recv(10_000))
        server.servicer.release.set()
        assert future.result().ready
        assert ended.wait(5)


@pytest.mark.parametrize("protocols", [None, ["http/1.1"], ["h2c"]])
def test_a_peer_that_does_not_choose_h2_is_refused(certificates, protocols):
    with secure(certificates) as server:
        with contextlib.suppress(ssl.SSLError, ConnectionError), tls_client(server, certificates, protocols) as client:
            assert client.recv(1000) == b"", "the server spoke HTTP/2 to somebody who did not choose it"
        with tls_client(server, certificates, ["http/1.1", "h2"]) as client:
            assert client.selected_alpn_protocol() == "h2"
            assert client.version() == "TLSv1.3"
            assert len(client.recv(1000)) > 9


def test_old_tls_is_refused(certificates):
    with secure(certificates) as server:
        context = ssl.create_default_context(cafile=certificates / "ca.pem")
        context.set_alpn_protocols(["h2"])
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        with context.wrap_socket(socket.create_connection(server.where), server_hostname="localhost") as client:
            assert client.version() == "TLSv1.2"
        context.set_ciphers("AES128-SHA256:ECDHE-RSA-AES128-SHA256")  # RFC 9113, appendix A
        with socket.create_connection(server.where) as plain, pytest.raises(ssl.SSLError):
            context.wrap_socket(plain, server_hostname="localhost")


def test_handshakes_that_do_not_end_keep_nobody_waiting(certificates):
    with secure(certificates) as server, contextlib.ExitStack() as halves:
        for octets in (b"", b"\x16", b"\x16\x03\x01\x02\x00\x01\x00", b"\x16\x03\x01\x02\x00" + bytes(100)) * 10:
            half = halves.enter_context(socket.create_connection(server.where))
            half.sendall(octets)
        begun = time.monotonic()
        assert live(server.stub(credentials=credentials(certificates)))
        assert time.monotonic() - begun < 5


def test_octet_by_octet_through_tls(certificates):
    with secure(certificates) as server, tls_client(server, certificates, ["h2"]) as client:
        block = h2f.literals(*h2f.fields_of(SERVER_LIVE))
        said = h2f.PREFACE + h2f.settings() + h2f.headers(1, block, end=False)
        said += h2f.data(1, h2f.grpc_message(b""), end=True)
        for i in range(len(said)):
            client.sendall(said[i : i + 1])
        client.settimeout(PATIENCE)
        heard = b""
        while b"grpc-status" not in heard:
            octets = client.recv(10_000)
            assert octets
            heard += octets


def test_certificates_that_cannot_be_used(certificates, tmp_path):
    (tmp_path / "junk").write_text("junk")
    for certificate, key, authority in (
        (tmp_path / "nothing", certificates / "server.key", None),
        (tmp_path / "junk", certificates / "server.key", None),
        (certificates / "server.pem", certificates / "client.key", None),
        (certificates / "server.pem", certificates / "server.key", tmp_path / "junk"),
    ):
        with pytest.raises(InvalidArgument, match="TLS: cannot use"):
            server_context(certificate, key, authority)
