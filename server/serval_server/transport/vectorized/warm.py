"""Loads the transport's kernels: two calls through an engine of its own, without a socket."""

import numpy as np
from serval_kernels.rows import NO_ROOM
from serval_kernels.wire import (
    batch,
    fields,
    frames,
    hpack,
    infer_codec,
    predict_codec,
    receive,
    sockets,
    turn,
    vectorized,
)
from serval_kernels.wire import state as engine
from serval_kernels.wire.constants import (
    CONNECTION_PREFACE,
    DATA,
    FLAG_END_HEADERS,
    FLAG_END_STREAM,
    HEADERS,
    SETTINGS,
)
from serval_kernels.wire.handle import Handle

_PATHS = (b"/a/ordinary", b"/a/vectorized")
_SIZES = engine.Sizes(connections=2, streams=16, arena=1 << 20, pool=1 << 20, messages=16, events=64)


def load() -> None:
    """Run each kernel once with the types that it meets."""
    state = engine.new_state(fields.register_paths(_PATHS), np.array([engine.ORDINARY, engine.VECTORIZED]), _SIZES)
    h = state.handle
    turn.open_connection(h, 0, 0)
    octets = CONNECTION_PREFACE + _frame(SETTINGS, 0, 0, b"") + _call(1, _PATHS[0]) + _call(3, _PATHS[1])
    state.pool.octets[: len(octets)] = np.frombuffer(octets, np.uint8)
    receive.receive(h, np.array([[0, 0, len(octets)]]), 1, 1)
    ordinary, vectorized = int(state.events["call"][0]), int(state.calls[0, 0])
    turn.consumed(h, ordinary, 0)
    turn.respond(h, ordinary, np.frombuffer(hpack.encode_headers([(b":status", b"200")]), np.uint8), 1, 0, 0, True)
    order, groups = np.zeros(1, np.int64), batch.new_groups(1)
    groups["messages"] = 1
    messages, calls = state.messages[0, :1], state.calls[0, :1]
    messages["reply_length"] = 5
    turn.mark_open(h, calls, np.zeros(1, np.bool_))
    turn.begin_answers(h, messages, calls, order, groups, 0)
    turn.end_answers(h, calls, order, groups, 0)
    turn.fall_back(h, messages, calls, order, 0, 1)
    turn.refuse(h, vectorized, 0)
    turn.cancel(h, vectorized)
    turn.collect(h)
    _load_sockets(h)
    turn.unsent(h, 0, 0, 0)
    turn.sent(h, 0)
    turn.resume(h, 0)
    turn.expire(h)
    turn.look_after(h, np.zeros(1, turn.TIMES))
    turn.leave(h, 0, True)
    turn.close_connection(h, 0)
    _load_methods(state)


def _load_sockets(h: Handle) -> None:
    """Run the entries for sockets without one: there is no epoll of the number -1, and no output."""
    tables = sockets.new_sockets(_SIZES.connections, 0)
    sockets.take(h, tables.handle, -1, 0, 0, False, _SIZES.arena)
    sockets.give(h, tables.handle)


def _load_methods(state: engine.State) -> None:
    """Run the entries of vectorized methods with groups of nothing."""
    method = vectorized.new_method(16, 4, 8, 2)
    h, m, none = state.handle, method.handle, np.zeros(8, np.uint8)
    nowhere = np.zeros(0, np.int64)
    state.counts[:] = 0
    output = [("output", np.dtype(np.float32), ())]
    vectorized.gather(h, m, 0, 0, none, 0)
    for codec, decode, answer, plan in (
        (infer_codec, vectorized.decode_infer, vectorized.answer_infer, infer_codec.plan("model", "1", output)),
        (predict_codec, vectorized.decode_predict, vectorized.answer_predict, predict_codec.plan("model", 1, output)),
    ):
        assert codec.decode.signatures  # compiled when it was imported
        decode(h, m, 0, 1)
        answer(h, m, 0, 0, vectorized.handle_of_plan(plan), none, nowhere, NO_ROOM)


def _call(stream: int, path: bytes) -> bytes:
    block = hpack.encode_headers(
        [
            (b":method", b"POST"),
            (b":scheme", b"http"),
            (b":path", path),
            (b"te", b"trailers"),
            (b"content-type", b"application/grpc"),
        ]
    )
    return _frame(HEADERS, FLAG_END_HEADERS, stream, block) + _frame(DATA, FLAG_END_STREAM, stream, bytes(5))


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    header = np.zeros(9, np.uint8)
    frames.write_header(header, 0, len(payload), kind, flags, stream)
    return header.tobytes() + payload
