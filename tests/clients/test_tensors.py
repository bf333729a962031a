import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from serval_client import errors, tensors
from serval_protos.v1 import common_pb2, prediction_pb2

SHAPES = hnp.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=5)


@pytest.mark.slow
@given(
    st.sampled_from(
        ["?", "u1", "<u2", "<u4", "<u8", "i1", "<i2", "<i4", "<i8", "<f2", "<f4", "<f8", ">f8", ">i4"]
    ).flatmap(lambda dtype: hnp.arrays(np.dtype(dtype), SHAPES))
)
def test_arrays_come_back_equal(array):
    wire = tensors.to_message(array).SerializeToString()
    back = tensors.from_message(common_pb2.Tensor.FromString(wire))
    assert back.dtype == array.dtype.newbyteorder("<")
    np.testing.assert_array_equal(back, array)


@given(st.lists(st.text(alphabet=st.characters(exclude_categories=["Cs"])), max_size=6))
def test_texts_come_back_equal(texts):
    array = np.empty(len(texts), np.object_)
    array[:] = texts
    back = tensors.from_message(common_pb2.Tensor.FromString(tensors.to_message(array).SerializeToString()))
    assert back.tolist() == texts


def test_a_view_with_strides_is_sent_row_major():
    array = np.arange(12, dtype=np.float32).reshape(3, 4)
    np.testing.assert_array_equal(tensors.from_message(tensors.to_message(array.T)), array.T)


def test_what_arrives_is_the_callers_own():
    back = tensors.from_message(tensors.to_message(np.zeros(3)))
    back += 1
    assert back.tolist() == [1, 1, 1]


def test_mixed_objects_are_refused():
    with pytest.raises(errors.InvalidArgument, match="int values in an array of texts"):
        tensors.to_message(np.array(["a", 1], np.object_))


@pytest.mark.parametrize("array", [np.zeros(2, np.complex64), np.array(["2024-01-01"], "M8[D]")])
def test_other_types_are_refused(array):
    with pytest.raises(errors.InvalidArgument, match="wanted numbers"):
        tensors.to_message(array)


@pytest.mark.parametrize(
    ("datatype", "field", "values", "dtype"),
    [
        ("FP16", "floats", [0.5, 1], np.float16),
        ("FP32", "floats", [0.5, 1], np.float32),
        ("FP64", "doubles", [0.1, 1], np.float64),
        ("INT64", "integers", [-(2**62), 1], np.int64),
        ("UINT8", "integers", [255, 1], np.uint8),
        ("BOOL", "integers", [0, 1], np.bool_),
        ("STRING", "strings", ["a", "ß"], np.object_),
    ],
)
def test_outputs_of_every_type(datatype, field, values, dtype):
    array = tensors.from_output(prediction_pb2.Output(name="o", datatype=datatype, shape=[2, 1], **{field: values}))
    assert array.dtype == dtype
    assert array.shape == (2, 1)
    assert array.ravel().tolist() == values


def test_a_reply_that_does_not_add_up_is_data_loss():
    with pytest.raises(errors.DataLoss, match="3 values for shape"):
        tensors.from_output(prediction_pb2.Output(name="o", datatype="FP32", shape=[2], floats=[1, 2, 3]))
    with pytest.raises(errors.DataLoss, match="3 bytes"):
        tensors.from_message(common_pb2.Tensor(name="o", datatype="FP32", shape=[2], data=b"abc"))
    with pytest.raises(errors.DataLoss, match="data type"):
        tensors.from_message(common_pb2.Tensor(name="o", shape=[0]))
