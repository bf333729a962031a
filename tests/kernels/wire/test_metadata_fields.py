"""What the engine says of a call's metadata, whether they come as literals or out of the table."""

import pytest
from serval_engine import ORDINARY, VECTORIZED
from serval_peer import Peer, fenced, started


def test_binary_metadata_of_a_vectorized_method_have_to_be_base64():
    server = fenced()
    peer = Peer(server)
    for stream_id in (1, 3):  # the second out of the table
        peer.call(stream_id, VECTORIZED, b"v", x_bin="AA-")
        assert (peer.grpc_status(stream_id), peer.ended) == (13, {*range(1, stream_id + 1, 2)})
    assert server.arrived == []
    for stream_id in (5, 7):
        peer.call(stream_id, VECTORIZED, b"v", x_bin="AAE,AAE=")
    assert len(server.arrived) == 2
    server.answer({arrived.call: b"" for arrived in server.arrived})
    server.write()
    assert (peer.exchange().grpc_status(5), peer.grpc_status(7)) == (0, 0)
    server.assert_nothing_left()


@pytest.mark.parametrize("value", [b" a", b"a ", b" ", b"  a  b  "])
def test_metadata_may_have_spaces_around_them(value):
    server = fenced()
    peer = Peer(server)
    peer.h2.config.validate_outbound_headers = peer.h2.config.normalize_outbound_headers = False
    for stream_id in (1, 5):  # the second out of the table
        peer.call(stream_id, VECTORIZED, b"v", x_name=value).call(stream_id + 2, ORDINARY, b"o", x_name=value)
    assert len(server.arrived) == 2
    assert len(started(server)) == 2
    assert (b"x-name", value) in server.told[0].fields
    assert peer.resets == {}


@pytest.mark.parametrize("name", ["grpc_timeout", "user_agent", "x_bin"])
def test_other_fields_may_not(name):
    server = fenced()
    peer = Peer(server)
    peer.h2.config.validate_outbound_headers = peer.h2.config.normalize_outbound_headers = False
    peer.call(1, ORDINARY, b"o", **{name: b"1S "})
    assert peer.resets == {1: 1}
    server.assert_nothing_left()
