"""Graphs whose runs take as long as the values of their inputs say, and others."""

import warnings
from collections.abc import Sequence

import lightgbm
import numpy as np
import onnx
import onnxruntime
import pytest
import xgboost
from onnx import TensorProto, helper, numpy_helper
from serval_client.export import export
from serval_server.engine.graph import is_steady
from skl2onnx import to_onnx
from sklearn.base import BaseEstimator
from sklearn.ensemble import AdaBoostClassifier, HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier, RadiusNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler

ROWS = np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32)
LABELS = (ROWS[:, 0] > 0).astype(np.int64)
NUMBERS = {
    "zero": 0,
    "one": 1,
    "whole": [0, 1, 2, 3],
    "places": [1],
    "times": [2, 2],
    "none": [0, 0, 1, 1],
    "axes": [0],
}

# What an operator makes of X or of ones, with `size`, a vector of two that says how much.
SIZED = {
    "Range": [("Gather", "size zero", "most"), ("Range", "zero most one", "much")],
    "ConstantOfShape": [("ConstantOfShape", "size", "much")],
    "Expand": [("Expand", "one size", "much")],
    "Tile": [("ConstantOfShape", "times", "ones"), ("Tile", "ones size", "much")],
    "Pad": [("Concat", "size size", "all", {"axis": 0}), ("Pad", "X all", "much")],
    "Resize": [("Cast", "size", "floats", {"to": TensorProto.FLOAT}), ("Resize", "X  floats", "much")],
    "OneHot": [("Gather", "size zero", "most"), ("OneHot", "places most times", "much")],
}
SIZES = {
    "of values": ([("ReduceMax", "X", "max", {"keepdims": 0}), ("Cast", "max", "n", {"to": TensorProto.INT64})], False),
    "of shapes": ([("Shape", "X", "shape"), ("Gather", "shape zero", "n")], True),
    "of what is there": ([("NonZero", "X", "there"), ("Size", "there", "n")], True),
    "of the graph": ([("Constant", "", "n", {"value": numpy_helper.from_array(np.array(3, np.int64))})], True),
}
TWICE = [("Unsqueeze", "n axes", "alone"), ("Concat", "alone alone", "size", {"axis": 0})]

Written = Sequence[tuple]


def nodes(written: Written) -> list[onnx.NodeProto]:
    return [
        helper.make_node(operator, inputs.split(" ") if inputs else [], [output], **dict(*more))
        for operator, inputs, output, *more in written
    ]


def model(
    written: Written,
    more: Sequence[onnx.NodeProto] = (),
    functions: Sequence[onnx.FunctionProto] = (),
    output: str = "much",
) -> bytes:
    graph = helper.make_graph(
        [*nodes(written), *more],
        "g",
        [helper.make_tensor_value_info("X", TensorProto.FLOAT, [None, 4])],
        [onnx.ValueInfoProto(name=output)],
        [numpy_helper.from_array(np.array(value, np.int64), name) for name, value in NUMBERS.items()],
    )
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("own", 1)]
    made = helper.make_model(graph, opset_imports=opsets, ir_version=9, functions=functions)
    return bytes(made.SerializeToString())


@pytest.mark.parametrize("operator", SIZED)
@pytest.mark.parametrize("size", SIZES)
def test_what_is_as_large_as_values_say_is_not_steady(operator: str, size: str) -> None:
    source, steady = SIZES[size]
    artifact = model([*source, *TWICE, *SIZED[operator]])
    onnxruntime.InferenceSession(artifact).run(None, {"X": np.ones((2, 4), np.float32)})  # it is a model
    assert is_steady(artifact) == steady


def test_sizes_that_callers_give_beside_their_rows_are_not_known() -> None:
    given = onnx.ModelProto.FromString(model(SIZED["Expand"]))
    given.graph.input.append(helper.make_tensor_value_info("size", TensorProto.INT64, [2]))
    assert not is_steady(given.SerializeToString())


def test_a_size_is_known_of_what_is_listed_before_it_alone() -> None:
    source, _ = SIZES["of shapes"]
    assert not is_steady(model([*SIZED["Expand"], *source, *TWICE]))


@pytest.mark.parametrize(("name", "steady"), [("of values", False), ("of the graph", True)])
def test_functions_and_graphs_of_nodes_are_looked_into(name: str, steady: bool) -> None:
    source, _ = SIZES[name]
    held = [("Constant", "", "axes", {"value": numpy_helper.from_array(np.array([0], np.int64))})]
    held.append(("Constant", "", "one", {"value": numpy_helper.from_array(np.array(1, np.int64))}))
    inside = [*held, *source, *TWICE, *SIZED["Expand"]]
    opsets = [helper.make_opsetid("", 18)]
    function = helper.make_function("own", "Much", ["X"], ["much"], nodes(inside), opsets)
    called = helper.make_node("Much", ["X"], ["much"], domain="own")
    artifact = model([], [called], [function])
    onnxruntime.InferenceSession(artifact).run(None, {"X": np.ones((2, 4), np.float32)})
    assert is_steady(artifact) == steady
    row = [helper.make_tensor_value_info("X", TensorProto.FLOAT, [4])]
    body = helper.make_graph(nodes(inside), "body", row, [onnx.ValueInfoProto(name="much")])
    each = helper.make_node("Scan", ["X"], ["all"], body=body, num_scan_inputs=1)
    assert is_steady(model([], [each], output="all")) == steady


def test_a_graph_that_is_run_again_and_again_is_found_within_others() -> None:
    body = helper.make_graph([helper.make_node("If", ["b"], ["y"])], "body", [], [onnx.ValueInfoProto(name="y")])
    assert not is_steady(model([], [helper.make_node("Scan", ["X"], ["much"], body=body, num_scan_inputs=1)]))
    assert is_steady(model([("Identity", "X", "much")], [helper.make_node("Identity", ["much"], ["If"])]))


@pytest.mark.parametrize(
    "estimator",
    [
        make_pipeline(StandardScaler(), LogisticRegression()),
        make_pipeline(PolynomialFeatures(), LogisticRegression()),
        AdaBoostClassifier(n_estimators=3),
        HistGradientBoostingClassifier(max_iter=3),
        RandomForestClassifier(3),
        KNeighborsClassifier(),
        RadiusNeighborsRegressor(5.0),
        GaussianProcessRegressor(),
    ],
    ids=lambda estimator: type(estimator).__name__,
)
def test_what_scikit_learn_exports_is_steady(estimator: BaseEstimator) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        options = {"zipmap": False} if hasattr(estimator, "predict_proba") else None
        artifact = to_onnx(estimator.fit(ROWS, LABELS), ROWS[:1], options=options).SerializeToString()
    assert is_steady(artifact)


@pytest.mark.slow
@pytest.mark.parametrize(
    "booster",
    [
        xgboost.XGBClassifier(n_estimators=3, n_jobs=1),
        xgboost.XGBRegressor(n_estimators=3, n_jobs=1),
        lightgbm.LGBMClassifier(n_estimators=3, n_jobs=1, verbose=-1),
        lightgbm.LGBMRegressor(n_estimators=3, n_jobs=1, verbose=-1),
    ],
    ids=lambda booster: type(booster).__name__,
)
def test_what_boosters_export_is_steady(booster: BaseEstimator) -> None:
    assert is_steady(export(booster.fit(ROWS, LABELS), ROWS).onnx)
