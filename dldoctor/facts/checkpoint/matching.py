"""The checkpoint's keys against the network's, and the renaming that would make them fit."""

from __future__ import annotations

import difflib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, Self

from dldoctor.fact import Fact, Unavailable
from dldoctor.facts.checkpoint.content import Checkpoint, StoredState, StoredTensor
from dldoctor.facts.model.records.forward import StateEntry
from dldoctor.facts.model.views import NetworkState

#: segments that wrappers put into the names: DataParallel, torch.compile, FSDP, DeepSpeed, Fabric
_WRAPPERS = ("module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module", "_forward_module")
#: counters that load_state_dict fills in by itself for files from before torch 0.4.1
_FILLED_IN = "num_batches_tracked"
#: names that took more renamings than these are another network's
_MOST_RULES = 4
#: how alike two names must be to be called the same layer
_ALIKE = 0.5


@dataclass(frozen=True)
class Rule:
    """How names differ: `strip` or `add` (a prefix of all), `drop` (wrappers' segments anywhere), `replace` (a prefix
    of some)."""

    kind: Literal["strip", "add", "drop", "replace"]
    #: the prefix or segments that go, and what comes instead
    old: str
    new: str
    #: network entries that have a key of the same shape before and after it
    before: int
    after: int


@dataclass(frozen=True)
class Renaming:
    """Rules, one after the other, and the (old, new) names of the file's keys that they change."""

    rules: tuple[Rule, ...]
    names: tuple[tuple[str, str], ...]

    @property
    def wrapped(self) -> Rule | None:
        """The rule that takes off (or puts on) what a wrapper added, where that is one of them."""
        return next((rule for rule in self.rules if rule.kind != "replace"), None)

    @property
    def replaced(self) -> tuple[Rule, ...]:
        return tuple(rule for rule in self.rules if rule.kind == "replace")


@dataclass(frozen=True)
class Pair:
    """An entry of the network and one of the file; either is None where it has no partner."""

    entry: StateEntry | None
    stored: StoredTensor | None


@dataclass(frozen=True)
class StateMatch(Fact):
    """What `load_state_dict` would meet with the state of the file that fits best.

    `missing`, `unexpected`, `wrong_shape` and `pairs` are what a renaming, where there is one, leaves.
    """

    #: the keys that lead to it in the file
    at: tuple[str, ...]
    keys: int
    missing: tuple[StateEntry, ...]
    unexpected: tuple[StoredTensor, ...]
    wrong_shape: tuple[Pair, ...]
    #: the renaming after which most keys fit, when there is one
    renaming: Renaming | None
    #: missing entries beside unexpected ones of the same shape and a similar name
    pairs: tuple[Pair, ...]
    entries: int
    #: elements of the network's state, and those that its own names find in the file, as it is
    elements: int
    filled: int

    @property
    def whole(self) -> bool:
        """Whether strict loading works, after the renaming where there is one."""
        return not (self.missing or self.unexpected or self.wrong_shape)

    @classmethod
    def gather(cls, checkpoint: Checkpoint, network: NetworkState) -> Self:
        if not checkpoint.states:
            raise Unavailable(f"{checkpoint.file} holds no state_dict")
        entries = {entry.name: entry for entry in network.entries}
        state = max(checkpoint.states, key=lambda state: _best(entries, state))
        stored = {tensor.name: tensor for tensor in state.tensors}
        renaming = None if stored.keys() == entries.keys() else _renaming(entries, stored)
        names = dict(renaming.names) if renaming else {}
        renamed = {names.get(name, name): tensor for name, tensor in stored.items()}
        missing = tuple(
            entry for name, entry in entries.items()
            if name not in renamed
            and not _is_filled_in(name, renamed)
            and not (checkpoint.form == "safetensors" and _is_tied(entry, entries, renamed))
        )  # fmt: skip
        unexpected = tuple(tensor for name, tensor in renamed.items() if name not in entries)
        wrong = [Pair(entries[n], t) for n, t in renamed.items() if n in entries and t.shape != entries[n].shape]
        return cls(
            state.at,
            len(stored),
            missing,
            unexpected,
            tuple(wrong),
            renaming,
            tuple(_pairs(missing, unexpected)),
            len(entries),
            sum(map(_elements, entries.values())),
            sum(_elements(e) for n, e in entries.items() if n in stored and stored[n].shape == e.shape),
        )


def _elements(entry: StateEntry) -> int:
    count = 1
    for side in entry.shape:
        count *= side
    return count


def _is_filled_in(name: str, stored: Mapping[str, StoredTensor]) -> bool:
    """Whether torch adds this counter itself: files from before it existed have none at all."""
    return name.endswith(_FILLED_IN) and not any(key.endswith(_FILLED_IN) for key in stored)


def _is_tied(entry: StateEntry, entries: Mapping[str, StateEntry], stored: Mapping[str, StoredTensor]) -> bool:
    """Whether the file has another name of the same tensor: safetensors keeps one, and its load_model fills all."""
    one = entry.tied_to or entry.name
    return any(name in stored and (other.tied_to or name) == one for name, other in entries.items())


def _best(entries: Mapping[str, StateEntry], state: StoredState) -> tuple[int, int, int]:
    """After a renaming; of those that end alike, the one that fits without."""
    stored = {tensor.name: tensor for tensor in state.tensors}
    fits = _fits(entries, stored)
    renaming = _renaming(entries, stored) if fits < len(entries) else None
    return max(fits, renaming.rules[-1].after if renaming else 0), fits, state.elements


def _fits(entries: Mapping[str, StateEntry], stored: Mapping[str, StoredTensor]) -> int:
    return sum(name in stored and stored[name].shape == entry.shape for name, entry in entries.items())


def _renaming(entries: Mapping[str, StateEntry], stored: Mapping[str, StoredTensor]) -> Renaming | None:
    """The rules, each the one after which most keys fit, that bring at least half of the network's entries to fit."""
    rules: list[Rule] = []
    names = {key: key for key in stored}
    current = dict(stored)
    while len(rules) < _MOST_RULES:
        best: tuple[Rule, dict[str, str]] | None = None
        before = _fits(entries, current)
        for kind, old, new, renamed in _rules(entries, current, first=not rules):
            if len(set(renamed.values())) == len(renamed):
                after = _fits(entries, {renamed[key]: tensor for key, tensor in current.items()})
                if after > (best[0].after if best else before):
                    best = Rule(kind, old, new, before, after), renamed
        if best is None:
            break
        rules.append(best[0])
        names = {key: best[1][name] for key, name in names.items()}
        current = {best[1][name]: tensor for name, tensor in current.items()}
    if not rules or 2 * rules[-1].after < len(entries):
        return None
    return Renaming(tuple(rules), tuple((key, name) for key, name in names.items() if key != name))


def _rules(
    entries: Mapping[str, StateEntry], stored: Mapping[str, StoredTensor], *, first: bool
) -> Iterator[tuple[Literal["strip", "add", "drop", "replace"], str, str, dict[str, str]]]:
    """(kind, what goes, what comes, names by key), the plainest first."""
    if first:
        for prefix in _prefixes(stored):
            yield "strip", prefix, "", {key: key.removeprefix(prefix) for key in stored}
        for prefix in _prefixes(entries):
            yield "add", "", prefix, {key: f"{prefix}{key}" for key in stored}
        found = sorted({part for key in stored for part in key.split(".") if part in _WRAPPERS})
        if found:
            yield "drop", ", ".join(found), "", {key: _unwrapped(key) for key in stored}
    unknown = {key for key in stored if key not in entries}
    absent = {name for name in entries if name not in stored}
    for old in _prefixes(unknown, share=0.0):
        for new in _prefixes(absent, share=0.0):
            names = {key: new + key.removeprefix(old) if key.startswith(old) and key in unknown else key
                     for key in stored}  # fmt: skip
            yield "replace", old, new, names


def _prefixes(names: Iterable[str], share: float = 0.9) -> list[str]:
    """Prefixes of whole segments, up to three, that at least `share` of the names have; the 12 most frequent."""
    counts: dict[str, int] = defaultdict(int)
    total = 0
    for name in names:
        total += 1
        parts = name.split(".")
        for deep in range(1, min(4, len(parts))):
            counts[".".join(parts[:deep]) + "."] += 1
    common = sorted(
        (prefix for prefix in counts if counts[prefix] >= share * total), key=lambda p: (-counts[p], len(p))
    )
    return common[:12]


def _unwrapped(key: str) -> str:
    return ".".join(part for part in key.split(".") if part not in _WRAPPERS)


def _pairs(missing: tuple[StateEntry, ...], unexpected: tuple[StoredTensor, ...]) -> Iterator[Pair]:
    """Each missing entry beside the unexpected tensor of the same shape and last segment whose name is most alike."""
    left = list(unexpected)
    for entry in missing:
        leaf = entry.name.rpartition(".")[2]
        alike = [t for t in left if t.shape == entry.shape and t.name.rpartition(".")[2] == leaf]
        if not alike:
            continue
        best = max(alike, key=lambda tensor: _likeness(tensor.name, entry.name))
        if len(alike) == 1 or _likeness(best.name, entry.name) >= _ALIKE:
            left.remove(best)
            yield Pair(entry, best)


def _likeness(one: str, other: str) -> float:
    return difflib.SequenceMatcher(None, one, other, autojunk=False).ratio()
