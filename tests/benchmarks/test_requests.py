"""Requests as the server will read them."""

import struct

import numpy as np
import pytest
from serval_benchmarks import requests
from serval_benchmarks.errors import BenchmarkError
from serval_protos.inference import open_inference_pb2 as v2
from serval_protos.v1 import common_pb2, prediction_pb2, registry_pb2

NUMBERS = registry_pb2.ModelVersion(
    name="numbers",
    version=2,
    inputs=[common_pb2.TensorSpec(name="X", datatype=common_pb2.FP32, shape=[-1, 2])],
    # The feature order and the order of the input's columns differ.
    features=[
        common_pb2.Feature(name="b", kind=common_pb2.NUMERIC, input="X", column=1),
        common_pb2.Feature(name="a", kind=common_pb2.NUMERIC, input="X", column=0),
    ],
)
MIXED = registry_pb2.ModelVersion(
    name="mixed",
    version=1,
    inputs=[
        common_pb2.TensorSpec(name="age", datatype=common_pb2.INT64, shape=[-1, 1]),
        common_pb2.TensorSpec(name="city", datatype=common_pb2.STRING, shape=[-1]),
        common_pb2.TensorSpec(name="new", datatype=common_pb2.BOOL, shape=[-1, 1]),
    ],
    features=[
        common_pb2.Feature(name="age", kind=common_pb2.NUMERIC, input="age"),
        common_pb2.Feature(name="city", kind=common_pb2.TEXT, input="city"),
        common_pb2.Feature(name="new", kind=common_pb2.FLAG, input="new"),
    ],
)
IMAGES = registry_pb2.ModelVersion(
    name="images", version=1, inputs=[common_pb2.TensorSpec(name="image", datatype=common_pb2.UINT8, shape=[-1, 2, 2])]
)


def numbers(rows):
    return {"b": np.arange(rows) + 0.5, "a": -np.arange(rows) - 0.5}


def mixed(age=41.0):
    return {"age": np.array([age]), "city": np.array(["Köln"], np.object_), "new": np.array([True])}


def test_predict_packs_numbers_in_feature_order():
    first, second = requests.build(NUMBERS, "Predict", "numbers@2", 2, numbers(4), None)
    assert prediction_pb2.PredictRequest.FromString(first) == prediction_pb2.PredictRequest(
        model="numbers@2", values=[0.5, -0.5, 1.5, -1.5]
    )
    assert list(prediction_pb2.PredictRequest.FromString(second).values) == [2.5, -2.5, 3.5, -3.5]


def test_predict_names_the_features_where_they_are_not_all_numbers():
    (request,) = requests.build(MIXED, "Predict", "mixed", 1, mixed(), None)
    features = prediction_pb2.PredictRequest.FromString(request).rows[0].features
    assert (features["age"].number, features["city"].text, features["new"].flag) == (41.0, "Köln", True)


def test_predict_leaves_a_missing_number_unset():
    (request,) = requests.build(MIXED, "Predict", "mixed", 1, mixed(np.nan), None)
    features = prediction_pb2.PredictRequest.FromString(request).rows[0].features
    assert features["age"].WhichOneof("kind") is None


def test_batch_predict_sends_a_matrix_in_feature_order():
    (request,) = requests.build(NUMBERS, "BatchPredict", "numbers", 3, numbers(3), None)
    tensor = prediction_pb2.BatchPredictRequest.FromString(request).rows.tensor
    assert (list(tensor.shape), tensor.datatype) == ([3, 2], common_pb2.FP32)
    assert np.frombuffer(tensor.data, np.float32).tolist() == [0.5, -0.5, 1.5, -1.5, 2.5, -2.5]


def test_batch_predict_sends_tensors_for_a_model_without_columns():
    images = np.arange(8, dtype=np.uint8).reshape(2, 2, 2)
    (request,) = requests.build(IMAGES, "BatchPredict", "images", 2, None, {"image": images})
    (tensor,) = prediction_pb2.BatchPredictRequest.FromString(request).tensors
    assert (tensor.name, list(tensor.shape), tensor.datatype) == ("image", [2, 2, 2], common_pb2.UINT8)
    assert tensor.data == images.tobytes()


def test_model_infer_puts_each_feature_into_its_column_of_its_input():
    (request,) = requests.build(NUMBERS, "ModelInfer", "numbers@production", 1, numbers(1), None)
    message = v2.ModelInferRequest.FromString(request)
    assert (message.model_name, message.model_version) == ("numbers", "production")
    assert (message.inputs[0].name, message.inputs[0].datatype, list(message.inputs[0].shape)) == ("X", "FP32", [1, 2])
    assert np.frombuffer(message.raw_input_contents[0], np.float32).tolist() == [-0.5, 0.5]


def test_model_infer_sends_every_input_in_its_own_type():
    (request,) = requests.build(MIXED, "ModelInfer", "mixed", 1, mixed(), None)
    message = v2.ModelInferRequest.FromString(request)
    assert [(i.datatype, list(i.shape)) for i in message.inputs] == [
        ("INT64", [1, 1]),
        ("BYTES", [1]),
        ("BOOL", [1, 1]),
    ]
    city = "Köln".encode()
    assert list(message.raw_input_contents) == [struct.pack("<q", 41), struct.pack("<I", len(city)) + city, b"\x01"]


@pytest.mark.parametrize("age", [41.5, np.nan])
def test_model_infer_refuses_what_an_integer_input_cannot_hold(age):
    with pytest.raises(BenchmarkError, match=r"'age'.*wanted whole numbers"):
        requests.build(MIXED, "ModelInfer", "mixed", 1, mixed(age), None)


def test_fewer_rows_than_a_call_takes_are_repeated():
    (request,) = requests.build(NUMBERS, "Predict", "numbers", 3, numbers(2), None)
    assert list(prediction_pb2.PredictRequest.FromString(request).values) == [0.5, -0.5, 1.5, -1.5, 0.5, -0.5]


@pytest.mark.slow
def test_requests_are_limited_in_number_and_in_bytes():
    assert len(requests.build(NUMBERS, "Predict", "numbers", 1, numbers(1000), None)) == requests.REQUESTS_MAX
    large = requests.build(NUMBERS, "BatchPredict", "numbers", 1 << 20, numbers(8 << 20), None)
    assert requests.REQUESTS_BYTES_MAX < sum(map(len, large)) < requests.REQUESTS_BYTES_MAX + (9 << 20)


@pytest.mark.parametrize(
    ("version", "method", "table", "tensors", "complaint"),
    [
        (MIXED, "BatchPredict", mixed(), None, "columns of several kinds"),
        (IMAGES, "Predict", None, {"image": np.zeros((1, 2, 2), np.uint8)}, "takes tensors, not columns"),
    ],
)
def test_a_method_that_cannot_carry_the_model_is_refused(version, method, table, tensors, complaint):
    with pytest.raises(BenchmarkError, match=f"--method: .*{complaint}"):
        requests.build(version, method, version.name, 1, table, tensors)
