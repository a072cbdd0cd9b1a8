"""What a network registers, shares and freezes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from torch import nn

from dldoctor.facts.model.inside import gradients, hidden, places
from dldoctor.facts.model.inside.flow import MOVES
from dldoctor.facts.model.inside.recorder import Recorder, what
from dldoctor.facts.model.inside.structure import moves
from dldoctor.facts.model.records.graph import Frozen, Registration, SharedModule, TensorAttribute

_BatchNorm = nn.modules.batchnorm._BatchNorm
#: an attribute that is placed by its own line
_PLACED = re.compile(r"device|\.cuda\(|\.to\(|type_as")


def describe(net: nn.Module, done: Any) -> Registration:
    """Of a network after a pass, which need not have come to its end."""
    parameters = [p for p in net.parameters() if not nn.parameter.is_lazy(p)]
    return Registration(
        sum(p.numel() for p in parameters),
        sum(p.numel() for p in parameters if p.requires_grad),
        tuple(_tensors(net, done.rec)),
        tuple(_shared(net)),
        tuple(_frozen(net, done)),
        tuple(places.gpu_asked),
    )


def _tensors(net: nn.Module, rec: Recorder) -> Iterator[TensorAttribute]:
    flow, said = rec.flow, set()
    for path, module, attribute, tensor in hidden.tensor_attributes(net):
        uses = flow.uses.get(id(tensor), [])
        if not uses or (path, attribute) in said or flow.plain.get(id(tensor)) is not tensor:
            continue
        if not gradients.is_users_class(type(module)) or _is_derived(module, attribute):
            continue
        said.add((path, attribute))
        use = next((use for use in uses if use.mixed), uses[0])
        assigned = places.assigned_at(module, attribute)
        moved = any(use.operation in MOVES for use in uses)
        placed = moved or (assigned is not None and bool(_PLACED.search(assigned.text)))
        yield TensorAttribute(
            path,
            attribute,
            type(module).__name__,
            tuple(map(int, tensor.shape)),
            str(tensor.dtype).removeprefix("torch."),
            tensor.requires_grad,
            tensor.grad_fn is not None,
            use.mixed and not placed and not _moves_itself(type(module)),
            use.operation,
            use.place,
            assigned,
        )


def _is_derived(module: nn.Module, attribute: str) -> bool:
    """Made anew before each forward by weight_norm, spectral_norm or pruning."""
    return any(hasattr(module, f"{attribute}_{ending}") for ending in ("v", "g", "orig"))


def _moves_itself(kind: type) -> bool:
    return any(getattr(kind, name) is not getattr(nn.Module, name) for name in ("_apply", "to", "cuda"))


def _shared(net: nn.Module) -> Iterator[SharedModule]:
    for path, module in net.named_modules():
        if not isinstance(module, (nn.ModuleList, nn.Sequential)):
            continue
        names: dict[int, list[str]] = {}
        for name, child in module._modules.items():
            if child is not None:
                names.setdefault(id(child), []).append(name)
        for held in names.values():
            child = module._modules[held[0]]
            weights = sum(p.numel() for p in child.parameters() if not nn.parameter.is_lazy(p)) if child else 0
            if len(held) < 2 or not weights or child is None:
                continue
            yield SharedModule(path, type(module).__name__, tuple(held), what(child), weights, places.made_at(child))


def _frozen(net: nn.Module, done: Any) -> Iterator[Frozen]:
    """The topmost modules that want no gradients at all, where others do."""
    if not any(p.requires_grad for p in net.parameters()):
        return
    modules = dict(net.named_modules())
    trained = {name for name, p in net.named_parameters() if p.requires_grad}
    for path, module in modules.items():
        if not path or not _is_frozen(module) or _is_frozen(modules[path.rpartition(".")[0]]):
            continue
        norms = [(f"{path}.{name}".rstrip("."), m) for name, m in module.named_modules() if isinstance(m, _BatchNorm)]
        moving = [
            name
            for name, m in norms
            if done.training and id(m) in done.rec.flow.calls and m.weight is not None and moves(m)
        ]
        yield Frozen(
            path,
            what(module) if not module._modules else type(module).__name__,
            sum(p.numel() for p in module.parameters()),
            len(moving),
            moving[0] if moving else "",
            len(norms),
            places.made_at(module),
            gradients.has_twin(modules, path, trained),
        )


def _is_frozen(module: nn.Module) -> bool:
    found = list(module.parameters())
    return bool(found) and not any(p.requires_grad for p in found)
