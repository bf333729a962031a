"""What a caller is told of a failing storage, and what is in the log."""

import logging
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from serval_registry.errors import DataLoss, Unavailable
from serval_registry.faults import Faults, Outage
from serval_registry.model import Version
from serval_registry.registry import Registry

Add = Callable[..., Version]


def test_a_failing_table_is_logged_whole(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with Registry.open(tmp_path / "data") as registry:
        with pytest.raises(Unavailable, match="the server's log has the rest") as raised:
            registry.database.versions.select(None, ["no_such_column"])
        (record,) = (record for record in caplog.records if "storage of the registry failed" in record.message)
        assert record.exc_info is not None
        assert "no_such_column" in str(record.exc_info[1])
        assert "no_such_column" not in str(raised.value)


def _newest(folder: Path) -> Path:
    return max(folder.rglob("*.*"), key=lambda path: path.stat().st_mtime_ns)


@pytest.mark.parametrize(
    ("folder", "damage"),
    [
        ("data", lambda path: path.write_bytes(b"")),
        ("data", lambda path: path.write_bytes(path.read_bytes()[:-100])),
        ("data", lambda path: path.unlink()),
        ("_versions", lambda path: path.write_bytes(b"")),
        ("_versions", lambda path: path.write_bytes(path.read_bytes()[:-400])),
        ("_versions", lambda path: path.write_bytes(b"\xff" * (path.stat().st_size - 16) + path.read_bytes()[-16:])),
    ],
)
def test_damage_is_data_loss_that_names_the_file_and_the_next_step(
    folder: str, damage: Callable[[Path], object], add: Add, tmp_path: Path
) -> None:
    add()
    table = tmp_path / "data" / "tables" / "versions.lance"
    path = min(table.glob("_versions/*.manifest")) if folder == "_versions" else _newest(table / folder)
    damage(path)
    with pytest.raises(
        DataLoss, match=r"table versions is damaged .*serval registry repair.*serval registry verify"
    ) as found:
        Registry.open(tmp_path / "data").close()
    assert path.name in str(found.value) or "cannot be decoded" in str(found.value)
    assert folder == "_versions" or path.name in str(found.value)
    assert "cargo" not in str(found.value)


def test_what_may_pass_is_unavailable() -> None:
    faults = Faults()
    for error in (
        RuntimeError("lance error: LanceError(IO): Generic S3 error: Error performing GET: 503 Slow Down"),
        OSError(24, "Too many open files"),
        ValueError("Invalid input, Schema error: No field named a."),
    ):
        with pytest.raises(Unavailable), faults.of("/tables/versions.lance"):
            raise error
    with pytest.raises(ZeroDivisionError), faults.of("/tables/versions.lance"):
        raise ZeroDivisionError


def test_an_outage_is_told_when_it_begins_and_when_it_ends(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    faults = Faults()
    for _ in range(2):
        for _ in range(50):
            with pytest.raises(Unavailable), faults.of("s3://b/tables/versions.lance"):
                raise RuntimeError("Generic S3 error: connection refused")
        for _ in range(3):
            with faults.of("s3://b/tables/journal.lance"):
                pass
    assert [(record.levelname, record.exc_info is not None) for record in caplog.records] == [
        ("ERROR", True),
        ("WARNING", False),
    ] * 2
    assert caplog.records[1].message == "the storage of the registry answers again; it had failed 50 times"


def test_an_error_of_another_type_is_told_too(caplog: pytest.LogCaptureFixture) -> None:
    outage = Outage("following the registry")
    for error in (OSError("a"), OSError("b"), ValueError("c"), ValueError("d")):
        outage.failed(error)
    assert [record.message.split(";")[0] for record in caplog.records] == ["following the registry failed"] * 2


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is forbidden to root")
def test_a_folder_that_may_not_be_read_is_unavailable(registry: Registry, add: Add, tmp_path: Path) -> None:
    add()
    data = tmp_path / "data" / "tables" / "versions.lance" / "data"
    data.chmod(0)
    try:
        with pytest.raises(Unavailable):
            registry.database.versions.select(None, ["name"])
    finally:
        data.chmod(0o755)
