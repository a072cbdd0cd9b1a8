"""The network on a GPU that is not there: which tensors stay on the CPU."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map
from torch.utils.weak import WeakTensorKeyDictionary

from dldoctor.facts.model.inside import places
from dldoctor.facts.model.inside.dispatch import Ops, tensors_in
from dldoctor.facts.model.inside.inputs import Spec, tensors
from dldoctor.facts.model.inside.recorder import Recorder
from dldoctor.facts.model.records.forward import Place
from dldoctor.facts.model.records.watched import DeviceFault

_GPU = torch.device("cuda", 0)
_TWO = ("Expected all tensors to be on the same device", "not at the same device", "on the same device")


@dataclass
class GpuPass:
    """What a forward on the GPU met."""

    devices: list[DeviceFault] = field(default_factory=list)
    error: BaseException | None = None


class _Ops(Ops):  # type: ignore[no-untyped-call]  # torch ships no type for it
    def without_fakes(self, func: Any, args: Any, kwargs: Any) -> Any:
        return func(*args, **kwargs)  # there is no GPU to compute a small one for real


class _OnGpu(TorchFunctionMode):
    """Whoever names a device means the GPU: a script that found none falls back to the CPU by a variable."""

    def __init__(self, rec: Recorder, attributes: dict[int, str], kept: set[int]) -> None:
        super().__init__()
        self.rec, self.attributes, self.kept = rec, attributes, kept
        #: tensors on the CPU: (where made, of which attribute); None for what comes of an earlier forward's
        self.made: WeakTensorKeyDictionary = WeakTensorKeyDictionary()
        self.faults: dict[Place | None, DeviceFault] = {}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        if name in ("__get__", "size", "dim", "__set__", "numel"):
            return func(*args, **kwargs)
        if kwargs.get("device") is not None:
            kwargs = {**kwargs, "device": _GPU}
        if name == "to":
            args = tuple(_GPU if _is_device(arg) else arg for arg in args)
        elif name == "cuda":
            return args[0].to(_GPU)
        elif name == "pin_memory":
            return args[0]
        try:
            output = func(*args, **kwargs)
        except RuntimeError as error:
            if not any(text in str(error) for text in _TWO):
                raise
            self.note(name, (args, kwargs), error)
            args, kwargs = tree_map(_moved, (args, kwargs))
            output = func(*args, **kwargs)
        given = list(tensors_in((args, kwargs)))
        for tensor in tensors_in(output):
            if tensor.device.type == "cpu" and tensor not in self.made:
                if any((t in self.made and self.made[t] is None) or id(t) in self.kept for t in given):
                    self.made[tensor] = None
                    continue
                before = next((self.made[t] for t in given if t in self.made), None)
                self.made[tensor] = before or (places.current_place(), self.attribute(given))
        return output

    def attribute(self, given: Sequence[torch.Tensor]) -> str:
        return next((self.attributes[id(t)] for t in given if id(t) in self.attributes), "")

    def note(self, name: str, values: Any, error: RuntimeError) -> None:
        stayed = [t for t in tensors_in(values) if t.device.type == "cpu" and t.dim()]
        if not stayed or any(isinstance(t, torch.nn.Parameter) for t in stayed):
            return  # an unregistered layer is a fault of its own
        if any((t in self.made and self.made[t] is None) or id(t) in self.kept for t in stayed):
            return  # a cache that a forward on the CPU filled
        made, attribute = self.made[stayed[0]] if stayed[0] in self.made else (None, self.attribute(stayed))
        place, layer = places.current_place(), self.rec.stack[-1][0] if self.rec.stack else ""
        fault = DeviceFault(name.strip("_"), layer, place, str(error).splitlines()[0], made, attribute)
        self.faults.setdefault(place, fault)


def is_possible() -> bool:
    """Whether this torch is known to follow operations on a GPU that is not there: 2.4 ends the process in a GRU."""
    return tuple(int(part) for part in torch.__version__.split(".")[:2]) >= (2, 15)


def run(net: torch.nn.Module, specs: Sequence[Spec], batch: int, plain: Sequence[tuple[str, torch.Tensor]]) -> GpuPass:
    """A forward in training mode with all parameters, buffers and inputs on a GPU, without memory.

    `plain` are the tensors that the constructor left in attributes: those that came since are caches.
    """
    done = GpuPass()
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    rec = Recorder(net, batch, repair=False, counting=False)
    attributes = {id(tensor): name for name, tensor in plain}
    kept = {id(tensor) for _, tensor in plain_tensors(net)} - attributes.keys()
    watch = _OnGpu(rec, attributes, kept)
    net.train()
    with _on_gpu(net, mode):
        args, kwargs = tree_map(_moved, tensors(specs, batch, values=False))
        with contextlib.ExitStack() as stack:
            stack.enter_context(torch.backends.cudnn.flags(enabled=False))  # it would ask the driver
            stack.enter_context(warnings.catch_warnings(action="ignore"))
            stack.enter_context(rec.watching(lambda rec, path, module, args, kwargs: (args, kwargs, None)))
            stack.enter_context(_Ops(rec, mode))
            stack.enter_context(watch)
            try:
                net(*args, **kwargs)
            except Exception as error:  # what else may be wrong there is looked at elsewhere
                done.error = error
    done.devices = list(watch.faults.values())
    return done


def plain_tensors(net: torch.nn.Module) -> list[tuple[str, torch.Tensor]]:
    """Tensors in attributes, that no `.to(device)` moves; lists and dicts of them, too."""
    registered = {id(t) for t in (*net.parameters(), *net.buffers())}
    found = []
    for path, module in net.named_modules():
        for name, value in vars(module).items():
            if name in ("_parameters", "_buffers", "_modules") or name.startswith("_flat_weight"):
                continue
            found += [
                (f"{path}.{name}".lstrip("."), tensor)
                for tensor in tensors_in(value)
                if id(tensor) not in registered and not isinstance(tensor, torch.nn.Parameter)
            ]
    return found


@contextlib.contextmanager
def _on_gpu(net: torch.nn.Module, mode: FakeTensorMode) -> Iterator[None]:
    memo: dict[int, Any] = {}
    before: list[tuple[dict[str, Any], str, Any]] = []
    flat: list[tuple[Any, Any]] = []
    attributes = [(module, dict(vars(module))) for module in net.modules()]

    def moved(tensor: torch.Tensor) -> torch.Tensor:
        if id(tensor) not in memo:
            made = _moved(tensor if isinstance(tensor, FakeTensor) else mode.from_tensor(tensor.detach()))
            if isinstance(tensor, torch.nn.Parameter):
                made = torch.nn.Parameter(made, requires_grad=tensor.requires_grad)
            memo[id(tensor)] = made
        found: torch.Tensor = memo[id(tensor)]
        return found

    try:
        with mode:
            for module in net.modules():
                for table in (module._parameters, module._buffers):
                    for name, tensor in table.items():
                        if tensor is not None:
                            before.append((table, name, tensor))
                            table[name] = moved(tensor)  # type: ignore[assignment]  # torch ships no type for it
                if isinstance(module, torch.nn.RNNBase):
                    flat.append((module, module._flat_weights))
                    module._flat_weights = [getattr(module, name) for name in module._flat_weights_names]
            yield
    finally:
        for table, name, tensor in before:
            table[name] = tensor
        for module, weights in flat:
            module._flat_weights = weights
        for module, values in attributes:
            vars(module).update(values)


def _moved(value: Any) -> Any:
    if not isinstance(value, torch.Tensor) or value.device.type != "cpu" or isinstance(value, torch.nn.Parameter):
        return value
    return torch.empty_strided(value.shape, value.stride(), dtype=value.dtype, device=_GPU)


def _is_device(value: Any) -> bool:
    return isinstance(value, torch.device) or (
        isinstance(value, str) and value.partition(":")[0] in ("cpu", "cuda", "mps")
    )
