"""Modules and parameters that the network holds or calls without registering them."""

from __future__ import annotations

import functools
import sys
import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from dldoctor.facts.model.inside import places
from dldoctor.facts.model.inside.recorder import Recorder
from dldoctor.facts.model.inside.runtime import LOADED
from dldoctor.facts.model.records.forward import HiddenLayer

_OWN = frozenset(vars(nn.Module())) | {places.MADE, LOADED}
_DEPTH = 3


@dataclass
class Held:
    """What one attribute holds past the registry."""

    owner: str
    attribute: str
    module: nn.Module
    container: str
    things: list[nn.Module | nn.Parameter]


def scan(root: nn.Module) -> list[Held]:
    """The attributes of registered modules whose lists, dicts, functions or plain objects hold unregistered ones.

    A module set straight into `__dict__` is left alone: that is how a module is hidden on purpose.
    """
    modules = {id(module) for module in root.modules()}
    parameters = {id(parameter) for parameter in root.parameters()}
    found = []
    for path, module in root.named_modules():
        for name, value in vars(module).items():
            if name in _OWN or isinstance(value, (nn.Module, torch.Tensor)) or name.startswith("_flat_weight"):
                continue
            things = {id(thing): thing for thing in _inside(value, _DEPTH)}
            hidden = [
                thing
                for key, thing in things.items()
                if key not in modules and key not in parameters and not _part_of_another(thing, things.values())
            ]
            if hidden:
                found.append(Held(path, name, module, _container(value), hidden))
    return found


def _part_of_another(thing: Any, others: Any) -> bool:
    return any(
        other is not thing and isinstance(other, nn.Module) and any(thing is m for m in other.modules())
        for other in others
    )


def _container(value: Any) -> str:
    if isinstance(value, Mapping):
        return "dict"
    held = next((kind.__name__ for kind in (list, tuple, set) if isinstance(value, kind)), "function")
    return "object" if _is_plain_object(value) else held


def _inside(value: Any, depth: int) -> Iterator[nn.Module | nn.Parameter]:
    if isinstance(value, (nn.Module, nn.Parameter)):
        yield value
    elif depth == 0:
        return
    elif isinstance(value, Mapping):
        for item in list(value.values()):
            yield from _inside(item, depth - 1)
    elif isinstance(value, (list, tuple, set, frozenset)):
        for item in list(value)[:1000]:
            yield from _inside(item, depth - 1)
    elif isinstance(value, functools.partial):
        yield from _inside((value.func, *value.args, *value.keywords.values()), depth)
    elif isinstance(value, types.FunctionType) and value.__closure__:
        for cell in value.__closure__:
            try:
                yield from _inside(cell.cell_contents, depth - 1)
            except ValueError:  # a cell that is not filled yet
                continue
    elif _is_plain_object(value):
        for item in list(vars(value).values()):
            yield from _inside(item, depth - 1)


def _is_plain_object(value: Any) -> bool:
    """Of a class of the user's that is no Module."""
    module = sys.modules.get(type(value).__module__)
    return (
        hasattr(value, "__dict__")
        and not isinstance(value, type)
        and places.users(getattr(module, "__file__", "") or "")
    )


def tensor_attributes(root: nn.Module) -> Iterator[tuple[str, nn.Module, str, torch.Tensor]]:
    """Tensors that modules hold as plain attributes, or in a list or dict: path, module, attribute, tensor."""
    known = {id(t) for t in (*root.parameters(), *root.buffers())}
    for path, module in root.named_modules():
        for name, value in vars(module).items():
            if name in _OWN or name.startswith("_flat_weight"):
                continue
            for tensor in _tensors_inside(value, 2):
                if id(tensor) not in known:
                    yield path, module, name, tensor


def plain_tensors(root: nn.Module) -> Iterator[torch.Tensor]:
    """The tensors of `tensor_attributes` alone."""
    return (tensor for _, _, _, tensor in tensor_attributes(root))


def _tensors_inside(value: Any, depth: int) -> Iterator[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        yield value
    elif depth and isinstance(value, Mapping):
        for item in list(value.values()):
            yield from _tensors_inside(item, depth - 1)
    elif depth and isinstance(value, (list, tuple)):
        for item in value[:1000]:
            yield from _tensors_inside(item, depth - 1)


def judge(held: list[Held], rec: Recorder, made_in_forward: set[int]) -> tuple[HiddenLayer, ...]:
    """The hidden layers with what forward did with them."""
    found = [_of_attribute(item, rec) for item in held]
    in_attributes = {
        id(m) for item in held for thing in item.things if isinstance(thing, nn.Module) for m in thing.modules()
    }
    for key, (module, with_gradient) in rec.strangers.items():
        if key in in_attributes or key not in made_in_forward or not any(True for _ in module.parameters()):
            continue
        found.append(
            HiddenLayer(
                type(module).__name__,
                "",
                "forward",
                1,
                type(module).__name__,
                *_sizes([module]),
                with_gradient,
                not with_gradient,
                places.made_at(module),
            )
        )
    return tuple(found)


def _of_attribute(held: Held, rec: Recorder) -> HiddenLayer:
    modules = [thing for thing in held.things if isinstance(thing, nn.Module)]
    inner = [m for module in modules for m in module.modules()]
    calls = [rec.strangers[id(m)][1] for m in inner if id(m) in rec.strangers]
    loose = any(isinstance(thing, nn.Parameter) and thing.requires_grad for thing in held.things)
    parameters, trainable = _sizes(held.things)
    dropout = any(isinstance(m, nn.modules.dropout._DropoutNd) and m.p > 0 for m in inner)
    buffers = any(True for module in modules for _ in module.buffers())
    first = held.things[0]
    return HiddenLayer(
        held.attribute,
        held.owner,
        held.container,
        len(held.things),
        type(first).__name__,
        parameters,
        trainable,
        called=any(calls) or loose,
        called_without_gradient=bool(calls) and not any(calls),
        place=places.assigned_at(held.module, held.attribute)
        or (places.made_at(first) if isinstance(first, nn.Module) else None),
        only_mode=dropout and parameters == 0 and not buffers,
    )


def _sizes(things: list[Any]) -> tuple[int, int]:
    parameters = {
        id(p): p for thing in things for p in (thing.parameters() if isinstance(thing, nn.Module) else [thing])
    }
    return (sum(_numel(p) for p in parameters.values()), sum(_numel(p) for p in parameters.values() if p.requires_grad))


def _numel(parameter: nn.Parameter) -> int:
    return 0 if nn.parameter.is_lazy(parameter) else parameter.numel()
