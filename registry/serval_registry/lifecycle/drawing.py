"""A lineage as text and as SVG."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape
from typing import NamedTuple

from serval_registry.lifecycle.lineage import Edge, Graph, Node
from serval_registry.model import DatasetUse

# Of the SVG, in pixels.
_WIDTH, _HEIGHT, _GAP, _RISE, _MARGIN = 184, 46, 28, 64, 20
_STYLE = (
    "text{font:12px system-ui,sans-serif;fill:#1f2328}.small{font-size:10px;fill:#59636e}"
    "rect{fill:#fff;stroke:#59636e}.root{stroke:#0969da;stroke-width:2}.data{fill:#f6f8fa;stroke-dasharray:4 3}"
    ".gone{fill:#eee}path{fill:none;stroke:#59636e}.ground{fill:#fff;stroke:none}"
)


class _Box(NamedTuple):
    """A box of the drawing, and the keys of those that it comes from, each with a word on the line."""

    key: str
    title: str
    line: str
    kind: str
    origins: Sequence[tuple[str, str]]


def text(graph: Graph) -> str:
    """Return a tree: the version, what it was made from, and what was made from it."""
    root = graph.nodes[graph.root]
    lines = [_told(root)]
    made_from = [*_origins(graph, graph.root, {graph.root}), *map(_leaf, root.lineage.datasets)]
    branches = [("made from", made_from), ("made into", list(_uses(graph, graph.root, {graph.root})))]
    branches = [(title, below) for title, below in branches if below]
    lines += _indented([[title, *_indented(below)] for title, below in branches])
    ids = [
        f"{what} {found}"
        for what, found in (("run", root.lineage.run), ("experiment", root.lineage.experiment))
        if found
    ]
    lines += [", ".join(ids)] if ids else []
    lines += ["(there are more; this is where the walk ended)"] if graph.cut else []
    return "\n".join(lines)


def svg(graph: Graph) -> str:
    """Return a drawing, ancestors above descendants; datasets are dashed."""
    boxes = {box.key: box for box in _boxes(graph)}
    layers = _layers(boxes)
    rows: dict[int, list[str]] = {}
    for key in boxes:
        rows.setdefault(layers[key], []).append(key)
    widest = max(map(len, rows.values()))
    places = {
        key: (
            _MARGIN + (widest - len(keys)) * (_WIDTH + _GAP) // 2 + column * (_WIDTH + _GAP),
            _MARGIN + row * (_HEIGHT + _RISE),
        )
        for row, keys in rows.items()
        for column, key in enumerate(keys)
    }
    width = 2 * _MARGIN + widest * (_WIDTH + _GAP) - _GAP
    height = 2 * _MARGIN + (max(rows) + 1) * (_HEIGHT + _RISE) - _RISE
    parts = [_line(places[origin], places[key], how) for key, box in boxes.items() for origin, how in box.origins]
    parts += [_drawn(box, *places[key]) for key, box in boxes.items()]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        f'role="img"><title>lineage of {escape(graph.root)}</title><style>{_STYLE}</style>'
        f'<rect class="ground" width="{width}" height="{height}"/>{"".join(parts)}</svg>\n'
    )


def dataset(used: DatasetUse) -> str:
    """Return a dataset in words."""
    said = [used.version and f"version {used.version}", used.split and f"split {used.split}"]
    said.append(f"{used.rows:,} rows" if used.rows else "")
    return ", ".join([used.name, *filter(None, said)])


def _origins(graph: Graph, ref: str, above: set[str]) -> list[list[str]]:
    edges = [edge for edge in graph.edges if edge.child == ref]
    return [_branch(graph, edge, edge.parent, above, _origins) for edge in edges]


def _uses(graph: Graph, ref: str, above: set[str]) -> list[list[str]]:
    edges = [edge for edge in graph.edges if edge.parent == ref]
    return [_branch(graph, edge, edge.child, above, _uses) for edge in edges]


def _branch(
    graph: Graph,
    edge: Edge,
    other: str,
    above: set[str],
    deeper: "Callable[[Graph, str, set[str]], list[list[str]]]",
) -> list[str]:
    node = graph.nodes.get(other)
    head = f"{_told(node) if node else other} ({edge.relationship})"
    return [head] if other in above else [head, *_indented(deeper(graph, other, above | {other}))]


def _leaf(used: DatasetUse) -> list[str]:
    return [f"dataset {dataset(used)}"]


def _indented(branches: Iterable[Sequence[str]]) -> list[str]:
    lines: list[str] = []
    listed = list(branches)
    for index, branch in enumerate(listed):
        last = index == len(listed) - 1
        lines.append(f"{'└─' if last else '├─'} {branch[0]}")
        lines += [f"{'   ' if last else '│  '}{line}" for line in branch[1:]]
    return lines


def _told(node: Node) -> str:
    stage = "deleted" if node.deleted else node.stage
    return " ".join(filter(None, [node.ref, node.label, f"[{stage}]" if stage != "none" else ""]))


def _boxes(graph: Graph) -> list[_Box]:
    boxes: dict[str, _Box] = {}
    for node in graph.nodes.values():
        origins = [(edge.parent, edge.relationship) for edge in graph.edges if edge.child == node.ref]
        for used in node.lineage.datasets:
            key = f"dataset {used.name} {used.version} {used.split}"
            boxes.setdefault(key, _Box(key, used.name, _small(used), "data", ()))
            origins.append((key, ""))
        kind = "root" if node.ref == graph.root else "gone" if node.deleted else ""
        title = " ".join(filter(None, [node.ref, node.label]))
        line = ", ".join(filter(None, ["deleted" if node.deleted else node.stage, node.algorithm]))
        known = [(origin, how) for origin, how in origins if origin in graph.nodes or origin in boxes]
        boxes[node.ref] = _Box(node.ref, title, line, kind, known)
    return list(boxes.values())


def _small(used: DatasetUse) -> str:
    return dataset(used)[len(used.name) + 2 :]


def _layers(boxes: Mapping[str, _Box]) -> dict[str, int]:
    """Return how far down each box stands: below everything that it comes from."""
    layers: dict[str, int] = {}

    def place(key: str) -> int:
        if key not in layers:
            layers[key] = 0  # where somebody has written a cycle into the tables, it ends here
            layers[key] = max((place(origin) + 1 for origin, _ in boxes[key].origins), default=0)
        return layers[key]

    for key in boxes:
        place(key)
    # A dataset stands right above what it goes into, not at the top of the drawing.
    for key, box in boxes.items():
        if box.kind == "data":
            below = [layers[other.key] for other in boxes.values() if key in dict(other.origins)]
            layers[key] = max(min(below) - 1, 0)
    return layers


def _line(start: tuple[int, int], end: tuple[int, int], how: str) -> str:
    x1, y1, x2, y2 = start[0] + _WIDTH // 2, start[1] + _HEIGHT, end[0] + _WIDTH // 2, end[1]
    middle = (y1 + y2) // 2
    path = f'<path d="M{x1} {y1}C{x1} {middle} {x2} {middle} {x2} {y2}"/>'
    return path + (_text((x1 + x2) // 2, middle, how, "small") if how else "")


def _drawn(box: _Box, x: int, y: int) -> str:
    frame = f'<rect class="{box.kind}" x="{x}" y="{y}" width="{_WIDTH}" height="{_HEIGHT}" rx="6"/>'
    return (
        f"<g>{frame}{_text(x + _WIDTH // 2, y + 19, box.title)}{_text(x + _WIDTH // 2, y + 35, box.line, 'small')}"
        f"<title>{escape(' '.join([box.title, box.line]))}</title></g>"
    )


def _text(x: int, y: int, words: str, kind: str = "") -> str:
    shown = words if len(words) <= 30 else words[:27] + "..."
    return f'<text class="{kind}" x="{x}" y="{y}" text-anchor="middle">{escape(shown)}</text>'
