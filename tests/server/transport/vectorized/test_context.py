import threading
import time

import grpc
import pytest
from serval_calls import PEER, hand_turned
from serval_server.transport.vectorized.call import Call
from serval_server.transport.vectorized.context import NO_DEADLINE, Aborted, Context, Peer
from serval_server.transport.vectorized.metadata import Metadatum, Request

HANDLER = grpc.unary_unary_rpc_method_handler(None)


@pytest.fixture
def loop():
    with hand_turned() as turned:
        yield turned


def context_of(loop, peer=PEER, **more):
    request = Request((Metadatum("a", "1"),))
    return Context(Call(1, "/s/m", HANDLER, request, peer, loop.terms, **more))


def test_is_whole():
    """Everything that the interface of grpc.ServicerContext names is answered, not inherited."""
    named = {name for name in vars(grpc.ServicerContext) | vars(grpc.RpcContext) if not name.startswith("_")}
    assert named <= set(vars(Context))


def test_a_peer_without_tls(loop):
    context = context_of(loop)
    assert context.peer() == "ipv4:127.0.0.1:5000"
    assert context.peer_identity_key() is None
    assert context.peer_identities() is None
    assert context.auth_context() == {
        "transport_security_type": [b"insecure"],
        "security_level": [b"TSI_SECURITY_NONE"],
    }


@pytest.mark.parametrize(
    ("properties", "key"),
    [
        ({"x509_common_name": [b"me"]}, "x509_common_name"),
        ({"x509_common_name": [b"me"], "x509_subject_alternative_name": [b"a", b"b"]}, "x509_subject_alternative_name"),
        ({"transport_security_type": [b"ssl"]}, None),
    ],
)
def test_a_peer_with_tls(loop, properties, key):
    context = context_of(loop, Peer("ipv6:%5B::1%5D:5000", properties))
    assert context.auth_context() == properties
    assert context.peer_identity_key() == key
    assert context.peer_identities() == (properties[key] if key else None)


def test_invocation_metadata(loop):
    assert context_of(loop).invocation_metadata() == (("a", "1"),)
    assert context_of(loop).invocation_metadata()[0].key == "a"


def test_time_remaining(loop):
    now = time.monotonic_ns()
    assert 9 < context_of(loop, deadline_ns=now + 10_000_000_000).time_remaining() <= 10
    assert context_of(loop, deadline_ns=now - 1).time_remaining() == 0
    assert context_of(loop).time_remaining() == NO_DEADLINE > 1e18


def test_code_details_and_trailers(loop):
    context = context_of(loop)
    assert (context.code(), context.details(), context.trailing_metadata()) == (None, None, None)
    context.set_code(grpc.StatusCode.NOT_FOUND)
    context.set_details("é")
    context.set_trailing_metadata((("a", "b"),))
    assert context.code() == grpc.StatusCode.NOT_FOUND
    assert context.details() == "é".encode()
    assert context.trailing_metadata() == (("a", "b"),)


def test_abort(loop, caplog):
    context = context_of(loop)
    with pytest.raises(Aborted):
        context.abort(grpc.StatusCode.NOT_FOUND, "nothing")
    assert (context.code(), context.details()) == (grpc.StatusCode.NOT_FOUND, b"nothing")
    assert caplog.records == []
    with pytest.raises(Aborted):
        context.abort(grpc.StatusCode.OK, "fine")
    assert (context.code(), context.details()) == (grpc.StatusCode.UNKNOWN, b"")
    assert "abort() called with StatusCode.OK" in caplog.text


def test_cancel(loop):
    context, called = context_of(loop), threading.Event()
    assert context.add_callback(called.set)
    assert context.is_active()
    context.cancel()
    context.cancel()
    assert not context.is_active()
    assert loop.reset == [1]
    assert called.wait(10)
    assert not context.add_callback(called.set)
    with pytest.raises(grpc.RpcError):
        context.send_initial_metadata(())


def test_initial_metadata_once(loop):
    context = context_of(loop)
    context.send_initial_metadata((("a", "b"),))
    with pytest.raises(ValueError, match="Initial metadata no longer allowed!"):
        context.send_initial_metadata((("a", "b"),))
