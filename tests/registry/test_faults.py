"""What a caller is not told of a failing storage is in the log."""

from pathlib import Path

import pytest
from serval_registry.errors import Unavailable
from serval_registry.registry import Registry


def test_a_failing_table_is_logged_whole(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with Registry.open(tmp_path / "data") as registry:
        with pytest.raises(Unavailable, match="the server's log has the rest") as raised:
            registry.database.versions.select(None, ["no_such_column"])
        (record,) = (record for record in caplog.records if "storage" in record.message)
        assert record.exc_info is not None
        assert "no_such_column" in str(record.exc_info[1])
        assert "no_such_column" not in str(raised.value)
