import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from serval_client import calls, errors, forms
from serval_protos.v1 import prediction_pb2


def arrow_of(rows):
    return pa.ipc.open_stream(forms.to_message(rows).arrow_ipc).read_all()


@given(hnp.arrays(np.float32, hnp.array_shapes(min_dims=2, max_dims=2, max_side=70)))
def test_packed_floats_are_what_protobuf_reads(array):
    request = prediction_pb2.PredictRequest.FromString(
        calls.predict_request("m", forms.Matrix(array), ["a", "b"]).SerializeToString()
    )
    np.testing.assert_array_equal(np.array(request.values, np.float32), array.ravel())
    assert (request.model, list(request.outputs)) == ("m", ["a", "b"])


def test_a_view_is_packed_row_major():
    array = np.arange(6.0).reshape(2, 3).T
    assert list(calls.predict_request("m", forms.Matrix(array), None).values) == array.ravel().tolist()


@pytest.mark.parametrize(
    ("given_rows", "shape"),
    [([1, 2, 3], (1, 3)), ([[1, 2, 3]], (1, 3)), (np.zeros((5, 2)), (5, 2)), (np.float32([1, 2]), (1, 2))],
)
def test_numbers_are_a_matrix_and_one_dimension_is_one_row(given_rows, shape):
    form = forms.read(given_rows)
    assert isinstance(form, forms.Matrix)
    assert form.array.shape == shape


def test_a_dict_of_values_is_one_row_and_of_columns_many():
    assert forms.read({"a": 1, "b": "x"}) == forms.NamedRows([{"a": 1, "b": "x"}])
    form = forms.read({"a": [1, 2], "b": np.array(["x", "y"]), "c": pd.Series([True, False])})
    assert isinstance(form, forms.Columns)
    assert [column.dtype.kind for column in form.columns.values()] == ["i", "O", "b"]


def test_named_rows_set_each_kind_of_value():
    request = calls.predict_request("m", forms.read([{"n": 1, "t": "x", "f": np.True_, "m": None}]), None)
    values = request.rows[0].features
    assert {name: values[name].WhichOneof("kind") for name in values} == {
        "n": "number",
        "t": "text",
        "f": "flag",
        "m": None,
    }
    assert values["f"].flag is True


def test_columns_as_named_rows_say_the_same():
    by_column = calls.predict_request("m", forms.read({"a": [1.5, None], "b": ["x", None]}), None)
    by_row = calls.predict_request("m", forms.read([{"a": 1.5, "b": "x"}, {"a": float("nan"), "b": None}]), None)
    assert by_column.rows[0] == by_row.rows[0]
    assert by_column.rows[1].features["b"].WhichOneof("kind") is None
    assert np.isnan(by_column.rows[1].features["a"].number)


def test_named_rows_as_a_table_have_every_name_and_missing_values():
    table = arrow_of([{"a": 1, "b": "x", "c": True}, {"b": None, "c": False, "d": 2.5}])
    assert table.column_names == ["a", "b", "c", "d"]
    assert [str(field.type) for field in table.schema] == ["double", "string", "bool", "double"]
    assert table.column("b").to_pylist() == ["x", None]
    assert np.isnan(table.column("a").to_pylist()[1])


@pytest.mark.parametrize("kind", ["pandas", "table", "batch"])
def test_tables_of_other_libraries(kind):
    frame = pd.DataFrame({"n": [1.0, np.nan], "c": pd.Categorical(["x", "y"]), "i": [1, 2]}, index=[7, 8])
    table = pa.table({"n": [1.0, None], "c": pa.array(["x", "y"]).dictionary_encode(), "i": [1, 2]})
    rows = {"pandas": frame, "table": table, "batch": table.to_batches()[0]}[kind]
    sent = arrow_of(rows)
    assert sent.to_pydict() == {"n": [1.0, None], "c": ["x", "y"], "i": [1, 2]}
    assert [str(field.type) for field in sent.schema] == ["double", "string", "int64"]


def test_a_table_of_chunks_is_one_record_batch():
    table = pa.concat_tables([pa.table({"a": [1, 2]}), pa.table({"a": [3]})])
    with pa.ipc.open_stream(forms.to_message(table).arrow_ipc) as reader:
        assert [batch.num_rows for batch in reader] == [3]


def test_a_dict_of_arrays_with_more_dimensions_is_tensors():
    form = forms.read({"image": np.zeros((2, 3, 4), np.uint8), "flag": np.zeros(2)})
    assert isinstance(form, forms.Tensors)
    assert len(form) == 2
    with pytest.raises(errors.InvalidArgument, match="more than two dimensions"):
        forms.to_message(form, "sample")


def test_whole_numbers_that_float32_cannot_hold_are_not_packed():
    assert forms.Matrix(np.array([[2**24]])).packs
    assert not forms.Matrix(np.array([[2**24 + 1]])).packs
    assert not forms.Matrix(np.array([[-(2**40)]])).packs


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([], "0 rows"),
        (np.zeros((0, 3)), "0 rows"),
        ({}, "empty dict"),
        ("text", "got str"),
        (5, "single int"),
        ([[1, 2], [3]], "different lengths"),
        ([[1.5, "red"]], "mixed"),
        ({"a": [1, 2], "b": [1]}, "'b' has 1 rows and 'a' has 2"),
        ({"a": [1, 2], "b": 3}, "'b' is one value"),
        ({"a": [object(), 1]}, "column 'a'"),
        ({"a": np.array(["2024-01-01"], "M8[D]")}, "column 'a' is datetime64"),
    ],
)
def test_what_cannot_be_rows_is_refused_by_name(rows, words):
    with pytest.raises(errors.InvalidArgument, match=words):
        forms.read(rows)


def test_a_value_of_no_kind_names_its_row_and_feature():
    with pytest.raises(errors.InvalidArgument, match=r"rows\[1\]: 'b' is a list"):
        calls.predict_request("m", forms.read([{"b": 1}, {"b": [1]}]), None)


def test_a_column_of_mixed_kinds_is_refused_by_name():
    with pytest.raises(errors.InvalidArgument, match="'a'"):
        forms.to_message({"a": ["x", 1]})


@given(st.integers(0, 2**40))
def test_lengths_are_written_as_varints(number):
    out = forms._varint(number)
    value = sum((byte & 0x7F) << 7 * i for i, byte in enumerate(out))
    assert value == number
    assert [byte >> 7 for byte in out] == [1] * (len(out) - 1) + [0]
