"""What nothing refers to goes, after its time; what anything refers to stays."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from serval_registry.errors import InvalidArgument
from serval_registry.housekeeping import Retention
from serval_registry.model import Draft, Ref, Signature, Version
from serval_registry.registry import Registry
from serval_registry.sweeping import sweep
from serval_registry.verifying import verify

Add = Callable[..., Version]
LATER = timedelta(days=1)


@pytest.mark.slow
def test_only_what_nothing_refers_to_goes(registry: Registry, signature: Signature) -> None:
    def add(artifact: bytes, baseline: bytes, sample: bytes) -> Version:
        return registry.register(Draft(name="m"), signature, artifact, baseline=(baseline, 1), sample=sample)

    shared, mine = add(b"shared", b"both", b"sample 1"), add(b"mine", b"own", b"sample 2")
    also = add(b"shared", b"both", b"sample 1")
    registry.set_baseline("m", 2, b"new", 1)  # the one before is nobody's
    registry.storage.artifacts.put(b"never registered")
    registry.delete("m", 1)
    later = datetime.now(UTC) + LATER
    swept = sweep(registry.storage, registry.database, later)
    assert (swept.files, swept.bytes, swept.baselines) == (1, 16, 1)
    assert registry.artifact(also) == registry.artifact(shared) == b"shared"
    registry.delete("m", 3)
    registry.delete("m", 2)
    assert sweep(registry.storage, registry.database, datetime.now(UTC) - timedelta(minutes=1)) == (0, 0, 0)
    swept = sweep(registry.storage, registry.database, later)
    assert (swept.files, swept.baselines) == (4, 2)
    assert not registry.storage.artifacts.has(mine.artifact_sha256)
    assert list(registry.storage.artifacts.stored()) == []
    assert registry.database.baselines.count() == 0


def test_what_was_swept_away_under_a_registration_is_put_again(
    registry: Registry, signature: Signature, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = registry.storage.artifacts.put

    def put_and_sweep(content: bytes) -> str:
        sha256 = put(content)
        monkeypatch.setattr(registry.storage.artifacts, "put", put)
        assert sweep(registry.storage, registry.database, datetime.now(UTC) + LATER).files == 1
        return sha256

    monkeypatch.setattr(registry.storage.artifacts, "put", put_and_sweep)
    version = registry.register(Draft(name="m"), signature, b"unlucky", baseline=None, sample=None)
    assert registry.artifact(version) == b"unlucky"
    assert verify(registry).faults == []


def test_the_status_counts_what_was_done(registry: Registry, add: Add) -> None:
    for _ in range(3):
        add("m")
    before = registry.status()
    assert (before.versions, before.pieces, before.unindexed_rows) == (
        3,
        3 + 4,
        0,
    )  # the journal has a first entry, too
    registry.optimize()
    registry.sweep()
    after = registry.status()
    assert (after.pieces, after.merges, after.sweeps, after.failures) == (2, before.merges + 2, before.sweeps + 1, 0)
    assert after.commits >= before.commits
    assert after.lag_seconds < 60


def test_a_retention_that_registrations_could_not_bear_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="wanted at least 0:01:00"):
        Retention(content=timedelta(seconds=59))


def test_a_sweep_takes_what_killed_writers_left_in_the_tables(registry: Registry, add: Add, tmp_path) -> None:  # type: ignore[no-untyped-def]
    add("m")
    orphan = tmp_path / "data/tables/versions.lance/data/0123456789abcdef0123456789abcdef0123456789abcdef01.lance"
    orphan.write_bytes(b"x" * 1000)
    registry.sweep()
    assert not orphan.exists()
    assert registry.resolve(Ref("m")).version == 1
