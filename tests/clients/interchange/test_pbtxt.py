"""Our reading and writing of the text format, against protobuf's own and Triton's own schema."""

import json

import pytest
from google.protobuf import json_format, text_format
from hypothesis import given
from hypothesis import strategies as st
from serval_client.errors import InvalidArgument
from serval_client.interchange.pbtxt import Word, dump, parse
from tritonclient.grpc import model_config_pb2

TEXT = """
# a comment
name: "ch\\"urn" 'ing\\n\\x41\\101'
platform: "onnxruntime_onnx" max_batch_size : 8,
input [ { name: 'X' data_type: TYPE_FP32 dims: [ -1, 4 ] }, { name: "Y"; data_type: TYPE_STRING dims: 2 dims: 3 } ]
version_policy: { specific { versions: [1, 3] } }
parameters < key: "k" value: { string_value: "{}[]<>:# no comment" } >
optimization { graph { level: -1 } }
dynamic_batching { preferred_batch_size: [] preserve_ordering: true }
"""


def test_what_people_write_is_read_as_protobuf_reads_it() -> None:
    message = text_format.Parse(TEXT, model_config_pb2.ModelConfig())
    read = parse(TEXT)
    assert read["name"] == [message.name] == ['ch"urning\nAA']
    assert [tensor["name"] for tensor in read["input"]] == [[tensor.name] for tensor in message.input]
    assert [tensor["dims"] for tensor in read["input"]] == [list(tensor.dims) for tensor in message.input]
    assert read["input"][0]["data_type"] == ["TYPE_FP32"]
    assert read["version_policy"][0]["specific"][0]["versions"] == [1, 3]
    assert read["parameters"][0]["value"][0]["string_value"] == ["{}[]<>:# no comment"]
    assert read["dynamic_batching"] == [{"preferred_batch_size": [], "preserve_ordering": [Word("true")]}]


@given(
    name=st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=30),
    dims=st.lists(st.integers(-1, 2**62), max_size=4),
    batch=st.integers(0, 2**31 - 1),
)
def test_what_we_write_protobuf_reads_and_what_it_writes_we_read(name: str, dims: list[int], batch: int) -> None:
    ours = {
        "name": name,
        "max_batch_size": batch,
        "input": [{"name": name, "data_type": Word("TYPE_INT64"), "dims": dims}],
    }
    message = text_format.Parse(dump(ours), model_config_pb2.ModelConfig())
    assert (message.name, message.max_batch_size, list(message.input[0].dims)) == (name, batch, dims)
    read = parse(text_format.MessageToString(message, as_utf8=True))
    assert read.get("name", [""]) == [name]
    assert read["input"][0].get("dims", []) == dims
    assert json.loads(json_format.MessageToJson(message)).get("name", "") == name


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name: ", "line 1: got '' (end), wanted a word"),
        ("name 3", "line 1: got '3' (number), wanted ':' or '{'"),
        ("a { b: 1", "line 1: got '' (end), wanted a word"),
        ("\na: [1 2]", "line 2: got '2' (number), wanted ',' or ']'"),
        ('a: "x', "is no text format"),
        ("a: }", "line 1: got '}' (mark), wanted a word"),
    ],
)
def test_what_is_no_message_is_refused_with_its_line(text: str, words: str) -> None:
    with pytest.raises(InvalidArgument) as error:
        parse(text)
    assert words in error.value.details
