"""`serval registry`, as people type it."""

import json
import logging
from collections.abc import Callable
from pathlib import Path

import pytest
from serval_client.cli import main
from serval_registry import cli
from serval_registry.model import Version
from serval_registry.registry import Registry

Add = Callable[..., Version]


@pytest.fixture
def data(add: Add, tmp_path: Path) -> Path:
    add("m", artifact=b"one")
    add("m", artifact=b"two")
    return tmp_path / "data"


@pytest.mark.slow
def test_a_day_in_the_life(data: Path, tmp_path: Path, registry: Registry, capsys: pytest.CaptureFixture[str]) -> None:
    def run(*words: object) -> tuple[int, str]:
        code = main(["registry", *map(str, words)])
        return code, capsys.readouterr().out

    assert run("verify", "--data", data) == (0, "2 versions, 2 whole contents of 6 bytes, 0 unreferenced, 0 faults\n")
    assert run("backup", "--data", data, "--to", tmp_path / "copy") == (0, "2 versions, 2 contents of 6 bytes\n")
    lost = registry.versions("m")[0].artifact_sha256
    registry.storage.artifacts.remove(lost)
    code, out = run("verify", "--data", data)
    assert (code, out.splitlines()[0]) == (1, f"m@2: artifact of m@2: the file of SHA-256 {lost} is missing")
    code, out = run("repair", "--data", data, "--from", tmp_path / "copy", "--json")
    assert (code, json.loads(out)) == (0, {"mended": [f"SHA-256 {lost}: put back"], "left": []})
    assert run("restore", "--from", tmp_path / "copy", "--data", tmp_path / "again")[0] == 0
    code, out = run("status", "--data", tmp_path / "again", "--json")
    assert (code, json.loads(out)["versions"]) == (0, 2)


def test_what_is_no_registry_is_not_made_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for action in ("verify", "repair", "status"):
        assert main(["registry", action, "--data", str(tmp_path / "typo")]) == 1
        assert "holds no registry" in capsys.readouterr().err
    assert not (tmp_path / "typo").exists()


@pytest.mark.slow
def test_places_that_were_not_meant_are_left_as_they_are(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    taken, file = tmp_path / "home", tmp_path / "home" / "letter.txt"
    taken.mkdir()
    file.touch()
    for words, told in (
        (["restore", "--from", tmp_path / "typo", "--data", tmp_path / "again"], "is no backup"),
        (["restore", "--from", taken, "--data", tmp_path / "again"], "is no backup"),
        (["backup", "--data", data, "--to", taken], "holds other files; wanted an empty place"),
        (["backup", "--data", data, "--to", file], "is no folder"),
        (["repair", "--data", data, "--from", tmp_path / "typo"], "from: there is no"),
    ):
        assert main(["registry", *map(str, words)]) == 1
        assert told in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "home"]
    assert list(taken.iterdir()) == [file]


def test_what_a_storage_fails_with_is_told_in_a_line() -> None:
    try:
        raise RuntimeError("Generic S3 error: 403\n\nDebug source:\n" + "x" * 5000)
    except RuntimeError as error:
        record = logging.makeLogRecord({"msg": "the store failed", "exc_info": (type(error), error, None)})
    formatter = cli._Brief("%(message)s")
    assert formatter.format(record) == "the store failed\n  RuntimeError: Generic S3 error: 403"


def test_the_bar_shows_after_two_seconds_and_only_to_a_person(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = [0.0]
    monkeypatch.setattr(cli.time, "monotonic", lambda: now[0])
    for is_person, shown in ((False, ""), (True, "\r\x1b[Kverifying [###############...............] 5 of 10\r\x1b[K")):
        monkeypatch.setattr("sys.stderr.isatty", lambda is_person=is_person: is_person)
        with cli.Bar("verifying") as bar:
            now[0] += 1.9
            bar(4, 10)
            now[0] += 0.2
            bar(5, 10)
            bar(6, 10)
        assert capsys.readouterr().err == shown
