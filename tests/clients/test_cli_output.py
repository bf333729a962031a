import io
import json
import math
import time
from datetime import UTC, datetime

import numpy as np
from serval_client.cli import output
from serval_client.cli.progress import Progress
from serval_client.records import Stage, TensorSpec


def test_tables_align_numbers_right_and_texts_left():
    text = output.table(("NAME", "N", "X"), [("a", 1, 0.5), ("long name", 100, None)])
    assert text.splitlines() == [
        "NAME         N    X",
        "a            1  0.5",
        "long name  100    -",
    ]
    assert output.table(("A", "B"), []) == "A  B"


def test_cells_are_one_line_and_not_too_long():
    assert output.cell("two\nlines") == "two lines"
    assert len(output.cell("x" * 100)) == output.CELL_MAX
    assert output.cell(datetime(2024, 1, 5, 10, 30, tzinfo=UTC)) == "2024-01-05 10:30"


def test_what_callers_sent_moves_no_cursor():
    assert output.cell("\x1b]0;mine\x07red\x9b2J") == r"\x1b]0;mine\x07red\x9b2J"
    assert output.visible("größe \u202eabc\x00\nnext") == "größe \\u202eabc\\x00\\nnext"


def test_json_of_every_kind_of_value(capsys):
    record = TensorSpec("x", "FP32", (-1, 2))
    value = {"r": record, "a": np.array([[1.5, math.nan]]), "i": np.int64(3), "s": Stage.NONE, "t": ("x", None, True)}
    output.print_json({**value, "d": datetime(2024, 1, 5, tzinfo=UTC), "b": b"abc", "inf": -math.inf})
    assert json.loads(capsys.readouterr().out) == {
        "r": {"name": "x", "datatype": "FP32", "shape": [-1, 2]},
        "a": [[1.5, None]],
        "i": 3,
        "s": "none",
        "t": ["x", None, True],
        "d": "2024-01-05T00:00:00+00:00",
        "b": 3,
        "inf": None,
    }


def test_sizes():
    assert [output.size(n) for n in (0, 1023, 1024, 5 << 20, 3 << 30)] == [
        "0 B",
        "1023 B",
        "1.0 KiB",
        "5.0 MiB",
        "3.0 GiB",
    ]


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_progress_shows_after_a_while_and_clears_its_line():
    terminal = Terminal()
    with Progress("sending", output.size, stream=terminal, patience=0.01) as progress:
        progress(1 << 20, 2 << 20)
        deadline = time.monotonic() + 10
        while "50%" not in terminal.getvalue() and time.monotonic() < deadline:
            time.sleep(0.01)
    shown = terminal.getvalue()
    assert "sending [###############...............]  50% 1.0 MiB of 2.0 MiB" in shown
    assert shown.endswith("\r\x1b[K")


def test_progress_is_silent_for_what_is_quick_and_where_nobody_watches():
    terminal, file = Terminal(), io.StringIO()
    with Progress("quick", stream=terminal):
        pass
    with Progress("slow", stream=file, patience=0):
        time.sleep(0.05)
    assert terminal.getvalue() == file.getvalue() == ""


def test_progress_without_a_total_counts_seconds():
    assert Progress("comparing").line(3.4) == "comparing 3 s"
