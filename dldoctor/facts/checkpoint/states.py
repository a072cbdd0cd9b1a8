"""Find the state_dicts in what a file holds, by what they are rather than by their names."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from dldoctor.facts.checkpoint.reading.description import Described
from dldoctor.facts.checkpoint.reading.unpickling import StandIn

_DEEPEST = 4


@dataclass(frozen=True)
class FoundState:
    at: tuple[str, ...]
    tensors: tuple[tuple[str, Described], ...]


@dataclass(frozen=True)
class Found:
    """See `dldoctor.facts.checkpoint.content.Checkpoint`."""

    holds: str
    root: str
    keys: tuple[str, ...]
    states: tuple[FoundState, ...]
    optimizer: bool


def find(root: Any, form: str) -> Found:
    """What stands at the root, and every state_dict in it."""
    if form == "torchscript":
        return Found("object", "a TorchScript program", (), (), optimizer=False)
    kind = type(root).__name__ if not isinstance(root, StandIn) else root.name
    kind = {"_Ordered": "OrderedDict", "Described": "Tensor"}.get(kind, kind)
    if isinstance(root, StandIn):
        if root.name in ("builtins.getattr", "__builtin__.getattr"):
            what = next((arg for arg in root.args if isinstance(arg, str)), "")
            return Found("method", f"the method {what}", (), (), optimizer=False)
        tensors = tuple(_of_module(root))
        if tensors:
            return Found("module", kind, (), (FoundState((), tensors),), optimizer=False)
        return Found("object", kind, (), (), optimizer=False)
    if not isinstance(root, dict):
        return Found("tensors" if _has_tensor(root) else "object", kind, (), (), optimizer=False)
    if _is_optimizer(root):
        return Found("optimizer", kind, tuple(map(str, root)), (), optimizer=True)
    states = tuple(_states(root, ()))
    optimizer = any(map(_is_optimizer, _dicts(root)))
    if states and states[0].at == ():
        return Found("state_dict", kind, (), states[:1], optimizer=optimizer)
    modules = [(key, value) for key, value in root.items() if isinstance(value, StandIn) and any(_of_module(value))]
    if not states and modules:
        key, module = modules[0]
        state = FoundState((str(key),), tuple(_of_module(module)))
        return Found("module", module.name, tuple(map(str, root)), (state,), optimizer=optimizer)
    return Found("parts" if states else "object", kind, tuple(map(str, root)), states, optimizer=optimizer)


def _is_optimizer(value: Any) -> bool:
    return isinstance(value, dict) and {"state", "param_groups"} <= value.keys()


def _dicts(root: dict[Any, Any], deep: int = _DEEPEST) -> Iterator[dict[Any, Any]]:
    for value in root.values():
        inner = list(value) if isinstance(value, (list, tuple)) and len(value) <= 16 else [value]
        for one in inner:
            if isinstance(one, dict):
                yield one
                if deep > 1:
                    yield from _dicts(one, deep - 1)


def _states(value: dict[Any, Any], at: tuple[str, ...]) -> Iterator[FoundState]:
    """A dict of names to tensors, or those among its values."""
    tensors = tuple((key, one) for key, one in value.items() if isinstance(one, Described) and isinstance(key, str))
    if tensors and 2 * len(tensors) > len(value):
        yield FoundState(at, tensors)
        return
    if len(at) >= _DEEPEST or _is_optimizer(value):
        return
    for key, one in value.items():
        if isinstance(one, dict) and isinstance(key, str):
            yield from _states(one, (*at, key))


def _of_module(
    module: StandIn, prefix: str = "", seen: frozenset[int] = frozenset()
) -> Iterator[tuple[str, Described]]:
    """The state_dict of a pickled network, from the attributes that every Module has."""
    state = module.state if isinstance(module.state, dict) else {}
    if id(module) in seen:
        return
    for table in ("_parameters", "_buffers"):
        inner = state.get(table)
        for name, value in inner.items() if isinstance(inner, dict) else ():
            if isinstance(value, Described):
                yield f"{prefix}{name}", value
    inner = state.get("_modules")
    for name, value in inner.items() if isinstance(inner, dict) else ():
        if isinstance(value, StandIn):
            yield from _of_module(value, f"{prefix}{name}.", seen | {id(module)})


def _has_tensor(value: Any) -> bool:
    if isinstance(value, Described):
        return True
    return isinstance(value, (list, tuple)) and any(map(_has_tensor, value))
