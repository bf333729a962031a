import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from serval_kernels.wire import fields, huffman

# The first example may wait for the compiler.
COMPILES = settings(deadline=None)

NO_PATHS = fields.register_paths(())


def at_three(text):
    return np.frombuffer(bytearray(b":::" + text + b":::"), np.uint8), 3, len(text)


def meaning(name):
    return fields.meaning_of(*at_three(name))


def detail(name, value, paths=NO_PATHS):
    return fields.detail_of(meaning(name), paths, *at_three(value))


@pytest.mark.parametrize("name", fields._NAMES)
def test_names_are_known_whole(name):
    assert meaning(name) == fields._NAMES[name]
    other = fields.PSEUDO_OTHER if name.startswith(b":") else fields.OTHER
    changed = [name[:place] + b"~" + name[place + 1 :] for place in range(1, len(name))]
    for stranger in [*changed, name + name[-1:], name[:-1]]:
        assert meaning(stranger) == fields._NAMES.get(stranger, other)


@COMPILES
@given(st.binary(max_size=20))
def test_other_names(name):
    if name not in fields._NAMES:
        other = fields.BINARY if name.endswith(b"-bin") else fields.OTHER
        assert meaning(name) == (fields.PSEUDO_OTHER if name[:1] == b":" else other)


@pytest.mark.parametrize("name", [b"x-bin", b"-bin", b"grpc-trace-bin"])
def test_binary_names_say_whether_their_value_is_base64(name):
    assert meaning(name) == fields.BINARY
    assert detail(name, b"AAE") == fields.BASE64
    assert detail(name, b"AA-") == fields.UNKNOWN
    assert meaning(name[1:].replace(b"-", b"")) == fields.OTHER


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        (b":method", b"POST", fields.POST),
        (b":method", b"GET", fields.UNKNOWN),
        (b":method", b"post", fields.UNKNOWN),
        (b"content-type", b"application/grpc", fields.GRPC),
        (b"content-type", b"application/grpc+proto", fields.GRPC_PROTO),
        (b"content-type", b"application/grpc+json", fields.UNKNOWN),
        (b"content-type", b"application/grpc;x=y", fields.UNKNOWN),
        (b"content-type", b"", fields.UNKNOWN),
        (b"te", b"trailers", fields.TRAILERS),
        (b"te", b"trailer", fields.UNKNOWN),
        (b"grpc-encoding", b"identity", fields.IDENTITY),
        (b"grpc-encoding", b"gzip", fields.GZIP),
        (b"grpc-encoding", b"deflate", fields.DEFLATE),
        (b"grpc-encoding", b"zstd", fields.UNKNOWN),
        (b"content-length", b"0", 0),
        (b"content-length", b"9" * 18, 10**18 - 1),
        (b"content-length", b"9" * 19, fields.UNKNOWN),
        (b"content-length", b"-1", fields.UNKNOWN),
        (b"content-length", b"", fields.UNKNOWN),
        (b"user-agent", b"POST", fields.UNKNOWN),
        (b":path", b"/a/b", fields.UNKNOWN),
    ],
)
def test_details(name, value, expected):
    assert detail(name, value) == expected


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        (b"1n", 1),
        (b"20u", 20_000),
        (b"4999m", 4_999_000_000),
        (b"5S", 5 * 10**9),
        (b"1M", 60 * 10**9),
        (b"1H", 3_600 * 10**9),
        (b"0S", 0),
        (b"99999999S", 99_999_999 * 10**9),
        (b"2562047H", 2_562_047 * 3_600 * 10**9),
        (b"2562048H", fields.LONGEST_TIMEOUT),
        (b"99999999H", fields.LONGEST_TIMEOUT),
        (b"", fields.UNKNOWN),
        (b"S", fields.UNKNOWN),
        (b"123456789n", fields.UNKNOWN),
        (b"1s", fields.UNKNOWN),
        (b"1.5S", fields.UNKNOWN),
        (b"-1S", fields.UNKNOWN),
        (b"1 S", fields.UNKNOWN),
        (b"15", fields.UNKNOWN),
    ],
)
def test_timeouts(text, nanoseconds):
    assert detail(b"grpc-timeout", text) == nanoseconds


PATHS = st.lists(st.binary(max_size=30).map(lambda tail: b"/" + tail.strip(b" \t\r\n\0")), unique=True, max_size=30)


@pytest.mark.slow
@COMPILES
@given(PATHS, PATHS)
def test_paths_are_found_plain_and_coded_and_no_others(registered, asked):
    registered = [path for path in registered if not set(path) & set(b"\0\r\n")]
    paths = fields.register_paths(registered)
    for path in registered + asked:
        number = registered.index(path) if path in registered else fields.UNKNOWN
        assert detail(b":path", path, paths) == number
        row = fields.find_path(paths, *at_three(huffman.encoded(path)), 1)
        assert (paths.rows["method"][row] if row >= 0 else row) == number


@pytest.mark.parametrize("wrong", [[b"/a", b"/a"], [b""], [b"a/b"], [b"/a\n"]])
def test_what_cannot_be_registered(wrong):
    with pytest.raises(ValueError, match="paths: "):
        fields.register_paths(wrong)


@COMPILES
@given(st.binary(max_size=12))
def test_valid_names_and_values(text):
    """RFC 9113, 8.2.1, word by word."""
    forbidden = {*range(0x21), *range(0x41, 0x5B), *range(0x7F, 0x100)}
    name = bool(text) and text != b":" and not set(text) & forbidden and b":" not in text[1:]
    assert fields.name_is_valid(*at_three(text)) == name
    allowed = not set(text) & {0x00, 0x0A, 0x0D}
    for meant in range(fields.BINARY + 1):
        bare = text.strip(b"\t") if meant == fields.OTHER else text.strip(b" \t")  # gRPC: metadata may have spaces
        assert fields.value_is_valid(*at_three(text), meant) == (allowed and text == bare)


@pytest.mark.parametrize(
    "name", [b"a", b":path", b"x-y_z.0!", b":", b"", b"::", b"a:b", b":a:", b"Te", b"a b", b"\x7f"]
)
def test_names_at_the_edge(name):
    assert fields.name_is_valid(*at_three(name)) == (name in (b"a", b":path", b"x-y_z.0!"))
