"""Elements one by one into arrays: in pieces, and only what the model takes."""

from types import SimpleNamespace

import numpy as np
import pytest
from serval_protos.inference import open_inference_pb2 as pb
from serval_protos.v1 import registry_pb2
from serval_registry.errors import InvalidArgument
from serval_registry.model import DataType, Feature, FeatureKind, Signature, TensorSpec
from serval_server.codec import open_inference, search, tensors
from serval_server.codec.columns import Columns
from serval_server.codec.records import draft_of
from serval_server.codec.tensors import PIECE


class Repeated(list):
    """A repeated field that notes how much of it is taken at once."""

    def __init__(self, elements) -> None:
        super().__init__(elements)
        self.taken = []

    def __getitem__(self, place):
        found = super().__getitem__(place)
        self.taken.append(len(found))
        return found


def columns(datatype=DataType.FP32, kind=FeatureKind.NUMERIC) -> Columns:
    return Columns("m@1", [Feature("a", kind, "X", 0)], Signature((TensorSpec("X", datatype, (-1, 1)),), (), {}))


def decoded(datatype: str, wanted: DataType, shape=(2, 2), wanted_shape=(-1, 2), **contents):
    tensor = pb.ModelInferRequest.InferInputTensor(name="X", datatype=datatype, shape=shape)
    tensor.contents.CopyFrom(pb.InferTensorContents(**contents))
    model = SimpleNamespace(
        inputs={"X": TensorSpec("X", wanted, wanted_shape)}, version=SimpleNamespace(ref="m@1", name="m")
    )
    return open_inference.decode_inputs(pb.ModelInferRequest(inputs=[tensor]), model)["X"]


@pytest.fixture
def nothing_converted(monkeypatch) -> None:
    def refuse(*_):
        pytest.fail("elements are converted that nobody wants")

    monkeypatch.setattr(tensors, "from_elements", refuse)


@pytest.mark.parametrize("count", [0, 1, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE + 7])
def test_no_more_than_a_piece_is_taken_at_once(count) -> None:
    elements = Repeated(range(count))
    array = tensors.from_elements(elements, np.float32)
    np.testing.assert_array_equal(array, np.arange(count, dtype=np.float32))
    assert array.dtype == np.float32
    assert max(elements.taken, default=0) <= PIECE
    assert sum(elements.taken) == count


def test_values_and_texts_are_taken_in_pieces() -> None:
    values, texts = Repeated([0.5] * (PIECE + 1)), Repeated(["a", "bc"] * PIECE)
    assert columns().from_values(values)["X"].shape == (PIECE + 1, 1)
    assert tensors.from_strings(texts, [PIECE, 2], "X").tolist() == [["a", "bc"]] * PIECE
    assert values.taken == [PIECE, 1]
    assert texts.taken == [PIECE, PIECE]


@pytest.mark.parametrize(
    ("kind", "field", "element"),
    [
        (DataType.BOOL, "bool_contents", True),
        (DataType.INT8, "int_contents", -128),
        (DataType.UINT32, "uint_contents", 2**32 - 1),
        (DataType.INT64, "int64_contents", -(2**63)),
        (DataType.UINT64, "uint64_contents", 2**64 - 1),
        (DataType.FP32, "fp32_contents", 0.1),
        (DataType.FP64, "fp64_contents", 0.1),
    ],
)
def test_typed_contents_are_what_numpy_makes_of_them(kind, field, element) -> None:
    array = decoded(str(kind), kind, (PIECE + 1, 2), **{field: [element] * 2 * (PIECE + 1)})
    np.testing.assert_array_equal(array, np.full((PIECE + 1, 2), element, array.dtype), strict=True)


@pytest.mark.parametrize("at", [0, PIECE, 2 * PIECE + 1])
def test_an_element_that_does_not_fit_is_told_wherever_it_is(at) -> None:
    elements = [1] * (2 * PIECE + 2)
    elements[at] = 128
    with pytest.raises(InvalidArgument, match=r"inputs\[0\] 'X': an element does not fit INT8: .*128"):
        decoded("INT8", DataType.INT8, (PIECE + 1, 2), int_contents=elements)


@pytest.mark.parametrize(
    ("told", "asked"),
    [
        ("input 'X': got INT32, wanted FP32", ("INT32", DataType.FP32)),
        ("input 'X': got INT32, wanted INT16", ("INT32", DataType.INT16)),
        (r"input 'X': got shape \[4\], wanted \[-1, 2\]", ("INT32", DataType.INT32, (4,))),
        (r"input 'X': got shape \[1, 4\], wanted \[-1, 2\]", ("INT32", DataType.INT32, (1, 4))),
        (r"input 'X': got shape \[2, 2\], wanted \[1, 4\]", ("INT32", DataType.INT32, (2, 2), (1, 4))),
        ("got 4 elements in contents.int_contents, wanted 2", ("INT32", DataType.INT32, (1, 2))),
    ],
)
@pytest.mark.usefixtures("nothing_converted")
def test_what_the_model_does_not_take_is_not_converted(told, asked) -> None:
    with pytest.raises(InvalidArgument, match=told):
        decoded(*asked, int_contents=[1, 2, 3, 4])


@pytest.mark.usefixtures("nothing_converted")
def test_values_for_a_model_of_texts_are_not_converted() -> None:
    with pytest.raises(InvalidArgument, match=r"values: m@1 takes texts too"):
        columns(DataType.STRING, FeatureKind.TEXT).from_values([1.0])


def test_vectors_are_bounded_before_they_are_copied() -> None:
    header = registry_pb2.RegisterHeader(name="m", vector=[1.0] * 129)
    with pytest.raises(InvalidArgument, match=r"vector: 129 numbers; wanted at most 128"):
        draft_of(header)
    header = registry_pb2.RegisterHeader(name="m")
    header.embeddings["faces"].values.extend([1.0] * 4097)
    with pytest.raises(InvalidArgument, match=r"embeddings\['faces'\]: 4097 numbers; wanted at most 4096"):
        draft_of(header)


def test_a_vector_to_search_for_is_taken_in_pieces(monkeypatch) -> None:
    seen, from_elements = [], tensors.from_elements
    monkeypatch.setattr(tensors, "from_elements", lambda *asked: seen.append(len(asked[0])) or from_elements(*asked))
    request = registry_pb2.SearchModelsRequest()
    request.vector.values.extend([1.0, 2.0])
    (query,) = search.queries_of(request)
    assert list(query.query) == [1.0, 2.0]
    assert seen == [2]
