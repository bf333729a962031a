"""What is remembered of names is as true as a question to the table, whoever writes."""

from collections.abc import Callable, Iterator

import pytest
from serval_registry.errors import NotFound
from serval_registry.lifecycle.entries import ANONYMOUS
from serval_registry.lookups import HISTORY_MAX
from serval_registry.model import Lineage, Parent, Ref, Stage, Version
from serval_registry.registry import Registry

Add = Callable[..., Version]


@pytest.fixture
def other(registry: Registry, add: Add) -> Iterator[Registry]:
    """Another process's registry, as far as LanceDB and what is remembered go; both know the names."""
    add(label="1.0.0", tags={"team": "cellar"})
    add(label="1.1.0")
    with Registry.open(registry.storage.tables.removesuffix("/tables")) as opened:
        for one in (registry, opened):
            for tail in ("wine", "wine@1", "wine@1.0.0"):
                one.resolve(Ref.parse(tail))
            one.search("wine")
            one.newest("wine", 10)
        yield opened


def both(registry: Registry, other: Registry, ask: Callable[[Registry], object]) -> object:
    """Return what both answer; they have to agree."""
    first, second = ask(registry), ask(other)
    assert first == second
    return first


def number(text: str) -> Callable[[Registry], object]:
    return lambda one: one.resolve(Ref.parse(text)).version


def test_aliases_move_at_once(registry: Registry, other: Registry) -> None:
    for wanted in (1, 2, 1):
        registry.edits.set_alias("wine", "champion", wanted, ANONYMOUS)
        assert both(registry, other, number("wine@champion")) == wanted
        held = both(registry, other, lambda one: {h.version.version: h.version.aliases for h in one.search("x").hits})
        assert held == {wanted: ("champion",), 3 - wanted: ()}
    registry.edits.set_alias("wine", "champion", None, ANONYMOUS)
    for one in (registry, other):
        with pytest.raises(NotFound, match="no alias 'champion'"):
            one.resolve(Ref.parse("wine@champion"))


def test_labels_lead_to_versions_until_they_are_deleted(registry: Registry, other: Registry) -> None:
    assert both(registry, other, number("wine@1.1.0")) == 2
    registry.delete("wine", 2)
    for one in (registry, other):
        with pytest.raises(NotFound, match=r"no version labelled 1\.1\.0"):
            one.resolve(Ref.parse("wine@1.1.0"))
    assert both(registry, other, number("wine")) == 1


def test_edited_tags_are_found_by_filters_and_old_ones_are_not(registry: Registry, other: Registry) -> None:
    registry.edits.set_tags(Ref("wine", version=1), {"team": "o'hara", "tier": "a"}, (), ANONYMOUS)
    for where, wanted in (('tags.team = "o\'hara"', [1]), ("tags.team = cellar", []), ("tags.tier exists", [1])):
        assert both(registry, other, lambda one, w=where: [v.version for v in one.list(where=w)[0]]) == wanted
        hits = both(registry, other, lambda one, w=where: [h.version.version for h in one.search("x", where=w).hits])
        assert hits == wanted
    assert both(registry, other, lambda one: [v.version for v in one.list(tags={"tier": "a"})[0]]) == [1]
    assert both(registry, other, lambda one: one.resolve(Ref("wine", version=1)).tags) == {
        "team": "o'hara",
        "tier": "a",
    }
    registry.edits.set_tags(Ref("wine", version=1), {}, ["team", "tier"], ANONYMOUS)
    assert both(registry, other, lambda one: one.list(where="tags.tier exists")[0]) == []
    assert both(registry, other, lambda one: one.list(tags={"team": "o'hara"})[0]) == []


def test_stages_and_lineage_are_seen_at_once(registry: Registry, other: Registry) -> None:
    registry.set_stage("wine", 1, Stage.PRODUCTION)
    assert both(registry, other, number("wine")) == 1
    assert both(registry, other, lambda one: [s.stage for s in one.newest("wine", 10)]) == ["none", "production"]
    said = Lineage(parents=(Parent("wine@1", "fine-tuned-from"),), run="r")
    registry.edits.set_lineage(Ref("wine", version=2), said, ANONYMOUS)
    assert both(registry, other, lambda one: one.resolve(Ref("wine", version=2)).lineage) == said
    assert both(registry, other, lambda one: one.list(name="wine")[0][1].lineage) == said


def test_a_name_that_was_unknown_is_not_remembered_so(registry: Registry, other: Registry, add: Add) -> None:
    for one in (registry, other):
        with pytest.raises(NotFound):
            one.resolve(Ref("beer"))
        assert one.newest("beer", 10) == []
    add("beer")
    assert both(registry, other, number("beer")) == 1
    assert both(registry, other, lambda one: [s.version for s in one.newest("beer", HISTORY_MAX)]) == [1]


def test_what_is_known_is_the_same_object_until_it_changes(registry: Registry, other: Registry) -> None:
    known = other.resolve(Ref("wine"))
    assert other.resolve(Ref("wine")) is known
    registry.set_stage("wine", 2, Stage.STAGING)
    assert other.resolve(Ref("wine")).stage is Stage.STAGING


def test_what_is_not_there_is_asked_for_once_and_found_when_it_comes(
    registry: Registry, other: Registry, add: Add, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Ref] = []
    find = other._finder.find
    monkeypatch.setattr(other._finder, "find", lambda ref: asked.append(ref) or find(ref))
    for ref, said in (
        (Ref("wine", version=3), "no version 3; its versions are 1 to 2"),
        (Ref("beer"), "no model is named"),
    ):
        asked.clear()
        for _ in range(3):
            with pytest.raises(NotFound, match=said):
                other.resolve(ref)
        assert asked == [ref]
    add()
    assert other.resolve(Ref("wine", version=3)).version == 3
    registry.delete("wine", 3)
    with pytest.raises(NotFound, match="it was deleted"):
        other.resolve(Ref("wine", version=3))
