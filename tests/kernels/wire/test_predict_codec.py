import numpy as np
import pytest
from google.protobuf.message import DecodeError
from hypothesis import given, settings
from hypothesis import strategies as st
from serval_kernels.wire import batch, predict_codec
from serval_protos.v1 import common_pb2
from serval_protos.v1 import prediction_pb2 as pb
from serval_turns import Turns, delimited, varint

# The first example may wait for the compiler.
COMPILES = settings(deadline=None)

TEXTS = st.text(st.characters(max_codepoint=127), max_size=12)
# Not every NaN survives protobuf's way through a Python float; those bits do.
FLOATS = st.floats(width=32)


def decoded_one(data):
    result = Turns(predict_codec).decode([data])[0]
    return result and (result.model, result.shape, result.id, result.payload)


def expected(data):
    """Return what protobuf says a message is, None where it rejects it or the compiled code should not take it."""
    try:
        message = pb.PredictRequest.FromString(data)
    except DecodeError:
        return None
    if message.rows or message.outputs or not message.values or not (message.model + message.id).isascii():
        return None
    values = np.array(message.values, "<f4")
    return message.model, (len(values),), message.id, values.tobytes()


UNKNOWN = st.one_of(
    st.integers(0, 2**64 - 1).map(lambda value: b"\x78" + varint(value)),
    st.binary(max_size=9).map(lambda value: delimited(0x7A, value)),
    st.binary(min_size=8, max_size=8).map(lambda value: b"\x79" + value),
    st.binary(min_size=8, max_size=8).map(lambda value: b"\x11" + value),
    st.integers(0, 2**64 - 1).map(lambda value: b"\x10" + varint(value)),
)


@st.composite
def messages(draw):
    """Return messages as an odd serializer would write them, with values packed in one piece or in none."""
    fields = draw(st.lists(TEXTS.map(lambda text: delimited(0x0A, text.encode())), max_size=2))
    fields += draw(st.lists(TEXTS.map(lambda text: delimited(0x2A, text.encode())), max_size=2))
    fields += draw(st.lists(UNKNOWN, max_size=2))
    values = np.array(draw(st.lists(FLOATS, max_size=6)), "<f4").tobytes()
    fields += [delimited(0x12, values)] * draw(st.sampled_from([1] * 12 + [0]))
    fields += [delimited(0x1A, b"")] * draw(st.sampled_from([0] * 12 + [1]))
    fields += [delimited(0x22, b"label")] * draw(st.sampled_from([0] * 12 + [1]))
    return b"".join(draw(st.permutations(fields)))


@pytest.mark.slow
@COMPILES
@given(messages())
def test_takes_exactly_what_protobuf_reads_as_values(data):
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


def same_but_for_nan(result, wanted):
    """Compare payloads as floats: a signalling NaN comes quiet out of a Python float."""
    if wanted is None or result[:3] != wanted[:3]:
        return False
    return np.array_equal(np.frombuffer(result[3], "<f4"), np.frombuffer(wanted[3], "<f4"), equal_nan=True)


@pytest.mark.slow
@settings(COMPILES, max_examples=400)
@given(mutated(messages()) | st.binary(max_size=60))
def test_takes_nothing_that_protobuf_does_not_read_the_same_way(data):
    result = decoded_one(data)
    assert result is None or same_but_for_nan(result, expected(data))


@COMPILES
@given(TEXTS, st.lists(FLOATS, min_size=1), TEXTS)
def test_takes_what_serializers_write(model, values, ident):
    data = pb.PredictRequest(model=model, values=values, id=ident).SerializeToString()
    assert decoded_one(data) == expected(data) is not None


@pytest.mark.parametrize(
    "data",
    [
        delimited(0x0A, b"lr") + b"\x15" + bytes(4),
        delimited(0x0A, b"lr") + delimited(0x12, bytes(4)) * 2,
        delimited(0x0A, b"lr") + delimited(0x12, bytes(4)) + b"\x15" + bytes(4),
        delimited(0x0A, b"lr") + delimited(0x12, bytes(5)),
        delimited(0x0A, b"lr") + delimited(0x12, b""),
        delimited(0x0A, b"lr"),
        delimited(0x0A, "naïve".encode()) + delimited(0x12, bytes(4)),
        delimited(0x0A, b"x" * 400) + delimited(0x12, bytes(4)),
        b"",
    ],
)
def test_leaves_odd_requests_to_the_servicer(data):
    assert decoded_one(data) is None


@pytest.mark.slow
@COMPILES
@given(st.lists(messages().flatmap(lambda data: st.just(data) | mutated(st.just(data))), max_size=6), st.data())
def test_a_template_changes_nothing(sequence, data):
    for _ in range(data.draw(st.integers(0, 3)) if sequence else 0):
        message, ident = data.draw(st.sampled_from(sequence)), data.draw(TEXTS)
        at = data.draw(st.integers(0, len(message)))
        sequence.append(message[:at] + delimited(0x2A, ident.encode()) + message[at:])
    results = Turns(predict_codec).decode(sequence * 2)
    assert [r and (r.model, r.shape, r.id, r.payload) for r in results] == list(map(decoded_one, sequence * 2))


@pytest.mark.parametrize("ident", ["", "1", "a" * 127])
@pytest.mark.parametrize("first", ["", "7"])
def test_the_same_message_with_other_values_is_not_parsed_again(first, ident):
    turns = Turns(predict_codec)
    turns.decode([pb.PredictRequest(model="lr@3", values=[1.0, 2.0], id=first).SerializeToString()])
    turns.templates["rows"] = 77  # only a template says so
    data = pb.PredictRequest(model="lr@3", values=[3.0, 4.0], id=ident).SerializeToString()
    result = turns.decode([data])[0]
    assert (result.model, result.shape, result.id) == ("lr@3", (77,), ident)
    assert np.frombuffer(result.payload, "<f4").tolist() == [3.0, 4.0]


@COMPILES
@given(st.lists(st.integers(1, 9), min_size=1, max_size=8), st.integers(0, 4))
def test_rows_are_divided_and_what_is_left_over_set_aside(counts, width):
    data = [
        pb.PredictRequest(model="lr", values=np.arange(count) + 10.0 * i, id=str(i)).SerializeToString()
        for i, count in enumerate(counts)
    ]
    turns = Turns(predict_codec)
    turns.decode(data)
    kept = predict_codec.divide_rows(turns.messages, turns.order, turns.groups, 0, width)
    whole = [i for i, count in enumerate(counts) if width and count % width == 0]
    assert kept == len(whole)
    assert turns.members(0).tolist() == whole
    assert turns.order[kept:].tolist() == [i for i in range(len(counts)) if i not in whole]
    assert [i for i in range(len(counts)) if turns.result(i)] == whole
    group = turns.groups[0]
    assert group["rows"] == sum(counts[i] // width for i in whole)
    values = np.empty(group["octets"], np.uint8)
    batch.gather(turns.buffer, turns.messages, turns.order, turns.groups, 0, values)
    assert values.view("<f4").tolist() == [10.0 * i + k for i in whole for k in range(counts[i])]
    ids = np.empty(group["id_octets"], np.uint8)
    assert batch.keep_ids(turns.buffer, turns.messages, turns.order, turns.groups, 0, ids) == ids.size
    turns.buffer = ids
    assert [turns.result(i).id for i in whole] == [str(i) for i in whole]


# What an output's dtype travels as: the datatype's name, the field, and the values drawn for it.
KINDS = {
    "float16": ("FP16", "floats", st.floats(width=16)),
    "float32": ("FP32", "floats", FLOATS),
    "float64": ("FP64", "doubles", st.floats()),
    "bool": ("BOOL", "integers", st.booleans()),
    "int8": ("INT8", "integers", st.integers(-(2**7), 2**7 - 1)),
    "int64": ("INT64", "integers", st.integers(-(2**63), 2**63 - 1)),
    "uint16": ("UINT16", "integers", st.integers(0, 2**16 - 1)),
    "uint32": ("UINT32", "integers", st.integers(0, 2**32 - 1)),
}
OUTPUTS = st.lists(
    st.tuples(st.text(min_size=1, max_size=5), st.sampled_from(list(KINDS)), st.lists(st.integers(0, 3), max_size=2)),
    min_size=1,
    max_size=3,
)


@pytest.mark.slow
@COMPILES
@given(st.lists(st.tuples(st.integers(1, 4), TEXTS), min_size=1, max_size=4), OUTPUTS, st.data())
def test_replies_are_those_of_protobuf(requests, outputs, data):
    turns = Turns(predict_codec)
    turns.decode(
        [pb.PredictRequest(model="m", values=[0.5] * rows, id=ident).SerializeToString() for rows, ident in requests]
    )
    predict_codec.divide_rows(turns.messages, turns.order, turns.groups, 0, 1)
    total, planned, arrays = sum(rows for rows, _ in requests), [], []
    for name, dtype, shape in outputs:
        size = total * int(np.prod(shape, dtype=int))
        pool = np.array(data.draw(st.lists(KINDS[dtype][2], min_size=1, max_size=5)), dtype)
        planned.append((name, np.dtype(dtype), tuple(shape)))
        arrays.append(np.resize(pool, size).reshape(total, *shape))
    version = data.draw(st.integers(1, 2**63 - 1))
    replies = turns.replies(0, predict_codec.plan("modèle", version, planned), arrays)
    row = 0
    for i, (rows, ident) in enumerate(requests):
        reply = pb.PredictReply(name="modèle", version=version, id=ident)
        for (name, dtype, shape), array in zip(planned, arrays, strict=True):
            datatype, field, _ = KINDS[dtype.name]
            output = reply.outputs.add(name=name, datatype=common_pb2.DataType.Value(datatype), shape=(rows, *shape))
            values = array[row : row + rows].reshape(-1).tolist()
            getattr(output, field).extend(map(int, values) if field == "integers" else values)
        assert replies[i] == reply.SerializeToString()
        row += rows


def test_a_plan_wants_types_that_the_reply_can_hold():
    for dtype in (np.uint64, np.object_):
        with pytest.raises(ValueError, match=r"wanted"):
            predict_codec.plan("m", 1, [("y", np.dtype(dtype), ())])
    with pytest.raises(ValueError, match=r"at least one"):
        predict_codec.plan("m", 1, [])
