"""What is written in bulk is what registrations would have left."""

from pathlib import Path

import pytest
from serval_benchmarks import registry_rows
from serval_registry.model import Draft, Ref, Stage
from serval_registry.registry import Registry


@pytest.mark.slow
def test_a_registry_filled_in_bulk_is_sound_and_goes_on(tmp_path: Path) -> None:
    vectors, _ = registry_rows.clustered(45, 1)  # the last of three names has five of its twenty versions
    registry_rows.fill(tmp_path / "data", vectors, lambda _said: None)
    with Registry.open(tmp_path / "data") as registry:
        proof = registry.verify_journal()
        assert (proof.entries, proof.faults) == (1 + 45 + 3, ())
        assert registry.observer.pending(10) == []
        newest = registry.journal.highest_revision()
        assert newest == registry_rows.revision_of(44)
        assert registry.resolve(Ref("model-0000001", stage=Stage.PRODUCTION)).version == 20
        artifact = registry_rows.artifact()
        version = registry.register(
            Draft(name="model-0000002"), registry_rows.SIGNATURE, artifact, baseline=None, sample=None
        )
        assert version.version == 6
        assert registry.journal.highest_revision() > newest
        assert [each.ref for each in registry.observer.pending(10)] == [version.ref]
        assert registry.verify_journal().faults == ()
