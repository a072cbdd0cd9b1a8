"""The layer table as a tree of rows: sums at each module, and rows of blocks that are alike said once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from dldoctor.facts.model.records.forward import Layer

#: alike neighbours from which on they are said once
_FOLDED = 3
#: a type with its arguments that is longer than this is said without them
_LONGEST = 24

Row = tuple[str, str, str, str, str, str]
HEADER: Row = ("layer", "type", "out", "params", "MAdds", "MiB")


@dataclass
class _Node:
    name: str
    layer: Layer | None = None
    children: dict[str, _Node] = field(default_factory=dict)

    def all(self) -> Iterator[Layer]:
        """Its own layer and those below, in the order of their calls."""
        if self.layer is not None:
            yield self.layer
        for child in self.children.values():
            yield from child.all()

    def form(self) -> tuple[object, ...]:
        """Equal for modules that are alike in types, shapes and names below."""
        own = (self.layer.what, self.layer.shape_in, self.layer.shape_out) if self.layer else ()
        return (own, tuple((name, child.form()) for name, child in self.children.items()))


def rows(layers: Sequence[Layer], depth: int | None = None, *, whole: bool = False) -> tuple[Row, ...]:
    """One row per module, indented by its depth.

    Args:
        depth: modules below this depth (1 for the network's own attributes) are in the sums of those above alone.
        whole: also say every one of many blocks that are alike.
    """
    root = _Node("")
    for layer in layers:
        node = root
        for name in layer.path.split(".") if layer.path else ["(itself)"]:
            node = node.children.setdefault(name, _Node(name))
        node.layer = layer
    return tuple(_rows(root, 0, depth, whole))


def _rows(parent: _Node, deep: int, depth: int | None, whole: bool) -> Iterator[Row]:
    if depth is not None and deep >= depth:
        return
    for run in _runs(list(parent.children.values()), whole):
        first = run[0]
        yield _row(first, first.name, _type(first), deep)
        yield from _rows(first, deep + 1, depth, whole)
        if len(run) > 1:
            both = f"{run[1].name} - {run[-1].name}" if len(run) > 2 else run[1].name
            rest = _Node(both, children={node.name: node for node in run[1:]})
            yield _row(rest, both, f"{len(run) - 1} more alike", deep)


def _runs(nodes: list[_Node], whole: bool) -> Iterator[list[_Node]]:
    """Neighbours that are alike and numbered; each alone where they are few."""
    run: list[_Node] = []
    for node in [*nodes, None]:
        if run and (node is None or whole or not node.name.isdigit() or node.form() != run[0].form()):
            yield from [run] if len(run) >= _FOLDED else [[one] for one in run]
            run = []
        if node is not None:
            run.append(node)


def _type(node: _Node) -> str:
    if node.layer is None:
        return ""
    return node.layer.what if len(node.layer.what) <= _LONGEST else node.layer.kind


def _row(node: _Node, name: str, kind: str, deep: int) -> Row:
    own = list(node.all())
    last = node.layer or own[-1]
    return (
        "  " * deep + name,
        kind,
        sides(last.shape_out),
        count(sum(layer.parameters for layer in own)),
        count(sum(layer.madds for layer in own)),
        f"{sum(layer.activation_bytes for layer in own) / 2**20:,.1f}",
    )


def count(number: int) -> str:
    """A count with three digits and its unit: `2.36 M`."""
    for size, unit in ((10**12, " T"), (10**9, " G"), (10**6, " M"), (10**4, " k")):
        if number >= size:
            return f"{number / (size if size > 10**4 else 10**3):.3g}{unit}"
    return str(number)


def size(number: int) -> str:
    """Bytes in the unit that leaves a digit before the point: `1.8 MiB`, `0.3 KiB`."""
    return f"{number / 2**20:,.1f} MiB" if number >= 2**20 else f"{number / 2**10:,.1f} KiB"


def sides(shape: tuple[int, ...]) -> str:
    """A shape as `3 x 224 x 224`."""
    return " x ".join(map(str, shape)) or "scalar"
