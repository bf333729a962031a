"""What is to be looked at comes in parts, whatever shares a revision, and goes on where it was left."""

from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from serval_registry import baseline as baselines
from serval_registry.behaviour import again, backlog, observing
from serval_registry.behaviour.backlog import Backlog, Place
from serval_registry.behaviour.observations import Observations, Status
from serval_registry.behaviour.observing import Run
from serval_registry.errors import DataLoss
from serval_registry.lance import col, lit
from serval_registry.model import Array, Draft, Feature, FeatureKind, Signature, Table, Version
from serval_registry.registry import Registry
from serval_registry.spaces.living import stamp

FEATURES = (Feature("a", FeatureKind.NUMERIC, "X", 0),)
BASELINE = baselines.compute({"a": np.random.default_rng(0).normal(size=100)}, FEATURES)
BLOB = (baselines.to_bytes(BASELINE), BASELINE.rows)


class Runs:
    """Runs any version, and keeps which: by name, in order."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.then: Callable[[], None] = lambda: None
        self.lost = False

    def load(self, version: Version) -> Run:
        if self.lost:
            raise DataLoss("artifact: lost")
        self.names.append(version.name)
        self.then()
        return self.run

    def run(self, rows: Table) -> Sequence[Array]:
        return [rows["a"].astype(np.float32)[:, None]]


@pytest.fixture
def runs(registry: Registry) -> Runs:
    made = Runs()
    registry.observer.attach(made.load)
    return made


def register(registry: Registry, signature: Signature, *names: str) -> list[Version]:
    return [
        registry.register(Draft(name=name, features=FEATURES), signature, b"model", baseline=BLOB, sample=None)
        for name in names
    ]


def statuses(registry: Registry, versions: Sequence[Version]) -> list[Status]:
    found = Observations(registry.database, registry.storage).known([stamp(version) for version in versions])
    return [found[stamp(version)] for version in versions]


@pytest.mark.slow
def test_versions_that_share_a_revision_are_run_in_parts_and_gone_on_with_after_a_restart(
    registry: Registry, signature: Signature, runs: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(observing, "BATCH", 3)
    monkeypatch.setattr(backlog, "AHEAD", 4)
    versions = register(registry, signature, *"hbfdcaeg")
    registry.delete("c", 1)
    shared = registry.journal.highest_revision()
    registry.database.versions.update(col("revision") > lit(0), {"revision": shared})
    assert [registry.observer.look() for _ in range(3)] == [3, 1, 3]  # what is known ahead is at an end after four
    assert runs.names == ["a", "b", "d", "e", "f", "g"]
    found = Backlog(registry.database.versions, registry.storage)
    assert found.looked() == Place(shared, "g", 1)
    with Registry.open(tmp_path / "data") as later:
        later.observer.attach(runs.load)
        assert [version.name for version in later.observer.pending(10)] == ["h"]
        assert [later.observer.look(), later.observer.look()] == [1, 0]
    assert runs.names[6:] == ["h"]
    assert statuses(registry, [each for each in versions if each.name != "c"]) == [Status.OBSERVED] * 7
    register(registry, signature, "last")
    assert [registry.observer.look(), registry.observer.look()] == [1, 0]  # another process has been at the place


def test_a_place_of_an_earlier_release_is_the_whole_revision(registry: Registry, signature: Signature) -> None:
    found = Backlog(registry.database.versions, registry.storage)
    assert found.looked() == Place(0)
    register(registry, signature, "a", "b")
    steps = found.take(10)
    registry.storage.write("behaviour.json", b'{"revision": %d}' % steps[0].place.revision)
    assert found.take(10) == steps[1:]
    registry.storage.write("behaviour.json", b"[1]")
    assert found.take(10) == steps


def test_a_part_ends_with_the_version_it_is_at_when_it_is_told_to_stop(
    registry: Registry, signature: Signature, runs: Runs
) -> None:
    register(registry, signature, *"abc")
    runs.then = registry.observer.stop
    assert (registry.observer.look(), runs.names) == (1, ["a"])


def test_a_part_ends_after_a_while(
    registry: Registry, signature: Signature, runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(observing, "SECONDS", 0.1)
    clock = SimpleNamespace(monotonic=lambda: 0.07 * len(runs.names))  # each takes so long, whatever the machine does
    monkeypatch.setattr(observing, "time", clock)
    register(registry, signature, *"abc")
    assert [registry.observer.look(), registry.observer.look()] == [2, 1]
    assert runs.names == ["a", "b", "c"]


@pytest.mark.slow
@pytest.mark.parametrize("damaged", ["probes", "artifact", "baseline"])
def test_what_could_not_be_read_is_run_once_it_is_healed(
    registry: Registry, signature: Signature, runs: Runs, damaged: str, tmp_path: Path
) -> None:
    rows = registry.database
    if damaged != "baseline":
        register(registry, signature, "first")
        registry.observer.look()
    late = register(registry, signature, "late", "later")
    if damaged == "probes":
        (row,) = rows.inputs.select(None, ["probes_sha256"])
        path: Path = registry.storage.artifacts.path(row["probes_sha256"])  # type: ignore[attr-defined]
        path.rename(tmp_path / "aside")
    elif damaged == "baseline":
        rows.baselines.update(col("sha256") != lit(""), {"content": b"x"})
    with Registry.open(tmp_path / "data") as again_open:
        again_open.observer.attach(runs.load)
        runs.lost = damaged == "artifact"
        assert look(again_open) == 2
        assert statuses(registry, late) == [Status.DAMAGED] * 2
        assert not again_open.observer.due
        assert try_again(again_open) == 2  # still damaged: looked at once more, and no more
        assert statuses(registry, late) == [Status.DAMAGED] * 2
        if damaged == "probes":
            (tmp_path / "aside").rename(path)
        elif damaged == "baseline":
            rows.baselines.update(col("sha256") != lit(""), {"content": BLOB[0]})
        runs.lost = False
        assert try_again(again_open) == 2
        assert statuses(registry, late) == [Status.OBSERVED] * 2
        assert rows.behaviours.count() == (3 if damaged != "baseline" else 2)  # one row a version
        assert try_again(again_open) == 0


def look(registry: Registry) -> int:
    return sum(iter(registry.observer.look, 0))


def try_again(registry: Registry) -> int:
    waiting = registry.observer._again
    waiting._retry_at -= again.RETRY_SECONDS
    assert registry.observer.due
    return look(registry)
