"""One pass through a network: with tensors that have no memory, or for real and tiny."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch._subclasses.fake_tensor import (
    FakeTensor,
    FakeTensorMode,
    UnsupportedFakeTensorException,
    UnsupportedOperatorException,
)

from dldoctor.facts.model.inside import places
from dldoctor.facts.model.inside.dispatch import NeedsValues, Ops, tensors_in
from dldoctor.facts.model.inside.functions import Functions
from dldoctor.facts.model.inside.hidden import plain_tensors
from dldoctor.facts.model.inside.inputs import Spec, tensors
from dldoctor.facts.model.inside.layers import before_call
from dldoctor.facts.model.inside.recorder import Recorder
from dldoctor.facts.model.records.forward import ForwardFault, Place
from dldoctor.facts.user_code import user_frames

#: bytes that a real pass may take: parameters, gradients and as much again
REAL_LIMIT = 2 << 30


@dataclass
class Pass:
    """What one pass brought to light."""

    rec: Recorder
    mode: str
    training: bool
    output: Any = None
    error: BaseException | None = None
    activation_bytes: int = 0
    seconds: float = 0.0

    @property
    def clean(self) -> bool:
        return self.error is None and not self.rec.shapes and not self.rec.faults

    @property
    def wants_values(self) -> bool:
        """Whether it stopped for want of values rather than for a fault of the network."""
        kinds = (NeedsValues, UnsupportedFakeTensorException, UnsupportedOperatorException)
        return isinstance(self.error, kinds) or type(self.error).__module__.startswith(
            ("torch._subclasses", "torch.fx")
        )


def run(
    net: torch.nn.Module, specs: Sequence[Spec], batch: int, *, fake: bool, training: bool = True, repair: bool = True
) -> Pass:
    """One forward pass in training (or evaluation) mode, faults repaired and noted."""
    rec = Recorder(net, batch, repair=repair)
    done = Pass(rec, "fake" if fake else "real", training)
    started = time.perf_counter()
    saved: dict[int, int] = {}
    own = {p.untyped_storage()._cdata for p in net.parameters()} if not fake else set()

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in saved and storage._cdata not in own and not isinstance(tensor, torch.nn.Parameter):
            saved[storage._cdata] = storage.nbytes()
            row = rec.rows.get(id(rec.stack[-1][1])) if rec.stack else None
            if row is not None:
                row.activation_bytes += storage.nbytes()
        return tensor

    net.train(training)
    places.made_lately.clear()
    with contextlib.ExitStack() as stack:
        stack.enter_context(kept(net))
        mode = FakeTensorMode(allow_non_fake_inputs=True) if fake else None
        if mode is not None:
            stack.enter_context(faked(net, mode))
            own |= {p.untyped_storage()._cdata for p in net.parameters()}
        args, kwargs = tensors(specs, batch, values=not fake)
        for tensor in tensors_in((args, kwargs)):
            rec.inputs[tensor] = True
        rec.flow.begin(net, tensors_in((args, kwargs)), plain_tensors(net))
        stack.enter_context(rec.watching(before_call))
        stack.enter_context(rec.flow.watching())
        stack.enter_context(Ops(rec, mode))
        stack.enter_context(Functions(rec))
        stack.enter_context(torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor))
        try:
            done.output = net(*args, **kwargs)
        except Exception as error:
            done.error = error
        else:
            rec.flow.finish(net, done.output)
    done.activation_bytes = sum(saved.values())
    done.seconds = time.perf_counter() - started
    return done


def plain(net: torch.nn.Module, specs: Sequence[Spec], batch: int) -> BaseException | None:
    """The exception of a real forward with nothing between the user's code and torch; None where it runs."""
    from dldoctor.facts.model.inside.functions import OnCpu

    net.train()
    with OnCpu():
        args, kwargs = tensors(specs, batch, values=True)
        try:
            net(*args, **kwargs)
        except Exception as error:
            return error
    return None


def make_without_memory(make: Callable[[], torch.nn.Module]) -> torch.nn.Module:
    """A network that is too large to be made for real: only what is small and depends on nothing has values."""
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    with mode, Ops(Recorder(torch.nn.Identity(), 1, counting=False), mode):
        return make()


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an allocation failed."""
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError)
        and any(text in str(error) for text in ("can't allocate memory", "not enough memory", "Cannot allocate memory"))
    )


@contextlib.contextmanager
def kept(net: torch.nn.Module) -> Iterator[None]:
    """What forward leaves on its modules, such as a mask that it keeps for the next call, is gone afterwards."""
    before = [(module, dict(vars(module))) for module in net.modules()]
    try:
        yield
    finally:
        for module, attributes in before:
            for name in [name for name in vars(module) if name not in attributes]:
                del module.__dict__[name]
            module.__dict__.update(attributes)


@contextlib.contextmanager
def faked(net: torch.nn.Module, mode: FakeTensorMode) -> Iterator[None]:
    """Every parameter and buffer without memory while this lasts; ties stay ties. Enters the mode."""
    memo: dict[int, Any] = {}
    before: list[tuple[dict[str, Any], str, Any]] = []
    flat: list[tuple[Any, Any]] = []

    def without_memory(tensor: torch.Tensor) -> torch.Tensor:
        if id(tensor) not in memo:
            made: torch.Tensor = (
                torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype)
                if isinstance(tensor, FakeTensor) or tensor.device.type != "cpu"  # all poses as the CPU's
                else mode.from_tensor(tensor.detach())
            )
            if isinstance(tensor, torch.nn.Parameter):
                made = torch.nn.Parameter(made, requires_grad=tensor.requires_grad)
            memo[id(tensor)] = made
        return memo[id(tensor)]  # type: ignore[no-any-return]  # it holds what from_tensor made

    def swap() -> None:
        for module in net.modules():
            for table in (module._parameters, module._buffers):
                for name, tensor in table.items():
                    if tensor is not None:
                        before.append((table, name, tensor))
                        table[name] = without_memory(tensor)  # type: ignore[assignment]  # torch ships no type for it
            if isinstance(module, torch.nn.RNNBase):
                flat.append((module, module._flat_weights))
                module._flat_weights = [getattr(module, name) for name in module._flat_weights_names]

    try:
        with mode:
            swap()
            yield
    finally:
        for table, name, tensor in before:
            table[name] = tensor
        for module, weights in flat:
            module._flat_weights = weights


def final_fault(done: Pass) -> ForwardFault:
    """The exception that ended the pass, at the user's line."""
    error = done.error
    assert error is not None  # asked for after a failure alone
    frames = user_frames(error.__traceback__)
    text = str(error).strip()
    shown = f"{type(error).__name__}: {text.splitlines()[0]}" if text else type(error).__name__
    layer = done.rec.raised[1] if done.rec.raised is not None and done.rec.raised[0] is error else ""
    if not frames:
        return ForwardFault(shown, layer, None, "", "", (), repaired=False)
    last = frames[-1]
    import linecache

    place = Place(last["path"], last["line"], linecache.getline(last["path"], last["line"]).rstrip("\n"))
    return ForwardFault(shown, layer, place, last["function"], "", tuple(last["locals"].items()), repaired=False)


def fits_for_real(net: torch.nn.Module) -> bool:
    """Whether there are real parameters, and a tiny pass with them stays small."""
    if any(isinstance(p, FakeTensor) for p in net.parameters()):
        return False
    return (
        3 * sum(p.numel() * p.element_size() for p in net.parameters() if not torch.nn.parameter.is_lazy(p))
        < REAL_LIMIT
    )


def initialise(net: torch.nn.Module) -> None:
    """Give the parameters the values that their making skipped."""
    with torch.no_grad():
        for module in net.modules():
            reset = getattr(module, "reset_parameters", None)
            if callable(reset) and not any(torch.nn.parameter.is_lazy(p) for p in module._parameters.values()):  # type: ignore[arg-type]  # torch ships no type for it
                with contextlib.suppress(Exception):
                    reset()
