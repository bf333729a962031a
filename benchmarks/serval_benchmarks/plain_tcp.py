"""What the system's TCP allows: as many octets to and fro as calls have, and nothing else done with them.

Two threads, which hold no interpreter and wait awake, each on its own core: one sends on every connection and sends
again when an answer has come, the other answers what comes. No server over TCP that answers each of its connections
apart does better on the machine, whatever protocol it speaks.
"""

import select
import socket
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import numba
import numpy as np
from numba import types
from serval_kernels.wire.sockets import EPOLL_EVENT, READY_MAX

from serval_benchmarks.servers import Cores, pinned

# What a call of one row and its answer take, frames included.
REQUEST_OCTETS, ANSWER_OCTETS = 180, 110

_FLAGS = int(socket.MSG_NOSIGNAL | socket.MSG_DONTWAIT)

_epoll_wait: Any = types.ExternalFunction("epoll_wait", types.int32(types.int32, types.int64, types.int32, types.int32))
_recv: Any = types.ExternalFunction("recv", types.int64(types.int32, types.int64, types.int64, types.int32))
_send: Any = types.ExternalFunction("send", types.int64(types.int32, types.int64, types.int64, types.int32))


def exchanges(connections: int, seconds: float, cores: Cores) -> float:
    """Return how many exchanges a second so many connections make, one under way on each."""
    stop = np.ones(1, np.int64)
    _answer(-1, np.zeros(READY_MAX, EPOLL_EVENT), np.zeros(1, np.uint8), 0, stop)  # compiles it
    stop[0] = 0
    with ExitStack() as opened:
        pairs = [_pair(opened) for _ in range(connections)]
        ours, theirs = zip(*pairs, strict=True)
        for connected in ours:
            connected.sendall(bytes(REQUEST_OCTETS))
        with ThreadPoolExecutor(2) as pool:
            answering = pool.submit(_on, cores.server, theirs, ANSWER_OCTETS, stop)
            calling = pool.submit(_on, cores.client, ours, REQUEST_OCTETS, stop)
            time.sleep(seconds)
            stop[0] = 1
            answering.result()
            made, took = calling.result()
    return made / took


def _pair(opened: ExitStack) -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ours = opened.enter_context(socket.create_connection(listener.getsockname()))
        theirs = opened.enter_context(listener.accept()[0])
    for connected in (ours, theirs):
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return ours, theirs


def _on(core: frozenset[int], sockets: Sequence[socket.socket], octets: int, stop: Any) -> tuple[int, float]:
    """Answer what comes on the sockets, on a core, until `stop`; return how often, and in how many seconds."""
    with pinned(core), select.epoll() as epoll:
        for connected in sockets:
            epoll.register(connected, select.EPOLLIN)
        ready, room = np.zeros(READY_MAX, EPOLL_EVENT), np.zeros(max(REQUEST_OCTETS, ANSWER_OCTETS), np.uint8)
        began = time.perf_counter()
        return _answer(epoll.fileno(), ready, room, octets, stop), time.perf_counter() - began


@numba.njit(nogil=True)
def _answer(epoll: int, ready: Any, room: Any, octets: int, stop: Any) -> int:
    """Send `octets` on each socket that has sent something, until `stop`; return how often.

    What comes is read at once: it is a segment of less than `room`, and nothing follows before it is answered.
    """
    answered = 0
    events, at = ready.ctypes.data, room.ctypes.data
    while not stop[0]:
        for i in range(_epoll_wait(epoll, events, READY_MAX, 0)):
            fd = ready[i].data
            if _recv(fd, at, room.size, _FLAGS) > 0:
                _send(fd, at, octets, _FLAGS)
                answered += 1
    return answered
