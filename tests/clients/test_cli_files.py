import json
import sys

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from serval_client import errors
from serval_client.cli.files import column_names, read_rows
from serval_client.records import FeatureKind

CSV = """\
age,city,member,zip,joined,target
31,Oslo,true,01234,2024-01-05,1
,NA,false,98765,2024-02-29,0
2.5,,true,00001,2024-03-01,1
"""
KINDS = {
    "age": FeatureKind.NUMERIC,
    "city": FeatureKind.TEXT,
    "member": FeatureKind.FLAG,
    "zip": FeatureKind.TEXT,
    "joined": FeatureKind.TEXT,
}


@pytest.fixture(params=["with pyarrow", "without pyarrow"])
def reader(request, monkeypatch):
    """Either way to read a CSV; both have to come to the same."""
    if request.param == "without pyarrow":
        monkeypatch.setitem(sys.modules, "pyarrow.csv", None)
        monkeypatch.setattr("serval_client.cli.files._read_csv_by_arrow", None)
    return read_rows


def as_lists(rows):
    if isinstance(rows, pa.Table):
        rows = {name: rows.column(name).to_pylist() for name in rows.column_names}
        return {name: [None if value is None else value for value in column] for name, column in rows.items()}
    lists = {name: column.tolist() for name, column in rows.items()}
    return {name: [None if value != value else value for value in column] for name, column in lists.items()}


def test_a_csv_is_read_as_its_features_say(tmp_path, reader):
    path = tmp_path / "rows.csv"
    path.write_text(CSV)
    rows, left_out = reader(path, KINDS)
    assert left_out == ["target"]
    assert as_lists(rows) == {
        "age": [31.0, None, 2.5],
        "city": ["Oslo", "NA", None],
        "member": [True, False, True],
        "zip": ["01234", "98765", "00001"],
        "joined": ["2024-01-05", "2024-02-29", "2024-03-01"],
    }


def test_a_csv_of_unknown_kinds_is_inferred(tmp_path, reader):
    path = tmp_path / "rows.csv"
    path.write_text("\ufeff" + CSV)
    rows, left_out = reader(path, drop=["target", "zip"])
    assert left_out == ["zip", "target"]
    assert as_lists(rows) == {
        "age": [31.0, None, 2.5],
        "city": ["Oslo", "NA", None],
        "member": [True, False, True],
        "joined": ["2024-01-05", "2024-02-29", "2024-03-01"],
    }


@pytest.mark.parametrize(
    ("text", "kinds", "words"),
    [
        ("", None, "is empty"),
        ("1.5,2,3\n4,5,6\n", None, "first line is numbers"),
        ("a,b,a\n1,2,3\n", None, "'a' more than once"),
        ("a,b\n1,2\n3\n", None, "2 columns|2 cells|1 cells"),
        ("a\nred\n", {"a": FeatureKind.NUMERIC}, "a"),
        ("a\n1\n", {"b": FeatureKind.NUMERIC}, "none of the columns is wanted: got a; wanted b"),
    ],
)
def test_a_csv_that_cannot_be_read_says_why(tmp_path, reader, text, kinds, words):
    path = tmp_path / "rows.csv"
    path.write_text(text)
    with pytest.raises(errors.InvalidArgument, match=words):
        reader(path, kinds)


def test_parquet_json_and_npy(tmp_path):
    frame = pd.DataFrame({"a": [1.0, 2.0], "b": ["x", None]}, index=[5, 6])
    frame.to_parquet(tmp_path / "rows.parquet")
    rows, left_out = read_rows(tmp_path / "rows.parquet", {"a": FeatureKind.NUMERIC, "b": FeatureKind.TEXT})
    assert rows.column_names == ["a", "b"]
    assert left_out == ["__index_level_0__"]

    for value in ([{"a": 1, "b": "x", "c": 0}, {"a": None, "b": "y"}], {"a": [1, None], "b": ["x", "y"], "c": [0, 1]}):
        (tmp_path / "rows.json").write_text(json.dumps(value))
        rows, left_out = read_rows(tmp_path / "rows.json", {"a": FeatureKind.NUMERIC, "b": FeatureKind.TEXT})
        assert (column_names(rows), left_out) == (["a", "b"], ["c"])
    (tmp_path / "rows.json").write_text("[[1, 2], [null, 4]]")
    rows, _ = read_rows(tmp_path / "rows.json")
    np.testing.assert_array_equal(rows, [[1, 2], [np.nan, 4]])

    np.save(tmp_path / "rows.npy", np.ones((3, 2), np.float32))
    rows, _ = read_rows(tmp_path / "rows.npy", KINDS)
    assert rows.shape == (3, 2)


def test_other_files_are_refused(tmp_path):
    with pytest.raises(errors.InvalidArgument, match="is not a file"):
        read_rows(tmp_path / "gone.csv")
    for name, content, words in (
        ("rows.xlsx", b"", "none of the formats that are read: .csv, .parquet, .json or .npy"),
        ("rows.json", b"{", "is not JSON"),
        ("rows.json", b"5", "holds a int"),
        ("rows.json", b"[1]", "holds 1 among rows"),
        ("rows.npy", b"abc", "no numpy array"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(errors.InvalidArgument, match=words):
            read_rows(tmp_path / name)
    np.save(tmp_path / "objects.npy", np.array([{}], np.object_))
    with pytest.raises(errors.InvalidArgument, match="no numpy array"):
        read_rows(tmp_path / "objects.npy")
    (tmp_path / "rows.csv").write_text("a\n1\n")
    with pytest.raises(errors.InvalidArgument, match="no column 'b'"):
        read_rows(tmp_path / "rows.csv", drop=["b"])
