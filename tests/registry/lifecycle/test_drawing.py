"""Lineages as text and as SVG: deep ones, wide ones, and ones that somebody has tied into a circle."""

import json
import re
from collections.abc import Callable, Iterable

import pytest
from serval_registry.errors import FailedPrecondition
from serval_registry.filters import exactly
from serval_registry.lifecycle import drawing, lineage
from serval_registry.lifecycle.entries import ANONYMOUS
from serval_registry.lifecycle.lineage import NODES_MAX, Edge, Graph, Node
from serval_registry.model import DatasetUse, Lineage, Parent, Ref, Version
from serval_registry.registry import Registry

Add = Callable[..., Version]


def graph(root: str, pairs: Iterable[tuple[str, str]], datasets: tuple[DatasetUse, ...] = ()) -> Graph:
    """A graph of (parent, child)."""
    edges = tuple(Edge(parent, child, "from") for parent, child in pairs)
    refs = dict.fromkeys([root, *(ref for edge in edges for ref in (edge.parent, edge.child))])
    nodes = {ref: Node(ref, "none", "", "", False, Lineage(datasets=datasets if ref == root else ())) for ref in refs}
    return Graph(root, nodes, edges)


def diamonds(generations: int) -> Graph:
    """Two versions a generation, each made from both of the one before."""
    pairs = [(f"m@{2 * g + p}", f"m@{2 * g + c}") for g in range(1, generations) for c in (2, 3) for p in (0, 1)]
    return graph(f"m@{2 * generations}", pairs)


def test_a_version_with_two_ways_to_it_is_expanded_once() -> None:
    drawn = graph("d@1", [("b@1", "d@1"), ("c@1", "d@1"), ("a@1", "b@1"), ("a@1", "c@1"), ("z@1", "a@1")])
    assert drawing.text(drawn).splitlines() == [
        "d@1",
        "└─ made from",
        "   ├─ b@1 (from)",
        "   │  └─ a@1 (from)",
        "   │     └─ z@1 (from)",
        "   └─ c@1 (from)",
        "      └─ a@1 (from) (see above)",
    ]


def test_both_ways_and_datasets_are_drawn() -> None:
    drawn = graph("m@2", [("m@1", "m@2"), ("m@2", "n@1")], (DatasetUse("wine", "3", "train", 178),))
    assert drawing.text(drawn).splitlines() == [
        "m@2",
        "├─ made from",
        "│  ├─ m@1 (from)",
        "│  └─ dataset wine, version 3, split train, 178 rows",
        "└─ made into",
        "   └─ n@1 (from)",
    ]


def test_a_graph_of_many_ways_is_as_long_as_its_edges() -> None:
    many = diamonds(60)
    assert len(drawing.text(many).splitlines()) <= len(many.edges) + 2
    assert drawing.svg(many).count("<rect class=") == len(many.nodes) + 1


def test_a_line_of_as_many_versions_as_a_walk_takes_is_drawn() -> None:
    line = graph(f"m@{NODES_MAX}", [(f"m@{number}", f"m@{number + 1}") for number in range(NODES_MAX - 1, 0, -1)])
    assert len(drawing.text(line).splitlines()) == NODES_MAX + 1
    heights = re.findall(r'<rect class="[a-z]*" x="\d+" y="(\d+)"', drawing.svg(line))
    assert len(set(heights)) == NODES_MAX


def test_a_circle_in_the_tables_is_drawn_and_ends() -> None:
    circle = graph("a@1", [("a@1", "b@1"), ("b@1", "c@1"), ("c@1", "a@1")])
    text = drawing.text(circle)
    assert text.count("a@1 (from) (see above)") == 2
    assert drawing.svg(circle).count("<path") == 3


@pytest.mark.slow
def test_no_version_becomes_its_own_ancestor(registry: Registry, add: Add) -> None:
    for number in range(1, 6):
        parents = tuple(Parent(f"m@{parent}", "from") for parent in range(max(1, number - 2), number))
        add("m", lineage=Lineage(parents=parents))
    with pytest.raises(FailedPrecondition, match="m@1 would become its own ancestor"):
        registry.edits.set_lineage(Ref("m", version=1), Lineage(parents=(Parent("m@5", "from"),)), ANONYMOUS)
    add("other")
    said = Lineage(parents=(Parent("m@5", "from"),))
    registry.edits.set_lineage(Ref("other", version=1), said, ANONYMOUS)
    assert registry.resolve(Ref("other")).lineage == said


def test_a_check_for_circles_asks_once_a_generation_and_ends_in_one(
    registry: Registry, add: Add, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(4):
        add("m")
    table = registry.database.versions
    for number, parents in ((1, (3,)), (2, (1,)), (3, (1, 2))):
        told = {"parents": [[f"m@{parent}", "from"] for parent in parents]}
        table.update(exactly("m", number), {"lineage": json.dumps(told)})
    asked: list[object] = []
    select = table.select
    monkeypatch.setattr(table, "select", lambda *a, **k: (asked.append(a), select(*a, **k))[1])
    lineage.refuse_cycle(table, Ref("m", version=4), [Parent("m@1", "from"), Parent("m@2", "from")])
    assert len(asked) == 2
