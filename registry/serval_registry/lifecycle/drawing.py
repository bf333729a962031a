"""A lineage as text and as SVG."""

from collections.abc import Iterable, Mapping, Sequence
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


class _Twig(NamedTuple):
    """A line of the tree to come: the version beyond which it goes on, or "", and whether it is the last of its kin."""

    ref: str
    head: str
    indent: str
    last: bool


def text(graph: Graph) -> str:
    """Return a tree: the version, what it was made from, and what was made from it."""
    root = graph.nodes[graph.root]
    lines = [_told(root)]
    datasets = [f"dataset {dataset(used)}" for used in root.lineage.datasets]
    made_from = _tree(graph, _origins(graph.edges), datasets)
    branches = [("made from", made_from), ("made into", _tree(graph, _uses(graph.edges)))]
    lines += _indented([[title, *below] for title, below in branches if below])
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


def _tree(graph: Graph, beyond: Mapping[str, Sequence[tuple[str, str]]], leaves: Iterable[str] = ()) -> list[str]:
    """Return what lies beyond the root one way, what lies beyond each version said once.

    Said at every path to a version, twenty generations with two parents each would be a million lines. It does not
    call itself, as a line of versions may be longer than Python lets calls be deep.
    """
    lines: list[str] = []
    drawn = {graph.root}
    waiting = _twigs("", [*_heads(graph, beyond.get(graph.root, ())), *(("", leaf) for leaf in leaves)])
    while waiting:
        twig = waiting.pop()
        further = beyond.get(twig.ref, ())
        again = " (see above)" if further and twig.ref in drawn else ""
        lines.append(f"{twig.indent}{'└─' if twig.last else '├─'} {twig.head}{again}")
        if not again:
            drawn.add(twig.ref)
            waiting += _twigs(twig.indent + ("   " if twig.last else "│  "), _heads(graph, further))
    return lines


def _twigs(indent: str, heads: Sequence[tuple[str, str]]) -> list[_Twig]:
    """Return siblings as a stack, the first of them on top."""
    return [_Twig(ref, head, indent, place == 0) for place, (ref, head) in enumerate(reversed(heads))]


def _heads(graph: Graph, others: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    return [(ref, f"{_told(graph.nodes[ref]) if ref in graph.nodes else ref} ({how})") for ref, how in others]


def _origins(edges: Iterable[Edge]) -> dict[str, list[tuple[str, str]]]:
    """Return of each version what it was made from, and how."""
    found: dict[str, list[tuple[str, str]]] = {}
    for edge in edges:
        found.setdefault(edge.child, []).append((edge.parent, edge.relationship))
    return found


def _uses(edges: Iterable[Edge]) -> dict[str, list[tuple[str, str]]]:
    """Return of each version what was made from it, and how."""
    return _origins(Edge(edge.child, edge.parent, edge.relationship) for edge in edges)


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
    made_from = _origins(graph.edges)
    for node in graph.nodes.values():
        origins = [*made_from.get(node.ref, ())]
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
    lowest: dict[str, int] = {}
    for key in _origins_first(boxes):
        # An origin that has no place yet is one in a cycle that somebody has written into the tables.
        layers[key] = max((layers.get(origin, 0) + 1 for origin, _ in boxes[key].origins), default=0)
        lowest |= {origin: min(layers[key], lowest.get(origin, layers[key])) for origin, _ in boxes[key].origins}
    # A dataset stands right above what it goes into, not at the top of the drawing.
    return {key: max(lowest[key] - 1, 0) if box.kind == "data" else layers[key] for key, box in boxes.items()}


def _origins_first(boxes: Mapping[str, _Box]) -> list[str]:
    """Return the keys of boxes, origins before what comes of them; a cycle is cut somewhere."""
    done: dict[str, None] = {}
    begun: set[str] = set()
    waiting = [*boxes][::-1]
    while waiting:
        key = waiting[-1]
        if key in begun:
            done.setdefault(waiting.pop())
        else:
            begun.add(key)
            waiting += [origin for origin, _ in boxes[key].origins if origin not in begun]
    return [*done]


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
