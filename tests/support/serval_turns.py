"""Turns of messages for the tests of the compiled codecs: bytes in, plain values out."""

from typing import NamedTuple

import numpy as np
from serval_kernels.wire import batch, layouts, predict_codec, template

CANARY = 0xA5


class Decoded(NamedTuple):
    model: str
    version: str
    input: str
    datatype: int
    shape: tuple[int, ...]
    id: str
    payload: bytes


def octets(data):
    return np.frombuffer(bytes(data), np.uint8)


class Turns:
    """One decoder with what it keeps from turn to turn."""

    def __init__(self, codec, places=64, senders=3, groups=64):
        self.codec = codec
        self.layouts = layouts.new_layouts(places)
        self.templates = template.new_templates(senders)
        self.groups = batch.new_groups(groups)
        self.turn = 0

    def decode(self, data, senders=None):
        """Decode serialized messages that lie in one buffer with foreign octets around each."""
        self.turn += 1
        self.messages = batch.new_messages(len(data))
        self.order = np.full(len(data), -7, np.int64)
        buffer = bytearray(b"\x0a\x7f")
        for i, message in enumerate(data):
            self.messages[i]["at"], self.messages[i]["length"] = len(buffer), len(message)
            self.messages[i]["template"] = senders[i] if senders else 0
            buffer += message + b"\x1a\x01"
        self.buffer = octets(buffer)
        self.count, self.grouped = self.codec.decode(
            self.buffer, self.messages, self.order, self.groups, self.layouts, self.templates, self.turn
        )
        return [self.result(i) for i in range(len(data))]

    def cut(self, at, length):
        return self.buffer[at : at + length].tobytes()

    def result(self, i):
        """Return what was decoded of message `i`, None for a fallback."""
        message = self.messages[i]
        if message["group"] < 0:
            return None
        layout = self.layouts[self.groups[message["group"]]["layout"]]
        rank = int(layout["rank"])
        return Decoded(
            *layouts.names_of(layout),
            int(layout["datatype"]),
            (int(message["rows"]), *layout["shape"][1:rank].tolist()),
            self.cut(message["id_at"], message["id_length"]).decode("ascii"),
            self.cut(message["payload_at"], message["payload_length"]),
        )

    def members(self, number):
        group = self.groups[number]
        return self.order[group["first"] : group["first"] + group["messages"]]

    def replies(self, number, plan, arrays):
        """Encode a group's replies with a canary around each; return them without the prefix, by message number."""
        rows = int(self.groups[number]["rows"])
        values = np.full(plan.size(rows), CANARY, np.uint8)
        plan.lay_out(arrays, rows, values)
        members = self.members(number)
        # Integers of a PredictReply are as long as their values.
        extra = (values,) if self.codec is predict_codec else ()
        total = self.codec.sizes(self.messages, self.order, self.groups, number, plan.outputs, *extra)
        lengths = self.messages["reply_length"][members]
        assert total == lengths.sum()
        gap = 3
        self.messages["reply_at"][members] = gap + np.cumsum(lengths + gap) - lengths - gap
        out = np.full(total + gap * (len(members) + 1), CANARY, np.uint8)
        self.codec.encode(
            self.buffer,
            self.messages,
            self.order,
            self.groups,
            number,
            plan.constants,
            plan.outputs,
            values,
            out,
        )
        replies, at = {}, 0
        for i in members:
            start, length = (int(self.messages[i][name]) for name in ("reply_at", "reply_length"))
            assert out[at:start].tolist() == [CANARY] * gap
            reply, at = out[start : start + length].tobytes(), start + length
            assert reply[:5] == bytes([0]) + (length - 5).to_bytes(4, "big")
            replies[int(i)] = reply[5:]
        assert out[at:].tolist() == [CANARY] * gap
        return replies


def delimited(tag, contents):
    """Return a length-delimited field with a tag of one octet."""
    return bytes([tag]) + varint(len(contents)) + contents


def varint(value):
    """Return a number as a varint, written apart from the code under test."""
    value &= (1 << 64) - 1
    parts = []
    while True:
        value, low = value >> 7, value & 0x7F
        parts.append(low | (0x80 if value else 0))
        if not value:
            return bytes(parts)
