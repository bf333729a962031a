"""The lanes that groups are given, noted."""

import pytest
from serval_server.batching import lane
from serval_server.batching.chunks import Group


@pytest.fixture
def lanes(monkeypatch: pytest.MonkeyPatch) -> list[lane.Lane]:
    """The lane of each group that one was given, in order."""
    given: list[lane.Lane] = []
    take = lane.Lane.take

    def noted(self: lane.Lane, group: Group) -> None:
        given.append(self)
        take(self, group)

    monkeypatch.setattr(lane.Lane, "take", noted)
    return given
