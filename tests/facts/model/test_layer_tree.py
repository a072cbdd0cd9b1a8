"""The layer table as a tree: sums above, alike blocks once, nothing lost."""

from __future__ import annotations

from dldoctor.facts.model.layer_tree import rows
from dldoctor.facts.model.records.forward import Layer


def layer(path: str, what: str = "Linear(8, 8)", parameters: int = 72) -> Layer:
    return Layer(path, what.partition("(")[0], what, None, (8,), (8,), "float32", parameters, parameters, 64, 1 << 20)


def names(*layers: Layer, depth: int | None = None, whole: bool = False) -> list[tuple[str, str, str]]:
    return [(row[0], row[1], row[3]) for row in rows(layers, depth, whole=whole)]


def test_a_module_shows_the_sum_of_what_is_in_it() -> None:
    assert names(layer("stem"), layer("body.a"), layer("body.b.c")) == [
        ("stem", "Linear(8, 8)", "72"),
        ("body", "", "144"),
        ("  a", "Linear(8, 8)", "72"),
        ("  b", "", "72"),
        ("    c", "Linear(8, 8)", "72"),
    ]


def test_blocks_that_are_alike_are_said_once_and_summed() -> None:
    blocks = [layer(f"blocks.{i}.{name}") for i in range(12) for name in "ab"]
    assert names(*blocks) == [
        ("blocks", "", "1728"),
        ("  0", "", "144"),
        ("    a", "Linear(8, 8)", "72"),
        ("    b", "Linear(8, 8)", "72"),
        ("  1 - 11", "11 more alike", "1584"),
    ]
    assert len(names(*blocks, whole=True)) == 1 + 12 * 3


def test_two_alike_and_unlike_ones_stand_alone() -> None:
    assert [name for name, _, _ in names(layer("b.0"), layer("b.1"), layer("b.2", "Linear(8, 9)"))] == [
        "b", "  0", "  1", "  2",
    ]  # fmt: skip


def test_depth_leaves_what_is_deeper_to_the_sums() -> None:
    assert names(layer("a.b.c"), layer("a.d"), layer("e"), depth=1) == [("a", "", "144"), ("e", "Linear(8, 8)", "72")]


def test_a_network_that_is_one_layer_and_a_module_with_weights_of_its_own_have_rows() -> None:
    assert names(layer("")) == [("(itself)", "Linear(8, 8)", "72")]
    assert names(layer("vit", "ViT()", 9), layer("vit.head")) == [
        ("vit", "ViT()", "81"),
        ("  head", "Linear(8, 8)", "72"),
    ]
