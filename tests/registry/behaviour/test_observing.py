"""What is damaged of one version keeps no other from being run and found."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from serval_registry import baseline as baselines
from serval_registry.behaviour import probes
from serval_registry.behaviour.observations import Observations, Status
from serval_registry.behaviour.observing import Run
from serval_registry.errors import FailedPrecondition, InvalidArgument
from serval_registry.lance import col, lit
from serval_registry.model import Array, Draft, Feature, FeatureKind, Ref, Signature, Table, Version
from serval_registry.predicates import Conditions
from serval_registry.ranking.asking import BehavesLike
from serval_registry.registry import Registry
from serval_registry.search import SearchResult
from serval_registry.spaces.living import stamp

FEATURES = tuple(Feature(name, FeatureKind.NUMERIC, "X", place) for place, name in enumerate("abcd"))
COLUMNS = {name: np.random.default_rng(place).normal(size=100) for place, name in enumerate("abcd")}


def load(version: Version) -> Run:
    """Linear models, each a little unlike the others by its name; `ragged` fails on many rows, and differs by row."""

    def run(rows: Table) -> Sequence[Array]:
        total = np.sum([*rows.values()], axis=0) + 0.01 * len(version.name)
        if version.name == "ragged":
            if len(total) > 1:
                raise InvalidArgument("the model failed")
            return [np.zeros((1, 1 + int(total[0] > 0)), np.float32)]
        return [total.astype(np.float32)[:, None]]

    return run


@pytest.fixture
def observed(registry: Registry) -> Registry:
    registry.observer.attach(load)
    return registry


@pytest.fixture
def put(observed: Registry, signature: Signature) -> Callable[..., Version]:
    """Register a model with a sample or a baseline of its features."""

    def register(name: str, *, sample: bool = False, baseline: bool = False) -> Version:
        draft = Draft(name=name, features=FEATURES)
        made = baselines.compute(COLUMNS, FEATURES)
        blob = (baselines.to_bytes(made), made.rows) if baseline else None
        content = probes.to_bytes(COLUMNS) if sample else None
        return observed.register(draft, signature, name.encode(), baseline=blob, sample=content)

    return register


def look(registry: Registry) -> None:
    for _ in range(20):
        if not registry.observer.look():
            return
    pytest.fail("there is always more to look at")


def known(registry: Registry, *versions: Version) -> list[Status]:
    found = Observations(registry.database, registry.storage).known([stamp(version) for version in versions])
    return [found[stamp(version)] for version in versions]


def like(registry: Registry, name: str) -> SearchResult:
    return registry.asking.search([BehavesLike(Ref(name))], Conditions(), 10)


def names(result: SearchResult) -> set[str]:
    return {hit.version.name for hit in result.hits}


def damage(registry: Registry, sha256: str) -> None:
    path: Path = registry.storage.artifacts.path(sha256)  # type: ignore[attr-defined]
    path.chmod(0o644)
    path.write_bytes(b"x")


def damage_sample(registry: Registry, version: Version) -> None:
    row = registry.database.versions.select(None, ["name", "sample_sha256"])
    damage(registry, next(each["sample_sha256"] for each in row if each["name"] == version.name))


Put = Callable[..., Version]


@pytest.mark.slow
def test_a_damaged_sample_or_baseline_gives_no_probes_and_the_next_version_does(observed: Registry, put: Put) -> None:
    first, second = put("first", sample=True), put("second", baseline=True)
    third, fourth = put("third"), put("fourth", sample=True)
    damage_sample(observed, first)
    observed.database.baselines.update(col("sha256") != lit(""), {"content": b"x"})
    damage_sample(observed, fourth)  # its content is that of the first: one file
    look(observed)
    unread = [Status.DAMAGED, Status.DAMAGED, Status.NO_PROBES, Status.DAMAGED]
    assert known(observed, first, second, third, fourth) == unread
    assert observed.observer.pending(10) == []
    whole = {name: column + 1 for name, column in COLUMNS.items()}
    made = baselines.compute(whole, FEATURES)
    observed.set_baseline("third", 1, baselines.to_bytes(made), made.rows)
    look(observed)
    assert known(observed, first, second, third, fourth) == [Status.OBSERVED] * 4
    assert names(like(observed, "first")) == {"second", "third", "fourth"}


@pytest.mark.slow
def test_damaged_probes_keep_those_from_being_run_that_want_them_and_no_search(
    observed: Registry, put: Put, tmp_path: Path
) -> None:
    put("base", sample=True), put("other")
    look(observed)
    (row,) = observed.database.inputs.select(None, ["probes_sha256"])
    damage(observed, row["probes_sha256"])
    late = put("late")
    with Registry.open(tmp_path / "data") as again:  # the probes are read anew
        again.observer.attach(load)
        result = like(again, "base")
        assert (names(result), result.coverage[0].failed, result.coverage[0].pending) == ({"other"}, 1, 0)
        look(again)
        assert known(again, late) == [Status.DAMAGED]
        with pytest.raises(FailedPrecondition, match="late@1 could not be run on its probes: probes of 'a' and 3 more"):
            like(again, "late")


def test_outputs_that_do_not_fit_each_other_are_a_failure_of_their_version(observed: Registry, put: Put) -> None:
    base, ragged, other = put("base", sample=True), put("ragged"), put("other")
    look(observed)
    assert known(observed, base, ragged, other) == [Status.OBSERVED, Status.FAILED, Status.OBSERVED]
    with pytest.raises(FailedPrecondition, match="ragged@1 fails on its probes: the outputs for single rows do"):
        like(observed, "ragged")
