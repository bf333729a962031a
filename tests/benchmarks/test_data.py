"""Rows from files and from baselines."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serval_benchmarks.data import draw_table, draw_tensors, load_table
from serval_benchmarks.errors import BenchmarkError
from serval_client.tensors import DTYPES
from serval_protos.v1 import common_pb2, drift_pb2, registry_pb2

LIMITS = st.floats(allow_nan=False, allow_infinity=False)


def model(*kinds, datatype=common_pb2.FP32):
    """A model of one column per kind, each in an input of its own."""
    kind_types = {common_pb2.NUMERIC: datatype, common_pb2.TEXT: common_pb2.STRING, common_pb2.FLAG: common_pb2.BOOL}
    return registry_pb2.ModelVersion(
        name="m",
        version=1,
        inputs=[
            common_pb2.TensorSpec(name=f"x{i}", datatype=kind_types[kind], shape=[-1, 1])
            for i, kind in enumerate(kinds)
        ],
        features=[common_pb2.Feature(name=f"x{i}", kind=kind, input=f"x{i}") for i, kind in enumerate(kinds)],
    )


MIXED = model(common_pb2.NUMERIC, common_pb2.TEXT, common_pb2.FLAG)


@given(LIMITS, LIMITS, st.integers(0, 2**32))
def test_numbers_stay_within_the_baseline(one, other, seed):
    low, high = min(one, other), max(one, other)
    feature = drift_pb2.FeatureBaseline(feature="x0", kind=common_pb2.NUMERIC, minimum=low, maximum=high)
    baseline = drift_pb2.Baseline(features=[feature])
    column = draw_table(model(common_pb2.NUMERIC), baseline, 50, np.random.default_rng(seed))["x0"]
    slack = 1e-12 * max(abs(low), abs(high))
    assert np.all(column >= low - slack)
    assert np.all(column <= high + slack)


def test_numbers_fill_the_range_of_the_baseline():
    baseline = drift_pb2.Baseline(
        features=[drift_pb2.FeatureBaseline(feature="x0", kind=common_pb2.NUMERIC, minimum=100, maximum=200)]
    )
    column = draw_table(model(common_pb2.NUMERIC), baseline, 10_000, np.random.default_rng(0))["x0"]
    assert np.histogram(column, bins=4, range=(100, 200))[0].min() > 2200


def test_numbers_without_a_baseline_are_standard_normal():
    column = draw_table(model(common_pb2.NUMERIC), None, 10_000, np.random.default_rng(0))["x0"]
    assert abs(column.mean()) < 0.05
    assert abs(column.std() - 1) < 0.05


@pytest.mark.parametrize("datatype", sorted(set(DTYPES) - {common_pb2.FP16, common_pb2.FP32, common_pb2.FP64}))
def test_numbers_of_integer_inputs_are_exact_in_their_type(datatype):
    column = draw_table(model(common_pb2.NUMERIC, datatype=datatype), None, 100, np.random.default_rng(0))["x0"]
    assert np.array_equal(column.astype(DTYPES[datatype]).astype(np.float64), column)


def test_categories_come_by_their_frequency():
    baseline = drift_pb2.Baseline(
        features=[
            drift_pb2.FeatureBaseline(
                feature="x1", kind=common_pb2.TEXT, categories=["often", "seldom"], category_counts=[90, 10]
            ),
            drift_pb2.FeatureBaseline(feature="x2", kind=common_pb2.FLAG, categories=["false"], category_counts=[5]),
        ]
    )
    table = draw_table(MIXED, baseline, 10_000, np.random.default_rng(0))
    assert set(table["x1"]) == {"often", "seldom"}
    assert 0.88 < np.mean(table["x1"] == "often") < 0.92
    assert table["x2"].dtype == np.bool_
    assert not table["x2"].any()


def test_tensors_have_the_shape_and_type_of_the_inputs():
    specs = [
        common_pb2.TensorSpec(name="image", datatype=common_pb2.UINT8, shape=[-1, 2, 3]),
        common_pb2.TensorSpec(name="text", datatype=common_pb2.STRING, shape=[-1]),
    ]
    tensors = draw_tensors(registry_pb2.ModelVersion(inputs=specs), 5, np.random.default_rng(0))
    assert (tensors["image"].shape, tensors["image"].dtype) == ((5, 2, 3), np.uint8)
    assert (tensors["text"].shape, tensors["text"].dtype) == ((5,), np.object_)


def test_a_free_size_cannot_be_guessed():
    spec = common_pb2.TensorSpec(name="tokens", datatype=common_pb2.INT64, shape=[-1, -1])
    with pytest.raises(BenchmarkError, match=r"'tokens' has shape \[-1, -1\]"):
        draw_tensors(registry_pb2.ModelVersion(inputs=[spec]), 5, np.random.default_rng(0))


def test_csv_by_name_in_any_order_with_more_columns(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("x2,id,x1,x0\ntrue,7,red,1.5\nFalse,8,,\n")
    table = load_table(path, MIXED)
    np.testing.assert_array_equal(table["x0"], [1.5, np.nan])
    assert table["x1"].tolist() == ["red", ""]
    assert table["x2"].tolist() == [True, False]


def test_csv_by_position(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("1.5,red,1\n2.5,blue,no\n\n")
    table = load_table(path, MIXED)
    assert [column.tolist() for column in table.values()] == [[1.5, 2.5], ["red", "blue"], [True, False]]


def test_npy_by_position(tmp_path):
    path = tmp_path / "rows.npy"
    np.save(path, np.arange(6, dtype=np.float32).reshape(3, 2))
    table = load_table(path, model(common_pb2.NUMERIC, common_pb2.NUMERIC))
    assert [column.tolist() for column in table.values()] == [[0, 2, 4], [1, 3, 5]]


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("rows.csv", "", "holds no rows"),
        ("rows.csv", "x0,x1,x2\n", "holds no rows"),
        ("rows.csv", "x0,x1,x2\n1,a\n", r"row 1 of .* has 2 cells, wanted 3"),
        ("rows.csv", "x0,x2\n1,true\n", r"wanted 3: one per feature.*'x1'"),
        ("rows.csv", "x0,x1,x2\nmany,a,true\n", r"column 'x0' .*'many'.* wanted a number"),
        ("rows.csv", "x0,x1,x2\n1,a,perhaps\n", r"column 'x2' .*'perhaps'.* wanted true or false"),
        ("rows.npy", "no array", "cannot be read"),
        ("rows.parquet", "", r"wanted \.csv or \.npy"),
    ],
)
def test_a_wrong_file_is_named_with_what_is_wrong(tmp_path, name, content, complaint):
    (tmp_path / name).write_text(content)
    with pytest.raises(BenchmarkError, match=rf"--data: .*{complaint}"):
        load_table(tmp_path / name, MIXED)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(BenchmarkError, match=r"rows\.csv cannot be read"):
        load_table(tmp_path / "rows.csv", MIXED)


def test_an_npy_of_another_width_is_refused(tmp_path):
    np.save(tmp_path / "rows.npy", np.zeros((3, 5)))
    with pytest.raises(BenchmarkError, match=r"shape \[3, 5\], wanted \[rows, 3\]"):
        load_table(tmp_path / "rows.npy", MIXED)
