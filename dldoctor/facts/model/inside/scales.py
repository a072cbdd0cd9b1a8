"""How large values and gradients are, layer by layer, in one training step at initialisation."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from dldoctor.facts.model.inside import places
from dldoctor.facts.model.inside.dispatch import tensors_in
from dldoctor.facts.model.inside.ends import named_outputs
from dldoctor.facts.model.inside.recorder import Recorder, first_tensor, is_leaf, what
from dldoctor.facts.model.records.values import DeadAfter, LayerValues, NonFiniteLayer

#: steps after which a network that answers the same to everything is taken to do so for good
STEPS = 3
_STEP_SIZE = 0.01
#: times that the largest values may be of the smallest
_ODD = 1000
#: a difference between two outputs that is none, as a share of their size
_NOTHING = 1e-6
_BatchNorm = torch.nn.modules.batchnorm._BatchNorm


@dataclass
class TrainRun:
    """One forward and backward over two samples."""

    output: Any
    layers: tuple[LayerValues, ...]
    non_finite: NonFiniteLayer | None


def train(net: torch.nn.Module, pair: tuple[list[Any], dict[str, Any]], training: bool) -> TrainRun:
    """Run it, with every layer watched; backward only where forward gives cause for concern, as it takes twice the
    time. BatchNorm's running statistics become those of these two samples, so that evaluation afterwards sees values
    of the right size."""
    names = {id(module): path for path, module in net.named_modules()}
    seen: dict[int, tuple[torch.nn.Module, torch.Tensor]] = {}

    def note(module: torch.nn.Module, args: Any, output: Any) -> None:
        result = first_tensor(output)
        if result is None or not result.is_floating_point():
            return
        if any(p is not None for p in module._parameters.values()):
            seen.setdefault(id(module), (module, result.detach()))

    net.train(training)
    for module in net.modules():
        if isinstance(module, _BatchNorm) and module.track_running_stats:
            module.momentum = 1.0
    handles = [
        module.register_forward_hook(note)
        for module in net.modules()
        if any(p is not None for p in module._parameters.values())
    ]
    net.zero_grad(set_to_none=True)
    torch.manual_seed(0)
    try:
        output = net(*pair[0], **pair[1])
    finally:
        for handle in handles:
            handle.remove()
    floats = [t for _, t in named_outputs(output) if t.is_floating_point()]
    layers = tuple(_values_of(names[key], module, result) for key, (module, result) in seen.items())
    if _odd(layers) or _constant(output):
        _backward(floats)
        layers = tuple(_values_of(names[key], module, result) for key, (module, result) in seen.items())
    bad = None if _finite(floats) else _first_bad(net, pair)
    net.zero_grad(set_to_none=True)
    return TrainRun(output, layers, bad)


def settled(net: torch.nn.Module) -> bool:
    """Whether every normalisation takes what it sees: one that takes running statistics, as a frozen backbone does,
    has none yet that fit, and values grow or shrink from layer to layer until trained weights are loaded."""
    return not any(
        "running_mean" in module._buffers
        and module._buffers["running_mean"] is not None
        and (not module.training or not isinstance(module, (_BatchNorm, torch.nn.modules.instancenorm._InstanceNorm)))
        for module in net.modules()
    )


def _odd(layers: Sequence[LayerValues]) -> bool:
    """Whether sizes differ more than those of a network that begins well."""
    stds = [layer.std for layer in layers if layer.weighted and layer.std > 0]
    spreads = [layer.spread for layer in layers if layer.weighted and layer.spread]
    return any(max(sizes) > _ODD * min(sizes) for sizes in (stds, spreads) if sizes)


def _first_bad(net: torch.nn.Module, pair: tuple[list[Any], dict[str, Any]]) -> NonFiniteLayer:
    watch = _NonFinite(net)
    torch.manual_seed(0)
    with torch.no_grad(), watch.rec.watching(lambda rec, path, module, args, kwargs: (args, kwargs, None)), watch:
        net(*pair[0], **pair[1])
    return watch.found or NonFiniteLayer("", "", None)


class _NonFinite(TorchFunctionMode):
    """Finds the operation that first makes NaN, or else infinity, of finite numbers."""

    def __init__(self, net: torch.nn.Module) -> None:
        super().__init__()
        self.rec = Recorder(net, 2, repair=False, counting=False)
        self.found: NonFiniteLayer | None = None
        self.is_nan = False

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = func(*args, **(kwargs or {}))
        name = getattr(func, "__name__", "")
        # a mask of -inf is one on purpose: its softmax is finite
        if self.is_nan or "mask" in name or name in ("__get__", "full", "where", "__setitem__"):
            return output
        floats = [t for t in tensors_in(output) if t.is_floating_point()]
        is_nan = any(bool(t.isnan().any()) for t in floats)
        if (is_nan or (self.found is None and not _finite(floats))) and _finite((args, kwargs or {})):
            path, module = self.rec.stack[-1] if self.rec.stack else ("", None)
            leaf = module is not None and is_leaf(module)
            place = places.made_at(module) if leaf else places.current_place()
            self.found, self.is_nan = NonFiniteLayer(path, name.strip("_"), place), is_nan
        return output


def _values_of(path: str, module: torch.nn.Module, result: torch.Tensor) -> LayerValues:
    values = result.float()
    spread = None
    if values.dim() and values.shape[0] == 2:
        spread = _size(values[0] - values[1])
    gradients = [p.grad.float() for p in module._parameters.values() if p is not None and p.grad is not None]
    gradient = max((_size(g) for g in gradients if g.numel()), default=None)
    return LayerValues(
        path,
        what(module),
        places.made_at(module),
        float(values.std(correction=0)) if values.numel() else 0.0,
        spread,
        gradient,
        sum(p.dim() > 1 for p in module._parameters.values() if p is not None) > 0,
    )


def _size(values: torch.Tensor) -> float:
    """Root mean square."""
    return math.sqrt(float(values.square().sum()) / max(1, values.numel()))


def _backward(outputs: Iterable[torch.Tensor]) -> None:
    """Of a fixed random projection: the sum of a softmax or of a normalised output has no gradient."""
    generator = torch.Generator().manual_seed(0)
    parts = [
        (out.float() * torch.randn(out.shape, generator=generator)).sum() / max(1, out.numel()) ** 0.5
        for out in outputs
        if out.grad_fn is not None
    ]
    if parts:
        torch.stack(parts).sum().backward()  # type: ignore[no-untyped-call]  # torch ships no type for it


def dead_after(
    net: torch.nn.Module, pair: tuple[list[Any], dict[str, Any]], run: TrainRun, training: bool
) -> DeadAfter | None:
    """Where two inputs stop making a difference, when they make none to any output, and none after a few steps.

    A last layer or a residual branch of zeros is no dead network: its first step wakes it.
    """
    if not _constant(run.output) or _alike(pair):
        return None
    before = [(p, p.detach().clone()) for p in net.parameters()]
    try:
        for _ in range(STEPS):
            torch.manual_seed(0)
            net.zero_grad(set_to_none=True)
            output = net(*pair[0], **pair[1])
            if not _constant(output):
                return None
            _backward(t for _, t in named_outputs(output) if t.is_floating_point())
            with torch.no_grad():
                for parameter, _ in before:
                    if parameter.grad is not None:
                        size = _size(parameter.grad.float())
                        if size > 0:
                            parameter.sub_(parameter.grad, alpha=_STEP_SIZE / size)
        still = [p for p, _ in before if p.requires_grad and (p.grad is None or not bool(p.grad.any()))]
        if 2 * sum(p.numel() for p in still) < sum(p.numel() for p, _ in before if p.requires_grad):
            return None  # it learns something that its inputs have no part in, as a table of embeddings
    finally:
        with torch.no_grad():
            for parameter, values in before:
                parameter.copy_(values)
    told_apart = [layer for layer in run.layers if layer.spread]
    if not told_apart:
        return DeadAfter("", "", None)
    last = told_apart[-1]
    return DeadAfter(last.layer, last.what, last.made)


def _constant(output: Any) -> bool:
    """Whether two samples give the same, in every output that has a sample in each row."""
    found = False
    for _, tensor in named_outputs(output):
        if tensor.is_floating_point() and tensor.grad_fn is not None and tensor.dim() and tensor.shape[0] == 2:
            found = True
            values = tensor.detach().float()
            if float((values[0] - values[1]).abs().max()) > _NOTHING * float(values.abs().max()):
                return False
    return found


def _alike(pair: tuple[list[Any], dict[str, Any]]) -> bool:
    """Whether the two samples are one and the same."""
    return all(torch.equal(t[0], t[1]) for t in tensors_in(pair) if t.dim() and t.shape[0] == 2)


def _finite(values: Any) -> bool:
    return all(bool(t.isfinite().all()) for t in tensors_in(values) if t.is_floating_point() or t.is_complex())
