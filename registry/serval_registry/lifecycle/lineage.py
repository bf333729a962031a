"""Where versions come from, and what came of them: records, their columns, and the walk both ways."""

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import reduce
from typing import Any, NamedTuple

from serval_registry.errors import FailedPrecondition, InvalidArgument
from serval_registry.filters import Where, child_of, either, exactly, line
from serval_registry.model import DatasetUse, Lineage, Parent, Ref
from serval_registry.tables import Row, Table

PARENTS_MAX = 100
TEXT_MAX = 256

# A walk ends here and says so: a drawing of more could not be read.
NODES_MAX = 500

# Asked for in one query: a condition nests as deep as it names names.
_NAMES_TOGETHER = 32

_COLUMNS = ("name", "version", "stage", "label", "deleted", "algorithm", "lineage")


class Edge(NamedTuple):
    """`child` was made from `parent`; both "name@3"."""

    parent: str
    child: str
    relationship: str


class Node(NamedTuple):
    """A version in a graph; deleted ones stay, as what came of them does."""

    ref: str
    stage: str
    label: str
    algorithm: str
    deleted: bool
    lineage: Lineage


@dataclass(frozen=True, slots=True)
class Graph:
    """Ancestors and descendants of a version: nodes by reference, `root` among them; `cut` where there are more."""

    root: str
    nodes: Mapping[str, Node]
    edges: tuple[Edge, ...] = ()
    cut: bool = field(default=False)


def check(lineage: Lineage) -> None:
    """Raise InvalidArgument naming the first field that cannot be stored."""
    for name, entries in (("parents", lineage.parents), ("datasets", lineage.datasets)):
        if len(entries) > PARENTS_MAX:
            raise InvalidArgument(f"lineage.{name}: {len(entries)}; wanted at most {PARENTS_MAX}")
    for parent in lineage.parents:
        Ref.parse(parent.model, "lineage.parents")
        _check_text(parent.relationship, "lineage.parents.relationship", wanted=True)
    for dataset in lineage.datasets:
        _check_text(dataset.name, "lineage.datasets.name", wanted=True)
        _check_text(dataset.version, "lineage.datasets.version")
        _check_text(dataset.split, "lineage.datasets.split")
        if dataset.rows < 0:
            raise InvalidArgument(f"lineage.datasets.rows: {dataset.rows}; wanted 0 or more")
    _check_text(lineage.run, "lineage.run")
    _check_text(lineage.experiment, "lineage.experiment")


def columns(lineage: Lineage) -> Row:
    """Return the columns that a lineage fills; its parents are "name@3" already."""
    stored = json.dumps(to_json(lineage), ensure_ascii=False, separators=(",", ":"))
    return {"parents": line(parent.model for parent in lineage.parents), "lineage": stored}


_NONE = Lineage()


def to_json(lineage: Lineage) -> dict[str, Any]:
    """Return a lineage as what JSON is made of, without what was not said."""
    said = {
        "parents": [list(parent) for parent in lineage.parents],
        "datasets": [list(dataset) for dataset in lineage.datasets],
        "run": lineage.run,
        "experiment": lineage.experiment,
    }
    return {name: value for name, value in said.items() if value}


def read(stored: str) -> Lineage:
    """Return the lineage that `columns` wrote."""
    if stored in ("", "{}"):
        return _NONE
    said = json.loads(stored)
    return Lineage(
        parents=tuple(Parent(*parent) for parent in said.get("parents", ())),
        datasets=tuple(DatasetUse(*dataset) for dataset in said.get("datasets", ())),
        run=said.get("run", ""),
        experiment=said.get("experiment", ""),
    )


def pinned(lineage: Lineage, resolve: Callable[[Ref], Ref]) -> Lineage:
    """Return the lineage with every parent as the version that its reference leads to now."""
    parents = tuple(Parent(str(resolve(Ref.parse(model))), how) for model, how in lineage.parents)
    if len({parent.model for parent in parents}) != len(parents):
        raise InvalidArgument("lineage.parents: one version is named twice; wanted each parent once")
    return Lineage(parents=parents, datasets=lineage.datasets, run=lineage.run, experiment=lineage.experiment)


def walk(table: Table, root: Ref, *, up: int, down: int) -> Graph:
    """Return the graph around a version: `up` generations of ancestors and `down` of descendants."""
    nodes = {str(root): _nodes(table, [root])[str(root)]}
    edges: dict[Edge, None] = {}
    cut = _climb(table, nodes, edges, str(root), up)
    cut |= _descend(table, nodes, edges, str(root), down)
    return Graph(str(root), nodes, tuple(edges), cut)


def refuse_cycle(table: Table, child: Ref, parents: Collection[Parent]) -> None:
    """Raise FailedPrecondition where a version would become its own ancestor."""
    seen: set[str] = set()
    level = {parent.model for parent in parents}
    # By generations, as a query for each ancestor would hold the writers' lock for as many queries.
    while level:
        if str(child) in level:
            raise FailedPrecondition(f"lineage.parents: {child} would become its own ancestor")
        seen |= level
        nodes = _nodes(table, [Ref.parse(ref) for ref in sorted(level)])
        level = {parent.model for node in nodes.values() for parent in node.lineage.parents} - seen


def _climb(table: Table, nodes: dict[str, Node], edges: dict[Edge, None], start: str, generations: int) -> bool:
    level = [start]
    for _ in range(generations):
        found = [Edge(p.model, child, p.relationship) for child in level for p in nodes[child].lineage.parents]
        edges.update(dict.fromkeys(found))
        wanted = [Ref.parse(ref) for ref in dict.fromkeys(edge.parent for edge in found) if ref not in nodes]
        if len(nodes) + len(wanted) > NODES_MAX:
            return True
        fresh = _nodes(table, wanted)
        nodes.update(fresh)
        level = list(fresh)
        if not level:
            return False
    return any(parent.model not in nodes for ref in level for parent in nodes[ref].lineage.parents)


def _descend(table: Table, nodes: dict[str, Node], edges: dict[Edge, None], start: str, generations: int) -> bool:
    level = [start]
    for _ in range(generations):
        fresh: dict[str, Node] = {}
        for parent in level:
            name, _, version = parent.partition("@")
            rows = table.select(child_of(name, int(version)), _COLUMNS, order=_ORDER, limit=NODES_MAX + 1)
            for node in map(_node, rows):
                how = next(entry.relationship for entry in node.lineage.parents if entry.model == parent)
                edges[Edge(parent, node.ref, how)] = None
                if node.ref not in nodes:
                    fresh[node.ref] = node
            if len(nodes) + len(fresh) > NODES_MAX:
                return True
        nodes.update(fresh)
        level = list(fresh)
    return False


_ORDER: Mapping[str, bool] = {"name": True, "version": True}


def _nodes(table: Table, refs: Collection[Ref]) -> dict[str, Node]:
    """Return the versions that are there, in the order of `refs`."""
    numbers: dict[str, list[int]] = {}
    for ref in refs:
        numbers.setdefault(ref.name, []).append(ref.version or 0)
    wanted: list[Where] = [exactly(name, *versions) for name, versions in numbers.items()]
    found: dict[str, Node] = {}
    for start in range(0, len(wanted), _NAMES_TOGETHER):
        rows = table.select(reduce(either, wanted[start : start + _NAMES_TOGETHER]), _COLUMNS)
        found |= {node.ref: node for node in map(_node, rows)}
    return {str(ref): found[str(ref)] for ref in refs if str(ref) in found}


def _node(row: Row) -> Node:
    ref = str(Ref(row["name"], version=row["version"]))
    return Node(ref, row["stage"], row["label"], row["algorithm"], row["deleted"], read(row["lineage"]))


def _check_text(text: str, field_name: str, *, wanted: bool = False) -> None:
    if (wanted and not text) or len(text) > TEXT_MAX or (text and not text.isprintable()):
        raise InvalidArgument(
            f"{field_name}: {text[:80]!r}; wanted {'1' if wanted else '0'} to {TEXT_MAX} printable characters"
        )
