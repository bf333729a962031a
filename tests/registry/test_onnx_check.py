"""What may be registered: self-contained ONNX with tensors in and out. Everything else is refused in few words."""

import contextlib
import gzip
import pickle
import warnings
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from serval_registry.errors import InvalidArgument, TooLarge
from serval_registry.model import DataType, Signature, TensorSpec
from serval_registry.onnx_check import MESSAGE_MAX, check

LIMIT = 1 << 24
FLOATS = helper.make_tensor_value_info("X", TensorProto.FLOAT, ["N", 4])
RESULT = helper.make_tensor_value_info("Y", TensorProto.FLOAT, [None, 2])
WEIGHTS = numpy_helper.from_array(np.ones((4, 2), np.float32), "W")


def model(
    nodes: Any = None,
    inputs: Any = (FLOATS,),
    outputs: Any = (RESULT,),
    initializers: Any = (WEIGHTS,),
    opsets: Any = (("", 18),),
    **more: Any,
) -> onnx.ModelProto:
    nodes = nodes or [helper.make_node("MatMul", ["X", "W"], ["Y"])]
    graph = helper.make_graph(nodes, "g", list(inputs), list(outputs), list(initializers))
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid(*opset) for opset in opsets], ir_version=9, **more
    )


def external(name: str = "W") -> TensorProto:
    tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=[4, 2], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="../../etc/passwd")
    return tensor


def refused(artifact: bytes | onnx.ModelProto, limit: int = LIMIT) -> str:
    content = artifact if isinstance(artifact, bytes) else artifact.SerializeToString()
    with pytest.raises(InvalidArgument) as error:
        check(content, limit)
    message = str(error.value)
    assert message.startswith("artifact: ")
    assert len(message) <= MESSAGE_MAX
    assert ".cc" not in message
    assert "\n" not in message
    return message


def test_the_signature_is_what_the_graph_takes_and_gives() -> None:
    assert check(model().SerializeToString(), LIMIT) == Signature(
        inputs=(TensorSpec("X", DataType.FP32, (-1, 4)),),
        outputs=(TensorSpec("Y", DataType.FP32, (-1, 2)),),
        opsets={"": 18},
    )


def test_an_initializer_listed_as_an_input_is_none() -> None:
    weights = helper.make_tensor_value_info("W", TensorProto.FLOAT, [4, 2])
    assert [spec.name for spec in check(model(inputs=(FLOATS, weights)).SerializeToString(), LIMIT).inputs] == ["X"]


def test_an_exported_classifier_is_accepted_without_zipmap_and_refused_with_it() -> None:
    from skl2onnx import to_onnx
    from sklearn.linear_model import LogisticRegression

    samples = np.random.default_rng(0).standard_normal((30, 4)).astype(np.float32)
    fitted = LogisticRegression().fit(samples, np.arange(30) % 3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        plain = to_onnx(fitted, samples[:1], options={"zipmap": False}, target_opset={"": 18, "ai.onnx.ml": 3})
        mapped = to_onnx(fitted, samples[:1], target_opset={"": 18, "ai.onnx.ml": 3})
    signature = check(plain.SerializeToString(), LIMIT)
    assert signature.inputs == (TensorSpec("X", DataType.FP32, (-1, 4)),)
    assert signature.outputs == (
        TensorSpec("label", DataType.INT64, (-1,)),
        TensorSpec("probabilities", DataType.FP32, (-1, 3)),
    )
    assert signature.opsets["ai.onnx.ml"] >= 1
    assert refused(mapped).endswith(
        "output 'output_probability' is a sequence; wanted a tensor; export with zipmap=False"
    )


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_a_pickle_is_named_as_one(protocol: int) -> None:
    assert "Python pickle" in refused(pickle.dumps({"coef": [1.0]}, protocol=protocol))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"PK\x03\x04rest", "a zip archive"),
        (gzip.compress(b"x", mtime=0), "gzip-compressed"),
        (b"", "not an ONNX model"),
        (b"<html>404</html>", "not an ONNX model"),
        (pickle.dumps({"a": 1}, protocol=0), "not an ONNX model"),
        (b"\x00" * 100, "not an ONNX model"),
    ],
)
def test_what_is_not_onnx_is_refused(content: bytes, words: str) -> None:
    assert words in refused(content)


def test_over_the_limit_is_too_large_before_anything_is_read() -> None:
    with pytest.raises(TooLarge, match=r"^artifact: 101 bytes; wanted at most 100$"):
        check(b"\x80\x04" + b"x" * 99, 100)


def test_an_operator_that_breaks_the_rules_is_refused() -> None:
    assert "not a valid ONNX model" in refused(model([helper.make_node("MatMul", ["X"], ["Y"])]))
    assert "not a valid ONNX model" in refused(model([helper.make_node("NoSuchOperator", ["X"], ["Y"])]))
    assert "not a valid ONNX model" in refused(model([helper.make_node("MatMul", ["X", "unknown"], ["Y"])]))


@pytest.mark.slow
def test_a_long_reason_is_cut() -> None:
    message = refused(model([helper.make_node("NoSuchOperator" * 1000, ["X"], ["Y"])]))
    assert len(message) <= MESSAGE_MAX


def _branch(node: onnx.NodeProto) -> onnx.GraphProto:
    return helper.make_graph([node], "branch", [], [helper.make_tensor_value_info("Y", TensorProto.FLOAT, [4, 2])])


def _function(*nodes: onnx.NodeProto, name: str = "Own") -> onnx.FunctionProto:
    return helper.make_function("own", name, ["X"], ["Y"], list(nodes), [helper.make_opsetid("", 18)])


CONSTANT = helper.make_node("Constant", [], ["Y"], value=external())
CONDITION = helper.make_node("If", ["c"], ["Y"], then_branch=_branch(CONSTANT), else_branch=_branch(CONSTANT))
SPARSE = onnx.SparseTensorProto(values=external(), dims=[4, 2])


@pytest.mark.parametrize(
    "hidden",
    [
        model(initializers=(external(),)),
        model([CONSTANT]),
        model([CONDITION]),
        model([helper.make_node("Constant", [], ["Y"], sparse_value=SPARSE)]),
        model([helper.make_node("Own", ["X"], ["Y"], domain="own")], functions=[_function(CONSTANT)]),
        model([helper.make_node("Own", ["X"], ["Y"], domain="own")], functions=[_function(CONDITION)]),
    ],
    ids=["initializer", "attribute", "subgraph", "sparse", "function", "subgraph of a function"],
)
def test_external_data_is_refused_wherever_it_hides(hidden: onnx.ModelProto) -> None:
    assert refused(hidden) == (
        "artifact: tensor 'W' keeps its data in another file; save the model as one file (save_as_external_data=False)"
    )


def test_external_data_without_the_flag_and_in_training_is_refused() -> None:
    quiet = external()
    quiet.data_location = TensorProto.DEFAULT
    assert "another file" in refused(model(initializers=(quiet,)))
    trained = model()
    trained.training_info.add().algorithm.initializer.append(external())
    assert "another file" in refused(trained)


def test_foreign_domains_are_refused_also_in_subgraphs_and_functions() -> None:
    foreign = helper.make_node("Evil", ["X"], ["Y"], domain="com.evil")
    opsets = (("", 18), ("com.evil", 1))
    for bad in (
        model([foreign], opsets=opsets),
        model([helper.make_node("If", ["c"], ["Y"], then_branch=_branch(foreign), else_branch=_branch(foreign))]),
        model([helper.make_node("Own", ["X"], ["Y"], domain="own")], functions=[_function(foreign)]),
    ):
        assert refused(bad) == (
            "artifact: operator 'Evil' of domain 'com.evil' would need a library of its own; "
            "wanted operators of ai.onnx, ai.onnx.ml, com.microsoft"
        )


def test_operators_compiled_into_onnx_runtime_are_accepted_but_for_the_one_that_names_a_file() -> None:
    opsets = (("", 18), ("com.microsoft", 1))
    fused = helper.make_node("FusedMatMul", ["X", "W"], ["Y"], domain="com.microsoft")
    assert check(model([fused], opsets=opsets).SerializeToString(), LIMIT).opsets == {"": 18, "com.microsoft": 1}
    context = helper.make_node("EPContext", ["X"], ["Y"], domain="com.microsoft", ep_cache_context="/etc/passwd")
    assert "EPContext" in refused(model([context], opsets=opsets))


def test_functions_are_accepted_unless_they_call_themselves() -> None:
    call = helper.make_node("Own", ["X"], ["Y"], domain="own")
    opsets = (("", 18), ("own", 1))
    relu = helper.make_node("Relu", ["X"], ["Y"])
    assert check(model([call], functions=[_function(relu)], opsets=opsets).SerializeToString(), LIMIT).inputs
    first = _function(helper.make_node("B", ["X"], ["Y"], domain="own"), name="A")
    second = _function(helper.make_node("A", ["X"], ["Y"], domain="own"), name="B")
    for functions in ([_function(call)], [first, second]):
        assert "calls itself" in refused(model(functions=functions, opsets=opsets))


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (helper.make_tensor_value_info("X", TensorProto.COMPLEX64, ["N", 4]), "elements of ONNX type COMPLEX64"),
        (helper.make_tensor_value_info("X", TensorProto.BFLOAT16, ["N", 4]), "elements of ONNX type BFLOAT16"),
        (helper.make_tensor_value_info("X", TensorProto.FLOAT, None), "input 'X' declares no shape"),
        (
            helper.make_tensor_sequence_value_info("X", TensorProto.FLOAT, [4]),
            "input 'X' is a sequence; wanted a tensor",
        ),
    ],
)
def test_inputs_that_cannot_be_served_are_refused(value: onnx.ValueInfoProto, words: str) -> None:
    node = helper.make_node("Identity", ["X"], ["Y"])
    assert words in refused(model([node], inputs=(value,), initializers=()))


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        (["N", 1 << 40], "input 'X' has shape [-1, 1099511627776] (-1: any); wanted at most 67108864 elements"),
        ([1 << 40, 3], "input 'X' has shape [1099511627776, 3]"),
        (["N", 1 << 13, "M", 1 << 14], "wanted at most 67108864 elements in all inputs of a row"),
        (["N", *[1] * 69], "input 'X' has 70 dimensions; wanted at most 32"),
    ],
)
def test_a_row_has_a_size_that_can_be_made(shape: list[Any], words: str) -> None:
    value = helper.make_tensor_value_info("X", TensorProto.FLOAT, shape)
    with pytest.raises(InvalidArgument) as raised:
        check(model([helper.make_node("Identity", ["X"], ["Y"])], inputs=[value]).SerializeToString(), LIMIT)
    assert words in str(raised.value)


def test_sizes_count_together_and_names_once() -> None:
    half = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 1 << 25]) for name in ("A", "B", "C")]
    summed = [helper.make_node("Sum", ["A", "B"], ["Y"])]
    assert len(check(model(summed, inputs=half[:2]).SerializeToString(), LIMIT).inputs) == 2
    with pytest.raises(InvalidArgument, match="input 'C' has shape"):
        check(model(summed, inputs=half).SerializeToString(), LIMIT)
    with pytest.raises(InvalidArgument, match="output 'Y' comes twice"):
        check(model(outputs=[RESULT, RESULT]).SerializeToString(), LIMIT)


def test_a_graph_that_takes_or_gives_nothing_is_refused() -> None:
    constant = helper.make_node("Constant", [], ["Y"], value=WEIGHTS)
    assert "0 inputs and 1 outputs" in refused(model([constant], inputs=(), initializers=()))


@pytest.mark.parametrize(("datatype", "number"), [(t, getattr(TensorProto, n)) for t, n in zip(
    DataType, ["BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64", "FLOAT16", "FLOAT",
               "DOUBLE", "STRING"], strict=True)])  # fmt: skip
def test_every_element_type_has_its_name(datatype: DataType, number: int) -> None:
    value = helper.make_tensor_value_info("X", number, ["batch", 3])
    result = helper.make_tensor_value_info("Y", number, ["batch", 3])
    artifact = model([helper.make_node("Identity", ["X"], ["Y"])], (value,), (result,), ()).SerializeToString()
    signature = check(artifact, LIMIT)
    assert signature.inputs == (TensorSpec("X", datatype, (-1, 3)),)
    assert signature.outputs == (TensorSpec("Y", datatype, (-1, 3)),)


WHOLE = model().SerializeToString()


@pytest.mark.slow
@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None, max_examples=300)
@given(st.data())
def test_damaged_bytes_never_raise_anything_else(data: st.DataObject) -> None:
    content = bytearray(WHOLE)
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    content = content[: data.draw(st.integers(0, len(content)))]
    # InvalidArgument and nothing else: any other error fails the test.
    with contextlib.suppress(InvalidArgument):
        check(bytes(content), LIMIT)
