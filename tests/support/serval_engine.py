"""The compiled engine without sockets: octets and time in, what it tells and what it writes out.

The arena lies between canaries, every turn: what is read is not written to, and nothing around it. `fence` puts blocks
of canaries between all blocks that the engine may take from its pool. `intact` looks at all of them.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import serval_frames as h2
from hyperframe.frame import Frame
from serval_kernels.wire import batch, fields, limits, memory, receive, turn
from serval_kernels.wire import state as engine

CANARY = 0xA5
ORDINARY, VECTORIZED, OTHER = "/test.T/Ordinary", "/test.T/Vectorized", "/test.T/Other"
SMALL = engine.Sizes(
    connections=8, streams=64, arena=1 << 20, pool=1 << 24, messages=64, events=256, max_message=4 << 20, max_streams=32
)
HEAD = h2.literals((":status", "200"), ("content-type", "application/grpc"))
OK = h2.literals(("grpc-status", "0"))
_GAP = 64


class Told(NamedTuple):
    """An event of an ordinary call, with the octets that it speaks of."""

    kind: int
    call: int
    connection: int
    value: int
    octets: bytes

    @property
    def fields(self):
        """The header fields of STARTED."""
        found, end = fields_in(self.octets)
        assert end == len(self.octets)
        return found


def fields_in(octets):
    """Header fields that the engine wrote, and where they end."""
    count, at, found = int.from_bytes(octets[:4], "big"), 4, []
    for _ in range(count):
        name, value = (int.from_bytes(octets[at + i : at + i + 4], "big") for i in (0, 4))
        at += 8
        found.append((octets[at : at + name], octets[at + name : at + name + value]))
        at += name + value
    return found, at


class Arrived(NamedTuple):
    """A whole call of a vectorized method."""

    call: int
    connection: int
    message: bytes


@dataclass
class Engine:
    """A server's state and a clock that stands still unless told; a turn is what `receive` calls one."""

    sizes: engine.Sizes = SMALL
    ordinary: tuple[str, ...] = (ORDINARY, OTHER)
    vectorized: tuple[str, ...] = (VECTORIZED,)
    now: int = limits.SECOND
    told: list[Told] = field(default_factory=list)
    kept: dict[int, list[tuple[bytes, bytes]]] = field(default_factory=dict)  # fields of calls that fell back
    arrived: list[Arrived] = field(default_factory=list)
    written: dict[int, bytearray] = field(default_factory=dict)

    def __post_init__(self):
        paths = sorted([*self.ordinary, *self.vectorized])
        kinds = [engine.VECTORIZED if path in self.vectorized else engine.ORDINARY for path in paths]
        registered = fields.register_paths([path.encode() for path in paths])
        self.state = engine.new_state(registered, np.array(kinds, np.int64), self.sizes, 12345)
        self.state.turn["answer_unknown"] = 1
        self.handle = self.state.handle
        self.octets = self.state.pool.octets
        self.reads = np.zeros((self.sizes.connections, 3), np.int64)
        self.fences = []
        self.room = {}  # octets that a connection's socket takes before it is full

    # Connections

    def connect(self, number=0):
        self.written[number] = bytearray()
        turn.open_connection(self.handle, number, self.now)
        self.write()
        return number

    def disconnect(self, number=0):
        turn.close_connection(self.handle, number)
        self.take_events()

    def connection(self, number=0):
        return self.state.connections[number]

    # A turn

    def feed(self, octets, number=0):
        """Take a turn with octets of one connection, and further ones until all of it is taken."""
        self.turn({number: octets})
        return self

    def turn(self, reads):
        """Take a turn with what several connections sent, and further ones while there is backlog."""
        self.receive(reads)
        self.write()
        for _ in range(100_000):
            waiting = [c for c in range(self.sizes.connections) if self.connection(c)["backlog"]]
            if not waiting:
                return
            self.receive(dict.fromkeys(waiting, b""))
            self.write()
        raise AssertionError("a backlog that does not end")

    def receive(self, reads):
        """Take one turn; events and messages are kept in `told` and `arrived`."""
        arena = self.octets[: self.sizes.arena]
        arena[:] = CANARY
        at, count = _GAP, 0
        for number, octets in reads.items():
            row = self.connection(number)
            source, carried = int(row["carry_at"]), int(row["carried"])
            arena[at : at + carried] = self.octets[source : source + carried]
            end = at + carried + len(octets)
            arena[at + carried : end] = np.frombuffer(octets, np.uint8)
            self.reads[count] = number, at, end
            at, count = end + _GAP, count + 1
        before = arena.copy()
        receive.receive(self.handle, self.reads, count, self.now)
        assert np.array_equal(arena, before), "the engine wrote to what was read, or around it"
        for place in range(len(self.vectorized)):
            for i in range(int(self.state.counts[place])):
                message = self.state.messages[place, i]
                octets = self._cut(message["at"], message["length"])
                self.arrived.append(Arrived(int(self.state.calls[place, i]), int(message["template"]), octets))
        self.take_events()

    def take_events(self):
        """Take what the engine tells, as the loop does after each entry."""
        count = int(self.state.turn["events"][0])
        assert count <= self.state.events.size, "more events than the table has rows"
        for kind, call, connection, _, at, length, value, _, kept in self.state.events[:count].tolist():
            self.told.append(Told(kind, call, connection, value, self._cut(at, length)))
            if kind == engine.FELL_BACK and kept:
                self.kept[call] = fields_in(self._cut(kept, limits.HEADER_LIST_OCTETS))[0]
        self.state.turn["events"] = 0

    def wait(self, nanoseconds):
        """Let time pass: deadlines are looked at."""
        self.now += nanoseconds
        self.receive({})
        turn.expire(self.handle)
        self.take_events()
        self.write()

    def look_after(self, **times):
        """Look at ages. `times` are nanoseconds; those that are not named are for ever."""
        rows = np.full(1, turn.NEVER, np.int64).view(np.int64)
        rows = np.zeros(1, turn.TIMES)
        for name in turn.TIMES.names:
            rows[name] = times.get(name, turn.NEVER)
        used = turn.look_after(self.handle, rows)
        self.take_events()
        self.write()
        return used

    def write(self):
        """Write what waits, as far as the sockets take it."""
        while count := turn.collect(self.handle):
            for number, start, end in self.state.spans[:count].tolist():
                went = min(end - start, self.room.get(number, end - start))
                self.written[number] += self.octets[start : start + went].tobytes()
                if number in self.room:
                    self.room[number] -= went
                if went < end - start:
                    turn.unsent(self.handle, number, start + went, end)
                elif turn.sent(self.handle, number):
                    turn.resume(self.handle, number)
                    self.take_events()

    def make_room(self, octets, number=0):
        """Have a full socket take so many octets more."""
        self.room[number] += octets
        turn.resume(self.handle, number)
        self.take_events()
        self.write()

    # Answers

    def respond(self, call, head=b"", body=b"", tail=b"", *, ends=True):
        source = np.frombuffer(head + body + tail or b"\0", np.uint8)
        result = turn.respond(self.handle, call, source, len(head), len(body), len(tail), ends)
        self.take_events()
        return result

    def reply(self, call, message=b""):
        """Answer an ordinary unary call well."""
        return self.respond(call, HEAD, h2.grpc_message(message), OK)

    def refuse(self, call, answer):
        turn.refuse(self.handle, call, answer)
        self.take_events()

    def consumed(self, call, octets):
        turn.consumed(self.handle, call, octets)

    def answer(self, replies):
        """Answer vectorized calls as a group: {call: message}. Returns how many needed `end_answers`."""
        messages, groups = batch.new_messages(len(replies)), batch.new_groups(1)
        order, ids = np.arange(len(replies)), np.array(list(replies), np.int64)
        groups[0]["messages"] = len(replies)
        messages["reply_length"] = [len(message) + 5 for message in replies.values()]
        left = turn.begin_answers(self.handle, messages, ids, order, groups, 0)
        for at, message in zip(messages["reply_at"].tolist(), replies.values(), strict=True):
            if at >= 0:
                self.octets[at : at + len(message) + 5] = np.frombuffer(h2.grpc_message(message), np.uint8)
        if left:
            turn.end_answers(self.handle, ids, order, groups, 0)
        self.take_events()
        return left

    # What is left

    def fence(self):
        """Take every other block of each size up to 64 KiB and fill it with canaries."""
        pool = self.state.pool
        for size in (1 << 16, 1 << 15, 1 << 14, 1 << 13, 1 << 12):
            taken = [memory.take(pool, size) for _ in range(16)]
            for i, at in enumerate(sorted(taken)):
                assert at != memory.NONE
                if i % 2:
                    memory.give(pool, at, size)
                else:
                    self.octets[at : at + size] = CANARY
                    self.fences.append((at, size))

    def intact(self):
        """Assert that no canary was written over."""
        for at, size in self.fences:
            assert (self.octets[at : at + size] == CANARY).all(), f"a canary in [{at}, {at + size}) was written over"

    def assert_nothing_left(self):
        """Close all connections and begin a turn: every block, row and octet has come back."""
        for number in range(self.sizes.connections):
            if self.connection(number)["phase"] != engine.FREE:
                self.disconnect(number)
        self.receive({})
        own = sum(size for _, size in self.fences)
        assert int(self.state.turn["open_streams"][0]) == 0
        assert int(self.state.turn["held"][0]) == 0
        assert not self.state.connections["taken"].any()
        assert not self.state.connections["held"].any()
        assert int(self.state.pool.used[0]) == own
        assert not self.state.numbers.any()
        assert not self.state.streams["id"].any()
        self.intact()

    def frames(self, number=0):
        """All frames written to a connection, parsed by hyperframe."""
        return parsed(bytes(self.written[number]))

    def _cut(self, at, length):
        return self.octets[at : at + length].tobytes()


def parsed(octets):
    """The frames of an output, which ends with a whole one."""
    found, at = [], 0
    while at < len(octets):
        frame, length = Frame.parse_frame_header(memoryview(octets[at : at + 9]))
        frame.parse_body(memoryview(octets[at + 9 : at + 9 + length]))
        assert at + 9 + length <= len(octets), "the output ends within a frame"
        found.append(frame)
        at += 9 + length
    return found


def request(client, stream_id, path=ORDINARY, *messages, end=True, **more):
    """A whole gRPC request by an h2 client; the octets to send."""
    client.send_headers(stream_id, h2.fields_of(path, **more), end_stream=end and not messages)
    for i, message in enumerate(messages):
        octets = h2.grpc_message(message)
        while octets:
            room = min(client.local_flow_control_window(stream_id), client.max_outbound_frame_size)
            assert room > 0
            piece, octets = octets[:room], octets[room:]
            client.send_data(stream_id, piece, end_stream=end and i == len(messages) - 1 and not octets)
    return client.data_to_send()
