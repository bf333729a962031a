import numpy as np
import pytest
from google.protobuf.message import DecodeError
from hypothesis import given, settings
from hypothesis import strategies as st
from serval_kernels.wire import batch, datatypes, infer_codec
from serval_protos.inference import open_inference_pb2 as pb
from serval_turns import Decoded, Turns, delimited, octets, varint

# The first example may wait for the compiler.
COMPILES = settings(deadline=None)

TAKEN = {name: number for name, number in datatypes.NUMBERS.items() if name != "BOOL"}
SIZES = {name: datatypes.dtype_of(number).itemsize for name, number in TAKEN.items()}

TEXTS = st.text(st.characters(max_codepoint=127), max_size=12)


def request(shape=(1, 3), datatype="FP32", name="lr", version="", ident="", input_="X", raw=None):
    message = pb.ModelInferRequest(model_name=name, model_version=version, id=ident)
    message.inputs.add(name=input_, datatype=datatype, shape=shape)
    size = int(np.prod(shape)) * SIZES.get(datatype, 1)
    message.raw_input_contents.append(bytes(i % 251 for i in range(size)) if raw is None else raw)
    return message


def decoded_one(data):
    return Turns(infer_codec).decode([data])[0]


def expected(data):
    """Return what protobuf says a message is, None where it rejects it or the compiled code should not take it."""
    try:
        message = pb.ModelInferRequest.FromString(data)
    except DecodeError:
        return None
    if len(message.inputs) != 1 or len(message.raw_input_contents) != 1 or message.parameters or message.outputs:
        return None
    tensor, raw = message.inputs[0], message.raw_input_contents[0]
    if tensor.parameters or tensor.HasField("contents") or tensor.datatype not in TAKEN:
        return None
    if not 1 <= len(tensor.shape) <= 8 or any(size < 1 for size in tensor.shape):
        return None
    count = 1
    for size in tensor.shape:
        count *= size
    texts = (message.model_name, message.model_version, tensor.name)
    if count * SIZES[tensor.datatype] != len(raw) or not all(map(str.isascii, (*texts, message.id))):
        return None
    return Decoded(*texts, TAKEN[tensor.datatype], tuple(tensor.shape), message.id, raw)


# Fields that protobuf does not know at the top, some with the number of a field that it knows as another type.
UNKNOWN = st.one_of(
    st.integers(0, 2**64 - 1).map(lambda value: b"\x78" + varint(value)),
    st.binary(max_size=9).map(lambda value: delimited(0x7A, value)),
    st.binary(min_size=8, max_size=8).map(lambda value: b"\x79" + value),
    st.binary(min_size=4, max_size=4).map(lambda value: b"\xfd\x01" + value),
    st.integers(0, 2**64 - 1).map(lambda value: b"\x08" + varint(value)),
    st.binary(min_size=4, max_size=4).map(lambda value: b"\x3d" + value),
    st.binary(max_size=3).map(lambda value: varint((1 << 29) - 1 << 3 | 2) + varint(len(value)) + value),
)
SHAPES = st.lists(st.integers(1, 3), min_size=1, max_size=4)


@st.composite
def shape_fields(draw, shape):
    """Return the fields of a shape: packed, one by one, or both."""
    at = draw(st.integers(0, len(shape)))
    packed = delimited(0x1A, b"".join(map(varint, shape[:at])))
    return ([packed] if at or draw(st.booleans()) else []) + [b"\x18" + varint(size) for size in shape[at:]]


@st.composite
def in_any_order(draw, ordered, others):
    """Return `ordered`, which keeps its order, and `others`, which do not, as one message."""
    slots = draw(st.permutations([None] * len(ordered) + others))
    rest = iter(ordered)
    return b"".join(next(rest) if slot is None else slot for slot in slots)


def text_fields(tag):
    """Return a strategy for a string that may come never, once or again."""
    return st.lists(TEXTS.map(lambda text: delimited(tag, text.encode())), max_size=2)


@st.composite
def messages(draw):
    """Return messages as an odd serializer would write them; most can be taken."""
    shape, datatype = draw(SHAPES), draw(st.sampled_from(list(TAKEN)))
    names = draw(text_fields(0x0A)) + draw(st.lists(UNKNOWN, max_size=1))
    datatypes_ = [delimited(0x12, draw(TEXTS).encode())] * draw(st.sampled_from([0, 0, 1]))
    datatypes_.append(delimited(0x12, datatype.encode()))
    sizes = draw(shape_fields(shape))
    tensor = draw(in_any_order(datatypes_ + sizes, names))
    size = int(np.prod(shape)) * SIZES[datatype] + draw(st.sampled_from([0] * 9 + [1]))
    raw = draw(st.integers(0, 255).map(lambda octet: bytes((octet + i) % 256 for i in range(size))))
    tops = draw(text_fields(0x0A)) + draw(text_fields(0x12)) + draw(text_fields(0x1A))
    tops += draw(st.lists(UNKNOWN, max_size=2))
    tops += [delimited(0x2A, tensor)] * draw(st.sampled_from([1] * 12 + [0, 2]))
    tops += [delimited(0x3A, raw)] * draw(st.sampled_from([1] * 12 + [0, 2]))
    return b"".join(draw(st.permutations(tops)))


@pytest.mark.slow
@COMPILES
@given(messages())
def test_takes_exactly_what_protobuf_reads_as_one_plain_tensor(data):
    assert decoded_one(data) == expected(data)


@st.composite
def mutated(draw, source):
    """Return a message with octets changed, cut out or put in."""
    data = bytearray(draw(source))
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, max(len(data) - 1, 0)))
        cut = draw(st.integers(0, 2))
        data[at : at + cut] = draw(st.binary(max_size=3))
    return bytes(data)


PLAIN = st.builds(
    lambda shape, datatype, ident: request(shape, datatype, ident=ident).SerializeToString(),
    SHAPES,
    st.sampled_from(list(TAKEN)),
    TEXTS,
)


@pytest.mark.slow
@settings(COMPILES, max_examples=400)
@given(mutated(messages() | PLAIN) | st.binary(max_size=60))
def test_takes_nothing_that_protobuf_does_not_read_the_same_way(data):
    result = decoded_one(data)
    assert result is None or result == expected(data)


@COMPILES
@given(PLAIN)
def test_takes_what_serializers_write(data):
    assert decoded_one(data) == expected(data) is not None


def with_parameters(message):
    message.parameters["priority"].int64_param = 1
    return message


def with_tensor_parameters(message):
    message.inputs[0].parameters["shared_memory_region"].string_param = "x"
    return message


def with_contents(message):
    message.inputs[0].contents.SetInParent()
    return message


def with_second_input(message):
    message.inputs.add(name="Y", datatype="FP32", shape=[1])
    return message


def with_outputs(message):
    message.outputs.add(name="label")
    return message


def with_second_raw(message):
    message.raw_input_contents.append(b"")
    return message


@pytest.mark.parametrize(
    "change",
    [with_parameters, with_tensor_parameters, with_contents, with_second_input, with_outputs, with_second_raw],
)
def test_leaves_to_the_servicer_what_it_does_not_understand(change):
    assert decoded_one(request().SerializeToString()) is not None
    assert decoded_one(change(request()).SerializeToString()) is None


@pytest.mark.parametrize(
    "message",
    [
        request(datatype="BOOL", raw=b"\1\1\2"),
        request(datatype="BF16", raw=bytes(6)),
        request(datatype="BYTES", raw=bytes(12)),
        request(datatype="FP32\0", raw=bytes(12)),
        request(datatype="fp32"),
        request(datatype=""),
        request(raw=bytes(11)),
        request(raw=bytes(13)),
        request(raw=b""),
        request((0, 3)),
        request((1, 0)),
        request(()),
        request((1,) * 9),
        request((-1, -3), raw=bytes(12)),
        request((2**62, 4), raw=b""),
        request((2**32, 2**32), raw=b""),
        request((2**63 - 1, 3), raw=bytes(12)),
        request(name="naïve"),
        request(ident="é"),
        request(name="x" * 400),
    ],
    ids=str,
)
def test_leaves_odd_requests_to_the_servicer(message):
    assert decoded_one(message.SerializeToString()) is None


def test_rejects_text_that_is_not_utf8_even_where_a_later_one_counts():
    good = request().SerializeToString()
    assert decoded_one(delimited(0x0A, b"lr") + good) is not None
    assert decoded_one(delimited(0x0A, b"\xff") + good) is None


@pytest.mark.slow
@COMPILES
@given(
    st.lists(
        st.one_of(
            messages(),
            st.builds(
                lambda rows, ident, version: request((rows, 2), ident=ident, version=version).SerializeToString(),
                st.integers(1, 2),
                TEXTS,
                st.sampled_from(["", "3"]),
            ),
        ).flatmap(lambda data: st.just(data) | mutated(st.just(data))),
        min_size=2,
        max_size=6,
    ),
    st.data(),
)
def test_a_template_changes_nothing(sequence, data):
    extra = data.draw(st.lists(st.tuples(st.sampled_from(sequence), st.integers(0, 80), TEXTS), max_size=4))
    sequence = sequence * 2 + [m[:at] + delimited(0x1A, i.encode()) + m[at:] for m, at, i in extra]
    senders = data.draw(st.lists(st.integers(0, 1), min_size=len(sequence), max_size=len(sequence)))
    assert Turns(infer_codec).decode(sequence, senders) == [decoded_one(message) for message in sequence]


BODY = request().SerializeToString()
NAME, REST, AN_ID, OTHER_ID = BODY[:4], BODY[4:], delimited(0x1A, b"one"), delimited(0x1A, b"two")


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (AN_ID + OTHER_ID + BODY, AN_ID + BODY),  # two ids, then one of them
        (AN_ID + NAME + OTHER_ID + REST, AN_ID + BODY),
        (BODY + AN_ID + OTHER_ID, BODY + AN_ID),
        (BODY + delimited(0x0A, b"xx"), BODY),  # a field after the payload, then none
        (BODY + b"\x78\x00", BODY),
        (BODY, BODY + delimited(0x0A, b"xx")),
        (AN_ID + BODY, OTHER_ID + BODY + delimited(0x1A, b"")),  # the last of two counts, empty as it is
        (AN_ID + BODY, delimited(0x1A, b"\xff") + BODY),
        (AN_ID + BODY, BODY + delimited(0x1A, "é".encode())),
        (AN_ID + BODY, delimited(0x1A, b"a" * 128) + BODY),
        (AN_ID + BODY, b"\x1a\x83\x00one" + BODY),
        (AN_ID + BODY, b"\x1a\x7f" + BODY),  # an id that claims more than there is
        (AN_ID + BODY, BODY + b"\x1a"),
        (AN_ID + BODY, BODY + b"\x1a\x01"),
        (AN_ID + BODY, BODY + b"\x2a\x00"),
        (BODY, BODY[:-1]),
        (BODY, NAME),
        (BODY, b""),
    ],
)
def test_a_template_is_not_taken_for_more_than_it_says(first, second):
    assert Turns(infer_codec).decode([first, second]) == [decoded_one(first), decoded_one(second)]


@pytest.mark.parametrize("ident", ["", "1", "a" * 127])
@pytest.mark.parametrize("first", ["", "7"])
def test_the_same_message_with_another_tensor_is_not_parsed_again(first, ident):
    turns = Turns(infer_codec)
    turns.decode([request(ident=first).SerializeToString()])
    turns.templates["rows"] = 77  # only a template says so
    data = request(ident=ident, raw=bytes(12)).SerializeToString()
    if ident and not first:  # without an id in it, a template expects one before or after the payload
        data = request(raw=bytes(12)).SerializeToString() + delimited(0x1A, ident.encode())
    assert turns.decode([data])[0] == ("lr", "", "X", 11, (77, 3), ident, bytes(12))


def test_a_template_does_not_outlive_its_layout():
    turns = Turns(infer_codec, places=8)
    first = request(name="first").SerializeToString()
    assert turns.decode([first])[0].model == "first"
    for i in range(8):
        assert turns.decode([request(name=f"m{i}").SerializeToString()], [1])[0].model == f"m{i}"
    assert "first" not in [turns.result(0).model, *(row.tobytes()[:5].decode() for row in turns.layouts["key"])]
    assert turns.decode([first])[0].model == "first"


def test_more_layouts_in_a_turn_than_fit_fall_back():
    turns = Turns(infer_codec, places=8)
    data = [request(name=f"m{i}").SerializeToString() for i in range(12)]
    results = turns.decode(data * 2)
    assert [r and r.model for r in results] == ([f"m{i}" for i in range(8)] + [None] * 4) * 2
    turns = Turns(infer_codec, groups=3)
    results = turns.decode(data * 2)
    assert [r and r.model for r in results] == (["m0", "m1", "m2"] + [None] * 9) * 2


def test_a_group_is_closed_when_it_holds_what_the_caches_do():
    large = request((batch.GROUP_OCTETS // 120 + 1, 10)).SerializeToString()  # three of them fill a group
    small = request(name="small").SerializeToString()
    turns = Turns(infer_codec)
    turns.decode([small, *[large] * 4, small, *[large] * 3, small])
    assert [turns.members(number).tolist() for number in range(turns.count)] == [[0, 5, 9], [1, 2, 3], [4, 6, 7], [8]]
    turns.decode([large])
    assert [turns.members(number).tolist() for number in range(turns.count)] == [[0]]


def test_where_no_other_group_can_be_opened_the_last_goes_on():
    large = request((batch.GROUP_OCTETS // 120 + 1, 10)).SerializeToString()
    turns = Turns(infer_codec, groups=2)
    assert None not in turns.decode([large] * 8)
    assert [turns.members(number).tolist() for number in range(turns.count)] == [[0, 1, 2], [3, 4, 5, 6, 7]]


@pytest.mark.slow
@COMPILES
@given(st.data())
def test_groups_hold_one_layout_each_in_order_of_arrival(data):
    kinds = st.tuples(st.sampled_from("ab"), st.sampled_from(["", "1"]), st.sampled_from(["FP32", "INT32"]), SHAPES)
    drawn = data.draw(st.lists(kinds, max_size=14))
    sequence = [
        request(shape, kind, name, version, ident=str(i)).SerializeToString() if i % 5 else b"\xff"
        for i, (name, version, kind, shape) in enumerate(drawn)
    ]
    turns = Turns(infer_codec)
    results = turns.decode(sequence)
    keys = [r and (r.model, r.version, r.input, r.datatype, r.shape[1:]) for r in results]
    assert sorted(turns.order) == list(range(len(sequence)))
    assert [keys[i] for i in turns.order[turns.grouped :]] == [None] * -(-len(sequence) // 5)
    seen = set()
    for number in range(turns.count):
        members, group = turns.members(number), turns.groups[number]
        assert members.tolist() == sorted(members)
        assert len({keys[i] for i in members}) == 1
        assert keys[members[0]] not in seen
        seen.add(keys[members[0]])
        assert group["rows"] == sum(results[i].shape[0] for i in members)
        gathered = np.full(group["octets"], 0xA5, np.uint8)
        args = (turns.buffer, turns.messages, turns.order, turns.groups, number)
        assert batch.gather(*args, gathered) == gathered.size
        assert gathered.tobytes() == b"".join(results[i].payload for i in members)
        with pytest.raises(IndexError):
            batch.gather(*args, gathered[1:])
    assert {key for key in keys if key} == seen


DTYPES = [datatypes.dtype_of(number) for number in datatypes.NUMBERS.values()]
OUTPUTS = st.lists(
    st.tuples(st.text(min_size=1, max_size=5), st.sampled_from(DTYPES), st.lists(st.integers(0, 130), max_size=2)),
    min_size=1,
    max_size=3,
)


@pytest.mark.slow
@COMPILES
@given(st.lists(st.tuples(st.integers(1, 300), TEXTS), min_size=1, max_size=5), OUTPUTS, st.integers(0, 99))
def test_replies_are_those_of_protobuf(requests, outputs, seed):
    rng = np.random.default_rng(seed)
    turns = Turns(infer_codec)
    turns.decode([request((rows, 1), "INT8", ident=ident).SerializeToString() for rows, ident in requests])
    total = sum(rows for rows, _ in requests)
    outputs = [(name, dtype, tuple(shape)) for name, dtype, shape in outputs]
    arrays = []
    for _, dtype, shape in outputs:
        raw = rng.integers(0, 2 if dtype.kind == "b" else 256, (total, *shape, dtype.itemsize), np.uint8)
        arrays.append(raw.view(dtype)[..., 0])
    replies = turns.replies(0, infer_codec.plan("modèle", "12", outputs), arrays)
    row = 0
    for i, (rows, ident) in enumerate(requests):
        reply = pb.ModelInferResponse(model_name="modèle", model_version="12", id=ident)
        for (name, dtype, shape), array in zip(outputs, arrays, strict=True):
            datatype = datatypes.NAMES[datatypes.number_of(dtype)]
            reply.outputs.add(name=name, datatype=datatype, shape=(rows, *shape))
            reply.raw_output_contents.append(array[row : row + rows].tobytes())
        assert replies[i] == reply.SerializeToString()
        row += rows


def test_outputs_that_are_not_what_was_planned_are_refused():
    plan = infer_codec.plan("m", "1", [("y", np.dtype(np.float32), (2,))])
    values = np.empty(plan.size(3), np.uint8)
    plan.lay_out([np.ones((3, 2), np.float16)], 3, values)
    assert values.view(np.float32).tolist() == [1.0] * 6
    for arrays in ([], [np.ones((2, 2), np.float32)], [np.ones((3, 1), np.float32)], [np.ones(3, np.float32)]):
        with pytest.raises(ValueError, match=r"wanted"):
            plan.lay_out(arrays, 3, values)
    with pytest.raises(ValueError, match=r"octets; wanted 24"):
        plan.lay_out([np.ones((3, 2), np.float32)], 3, values[:-1])
    with pytest.raises(TypeError, match=r"float64; wanted float32"):
        plan.lay_out([np.ones((3, 2))], 3, values)
    with pytest.raises(ValueError, match=r"dtype"):
        infer_codec.plan("m", "1", [("y", np.dtype(object), ())])


def test_the_callers_mistakes_are_index_errors():
    """Each array that is too small, and each number out of place, is found before anything is written."""
    turns = Turns(infer_codec)
    turns.decode([request(ident="7").SerializeToString()] * 2)
    plan = infer_codec.plan("m", "1", [("y", np.dtype(np.float32), ())])
    values = np.ones(plan.size(2), np.uint8)
    infer_codec.sizes(turns.messages, turns.order, turns.groups, 0, plan.outputs)
    length = int(turns.messages["reply_length"][0])
    out = np.full(2 * length, 0xA5, np.uint8)
    turns.messages["reply_at"] = [0, length]

    def encode(ids=turns.buffer, number=0, values=values, out=out):
        args = (turns.messages, turns.order, turns.groups, number, plan.constants, plan.outputs, values, out)
        infer_codec.encode(ids, *args)

    wrong = [{"ids": octets(b"")}, {"number": -1}, {"number": 64}, {"values": values[:-8]}, {"out": out[: length - 1]}]
    for change in wrong:
        with pytest.raises(IndexError):
            encode(**change)
    for field, value in (("rows", 3), ("rows", -1), ("id_length", -1), ("id_at", -1), ("id_length", 2**62)):
        kept = turns.messages[field][0]
        turns.messages[field][0] = value
        with pytest.raises(IndexError):
            encode()
        turns.messages[field][0] = kept
    assert (out == 0xA5).all()
    encode()
    for field, value in (("at", -1), ("length", 2**62), ("length", -1), ("template", 3), ("template", -1)):
        messages = turns.messages.copy()
        messages[field][1] = value
        with pytest.raises(IndexError):
            infer_codec.decode(turns.buffer, messages, turns.order, turns.groups, turns.layouts, turns.templates, 9)
    args = (turns.groups, turns.layouts, turns.templates, 10)
    with pytest.raises(IndexError):
        infer_codec.decode(turns.buffer, turns.messages, turns.order[:1], *args)


def test_an_answer_that_nobody_waits_for_is_not_written():
    turns = Turns(infer_codec)
    turns.decode([request(ident=ident).SerializeToString() for ident in "abc"])
    plan = infer_codec.plan("m", "1", [("y", np.dtype(np.int8), ())])
    values = np.zeros(plan.size(3), np.uint8)
    plan.lay_out([np.array([1, 2, 3], np.int8)], 3, values)
    infer_codec.sizes(turns.messages, turns.order, turns.groups, 0, plan.outputs)
    turns.messages["reply_at"] = [-1, -1, 0]
    out = np.zeros(turns.messages["reply_length"][2], np.uint8)
    args = (turns.messages, turns.order, turns.groups, 0, plan.constants, plan.outputs, values, out)
    infer_codec.encode(turns.buffer, *args)
    reply = pb.ModelInferResponse.FromString(out[5:].tobytes())
    assert (reply.id, list(reply.raw_output_contents)) == ("c", [b"\3"])
