"""One server, and certificates, for the tests of a file."""

import subprocess

import pytest
from serval_protos.v1 import registry_pb2_grpc as registry_grpc
from serval_served import running


@pytest.fixture(scope="module")
def shared():
    with running() as server:
        yield server


@pytest.fixture(scope="module")
def stub(shared):
    return shared.stub()


@pytest.fixture(scope="module")
def models(shared):
    return registry_grpc.RegistryServiceStub(shared.channel())


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    """An authority, and certificates for localhost of a server and a client."""
    folder = tmp_path_factory.mktemp("certificates")

    def openssl(*arguments):
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=ca")
    (folder / "names").write_text(
        "subjectAltName=DNS:localhost,IP:127.0.0.1,dirName:directory\n[directory]\nCN=a name that is no text\n"
    )
    for name, subject in (("server", "localhost"), ("client", "some client")):
        request = ("-newkey", "rsa:2048", "-nodes", "-keyout", f"{name}.key", "-out", f"{name}.csr")
        openssl("req", *request, "-subj", f"/CN={subject}")
        authority = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-extfile", "names")
        openssl("x509", "-req", "-in", f"{name}.csr", "-out", f"{name}.pem", *authority)
    return folder
