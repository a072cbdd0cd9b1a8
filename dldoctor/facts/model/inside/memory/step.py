"""One training step on tensors without memory, written down."""

from __future__ import annotations

import contextlib
import gc
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812  # the field's own name for it
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._pytree import tree_map

from dldoctor.facts.model.inside import passes
from dldoctor.facts.model.inside.dispatch import NeedsValues, tensors_in
from dldoctor.facts.model.inside.ends import main_output, named_outputs
from dldoctor.facts.model.inside.inputs import Spec, tensors
from dldoctor.facts.model.inside.memory import gpu_path
from dldoctor.facts.model.inside.memory.replay import Purpose, Trace
from dldoctor.facts.model.inside.memory.tape import CannotPredict, Tape, paths_of_calls
from dldoctor.facts.model.inside.recorder import Recorder

_INDEXED = ("cross_entropy", "nll_loss", "CrossEntropyLoss", "NLLLoss")


@dataclass(frozen=True)
class Plan:
    """What one step is."""

    net: torch.nn.Module
    specs: Sequence[Spec]
    #: f(output, target), and its name in torch.nn.functional (empty for the user's own); None to choose by the output
    criterion: tuple[Callable[..., Any], str] | None
    target: Spec | None
    optimizer: Callable[..., torch.optim.Optimizer]
    amp: torch.dtype | None = None
    #: forward and backward passes before the optimizer steps
    accumulate: int = 1
    #: on the monotonic clock: when to give up
    deadline: float = math.inf


@dataclass(frozen=True)
class Traced:
    """The step's events, and what had to be chosen."""

    trace: Trace
    #: "cross_entropy", or the stand-in that was taken
    loss: str
    recurrent: bool
    trained: bool


def run(plan: Plan, batch: int) -> Traced:
    """Forward, loss, backward, optimizer, zero_grad.

    Raises:
        CannotPredict: the step depends on values, or fails.
    """
    net = plan.net
    if any(torch.nn.parameter.is_lazy(tensor) for tensor in (*net.parameters(), *net.buffers())):
        raise CannotPredict("its lazy layers have no shapes before a first batch went through them")
    rec = Recorder(net, batch, repair=False, counting=False)
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    tape = Tape(rec, mode, batch, plan.deadline)
    path = gpu_path.GpuPath(tape)
    collecting = gc.isenabled()
    gc.disable()  # when it comes by is chance, and both traces must do the same
    try:
        with untouched(net), torch.random.fork_rng(devices=[]), passes.faked(net, mode), paths_of_calls(rec):
            net.train()
            _lay_out(net, tape)
            loss, trained = _step(plan, batch, tape, path)
            trace = tape.close()
    except CannotPredict:
        raise
    except Exception as error:
        raise CannotPredict(_reason(error, batch)) from error
    finally:
        if collecting:
            gc.enable()
    if rec.value_dependent:
        at = next(iter(rec.value_dependent))
        where = f", as at {at.path}:{at.line}" if at else ""
        raise CannotPredict(f"what the step does depends on values, which tensors without memory do not have{where}")
    return Traced(trace, loss, path.recurrent, trained)


def _reason(error: Exception, batch: int) -> str:
    text = str(error).strip().splitlines()
    said = f"{type(error).__name__}: {text[0][:200]}" if text else type(error).__name__
    library = type(error).__module__.startswith(("torch._subclasses", "torch.fx"))
    if isinstance(error, NeedsValues) or library or "numpy()" in said:
        return f"the step needs values, which tensors without memory do not have ({said})"
    return f"the step fails at batch {batch} on tensors without memory ({said})"


def _lay_out(net: torch.nn.Module, tape: Tape) -> None:
    """Parameters and buffers, in the order in which `.to("cuda")` moves them: children first."""
    for path, module in _from_the_leaves(net, ""):
        for table, purpose in ((module._parameters, Purpose.PARAMETERS), (module._buffers, Purpose.BUFFERS)):
            for tensor in table.values():
                if tensor is not None:
                    tape.see(tensor, purpose, path)


def _from_the_leaves(module: torch.nn.Module, path: str) -> Iterator[tuple[str, torch.nn.Module]]:
    for name, child in module.named_children():
        yield from _from_the_leaves(child, f"{path}.{name}" if path else name)
    yield path, module


def _step(plan: Plan, batch: int, tape: Tape, path: gpu_path.GpuPath) -> tuple[str, bool]:
    trainable = [p for p in plan.net.parameters() if p.requires_grad]
    with tape:
        optimizer = plan.optimizer(trainable) if trainable else None
    owners = {id(p): name.rpartition(".")[0] for name, p in plan.net.named_parameters()}
    said, trained = "", False
    for _ in range(plan.accumulate):
        args, kwargs = tensors(plan.specs, batch, values=False)
        with tape, path, path.patches():
            for tensor in tensors_in((args, kwargs)):
                tape.see(tensor, Purpose.INPUTS, "")
            with gpu_path.autocast(plan.amp):
                output = plan.net(*args, **kwargs)
                # what outlives forward waits for backward; the rest is gone by now or soon
                _settle(tape)
                loss, said = _loss(plan, output, batch, tape)
            if loss is None or not loss.requires_grad:
                return said, False
            del output
            tape.backward = True
            loss.backward()  # type: ignore[no-untyped-call]  # torch ships no type for it
            tape.backward = False
            del loss, args, kwargs
            for p in trainable:
                tape.purpose([p.grad], Purpose.GRADIENTS, owners[id(p)])
            trained = True
    if optimizer is not None:
        with tape, path:
            optimizer.step()
            for holder, state in optimizer.state.items():
                tape.purpose(state.values(), Purpose.OPTIMIZER, owners[id(holder)])
            optimizer.zero_grad(set_to_none=True)
    tape.held = optimizer  # its state stays where it is while the next step runs
    return said, trained


def _settle(tape: Tape) -> None:
    purposes = tape.trace.purposes
    for number in tape.known.values():
        if purposes[number] == Purpose.TEMPORARIES:
            purposes[number] = Purpose.ACTIVATIONS


def _loss(plan: Plan, output: Any, batch: int, tape: Tape) -> tuple[torch.Tensor | None, str]:
    """The loss as one number, and what it is called."""
    floats = [t for _, t in named_outputs(output) if t.is_floating_point() and t.requires_grad]
    if not floats:
        return None, ""
    if plan.criterion is None:
        return _stand_in(floats, tape)
    function, name = plan.criterion
    if not name:  # the user's own takes the whole output
        target = plan.target.tensor(batch, values=False) if plan.target else None
        if target is None:
            target = tree_map(lambda t: torch.zeros_like(t) if isinstance(t, torch.Tensor) else t, main_output(output))
        return _number(function(output, _seen(tape, target))), getattr(function, "__name__", type(function).__name__)
    main = main_output(output)
    losses = []
    for tensor in [main] if main is not None else floats:
        target = plan.target.tensor(batch, values=False) if plan.target else _target_of(name, tensor)
        losses.append(_number(function(tensor, _seen(tape, target))))
    return sum(losses[1:], losses[0]), name


def _target_of(name: str, output: torch.Tensor) -> torch.Tensor:
    if name in _INDEXED and output.dim() > 1:
        return torch.empty((output.shape[0], *output.shape[2:]), dtype=torch.int64)
    return torch.empty(output.shape, dtype=output.dtype)


def _stand_in(outputs: Sequence[torch.Tensor], tape: Tape) -> tuple[torch.Tensor, str]:
    """Cross entropy over what looks like class scores, squared error over the rest; a single number is a loss."""
    numbers = [t for t in outputs if t.dim() == 0]
    if numbers:
        return sum(numbers[1:], numbers[0]), "the network's own"
    total, names = None, []
    for output in outputs:
        classes = output.dim() in (2, 4) and output.shape[1] > 1
        function, name = (F.cross_entropy, "cross_entropy") if classes else (F.mse_loss, "mse_loss")
        loss = function(output, _seen(tape, _target_of(name, output)))
        total = loss if total is None else total + loss
        names.append(name)
    assert total is not None  # there is an output
    return total, names[0]


def _seen(tape: Tape, target: Any) -> Any:
    tape.purpose(tensors_in(target), Purpose.INPUTS, "")
    return target


def _number(loss: Any) -> torch.Tensor:
    tensor = loss if isinstance(loss, torch.Tensor) else sum(tensors_in(loss))
    if not isinstance(tensor, torch.Tensor):
        raise CannotPredict(f"the loss is a {type(loss).__name__}, no tensor")
    return tensor if tensor.dim() == 0 else tensor.sum()


@contextlib.contextmanager
def untouched(net: torch.nn.Module) -> Iterator[None]:
    """What forward leaves in its modules' attributes (caches, counters, flags) is taken back afterwards."""
    before = [
        (attributes, dict(attributes), [(held, held.copy()) for held in attributes.values() if _is_plain(held)])
        for attributes in map(vars, net.modules())
    ]
    try:
        yield
    finally:
        for attributes, values, contents in before:
            attributes.clear()
            attributes.update(values)
            for held, content in contents:
                held.clear()
                held.extend(content) if isinstance(held, list) else held.update(content)


def _is_plain(value: Any) -> bool:
    return type(value) in (dict, list, set)
