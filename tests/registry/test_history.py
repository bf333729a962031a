"""The history of drift."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from serval_registry.errors import InvalidArgument
from serval_registry.history import ClosedWindow

START = datetime(2026, 1, 1, tzinfo=UTC)


def window(number, name="wine", version=1):
    return ClosedWindow(
        name=name,
        version=version,
        start=START + timedelta(hours=number - 1),
        end=START + timedelta(hours=number),
        rows=100 + number,
        verdict="drift",
        drifted=("a", "ä"),
        effect=0.5,
        report=f"{name}@{version} {number}".encode(),
        window=b"w",
    )


def pages(history, name, version=None, **more):
    token, found = "", []
    while True:
        page, token = history.page(name, version, page_token=token, **more)
        found.append([report.decode() for report in page])
        if not token:
            return found


def test_windows_come_back_newest_first_page_by_page(registry):
    history = registry.history
    assert history.newest() is None
    assert pages(history, "wine") == [[]]
    history.add([])
    history.add([window(1), window(1, version=2), window(1, "rice")])
    history.add([window(2), window(2, version=2), window(3)])
    assert history.newest() == START + timedelta(hours=3)
    wanted = ["wine@1 3", "wine@2 2", "wine@1 2", "wine@2 1", "wine@1 1"]
    for size in (1, 2, 3, 5, 0):
        found = pages(history, "wine", page_size=size)
        assert [report for page in found for report in page] == wanted
        assert max(map(len, found)) == (size or 5)
    assert pages(history, "wine", 2) == [["wine@2 2", "wine@2 1"]]
    since, until = START + timedelta(hours=2), START + timedelta(hours=3)
    assert pages(history, "wine", since=since, until=until) == [["wine@2 2", "wine@1 2"]]
    history.forget(since)
    assert pages(history, "wine") == [wanted[:3]]
    registry.optimize()
    assert pages(history, "wine") == [wanted[:3]]


def test_long_reports_come_in_pages_that_any_client_takes(registry):
    history = registry.history
    history.add([replace(window(number), report=b"%d" % number + b"x" * (1 << 20)) for number in range(5)])
    history.add([replace(window(9), report=b"9" + b"x" * (5 << 20))])
    found = pages(history, "wine")
    assert [[report[0] for report in page] for page in found] == [["9"], ["4", "3"], ["2", "1"], ["0"]]


def test_what_is_kept_is_known_by_version_end_verdict_and_columns(registry):
    history = registry.history
    assert not history.holds(window(1))
    history.add([window(1)])
    assert history.holds(replace(window(1), rows=0, report=b""))
    for other in ({"name": "rice"}, {"version": 2}, {"end": START}, {"verdict": "alarm"}, {"drifted": ("a",)}):
        assert not history.holds(replace(window(1), **other))


def test_pages_that_cannot_be(registry):
    for wrong in ({"page_size": -1}, {"page_size": 1001}, {"page_token": "x"}, {"page_token": "2026-01-01/x"}):
        with pytest.raises(InvalidArgument, match="page_"):
            registry.history.page("wine", None, **wrong)


@pytest.mark.parametrize(
    "token",
    [
        "9999-12-31T23:59:59.999999+00:00/0",
        "0001-01-01T00:00:00+12:00/0",
        "2026-01-01T00:00:00/1",
        "2026-01-01T00:00:00+00:00/" + "9" * 23,
    ],
)
def test_a_token_of_no_moment_that_has_a_next_or_of_too_many_windows(registry, token):
    with pytest.raises(InvalidArgument, match="page_token"):
        registry.history.page("wine", None, page_token=token)
