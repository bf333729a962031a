"""What servicers are told of TLS: the same by our server as by grpcio's, whatever the client's certificate says."""

# ruff: noqa: ARG001 (gRPC gives every handler both arguments)

import ast
import subprocess
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from serval_server.transport.vectorized import auth_context
from serval_server.transport.vectorized.server import Server
from serval_server.transport.vectorized.sockets import server_context

PATIENCE = 20
UNTOLD = {"ssl_negotiated_key_exchange_group", "ssl_requested_server_name"}
CLIENTS = {  # subject, and subjectAltName
    "plain": ("/CN=plain", ""),
    "names": (
        "/O=some/OU=unit/CN=n",
        "DNS:a.b,DNS:*.c,IP:127.0.0.1,IP:::1,IP:2001:db8::1:0:1,email:a@b.c,URI:https://x/y",
    ),
    "spiffe": ("/CN=s", "URI:spiffe://trust/path,DNS:a"),
    "uris": ("/CN=u", "URI:spiffe://trust/path,URI:spiffe://other"),
    "odd": (
        r'/C=DE/ST=B/L=L/street=S 1/O= a\, \+b"c<d>;e /OU=#x/DC=dc/UID=u1/serialNumber=5/title=T/SN=s/GN=g/CN=é=',
        "",
    ),
    "mail": ("/emailAddress=a@b.c/CN=first/CN=last", ""),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """An authority, and certificates of a server and of all CLIENTS."""
    folder = tmp_path_factory.mktemp("certificates")

    def openssl(*arguments):
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

    new = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-utf8")
    openssl("req", "-x509", *new, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=ca")
    for name, (subject, alternative) in {"server": ("/CN=localhost", "DNS:localhost"), **CLIENTS}.items():
        (folder / "names").write_text(
            f"subjectAltName={alternative}\n" if alternative else "basicConstraints=CA:FALSE\n"
        )
        openssl("req", *new, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", subject)
        authority = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-extfile", "names")
        openssl("x509", "-req", "-in", f"{name}.csr", "-out", f"{name}.pem", *authority)
    return folder


def told(request, context):
    properties = {name: list(values) for name, values in context.auth_context().items() if name not in UNTOLD}
    return repr((properties, context.peer_identity_key(), context.peer_identities())).encode()


def asked(server, port, folder, name):
    """What a handler is told of a client with this certificate; none for None."""
    server.add_registered_method_handlers("a.Service", {"Told": grpc.unary_unary_rpc_method_handler(told)})
    server.start()
    key, chain = ((folder / f"{name}.{part}").read_bytes() if name else None for part in ("key", "pem"))
    credentials = grpc.ssl_channel_credentials((folder / "ca.pem").read_bytes(), key, chain)
    try:
        with grpc.secure_channel(f"localhost:{port}", credentials) as channel:
            return ast.literal_eval(channel.unary_unary("/a.Service/Told")(b"", timeout=PATIENCE).decode())
    finally:
        server.stop(None)


@pytest.mark.parametrize("name", [None, *CLIENTS])
def test_it_is_what_grpcio_tells(folder, name):
    grpcio, ours = grpc.server(ThreadPoolExecutor(1)), Server(ThreadPoolExecutor(1))
    pair = (folder / "server.key").read_bytes(), (folder / "server.pem").read_bytes()
    authority = folder / "ca.pem" if name else None
    needed = grpc.ssl_server_credentials([pair], authority.read_bytes() if authority else None, authority is not None)
    wanted = asked(grpcio, grpcio.add_secure_port("localhost:0", needed), folder, name)
    context = server_context(folder / "server.pem", folder / "server.key", authority)
    assert asked(ours, ours.add_secure_port("localhost:0", context), folder, name) == wanted
    assert (wanted[1] is None) == (name is None)


def test_parts_of_several_names():
    subject = [(("countryName", "DE"),), (("commonName", "a"), ("userId", "b"))]
    assert auth_context.distinguished_name(subject) == "UID=b+CN=a,C=DE"
