"""A space that is deleted: gone for every process, in one step, and its name free for another."""

import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
from serval_bucket import BUCKET, bucket
from serval_registry.errors import InvalidArgument, NotFound
from serval_registry.lifecycle.entries import Action, Actor
from serval_registry.model import Draft, Ref, Signature, Version
from serval_registry.predicates import Conditions
from serval_registry.ranking.asking import Like
from serval_registry.registry import Registry
from serval_registry.verifying import verify

ALICE = Actor.claimed("alice")

Add = Callable[..., Version]


def spaces(registry: Registry) -> dict[str, tuple[int, int]]:
    return {space.name: (space.dimension, space.count) for space in registry.spaces.list() if space.dimension != 128}


def found(registry: Registry, vector: list[float]) -> list[str]:
    result = registry.asking.search([Like(vector, "own")], Conditions.of((), None, ""), 10)
    return [hit.version.name for hit in result.hits]


def tables(registry: Registry) -> set[str]:
    return {path.stem for path in Path(registry.storage.tables).iterdir() if path.stem.startswith("space-")}


@pytest.mark.slow
def test_its_vectors_are_gone_for_every_process_and_its_name_is_free(
    registry: Registry, add: Add, tmp_path: Path
) -> None:
    add("wine", embeddings={"own": [1.0, 0.0], "other": [1.0, 2.0, 3.0]})
    with Registry.open(tmp_path / "data") as second:
        assert found(second, [1.0, 0.0]) == ["wine"]
        was = registry.embeddings.delete("own", ALICE)
        assert (was.name, was.dimension, was.count) == ("own", 2, 1)
        for each in (registry, second):
            assert spaces(each) == {"other": (3, 1)}
            with pytest.raises(NotFound, match="space: 'own'; there are description, other"):
                found(each, [1.0, 0.0])
        # Of another dimension, by the other process; the first one keeps nothing of the old one.
        add("beer")
        second.embeddings.put("beer", 1, "own", [0.0, 3.0, 4.0])
        for each in (registry, second):
            assert spaces(each) == {"other": (3, 1), "own": (3, 1)}
            assert found(each, [0.0, 0.0, 1.0]) == ["beer"]
    assert registry.verify_journal().faults == ()
    assert verify(registry).faults == []
    (entry,) = [entry for entry in registry.journal.select() if entry.action is Action.DELETE_SPACE]
    assert (entry.actor.name, entry.details) == (
        "alice",
        {"space": "own", "table": "space-own", "dimension": 2, "count": 1},
    )


@pytest.mark.slow
def test_its_table_goes_with_the_next_deletion_or_sweep(registry: Registry, add: Add) -> None:
    add("wine")
    for number in range(3):
        registry.embeddings.put("wine", 1, "own", [1.0] * (number + 2))
        registry.embeddings.delete("own")
        assert tables(registry) == {f"space-own.{number}" if number else "space-own"}
    registry.sweep()
    assert tables(registry) == set()
    assert not list(Path(registry.storage.tables).parent.glob("*.dropped"))
    assert spaces(registry) == {}


@pytest.mark.slow
def test_what_a_power_cut_has_taken_of_a_deletion_leaves_the_space(tmp_path: Path, signature: Signature) -> None:
    with Registry.open(tmp_path) as registry:
        registry.register(Draft(name="m", embeddings={"own": [3.0, 4.0]}), signature, b"m", baseline=None, sample=None)
        registry.embeddings.delete("own")
    min((tmp_path / "tables/journal.lance/_versions").glob("*.manifest")).unlink()
    with Registry.open(tmp_path) as registry:
        assert spaces(registry) == {"own": (2, 1)}
        assert registry.spaces.own("own", registry.resolve(Ref("m"))).tolist() == pytest.approx([0.6, 0.8])
        assert verify(registry).faults == []


def test_what_is_no_space_of_callers_is_refused(registry: Registry, add: Add) -> None:
    add("wine")
    before = registry.journal.horizon()
    with pytest.raises(InvalidArgument, match="space: 'description'; wanted"):
        registry.embeddings.delete("description")
    with pytest.raises(NotFound, match="space: 'nowhere'; there are description"):
        registry.embeddings.delete("nowhere")
    assert registry.journal.horizon() == before


@pytest.mark.slow
def test_a_bucket_lets_go_of_it_too(signature: Signature, monkeypatch: pytest.MonkeyPatch) -> None:
    with bucket() as environment:
        for name in environment:
            if name.startswith("AWS_"):
                monkeypatch.setenv(name, environment[name])
        with Registry.open(f"s3://{BUCKET}/{uuid.uuid4().hex}") as registry:
            draft = Draft(name="m", embeddings={"own": [3.0, 4.0]})
            registry.register(draft, signature, b"m", baseline=None, sample=None)
            registry.embeddings.delete("own")
            registry.sweep()
            assert registry.storage.names("tables/space-own.lance") == frozenset()
            assert spaces(registry) == {}
            registry.embeddings.put("m", 1, "own", [1.0, 2.0, 2.0])
            assert spaces(registry) == {"own": (3, 1)}
