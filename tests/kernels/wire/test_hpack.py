"""Blocks against the RFC's examples and another implementation, with every array ending at a canary.

Differences from `hpack.Decoder`, on purpose: beyond the largest header list it gives up and we keep the table in step,
and what RFC 9113 forbids in names and values it passes on and we flag.
"""

import sys

import hpack as peer
import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from serval_kernels.wire import constants, fields, hpack, table

# The first example may wait for the compiler.
COMPILES = settings(deadline=None)

PATH = b"/inference.GRPCInferenceService/ModelInfer"
PATHS = fields.register_paths([b"/a/b", PATH, b"/serval.v1.PredictService/Predict"])
CALL = [
    (b":method", b"POST"),
    (b":scheme", b"http"),
    (b":path", PATH),
    (b":authority", b"127.0.0.1:8001"),
    (b"content-type", b"application/grpc"),
    (b"te", b"trailers"),
    (b"grpc-timeout", b"5S"),
    (b"x-request-id", b"7f"),
]
CALL_MEANS = [
    (fields.METHOD, fields.POST),
    (fields.SCHEME, fields.UNKNOWN),
    (fields.PATH, 1),
    (fields.AUTHORITY, fields.UNKNOWN),
    (fields.CONTENT_TYPE, fields.GRPC),
    (fields.TE, fields.TRAILERS),
    (fields.GRPC_TIMEOUT, 5 * 10**9),
    (fields.OTHER, fields.UNKNOWN),
]
CANARY = 0xA5
GENEROUS = 1 << 20  # the largest list where size is not the question, for both sides


class Connection:
    """The middle one of three connections; its neighbours and what lies beyond the outputs must never change."""

    def __init__(self, header_table_size=constants.DEFAULT_HEADER_TABLE_SIZE):
        self.tables = table.allocate(3, PATHS, header_table_size)
        self.row = self.tables.rows[1]
        entries, octets, ring = int(self.row["entries_at"]), int(self.row["octets_at"]), 2 * int(self.row["capacity"])
        self.guarded = [
            self.tables.entries[:entries].view(np.uint8),
            self.tables.entries[entries + int(self.row["slots"]) :].view(np.uint8),
            self.tables.octets[:octets],
            self.tables.octets[octets + ring :],
            self.tables.rows[::2].copy().view(np.uint8),
        ]
        self.before = [part.tobytes() for part in self.guarded]

    def decode(self, block, *, with_text=True, max_list_size=GENEROUS, max_fields=4096):
        """Return status, names and values, and the rows."""
        rows = np.full((max_fields + 4) * hpack.FIELD.itemsize, CANARY, np.uint8)
        room = hpack.text_capacity(self.tables, 1, len(block), max_list_size)
        text = np.full(room + 64, CANARY, np.uint8)
        out = rows[: max_fields * hpack.FIELD.itemsize].view(hpack.FIELD)
        buffer = np.frombuffer(bytearray(b"\x82" + block + b"\x82"), np.uint8)
        arguments = (buffer, 1, 1 + len(block), self.tables, 1, max_list_size, with_text, out, text[:room])
        status, count = hpack.decode(*arguments)
        assert set(text[room:]) == set(rows[out.nbytes :]) == {CANARY}
        self.guarded[-1] = self.tables.rows[::2].copy().view(np.uint8)
        assert [part.tobytes() for part in self.guarded] == self.before
        assert self.row["size"] <= self.row["max_size"]
        return status, hpack.rows_to_list(out, count, text), out[:count]

    def entries(self):
        """Return the dynamic table, newest first."""
        texts = []
        for index in range(constants.STATIC_TABLE_SIZE + 1, table.size_of_index_space(self.tables, 1) + 1):
            entry = self.tables.entries[table.place_of(self.tables, 1, index)]
            at, name, value = int(entry["at"]), int(entry["name_size"]), int(entry["value_size"])
            text = self.tables.octets[at : at + name + value].tobytes()
            texts.append((text[:name], text[name:]))
        return texts


def peer_table(coder):
    return [(bytes(name), bytes(value)) for name, value in coder.header_table.dynamic_entries]


def valid(name, value):
    as_array = [np.frombuffer(bytearray(text), np.uint8) for text in (name, value)]
    meaning = fields.meaning_of(as_array[0], 0, len(name))
    return fields.name_is_valid(as_array[0], 0, len(name)) and fields.value_is_valid(
        as_array[1], 0, len(value), meaning
    )


# RFC 7541, appendix C. Names and values of each block, the block, and the table's size after it.
DATE, LATER, SITE = b"Mon, 21 Oct 2013 20:13:21 GMT", b"Mon, 21 Oct 2013 20:13:22 GMT", b"https://www.example.com"
COOKIE = b"foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1"
REQUEST = [(b":method", b"GET"), (b":scheme", b"http"), (b":path", b"/"), (b":authority", b"www.example.com")]
REQUESTS = [
    REQUEST,
    [*REQUEST, (b"cache-control", b"no-cache")],
    [
        (b":method", b"GET"),
        (b":scheme", b"https"),
        (b":path", b"/index.html"),
        (b":authority", b"www.example.com"),
        (b"custom-key", b"custom-value"),
    ],
]
RESPONSES = [
    [(b":status", b"302"), (b"cache-control", b"private"), (b"date", DATE), (b"location", SITE)],
    [(b":status", b"307"), (b"cache-control", b"private"), (b"date", DATE), (b"location", SITE)],
    [
        (b":status", b"200"),
        (b"cache-control", b"private"),
        (b"date", LATER),
        (b"location", SITE),
        (b"content-encoding", b"gzip"),
        (b"set-cookie", COOKIE),
    ],
]
EXAMPLES = {
    "C.2.1": (
        4096,
        [[(b"custom-key", b"custom-header")]],
        ["400a637573746f6d2d6b65790d637573746f6d2d686561646572"],
        [55],
    ),
    "C.2.2": (4096, [[(b":path", b"/sample/path")]], ["040c2f73616d706c652f70617468"], [0]),
    "C.2.3": (4096, [[(b"password", b"secret")]], ["100870617373776f726406736563726574"], [0]),
    "C.2.4": (4096, [[(b":method", b"GET")]], ["82"], [0]),
    "C.3": (
        4096,
        REQUESTS,
        [
            "828684410f7777772e6578616d706c652e636f6d",
            "828684be58086e6f2d6361636865",
            "828785bf400a637573746f6d2d6b65790c637573746f6d2d76616c7565",
        ],
        [57, 110, 164],
    ),
    "C.4": (
        4096,
        REQUESTS,
        [
            "828684418cf1e3c2e5f23a6ba0ab90f4ff",
            "828684be5886a8eb10649cbf",
            "828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf",
        ],
        [57, 110, 164],
    ),
    "C.5": (
        256,
        RESPONSES,
        [
            "4803333032580770726976617465611d4d6f6e2c203231204f637420323031332032303a31333a323120474d54"
            "6e1768747470733a2f2f7777772e6578616d706c652e636f6d",
            "4803333037c1c0bf",
            "88c1611d4d6f6e2c203231204f637420323031332032303a31333a323220474d54c05a04677a69707738666f6f"
            "3d4153444a4b48514b425a584f5157454f50495541585157454f49553b206d61782d6167653d333630303b2076"
            "657273696f6e3d31",
        ],
        [222, 222, 215],
    ),
    "C.6": (
        256,
        RESPONSES,
        [
            "488264025885aec3771a4b6196d07abe941054d444a8200595040b8166e082a62d1bff6e919d29ad171863c78f"
            "0b97c8e9ae82ae43d3",
            "4883640effc1c0bf",
            "88c16196d07abe941054d444a8200595040b8166e084a62d1bffc05a839bd9ab77ad94e7821dd7f2e6c7b335df"
            "dfcd5b3960d5af27087f3672c1ab270fb5291f9587316065c003ed4ee5b1063d5007",
        ],
        [222, 222, 215],
    ),
}


@pytest.mark.parametrize("example", EXAMPLES.values(), ids=EXAMPLES)
def test_the_examples_of_the_rfc(example):
    table_size, lists, blocks, sizes = example
    connection, other = Connection(), peer.Decoder()
    table.resize(connection.tables, 1, table_size)
    other.header_table_size = table_size
    for headers, block, size in zip(lists, map(bytes.fromhex, blocks), sizes, strict=True):
        status, found, _ = connection.decode(block)
        assert (status <= hpack.COMPLETE_INDEXED, found, connection.row["size"]) == (True, headers, size)
        other.decode(block, raw=True)
        assert connection.entries() == peer_table(other)


def test_never_indexed_is_told():
    assert Connection().decode(bytes.fromhex(EXAMPLES["C.2.3"][2][0]))[2]["flags"].tolist() == [hpack.NEVER_INDEXED]
    assert Connection().decode(bytes.fromhex(EXAMPLES["C.2.2"][2][0]))[2]["flags"].tolist() == [0]


@pytest.mark.parametrize(
    ("prefix_bits", "coded", "value"),
    [
        (5, "0a", 10),
        (5, "1f9a0a", 1337),
        (8, "2a", 42),
        (7, "7f00", 127),
        (5, "1f8000", 31),
        (5, "1fe1ffffff07", 1 << 31),
        (5, "1fe2ffffff07", None),
        (5, "1f8080808000", 31),
        (5, "1f808080808000", None),
        (5, "1fffffffff7f", None),
        (5, "1f", None),
        (5, "1f9a", None),
    ],
)
def test_integers(prefix_bits, coded, value):
    block = np.frombuffer(bytearray(bytes.fromhex(coded)), np.uint8)
    expected = (0, -1) if value is None else (value, block.size)
    assert hpack.decode_integer(block, 0, block.size, prefix_bits) == expected


@COMPILES
@given(st.integers(0, 1 << 31), st.integers(1, 8))
def test_integers_are_read_as_written(value, prefix_bits):
    coded = hpack.encode_integer(value, prefix_bits)
    assert coded == bytes(peer.hpack.encode_integer(value, prefix_bits))
    block = np.frombuffer(bytearray(coded + b"\xff"), np.uint8)
    assert hpack.decode_integer(block, 0, block.size, prefix_bits) == (value, len(coded))


NAMES = st.one_of(
    st.sampled_from([name for name, _ in constants.STATIC_TABLE] + list(fields._NAMES)),
    st.binary(max_size=60),
    st.text("abcxyz-", min_size=1, max_size=20).map(str.encode),
)
VALUES = st.one_of(
    st.sampled_from([value for _, value in constants.STATIC_TABLE] + [PATH, b"/a/b", b"5S", b"trailers"]),
    st.binary(max_size=80),
    st.integers(0, 1800).map(lambda size: b"0123456789abcdef"[: size % 17] * (size // 16)),
)
HEADERS = st.lists(st.tuples(NAMES, VALUES, st.booleans()), max_size=12)
TABLE_SIZES = st.one_of(st.just(4096), st.integers(0, 4096), st.integers(0, 200))
BLOCKS = st.lists(st.tuples(HEADERS, st.booleans(), st.lists(TABLE_SIZES, max_size=2)), min_size=1, max_size=8)


def encoded(coder, headers, huffman, sizes):
    for size in sizes:
        if size != coder.header_table_size:  # the same once more would make it forget the change before
            coder.header_table_size = size
    return coder.encode([(name, value, sensitive) for name, value, sensitive in headers], huffman=huffman)


@pytest.mark.slow
@COMPILES
@given(BLOCKS)
def test_a_connection_of_blocks_decodes_to_what_was_encoded(blocks):
    coder, connection = peer.Encoder(), Connection()
    for headers, huffman, sizes in blocks:
        status, found, rows = connection.decode(encoded(coder, headers, huffman, sizes))
        expected = [(name, value) for name, value, _ in headers]
        assert found == expected
        assert (status == hpack.MALFORMED) == (not all(valid(*field) for field in expected))
        assert connection.entries() == peer_table(coder)
        for (name, value), row in zip(expected, rows, strict=True):
            text = np.frombuffer(bytearray(name + value), np.uint8)
            meaning = fields.meaning_of(text, 0, len(name))
            assert row["meaning"] == meaning
            assert row["detail"] == fields.detail_of(meaning, PATHS, text, len(name), len(value))
            assert bool(row["flags"] & (table.MALFORMED_NAME | table.MALFORMED_VALUE)) != valid(name, value)


@pytest.mark.slow
@COMPILES
@given(BLOCKS)
def test_blocks_too_large_leave_the_table_in_step(blocks):
    coder, connection = peer.Encoder(), Connection()
    for number, (headers, huffman, sizes) in enumerate(blocks):
        limits = {"max_list_size": 300} if number % 2 else {"max_fields": 3}
        status, found, _ = connection.decode(encoded(coder, headers, huffman, sizes), **limits)
        size = sum(len(name) + len(value) + 32 for name, value, _ in headers)
        fits = size <= 300 if number % 2 else len(headers) <= 3
        assert (status == hpack.LIST_TOO_LARGE) == (not fits)
        assert found == ([(name, value) for name, value, _ in headers] if fits else [])
        assert connection.entries() == peer_table(coder)


def accepted(connection, other, block):
    """Decode with both, which must agree; return whether they took it."""
    try:
        expected = [(bytes(name), bytes(value)) for name, value in other.decode(block, raw=True)]
    except peer.OversizedHeaderListError:
        assume(False)
    except peer.HPACKError:
        expected = None
    status, found, _ = connection.decode(block)
    if expected is None:
        assert (status, found) == (hpack.COMPRESSION_FAILED, [])
        return False
    assert status <= hpack.MALFORMED
    assert found == expected
    assert connection.entries() == peer_table(other)
    return True


OCTETS = st.one_of(
    st.binary(max_size=60),
    # Octets that begin something: more of these get past the first field than of any.
    st.lists(
        st.sampled_from([0x82, 0xBE, 0xBF, 0xC0, 0x40, 0x41, 0x0F, 0x10, 0x20, 0x3F, 0x01, 0x00, 0x81, 0x1F, 0x7E])
    ).map(bytes),
)


@COMPILES
@given(st.lists(OCTETS, min_size=1, max_size=4))
@example([b"\x40\x00\x00", b"\xbe"])
@example([b"\x3f\xe1\x1f", b"\x3f\xe2\x1f"])
@example([b"\x80"])
@example([b"\x82\x20"])
@example([b"\x20\x20\x3f\xe1\x1f\x82"])
@example([b"\xbe"])
@example([b"\x7e\x00"])
def test_random_octets_are_accepted_where_another_implementation_accepts_them(blocks):
    connection, other = Connection(), peer.Decoder(max_header_list_size=GENEROUS)
    for block in blocks:
        if not accepted(connection, other, block):
            break


@pytest.mark.slow
@settings(deadline=None, max_examples=200)
@given(BLOCKS, st.data())
def test_damaged_blocks_are_accepted_where_another_implementation_accepts_them(blocks, data):
    coder, connection, other = peer.Encoder(), Connection(), peer.Decoder(max_header_list_size=GENEROUS)
    for headers, huffman, sizes in blocks:
        block = bytearray(encoded(coder, headers, huffman, sizes))
        for _ in range(data.draw(st.integers(0, 3)) if block else 0):
            place = data.draw(st.integers(0, len(block) - 1))
            block[place : place + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=2))
            if not block:
                break
        if not accepted(connection, other, bytes(block)):
            break


def test_a_call_costs_look_ups_once_it_is_indexed():
    coder, connection = peer.Encoder(), Connection()
    first, second = coder.encode(CALL), coder.encode(CALL)
    assert all(octet & 0x80 for octet in second)
    for block, status in ((first, hpack.COMPLETE), (second, hpack.COMPLETE_INDEXED)):
        found = connection.decode(block)
        assert (found[0], found[1]) == (status, CALL)
        assert list(zip(found[2]["meaning"].tolist(), found[2]["detail"].tolist(), strict=True)) == CALL_MEANS
    status, texts, rows = connection.decode(second, with_text=False)
    assert (status, texts) == (hpack.COMPLETE_INDEXED, [(b"", b"")] * len(CALL))
    assert list(zip(rows["meaning"].tolist(), rows["detail"].tolist(), strict=True)) == CALL_MEANS
    assert set(rows["flags"]) == {hpack.INDEXED}
    assert connection.decode(second)[1] == CALL  # the same block once more, now with text


def test_without_text_every_other_block_decodes_as_with_it():
    mixed = peer.Encoder().encode([(b"te", b"trailers"), (b":method", b"POST"), (b"Te", b"x")])
    many = [b"\x82" * 5]
    for block, limits in [
        (mixed, {}),
        *((block, {"max_fields": 4}) for block in many),
        (b"\x82", {"max_list_size": 40}),
    ]:
        with_text, without = Connection().decode(block, **limits), Connection().decode(block, with_text=False, **limits)
        assert with_text[:2] == without[:2]
    for wrong in (b"\x80", b"\xbe", b"\x82\xff", b"\x82\xff\x00"):
        assert Connection().decode(wrong, with_text=False)[0] == hpack.COMPRESSION_FAILED


def test_a_coded_path_is_known_without_decoding_and_read_all_the_same():
    for path, number in ((PATH, 1), (b"/a/b", 0), (b"/a/c", fields.UNKNOWN)):
        for huffman in (True, False):
            block = peer.Encoder().encode([(b":path", path, True)], huffman=huffman)
            _, found, rows = Connection().decode(block)
            assert (found, rows["detail"].tolist()) == ([(b":path", path)], [number])


def test_a_malformed_field_stays_malformed_in_the_table():
    coder, connection = peer.Encoder(), Connection()
    for _ in range(2):
        status, found, rows = connection.decode(coder.encode([(b"X-Upper", b"1")]), with_text=False)
        assert (status, found) == (hpack.MALFORMED, [(b"X-Upper", b"1")])
        assert rows["flags"][0] & table.MALFORMED_NAME
    status, _, rows = connection.decode(coder.encode([(b"X-Upper", b"2", True)]))
    assert (status, int(rows["flags"][0])) == (hpack.MALFORMED, table.MALFORMED_NAME | hpack.NEVER_INDEXED)
    for _ in range(2):
        status, _, rows = connection.decode(coder.encode([(b"te", b" trailers")]))
        assert status == hpack.MALFORMED
        assert rows["flags"][0] & table.MALFORMED_VALUE


def test_a_size_update_is_owed_after_the_limit_fell():
    for block, taken in (
        (b"\x20\x82", True),
        (b"\x82", False),
        (b"", False),
        (b"\x3f\x45\x82", True),
        (b"\x3f\x46", False),
    ):
        connection = Connection()
        assert table.acknowledge_limit(connection.tables, 1, 100)
        assert (connection.decode(block, with_text=False)[0] != hpack.COMPRESSION_FAILED) == taken


def test_a_limit_above_the_default_holds_once_acknowledged():
    connection, block = Connection(header_table_size=8192), b"\x3f\xe1\x3f"  # a table of 8192 octets
    assert not table.acknowledge_limit(connection.tables, 1, 8193)
    assert not table.acknowledge_limit(connection.tables, 1, -1)
    assert connection.decode(block)[0] == hpack.COMPRESSION_FAILED
    assert table.acknowledge_limit(connection.tables, 1, 8192)
    assert connection.decode(block)[0] == hpack.COMPLETE
    table.reset(connection.tables, 1)
    assert connection.row["max_size"] == connection.row["limit"] == constants.DEFAULT_HEADER_TABLE_SIZE


def test_naming_a_large_entry_again_and_again_is_stopped():
    connection = Connection()
    bomb = peer.Encoder().encode([(b"x", b"y" * 4000)], huffman=False) + b"\xbe" * 1000
    assert connection.decode(bomb, max_list_size=16_384)[0] == hpack.LIST_FLOOD
    assert Connection().decode(bomb[:-990], max_list_size=16_384)[0] == hpack.LIST_TOO_LARGE


@pytest.mark.parametrize("literal", [b"\xbe", b"\x0f\x2f\x00"])  # all of the entry, and its name alone
def test_the_field_that_breaks_the_limit_still_has_room(literal):
    connection = Connection()
    connection.decode(peer.Encoder().encode([(b"x" * 4000, b"")], huffman=False))
    assert connection.decode(b"\xbe" + literal, max_list_size=4100)[:2] == (hpack.LIST_TOO_LARGE, [])


@pytest.mark.parametrize("short", ["text", "rows", "block", "start", "order"])
def test_buffers_too_small_are_refused_before_anything_is_done(short):
    tables = table.allocate(1)
    block = np.frombuffer(bytearray(b"\x40\x01a\x01b"), np.uint8)
    room = hpack.text_capacity(tables, 0, block.size, 100) - (short == "text")
    start, end = {"block": (0, 6), "start": (-1, 5), "order": (3, 2)}.get(short, (0, 5))
    out = np.zeros(0 if short == "rows" else 1, hpack.FIELD)
    answer = hpack.decode(block, start, end, tables, 0, 100, True, out, np.zeros(room, np.uint8))
    assert answer == (hpack.BUFFER_TOO_SMALL, 0)
    assert tables.rows["count"][0] == 0


def test_no_references_are_kept_or_lost():
    connection = Connection()
    arrays = (connection.tables.rows, connection.tables.entries, connection.tables.octets, connection.tables.machine)
    before = [sys.getrefcount(array) for array in arrays]
    for _ in range(100):
        connection.decode(b"\x82\x40\x01a\x01b")
    assert [sys.getrefcount(array) for array in arrays] == before


@COMPILES
@given(st.lists(st.tuples(NAMES, VALUES.map(lambda value: value.strip(b" \t"))), max_size=12))
def test_encoded_headers_are_read_elsewhere_and_change_no_table(headers):
    headers = [field for field in headers if valid(*field)]
    block, other = hpack.encode_headers(headers), peer.Decoder()
    assert [(bytes(name), bytes(value)) for name, value in other.decode(block, raw=True)] == headers
    assert peer_table(other) == []
    assert hpack.decode_to_list(table.allocate(1), block) == headers


def test_constant_blocks_of_a_server():
    block = hpack.encode_headers([(b":status", b"200"), (b"content-type", b"application/grpc"), (b"grpc-status", b"0")])
    assert block == b"\x88\x0f\x10\x10application/grpc\x00\x0bgrpc-status\x010"


@pytest.mark.parametrize(
    "field", [(b"", b""), (b"Te", b"x"), (b"a b", b""), (b"a", b"x\n"), (b"a", b" x"), (b"a", b"\0")]
)
def test_what_cannot_be_encoded(field):
    with pytest.raises(ValueError, match="wanted"):
        hpack.encode_headers([field])


def test_the_convenience_raises_what_decode_answers():
    for block, status in (
        (b"\x80", "COMPRESSION_FAILED"),
        (b"\x40\x01A\x01b", "MALFORMED"),
        (b"\x82" * 9, "LIST_TOO_LARGE"),
    ):
        with pytest.raises(hpack.HeaderBlockError, match=status):
            hpack.decode_to_list(table.allocate(1), block, max_list_size=200)
