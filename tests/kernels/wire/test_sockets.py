"""The compiled reading, over real sockets and epoll."""

import contextlib
import select
import socket

import numpy as np
import pytest
from serval_engine import SMALL, Engine
from serval_kernels.wire import limits, sockets

BUSY = 5
ROOM_FOR_ONE = 2 * limits.READ_OCTETS + 1


@pytest.mark.parametrize("room_for", [1, 2, 4])
def test_sockets_that_are_always_busy_are_read_in_turn(room_for):
    server = Engine(SMALL)
    octets = bytes(1000)
    tables = sockets.new_sockets(SMALL.connections, 4096)
    with contextlib.ExitStack() as stack:
        epoll = stack.enter_context(select.epoll())
        senders = []
        for number in range(BUSY):
            near, far = (stack.enter_context(end) for end in socket.socketpair())
            near.setblocking(False)
            tables.numbers[near.fileno()], tables.fds[number] = number + 1, near.fileno()
            epoll.register(near, select.EPOLLIN)
            senders.append(far)
        arena = ROOM_FOR_ONE + (room_for - 1) * len(octets)
        seen = np.zeros(BUSY, int)
        for _ in range(2 * BUSY):
            for far in senders:
                far.send(octets)
            sockets.take(server.handle, tables.handle, epoll.fileno(), 0, 0, False, arena)
            count = int(tables.taken["reads"][0])
            seen[tables.reads[:count, 0]] += 1
    assert seen.min() > 0
    assert seen.max() - seen.min() <= 1


def test_what_has_whole_frames_left_is_not_read():
    """They are handed over first: a connection that is read behind them would carry more with every turn."""
    server = Engine(SMALL)
    tables = sockets.new_sockets(SMALL.connections, 4096)
    near, far = socket.socketpair()
    with near, far, select.epoll() as epoll:
        near.setblocking(False)
        tables.numbers[near.fileno()], tables.fds[0] = 1, near.fileno()
        epoll.register(near, select.EPOLLIN)
        far.send(bytes(1000))
        for backlog, reads in ((1, 0), (0, 1)):
            server.connection()["backlog"] = backlog
            sockets.take(server.handle, tables.handle, epoll.fileno(), 0, 0, True, SMALL.arena)
            assert int(tables.taken["reads"][0]) == reads
