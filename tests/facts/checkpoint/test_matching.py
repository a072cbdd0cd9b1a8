"""Keys of a file against those of the network: what a rule renames, what is left, what was paired."""

from __future__ import annotations

import pytest

from dldoctor import Checkpoint, NetworkState, StateMatch
from dldoctor.facts.checkpoint.content import StoredState, StoredTensor
from dldoctor.facts.model.records.forward import StateEntry

SHAPES = {
    "stem.0.weight": (8, 3, 3, 3), "stem.0.bias": (8,), "stem.1.weight": (8,), "stem.1.num_batches_tracked": (),
    "blocks.0.weight": (8, 8), "blocks.1.weight": (8, 8), "head.weight": (10, 8), "head.bias": (10,),
}  # fmt: skip


def match(stored: dict[str, tuple[int, ...]], *others: dict[str, tuple[int, ...]]) -> StateMatch:
    def state(shapes: dict[str, tuple[int, ...]], number: int) -> StoredState:
        tensors = tuple(StoredTensor(name, shape, "float32", "cpu", 1) for name, shape in shapes.items())
        return StoredState((f"part{number}",), tensors)

    states = tuple(state(shapes, number) for number, shapes in enumerate((stored, *others)))
    network = NetworkState(tuple(StateEntry(name, shape, "float32", parameter=True) for name, shape in SHAPES.items()))
    return StateMatch.gather(Checkpoint("w.pt", 1, "zip", "", "parts", "dict", (), states, optimizer=True), network)


def renamed(old: str, new: str) -> dict[str, tuple[int, ...]]:
    return {name.replace(old, new): shape for name, shape in SHAPES.items()}


def test_equal_keys_match_whole() -> None:
    found = match(SHAPES)
    assert found.whole
    assert found.renaming is None
    assert found.filled == found.elements


def test_of_two_states_that_fit_the_one_under_the_networks_own_names_is_taken() -> None:
    averaged = {"n_averaged": (), **{f"module.{name}": shape for name, shape in SHAPES.items()}}
    found = match(SHAPES, averaged)
    assert found.at == ("part0",)
    assert (found.whole, found.renaming) == (True, None)


@pytest.mark.parametrize(("form", "whole"), [("safetensors", True), ("zip", False)])
def test_safetensors_keeps_one_name_of_a_tied_weight(form: str, whole: bool) -> None:
    entries = (
        StateEntry("table.weight", (9, 4), "float32", True),
        StateEntry("head.weight", (9, 4), "float32", True, "table.weight"),
    )
    for name in ("table.weight", "head.weight"):
        state = StoredState((), (StoredTensor(name, (9, 4), "float32", "cpu", 1),))
        checkpoint = Checkpoint("w", 1, form, "", "state_dict", "dict", (), (state,), optimizer=True)
        assert StateMatch.gather(checkpoint, NetworkState(entries)).whole is whole


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "model.", "net.backbone.", "_orig_mod.module."])
def test_a_prefix_is_one_rule(prefix: str) -> None:
    found = match({prefix + name: shape for name, shape in SHAPES.items()})
    assert found.whole
    assert found.filled == 0
    assert found.renaming is not None
    assert [(rule.kind, rule.old, rule.after) for rule in found.renaming.rules] == [("strip", prefix, len(SHAPES))]


def test_a_prefix_that_the_network_has_is_added() -> None:
    stripped = {f"module.{name}": shape for name, shape in SHAPES.items()}
    network = NetworkState(tuple(StateEntry(name, shape, "float32", True) for name, shape in stripped.items()))
    tensors = tuple(StoredTensor(name, shape, "float32", "cpu", 1) for name, shape in SHAPES.items())
    checkpoint = Checkpoint("w.pt", 1, "zip", "", "parts", "dict", (), (StoredState((), tensors),), optimizer=True)
    renaming = StateMatch.gather(checkpoint, network).renaming
    assert renaming is not None
    assert renaming.wrapped is not None
    assert (renaming.wrapped.kind, renaming.wrapped.new) == ("add", "module.")


def test_wrappers_within_the_names_are_dropped() -> None:
    stored = {
        ".".join([first, "_orig_mod", *rest]): SHAPES[name] for name in SHAPES for first, *rest in [name.split(".")]
    }
    found = match(stored)
    assert found.whole
    assert found.renaming is not None
    assert [(rule.kind, rule.old) for rule in found.renaming.rules] == [("drop", "_orig_mod")]


def test_layers_under_other_names_take_a_rule_each() -> None:
    stored = {name.replace("stem", "entry").replace("blocks", "layers"): shape for name, shape in SHAPES.items()}
    found = match(stored)
    assert found.whole
    assert found.renaming is not None
    assert {(rule.old, rule.new) for rule in found.renaming.replaced} == {("entry.", "stem."), ("layers.", "blocks.")}


def test_another_head_is_a_shape_and_no_renaming() -> None:
    found = match(SHAPES | {"head.weight": (1000, 8), "head.bias": (1000,)})
    assert found.renaming is None
    assert [pair.entry.name for pair in found.wrong_shape if pair.entry] == ["head.weight", "head.bias"]
    assert 0 < found.filled < found.elements


def test_a_prefix_and_another_head_are_told_apart() -> None:
    stored = {f"module.{name}": shape for name, shape in SHAPES.items()} | {"module.head.weight": (7, 8)}
    found = match(stored)
    assert found.renaming is not None
    assert found.renaming.wrapped is not None
    assert [pair.entry.name for pair in found.wrong_shape if pair.entry] == ["head.weight"]


def test_counters_that_old_files_lack_are_not_missing() -> None:
    assert match({name: shape for name, shape in SHAPES.items() if "tracked" not in name}).whole


def test_the_state_that_fits_best_is_taken() -> None:
    assert match({"z": (3,)} | dict.fromkeys(map(str, range(50)), (9,)), SHAPES).at == ("part1",)


def test_another_network_is_not_renamed_into_this_one() -> None:
    found = match({f"layer{i}.weight": (64, 64) for i in range(40)})
    assert found.renaming is None
    assert {entry.name for entry in found.missing} == SHAPES.keys() - {"stem.1.num_batches_tracked"}


def test_a_lone_renamed_entry_is_paired_by_shape_and_name() -> None:
    stored = {name: shape for name, shape in SHAPES.items() if name != "head.bias"} | {"header.bias": (10,)}
    found = match(stored | {"extra.weight": (8, 8)})
    renamed = dict(found.renaming.names) if found.renaming else {}
    pairs = {pair.stored.name: pair.entry.name for pair in found.pairs if pair.stored and pair.entry}
    assert renamed | pairs == {"header.bias": "head.bias"}
    assert "extra.weight" in [tensor.name for tensor in found.unexpected]
