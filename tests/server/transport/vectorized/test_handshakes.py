"""TLS handshakes have half of the loop's time, and no more."""

from serval_server.transport.vectorized.handshakes import NEVER, Handshakes


def test_a_step_is_followed_by_a_rest_as_long():
    handshakes = Handshakes()
    first, second, third = (object() for _ in range(3))
    assert handshakes.at == NEVER
    handshakes.wait(first)
    handshakes.wait(second)
    handshakes.wait(first)  # it has ended, as epoll tells in any case
    assert handshakes.at <= 0
    assert handshakes.next() is first
    handshakes.took(1000, 1400)
    assert handshakes.at == 1800
    assert handshakes.next() is second
    assert handshakes.at == NEVER
    handshakes.took(1800, 1900)
    assert handshakes.at == NEVER
    handshakes.wait(third)
    assert handshakes.at == 2000
    assert handshakes.next() is third
