import json

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
