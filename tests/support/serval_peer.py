"""A peer of an engine without sockets: h2's client, and what tests ask of both."""

import itertools

import serval_frames as h2f
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    ResponseReceived,
    StreamEnded,
    StreamReset,
    TrailersReceived,
)
from h2.settings import SettingCodes
from serval_engine import SMALL, Engine, request
from serval_kernels.wire import state as engine


class Peer:
    """An h2 client on a connection of an engine. h2 itself holds what comes against the windows that it gave."""

    def __init__(self, server, number=0, *, window=65535, frame=16384, grants=True, cuts=()):
        self.server, self.number, self.grants = server, number, grants
        self.h2 = H2Connection(H2Configuration(header_encoding=None))
        self.h2.local_settings[SettingCodes.INITIAL_WINDOW_SIZE] = window
        self.h2.local_settings[SettingCodes.MAX_FRAME_SIZE] = frame
        self.h2.local_settings.acknowledge()
        self.h2.max_inbound_frame_size = frame
        self.cuts = list(cuts)
        self.events, self.read = [], 0
        self.status, self.body = {}, {}  # by stream
        self.ended, self.resets = set(), {}
        self.terminated = None
        server.connect(number)
        self.h2.initiate_connection()
        self.exchange()

    def exchange(self, octets=b"", rounds=200):
        """Send what there is, in pieces, and read what comes, until nobody says anything more, or so many times."""
        for _ in range(rounds):
            octets += self.h2.data_to_send()
            places = [0, *sorted(int(cut * len(octets)) for cut in self.cuts), len(octets)]
            for start, end in itertools.pairwise(places):
                self.server.feed(octets[start:end], self.number)
            written = bytes(self.server.written[self.number])[self.read :]
            self.read += len(written)
            if not written and not octets:
                return self
            octets = b""
            self._take(self.h2.receive_data(written) if written else [])
        return self

    def _take(self, events):
        for event in events:
            match event:
                case ResponseReceived() | TrailersReceived():
                    self.status.setdefault(event.stream_id, {}).update(
                        {bytes(name): bytes(value) for name, value in event.headers}
                    )
                case DataReceived():
                    self.body[event.stream_id] = self.body.get(event.stream_id, b"") + event.data
                    if self.grants and event.flow_controlled_length:
                        self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                case StreamEnded():
                    self.ended.add(event.stream_id)
                case StreamReset():
                    self.resets[event.stream_id] = int(event.error_code)
                case ConnectionTerminated():
                    self.terminated = int(event.error_code)
        self.events += events

    def call(self, stream_id, path, *messages, **more):
        self.exchange(request(self.h2, stream_id, path, *messages, **more))
        return self

    def grpc_status(self, stream_id):
        return int(self.status[stream_id][b"grpc-status"])

    def messages(self, stream_id):
        return h2f.Reply(body=self.body.get(stream_id, b"")).messages


def started(server):
    return [told.call for told in server.told if told.kind == engine.STARTED]


def kinds(server, call=None):
    return [told.kind for told in server.told if call in (None, told.call)]


def fenced(**sizes):
    server = Engine(SMALL._replace(**sizes))
    server.fence()
    return server
