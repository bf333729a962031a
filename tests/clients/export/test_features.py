import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serval_client.export import ExportError
from serval_client.export.features import feeds, input_names, lay_out, read_sample, to_send


@given(st.lists(st.text(max_size=12), unique=True, max_size=20))
def test_input_names_are_distinct_identifiers(names):
    given_names = input_names(names)
    assert list(given_names) == names
    assert len(set(given_names.values())) == len(names)
    assert all(re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name) for name in given_names.values())
    assert not {"label", "probabilities", "variable"} & set(given_names.values())


def test_kinds_of_columns():
    frame = pd.DataFrame(
        {
            "float": [1.5, np.nan],
            "integer": [1, 2],
            "nullable": pd.array([1, None], "Int64"),
            "flag": [True, False],
            "text": ["a", None],
            "category": pd.Categorical(["x", "y"]),
            "string": pd.array(["s", None], "string"),
            "number objects": np.array([1, None], object),
        }
    )
    sample = read_sample(None, frame)
    kinds = {feature.name: feature.kind for feature in lay_out(sample.columns)}
    numeric, text = "numeric", "text"
    assert kinds == {
        "float": numeric,
        "integer": numeric,
        "nullable": numeric,
        "flag": "flag",
        "text": text,
        "category": text,
        "string": text,
        "number objects": numeric,
    }
    assert np.isnan(sample.columns["nullable"][1])
    assert sample.columns["string"].tolist() == ["s", None]


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (pd.to_datetime(["2020-01-01"]), "datetime64"),
        (np.array(["a", 1], object)[:2], "int, str"),
        (pd.array([True, None], "boolean"), "boolean and has missing"),
        (np.array([{}], object), "dict"),
    ],
)
def test_other_columns_are_refused_by_name(column, message):
    with pytest.raises(ExportError, match=f"'odd'.*{message}"):
        read_sample(None, pd.DataFrame({"odd": column}))


def test_all_texts_share_one_input():
    sample = read_sample(None, np.array([["a", "b"], ["c", "d"]]))
    features = lay_out(sample.columns)
    fed = feeds(features, sample.columns)
    assert list(fed) == ["X"]
    assert fed["X"].tolist() == [["a", "b"], ["c", "d"]]


def test_flags_beside_numbers_share_the_input_and_stay_flags():
    sample = read_sample(None, pd.DataFrame({"n": [0.1, 2.0], "b": [True, False]}))
    features = lay_out(sample.columns)
    assert [(f.kind, f.input, f.column) for f in features] == [("numeric", "X", 0), ("flag", "X", 1)]
    assert feeds(features, sample.columns)["X"].dtype == np.float32
    sent = to_send(features, sample.columns)
    assert (sent["n"].dtype, sent["b"].dtype) == (np.float32, bool)


def test_rounding_changes_numbers_alone_and_keeps_integers():
    frame = pd.DataFrame({"n": [0.1], "i": [2**24 + 1], "small": [3], "t": ["x"]})
    rounded = read_sample(None, frame).rounded().rows
    assert rounded["n"][0] == np.float64(np.float32(0.1))
    assert rounded["i"][0] == 2**24
    assert rounded["i"].dtype == frame["i"].dtype
    assert rounded["t"][0] == "x"
    assert frame["n"][0] == 0.1


def test_one_cell_is_made_missing_in_both_forms():
    frame = pd.DataFrame({"n": [1.0, 2.0], "i": [1, 2]})
    for rows in (frame, frame.to_numpy()):
        sample = read_sample(None, rows)
        names = list(sample.columns)
        changed = sample.with_missing(1, names[1])
        assert np.isnan(np.asarray(changed.rows, float)[1, 1])
        assert np.isnan(changed.columns[names[1]][1])
        assert not np.isnan(np.asarray(sample.rows, float)).any()
