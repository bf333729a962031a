"""A worker follows what others change in a registry, through an outage of its storage."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from serval_registry.registry import Registry
from serval_server.engine import router
from serval_server.engine.availability import Availability
from serval_server.engine.catalogue import Catalogue
from serval_server.engine.router import Router

PATIENCE = 10.0


def test_an_outage_is_logged_once_and_once_that_it_is_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(router, "POLL_SECONDS", 0.01)
    polls, follow = [], Router._follow
    monkeypatch.setattr(Router, "_follow", lambda self: polls.append(self) or follow(self))

    def told() -> list[tuple[str, bool]]:
        found = [record for record in caplog.records if record.message.startswith("following the registry")]
        return [(record.levelname, record.exc_info is not None) for record in found]

    def wait(until: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not until() and time.monotonic() < deadline:
            time.sleep(0.01)

    table, aside = tmp_path / "tables" / "versions.lance", tmp_path / "aside"
    with Registry.open(tmp_path) as registry:
        following = Router(registry, Catalogue(registry.artifact, 1 << 20), Availability(registry.storage))
        following.start()
        try:
            os.rename(table, aside)
            wait(lambda: len(told()) == 1)
            begun = len(polls)
            wait(lambda: len(polls) >= begun + 3)  # each of which fails
            os.rename(aside, table)
            wait(lambda: len(told()) == 2)
        finally:
            following.stop()
    assert told() == [("ERROR", True), ("WARNING", False)]
    (count,) = (
        int(record.message.split()[-2])
        for record in caplog.records
        if "follow" in record.message and "again" in record.message
    )
    assert count > 1
