"""The number of the newest commit, from the time of a folder: never an old one."""

import os
import time
from pathlib import Path

import pytest
from serval_registry.commits import Commits


class Asked:
    """A table whose commits are files, and how often it was asked."""

    def __init__(self, folder: Path) -> None:
        self.times = 0
        self.versions = folder / "_versions"
        self.versions.mkdir(parents=True)
        self.commits = Commits(str(folder), self)

    def __call__(self) -> int:
        self.times += 1
        return len(os.listdir(self.versions))

    def commit(self) -> None:
        (self.versions / f"{len(os.listdir(self.versions))}.manifest").touch()


def test_every_commit_is_seen_however_quick(tmp_path: Path) -> None:
    table = Asked(tmp_path / "t.lance")
    for number in range(1, 200):
        table.commit()
        assert (table.commits.newest(), table.commits.newest()) == (number, number)


def test_a_folder_at_rest_is_asked_once(tmp_path: Path) -> None:
    table = Asked(tmp_path / "t.lance")
    table.commit()
    time.sleep(0.05)
    assert [table.commits.newest() for _ in range(10)] == [1] * 10
    assert table.times == 1
    table.commit()
    assert table.commits.newest() == 2


def test_two_commits_of_one_tick_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = Asked(tmp_path / "t.lance")
    table.commit()
    now = time.time_ns()
    monkeypatch.setattr(time, "time_ns", lambda: now)  # however long it takes, the tick lasts
    os.utime(table.versions, ns=(now, now))
    assert table.commits.newest() == 1
    table.commit()
    os.utime(table.versions, ns=(now, now))  # a clock too coarse to tell
    assert table.commits.newest() == 2


def test_without_a_folder_the_table_is_asked_each_time(tmp_path: Path) -> None:
    table = Asked(tmp_path / "t.lance")
    for uri in ("s3://bucket/t.lance", str(tmp_path / "missing")):
        table.times = 0
        commits = Commits(uri, table)
        assert [commits.newest() for _ in range(3)] == [0, 0, 0]
        assert table.times == 3
