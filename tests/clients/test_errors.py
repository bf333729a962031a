import pickle

import grpc
import pytest
from serval_client import errors


class Failure(grpc.RpcError):
    def __init__(self, code, details):
        self._code, self._details = code, details

    def code(self):
        return self._code

    def details(self):
        return self._details


@pytest.mark.parametrize("code", [code for code in grpc.StatusCode if code is not grpc.StatusCode.OK])
def test_every_status_has_an_error_that_carries_it(code):
    error = errors.of_rpc(Failure(code, "what came"), "host:1")
    assert isinstance(error, errors.ServalError)
    assert error.code is code
    assert (type(error) is errors.ServalError) == (code is grpc.StatusCode.UNKNOWN)


def test_details_reach_the_caller():
    error = errors.of_rpc(Failure(grpc.StatusCode.NOT_FOUND, "model: there is no 'x'"), "host:1")
    assert error.details == str(error) == "model: there is no 'x'"


def test_no_connection_names_the_target_and_an_unavailable_server_speaks_for_itself():
    lost = Failure(
        grpc.StatusCode.UNAVAILABLE, "failed to connect to all addresses; last error: UNKNOWN: Connection refused"
    )
    assert str(errors.of_rpc(lost, "host:1")) == "no server answers at host:1 (Connection refused)"
    draining = Failure(grpc.StatusCode.UNAVAILABLE, "the server is draining")
    assert str(errors.of_rpc(draining, "host:1")) == "the server is draining"


def test_empty_details_still_say_something():
    assert str(errors.of_rpc(Failure(grpc.StatusCode.ABORTED, None), "host:1")) == "ABORTED"


def test_status_numbers_of_error_messages():
    assert isinstance(errors.of_number(3, "x"), errors.InvalidArgument)
    assert type(errors.of_number(99, "x")) is errors.ServalError


def test_errors_travel_between_processes():
    copy = pickle.loads(pickle.dumps(errors.NotFound("gone")))
    assert (type(copy), copy.details) == (errors.NotFound, "gone")


def test_a_missing_extra_is_an_import_error_too():
    with pytest.raises(ImportError, match="train"):
        raise errors.MissingExtra("pip install 'serval-inference[train]'")
