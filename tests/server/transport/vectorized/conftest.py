"""One server for the tests of a file."""

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
