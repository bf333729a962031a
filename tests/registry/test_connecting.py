"""What LanceDB keeps in memory has an end, however many commits there are."""

from pathlib import Path
from typing import Any

import pytest
from serval_registry import connecting, lance
from serval_registry.durability import Durability
from serval_registry.lifecycle.entries import ANONYMOUS
from serval_registry.model import Draft, Signature, Stage
from serval_registry.registry import Registry

MIB = 1 << 20


@pytest.mark.slow
def test_commits_do_not_pile_up_in_memory(
    tmp_path: Path, signature: Signature, monkeypatch: pytest.MonkeyPatch
) -> None:
    sessions: list[Any] = []
    original = lance.connect

    def connect(*arguments: Any, **options: Any) -> Any:
        sessions.append(options["session"])
        return original(*arguments, **options)

    monkeypatch.setattr(lance, "connect", connect)
    monkeypatch.setattr(connecting, "METADATA_BYTES", MIB)
    monkeypatch.setattr(connecting, "INDEX_BYTES", MIB)
    with Registry.open(tmp_path / "data", durability=Durability.PROCESS) as registry:
        for _ in range(2):
            registry.register(Draft(name="m"), signature, b"model", baseline=None, sample=None)
        for turn in range(40):  # which is 13 MB where there is room for it
            registry.governance.move("m", 1 + turn % 2, Stage.PRODUCTION, ANONYMOUS, "")
        assert 0 < sum(session.size_bytes for session in sessions) <= len(sessions) * 2 * MIB
        assert len(sessions) == 1
