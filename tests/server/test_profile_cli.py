import datetime
import decimal
import json

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest
from serval_client.cli.app import main

CSV = "size,colour,day,open\n" + "\n".join(
    f"{'' if i == 5 else i * 1.5},{'red' if i % 2 else 'green'},2026-01-{1 + i % 28:02},true" for i in range(60)
)


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text(CSV)
    return path


def test_a_csv_is_told_column_by_column(file, capsys):
    assert main(["profile", str(file)]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0].startswith("rows.csv: 60 rows, 4 columns, quality 0.9")
    assert out[4].split()[:4] == ["size", "numeric", "1.7%", "59"]
    assert any(line.startswith("constant  open") for line in out)


def test_json_and_html_hold_everything_and_parquet_reads_the_same(file, tmp_path, capsys):
    table = pa_csv.read_csv(file)
    pq.write_table(table, tmp_path / "rows.parquet")
    told = []
    for name in ("rows.csv", "rows.parquet"):
        options = ["--json", str(tmp_path / "p.json"), "--html", str(tmp_path / "p.html")]
        assert main(["profile", str(tmp_path / name), *options]) == 0
        told.append(json.loads((tmp_path / "p.json").read_text()))
    assert told[0] == told[1]
    assert [column["name"] for column in told[0]["columns"]] == ["size", "colour", "day", "open"]
    assert "<h1>rows.parquet</h1>" in (tmp_path / "p.html").read_text()
    capsys.readouterr()


def test_ids_of_which_some_are_missing_are_told_apart(tmp_path, capsys):
    (tmp_path / "ids.csv").write_text("id,x\n9007199254740993,1\n9007199254740992,2\n,3\n")
    assert main(["profile", str(tmp_path / "ids.csv"), "--json", str(tmp_path / "p.json")]) == 0
    assert "constant" not in capsys.readouterr().out
    column = json.loads((tmp_path / "p.json").read_text())["columns"][0]
    assert (column["missing"], column["distinct"]) == (1, 2)
    assert dict(column["frequent"]) == {"9007199254740992": 1, "9007199254740993": 1}


def test_the_exit_code_says_whether_it_is_good_enough(file, tmp_path, capsys):
    assert main(["profile", str(file), "--least", "0.99"]) == 3
    assert main(["profile", str(file), "--reference", str(file), "--least", "0.1"]) == 3
    assert "shared_row" in capsys.readouterr().out
    assert main(["profile", str(tmp_path / "none.csv")]) == 1
    assert main(["profile", str(file), "--label", "no"]) == 1
    odd = tmp_path / "rows.txt"
    odd.write_text("a")
    assert main(["profile", str(odd)]) == 1
    assert "wanted a file that ends in .csv" in capsys.readouterr().err


def told_rows(out, first):
    """Return the cells of the table whose first line begins so, by column."""
    lines = out.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith(first)) + 1
    end = next(i for i, line in enumerate([*lines, ""]) if i >= start and not line)
    return {line.split()[0]: line.split() for line in lines[start:end]}


def test_two_stored_profiles_are_compared(tmp_path, capsys):
    old, new = tmp_path / "old.csv", tmp_path / "new.csv"
    days = [f"2026-01-{1 + i % 28:02}" for i in range(60)]
    old.write_text("size,colour,day,gone\n" + "".join(f"{i % 20},red,{days[i]},{i}\n" for i in range(60)))
    new.write_text("size,colour,day,came\n" + "".join(f"{i % 20 + 10},,{days[i]},{i}\n" for i in range(59)))
    new.write_text(new.read_text() + f"29,violet,{days[59]},59\n")
    for path in (old, new):
        assert main(["profile", str(path), "--json", f"{path}.json"]) == 0
    capsys.readouterr()
    compared = []
    for first in (f"{new}.json", str(new)):
        assert main(["profile", first, "--against", f"{old}.json", "--json", str(tmp_path / "both.json")]) == 0
        compared.append(json.loads((tmp_path / "both.json").read_text())["changes"])
    assert compared[0] == compared[1]
    rows = told_rows(out := capsys.readouterr().out, "COLUMN  MISSING")
    size = json.loads((tmp_path / "old.csv.json").read_text())["columns"][0]
    shift = 10 / (size["deviation"] * (120 / 118) ** 0.5)
    assert rows["size"] == ["size", "+0.0%", "+0", f"{shift:+.3g}", "1", "max", "-", "-"]
    assert rows["colour"] == ["colour", "+98.3%", "+0", "-", "-", "-", "1.000", "-"]
    assert rows["day"][3] == "+0"
    assert "columns that are new: came\ncolumns that are gone: gone" in out
    assert "issues that are new: missing colour" in out
    assert "2026-01-28" in told_rows(out, "COLUMN  KIND")["day"]


def test_what_could_not_be_checked_is_told(file, tmp_path, capsys):
    (tmp_path / "other.csv").write_text("weight\n1\n")
    options = ["--reference", str(tmp_path / "other.csv"), "--label", "size", "--json", str(tmp_path / "p.json")]
    assert main(["profile", str(file), *options]) == 0
    assert main(["profile", str(tmp_path / "p.json")]) == 0
    out = capsys.readouterr().out
    assert out.count("\nnot checked: shared_row: ") == out.count("\nnot checked: class_imbalance: ") == 2
    assert "separation" not in out


def test_large_whole_numbers_are_counted_one_by_one(tmp_path, capsys):
    (tmp_path / "rows.csv").write_text("id,x\n" + "".join(f"{10**18 + i},{i}\n" for i in range(50)))
    assert main(["profile", str(tmp_path / "rows.csv")]) == 0
    out = capsys.readouterr().out
    assert told_rows(out, "COLUMN")["id"][3] == "50"
    assert "nothing is wrong" in out


def test_what_is_no_stored_profile_is_refused(file, tmp_path, capsys):
    (tmp_path / "other.json").write_text('{"rows": 3}')
    assert main(["profile", str(file), "--against", str(tmp_path / "other.json")]) == 1
    assert "other.json: is no profile that serval profile --json wrote" in capsys.readouterr().err
    assert main(["profile", str(file), "--json", str(tmp_path / "p.json")]) == 0
    assert main(["profile", str(tmp_path / "p.json"), "--label", "colour"]) == 1
    assert "--label need rows" in capsys.readouterr().err


WHOLE = {"name": "a", "kind": "numeric", "rows": 1, "missing": 0, "distinct": 1, "quantiles": [], "frequent": []}


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"rows": 0}, "no rows"),
        ({"rows": "x"}, "rows: 'x'"),
        ({"score": None}, "score: None"),
        ({"parts": {"validity": None}}, "NoneType"),
        ({"columns": [WHOLE | {"rows": 0}]}, "no rows"),
        ({"columns": [WHOLE | {"mean": "x"}]}, "mean: 'x'"),
        ({"columns": [WHOLE | {"quantiles": [1.0]}]}, "quantiles"),
        ({"issues": [{"check": "type", "count": 1, "share": "x", "detail": ""}]}, "share: 'x'"),
        ({"unchecked": []}, "items"),
    ],
)
def test_a_damaged_profile_is_refused_and_one_of_a_later_release_is_read(tmp_path, capsys, changed, words):
    stored = {
        "rows": 1,
        "score": 1,
        "parts": {"validity": 1, "later": None},
        "columns": [WHOLE],
        "issues": [],
        "more": 1,
    }
    path = tmp_path / "p.json"
    path.write_text(json.dumps(stored))
    assert main(["profile", str(path), "--against", str(path), "--html", str(tmp_path / "p.html")]) == 0
    path.write_text(json.dumps(stored | changed))
    capsys.readouterr()
    assert main(["profile", str(path)]) == 1
    assert words in (said := capsys.readouterr().err)
    assert said.startswith("serval: p.json: is no profile that serval profile --json wrote")


def test_lines_within_texts_are_read_in_a_file_of_any_length(tmp_path, capsys):
    rows = 40_000  # over a megabyte: more than Arrow reads at once
    (tmp_path / "rows.csv").write_text("a,b\n" + "".join(f'"row {i}\nof many, many rows",{i}\n' for i in range(rows)))
    assert main(["profile", str(tmp_path / "rows.csv")]) == 0
    assert told_rows(capsys.readouterr().out, "COLUMN")["a"][1:4] == ["text", "0.0%", str(rows)]


def test_texts_of_a_file_do_not_steer_the_terminal(tmp_path, capsys):
    path = tmp_path / "rows.csv"
    path.write_text("\x1b[31mred\x07,b\n1,\x1b[2Jx\n")
    assert main(["profile", str(path), "--json", str(tmp_path / "p.json")]) == 0
    assert main(["profile", str(path), "--label", "none"]) == 1
    path.write_text("b\n1\n")
    assert main(["profile", str(path), "--against", str(tmp_path / "p.json")]) == 0
    said = "".join(capsys.readouterr())
    assert "\x1b" not in said
    assert "\x07" not in said
    assert "\\x1b[31mred\\x07" in said


def test_the_least_score_is_a_share(file, capsys):
    for least in ("nan", "2", "-1", "x"):
        with pytest.raises(SystemExit):
            main(["profile", str(file), "--least", least])
        assert "--least" in capsys.readouterr().err


def test_a_file_without_rows_is_named(file, tmp_path, capsys):
    pq.write_table(pa.table({"many": pa.array([], pa.list_(pa.int64()))}), tmp_path / "none.parquet")
    (tmp_path / "none.csv").write_text("size,colour\n")
    for name in ("none.parquet", "none.csv"):
        assert main(["profile", str(tmp_path / name)]) == 1
        assert capsys.readouterr().err == f"serval: {name}: has no rows\n"
    assert main(["profile", str(file), "--reference", str(tmp_path / "none.csv")]) == 0
    assert "not checked: shared_row: the reference has no rows" in capsys.readouterr().out


def test_a_value_is_told_with_its_exponent(tmp_path, capsys):
    (tmp_path / "rows.csv").write_text("x\n-1.2345678901234568e-300\n-1.2345678901234568e-300\n")
    assert main(["profile", str(tmp_path / "rows.csv")]) == 0
    assert told_rows(capsys.readouterr().out, "COLUMN")["x"][-2:] == ["-1.2345678901234568e-300", "(2)"]


def test_names_that_come_twice_are_told(tmp_path, capsys):
    twice = pa.table([pa.array([1]), pa.array([2])], names=["a", "a"])
    pq.write_table(twice, tmp_path / "rows.parquet")
    (tmp_path / "rows.csv").write_text("a,a\n1,2\n")
    for name in ("rows.parquet", "rows.csv"):
        assert main(["profile", str(tmp_path / name)]) == 1
        assert capsys.readouterr().err == f"serval: {name}: got two columns 'a'; wanted each name once\n"


@pytest.mark.parametrize(
    ("values", "kind", "least", "most"),
    [
        ([0, 569000000000], pa.timestamp("s"), "1970-01-01", "20000-11-22T03:33:20"),
        ([2**31 - 1, -(2**31)], pa.date32(), "-5877641-06-23", "5881580-07-11"),
        ([2**63 - 1, -(2**63) + 1], pa.timestamp("ms"), "-292275055-05-16T16:47:04", "292278994-08-17T07:12:56"),
        ([2**63 - 1, -(2**63) + 1], pa.timestamp("ns"), "1677-09-21T00:12:43", "2262-04-11T23:47:17"),
    ],
)
def test_moments_of_any_year_are_told(tmp_path, capsys, values, kind, least, most):
    pq.write_table(pa.table({"t": pa.array(values, kind)}), path := tmp_path / "rows.parquet")
    assert main(["profile", str(path), "--json", str(tmp_path / "p.json"), "--html", str(tmp_path / "p.html")]) == 0
    row = told_rows(first := capsys.readouterr().out, "COLUMN")["t"]
    assert (row[6], row[8]) == (least, most)
    assert main(["profile", str(tmp_path / "p.json")]) == 0
    assert capsys.readouterr().out.splitlines()[1:] == first.splitlines()[1:]


@pytest.mark.parametrize("option", [[], ["--reference"]])
def test_a_name_that_is_no_utf8_is_refused(file, tmp_path, capsys, option):
    (tmp_path / "latin.csv").write_bytes("gr\u00f6\u00dfe,x\n1,2\n".encode("latin-1"))
    paths = [str(tmp_path / "latin.csv")] if not option else [str(file), *option, str(tmp_path / "latin.csv")]
    assert main(["profile", *paths]) == 1
    assert (
        capsys.readouterr().err
        == "serval: latin.csv: column name b'gr\\xf6\\xdfe' is no UTF-8; save the file as UTF-8\n"
    )


def test_a_file_of_columns_that_cannot_be_looked_at_is_told(tmp_path, capsys):
    pq.write_table(pa.table({"many": pa.array([[1.0]] * 5)}), path := tmp_path / "rows.parquet")
    kept = str(tmp_path / "p.json")
    assert main(["profile", str(path), "--json", kept, "--html", str(tmp_path / "p.html")]) == 0
    assert main(["profile", kept, "--against", kept]) == 0
    out = capsys.readouterr().out
    assert out.startswith("rows.parquet: 5 rows, 0 columns, quality 0.000\nvalidity 0.000\n")
    assert told_rows(out, "CHECK")["type"][1:5] == ["many", "5", "100.0%", "0"]


def test_columns_of_any_type_are_taken_or_refused_alone(tmp_path, capsys):
    moments = [None if i == 3 else datetime.datetime(2026, 1, 1, i) for i in range(20)]
    table = pa.table(
        {
            "flag": pa.array([None, True, False, True] * 5),
            "seen": pa.array(moments, pa.timestamp("us", "UTC")),
            "money": pa.array([decimal.Decimal(i) / 4 for i in range(20)], pa.decimal128(10, 2)),
            "clock": pa.array([datetime.time(i % 7) for i in range(20)]),
            "octets": pa.array([f"{i}".encode() for i in range(20)]),
            "torn": pa.array([b"\xff"] * 20),
            "fixed": pa.array([f"{i:02}".encode() for i in range(20)], pa.binary(2)),
            "viewed": pa.array([f"{i}" for i in range(20)], pa.string_view()),
            "many": pa.array([[i] for i in range(20)]),
        }
    )
    pq.write_table(table, tmp_path / "rows.parquet")
    assert main(["profile", str(tmp_path / "rows.parquet")]) == 0
    out = capsys.readouterr().out
    rows = told_rows(out, "COLUMN")
    assert rows["flag"][1:4] == ["flag", "25.0%", "2"]
    assert (rows["seen"][1], rows["seen"][2], rows["seen"][6]) == ("numeric", "5.0%", "2026-01-01")
    assert (rows["money"][1], rows["money"][4]) == ("numeric", "2.375")
    assert rows["clock"][1] == rows["octets"][1] == "text"
    assert {"torn", "many"}.isdisjoint(rows)
    assert {line.split()[1] for line in out.splitlines() if line.startswith("type ")} == {"torn", "many"}
