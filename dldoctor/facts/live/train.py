"""Child side: a short real training of the user's model on the user's data."""

from __future__ import annotations

import copy
import gc
import itertools
import math
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch.nn.parameter import UninitializedParameter
from torch.optim.optimizer import register_optimizer_step_post_hook
from torch.utils.data import DataLoader

from dldoctor.child import UserError
from dldoctor.facts.live import afterwards, setup, watch
from dldoctor.facts.live.failures import failure, raised_by_us
from dldoctor.resources import usable_cores

Send = Callable[[str, Any], None]
#: parameters beyond which no copy is kept for the tests that need a fresh start
_COPIED = 200_000_000
#: steps that tell something when the time is too short for all
_ENOUGH = 5


class Training:
    """The pieces of the run, and what it measures."""

    def __init__(self, asked: dict[str, Any], send: Send) -> None:
        self.asked = asked
        self.send = send
        torch.manual_seed(0)
        self.device = setup.device(asked["device"])
        self.loader = setup.loader(asked)
        self.model = setup.model(asked).to(self.device)
        self.model.train()
        self.loss_name, self.loss = setup.loss(asked)
        self.step = setup.step(asked)
        if self.step is None and any(isinstance(p, UninitializedParameter) for p in self.model.parameters()):
            with torch.no_grad():  # lazy layers take their sizes from the first batch
                self.model(self.split(_moved(next(_endless(self.loader)), self.device))[0])
        self.optimizer = setup.optimizer(asked, self.model)
        self.model.to(self.device)  # the optimizer's factory may have replaced a layer
        self.parameters = dict(self.model.named_parameters())
        own = {id(p) for p in self.parameters.values()}
        self.foreign = sum(id(p) not in own for group in self.optimizer.param_groups for p in group["params"])
        self.fresh = None
        if sum(p.numel() for p in self.parameters.values()) <= _COPIED:
            self.fresh = copy.deepcopy(self.model.state_dict())
        self.graphs, self.updates = watch.GraphWatch(), watch.UpdateWatch()
        self.steps: list[dict[str, Any]] = []
        self.with_gradient: set[str] = set()
        self.called: set[str] = set()
        self.first_batch: Any = None
        self.classes: int | None = None
        self.non_finite: dict[str, Any] | None = None
        self.unused: list[torch.Tensor] = []

    def spent(self) -> float:
        """The share of the time limit that is over, the start of the process included."""
        left: float = self.asked["until"] - time.time()
        return 1 - left / float(self.asked["time_limit"])

    def about(self) -> dict[str, Any]:
        cuda = self.device.type == "cuda"
        return {
            "device": str(self.device),
            "device_name": torch.cuda.get_device_name(self.device) if cuda else "CPU",
            "loss": self.loss_name,
            "classes": self.classes,
            "batch": self.loader.batch_size or self.asked["batch"],
            "workers": self.loader.num_workers,
            "cores": usable_cores(),
            "learning_rate": self.optimizer.param_groups[0]["lr"],
            "peak_memory": torch.cuda.max_memory_allocated(self.device) if cuda else None,
        }

    def split(self, batch: Any) -> tuple[Any, Any]:
        """Input and target of a batch."""
        if isinstance(batch, Mapping):
            keys = list(batch)
            target = next(
                (k for k in keys if k in ("target", "targets", "label", "labels", "y", "mask", "masks")), None
            )
            source = next((k for k in keys if k in ("image", "images", "x", "input", "inputs", "data")), None)
            if target is None or source is None:
                raise UserError(f"the batches are dicts of {', '.join(map(str, keys))}; give your own step with --step")
            return batch[source], batch[target]
        if isinstance(batch, (tuple, list)) and len(batch) == 2:
            return batch[0], batch[1]
        raise UserError("the batches are not (input, target) pairs; give your own step with --step train.py:train_step")

    def output(self, inputs: Any) -> torch.Tensor:
        """The model's main output: the tensor, or the first one of a tuple or dict; `unused` holds the others."""
        result = self.model(inputs)
        result = getattr(result, "logits", result)
        self.unused = []
        if isinstance(result, (Mapping, tuple, list)) and result:
            parts = list(result.values() if isinstance(result, Mapping) else result)
            result = result.get("out", parts[0]) if isinstance(result, Mapping) else parts[0]
            self.unused = [part for part in parts if isinstance(part, torch.Tensor) and part is not result]
        if not isinstance(result, torch.Tensor):
            kind = type(result).__name__
            raise UserError(
                f"{self.asked['target']}: its output is a {kind}, no tensor; give your own step with --step"
            )
        return result

    def choose_loss(self, output: torch.Tensor, target: Any) -> None:
        """Take the loss that fits the targets, when none was asked for."""
        if self.loss is None:
            self.loss_name, self.loss = setup.fitting_loss(output, target)
        if self.loss_name == "cross_entropy" and output.ndim >= 2:
            self.classes = output.shape[1]

    def forward_loss(self, batch: Any) -> torch.Tensor:
        inputs, target = self.split(batch)
        output = self.output(inputs)
        self.choose_loss(output, target)
        assert self.loss is not None  # chosen just now
        loss = self.loss(output, target)
        if not isinstance(loss, torch.Tensor) or loss.numel() != 1:
            form = f"tensor of shape {list(loss.shape)}" if isinstance(loss, torch.Tensor) else type(loss).__name__
            raise UserError(f"--loss {self.loss_name}: gives a {form}; a loss is a tensor of one element")
        return loss

    def own_step(self, batch: Any) -> torch.Tensor:
        """The plain step: zero_grad, forward, loss, backward, step."""
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.forward_loss(batch)
        if not watch.finite(loss):
            self.locate(batch)
        if not self.steps:
            self.follow_unused()
        loss.backward()  # type: ignore[no-untyped-call]  # torch has no types here
        broken = watch.broken_gradient(self.parameters)
        if broken and self.non_finite is None:
            self.non_finite = {"step": len(self.steps), "what": "gradient", "layer": broken}
        else:
            self.optimizer.step()
        return loss

    def follow_unused(self) -> None:
        """What only the other outputs use is trained by the user's own loss, not by ours."""
        reaching = [part.sum() for part in self.unused if part.requires_grad and part.is_floating_point()]
        trained = {name: p for name, p in self.parameters.items() if p.requires_grad}
        if reaching and trained:
            found = torch.autograd.grad(sum(reaching[1:], reaching[0]), list(trained.values()), retain_graph=True,
                                        allow_unused=True)  # fmt: skip
            self.with_gradient |= {name for name, g in zip(trained, found, strict=True) if g is not None}

    def locate(self, batch: Any) -> None:
        """Where the first NaN or Inf of this batch is born; weights and input are looked at first."""
        if self.non_finite is not None:
            return
        step = len(self.steps)
        bad = next((name for name, p in self.parameters.items() if not watch.finite(p)), None)
        if bad is not None:
            self.non_finite = {"step": step, "what": "weight", "layer": bad}
        elif not watch.finite(batch):
            self.non_finite = {"step": step, "what": "input", "layer": ""}
        else:
            found = None
            if self.step is None:
                with torch.no_grad():
                    found = watch.first_non_finite(self.model, lambda: self.output(self.split(batch)[0]))
            self.non_finite = {"step": step, **(found or {"what": "loss", "layer": ""})}


def train(asked: dict[str, Any], send: Send) -> None:
    """Train for a few steps and send what was measured, piece by piece."""
    training = Training(asked, send)
    send("about", training.about())
    try:
        _run(training)
    except UserError:
        raise
    except Exception as error:
        if raised_by_us(error):
            raise
        _flush(training)
        send("crash", failure(None, error))
        send("crash_layer", _failing_layer(training.model, error))
        return
    _flush(training)
    if training.non_finite is None:
        try:
            if found := afterwards.spread(training):
                send("spread", found[0])
                send("samples", found[1])
            send("overfit", afterwards.overfit(training))
        except Exception:  # trained well, but not made for being trained twice: then nothing is known
            return


def _run(training: Training) -> None:
    handles = []
    for name, module in training.model.named_modules():
        if isinstance(module, torch.jit.ScriptModule):  # takes no hooks
            training.called.add(name)
        else:
            handles.append(module.register_forward_pre_hook(lambda m, _, name=name: training.called.add(name)))
    if not isinstance(training.model, torch.jit.ScriptModule):
        handles.append(training.model.register_forward_hook(lambda _, __, output: training.graphs.mark_all(output)))
    stepped = register_optimizer_step_post_hook(lambda optimizer, *_: training.updates.after_step(optimizer))
    started = {name: p.detach().clone() for name, p in training.parameters.items()} if training.fresh else {}
    try:
        with watch.marked_backward(training.graphs), watch.before_backward(training.updates):
            _steps(training)
    finally:
        stepped.remove()
        for handle in handles:
            handle.remove()
    # the user's own step may use optimizers of its own
    optimized = training.updates.optimized or {
        id(p) for group in training.optimizer.param_groups for p in group["params"]
    }
    training.send("foreign", 0 if training.step else training.foreign)
    training.send("parameters", [
        {"name": name, "elements": p.numel(), "in_optimizer": id(p) in optimized,
         "gradient": name in training.with_gradient, "called": name.rpartition(".")[0] in training.called,
         "changed": name not in started or not torch.equal(p.detach(), started[name])}
        for name, p in training.parameters.items() if p.requires_grad
    ])  # fmt: skip
    _leak(training)


def _steps(training: Training) -> None:
    batches = _endless(training.loader)
    for number in range(training.asked["steps"]):
        if number >= _ENOUGH and training.spent() > 0.5:
            return  # slow, but that is no fault
        training.graphs.step = number
        began = time.perf_counter()
        batch = _moved(next(batches), training.device)
        _synchronise(training.device)
        arrived = time.perf_counter()
        if training.first_batch is None:
            training.first_batch = batch
        if training.step is None:
            loss = training.own_step(batch)
        else:
            loss = training.step(training.model, batch, training.optimizer)
        value = _value(loss)
        _synchronise(training.device)
        done = time.perf_counter()
        training.steps.append({"loss": value, "wait": arrived - began, "compute": done - arrived,
                               "gradient": _gradients(training)})  # fmt: skip
        if training.step is not None and training.non_finite is None:
            _spoiled(training, number)
        if not math.isfinite(value):
            training.locate(batch)
        if training.non_finite is not None:
            return
        if number % 5 == 4:
            training.send("steps", training.steps)


def _spoiled(training: Training, step: int) -> None:
    """A gradient that is not finite and went into the weights; a scaler of mixed precision skips such a step."""
    broken = watch.broken_gradient(training.parameters)
    if broken and not watch.finite(training.parameters[broken]):
        training.non_finite = {"step": step, "what": "gradient", "layer": broken}


def _flush(training: Training) -> None:
    training.send("steps", training.steps)
    training.send("about", training.about())
    training.send("non_finite", training.non_finite)
    training.send("updates", training.updates.updates)
    training.send("stale_updates", training.updates.stale)


def _value(loss: Any) -> float:
    if isinstance(loss, torch.Tensor) and loss.numel() == 1:
        return float(loss.detach())
    if isinstance(loss, (int, float)):
        return float(loss)
    if isinstance(loss, Mapping) and "loss" in loss:
        return _value(loss["loss"])
    raise UserError("--step must return the loss: a number, a tensor of one element, or a dict with 'loss'")


def _gradients(training: Training) -> float | None:
    total = 0.0
    seen = False
    for name, p in training.parameters.items():
        if p.grad is None or p.grad.is_sparse:
            continue
        norm = float(p.grad.detach().float().norm())
        seen = True
        total += norm * norm
        if norm > 0:
            training.with_gradient.add(name)
    return math.sqrt(total) if seen and math.isfinite(total) else None


def _leak(training: Training) -> None:
    graphs = training.graphs
    gc.collect()  # cycles are no leak
    old, steps = graphs.old(), len(training.steps)
    # a ring of a few losses is nobody's leak: most of the past must be alive
    if len(old) < 8 or len(old) < 0.6 * (steps - 8):
        return
    if watch.all_bounded(old):
        return
    roots = {**watch.user_globals(), "model": training.model}
    holder, count = watch.holder_of(roots, old)
    about: dict[str, Any] = {"alive": len(old), "steps": steps, "holder": holder if count >= 5 else ""}
    line = watch.growing_line(holder) if count >= 5 else None
    if line:
        about |= {"path": line[0], "line": line[1], "text": line[2]}
    training.send("leak", about)


def _endless(loader: DataLoader[Any]) -> Iterator[Any]:
    for _ in itertools.count():
        empty = True
        for batch in loader:
            empty = False
            yield batch
        if empty:
            raise UserError("the loader gives no batch: fewer samples than --batch, or an empty Dataset")


def _moved(batch: Any, device: torch.device) -> Any:
    if isinstance(batch, torch.Tensor):
        return batch.to(device)
    if isinstance(batch, Mapping):
        return {key: _moved(value, device) for key, value in batch.items()}
    if isinstance(batch, tuple) and hasattr(batch, "_fields"):
        return type(batch)(*(_moved(value, device) for value in batch))
    if isinstance(batch, (tuple, list)):
        return type(batch)(_moved(value, device) for value in batch)
    return batch


def _synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _failing_layer(model: torch.nn.Module, error: BaseException) -> str:
    """The innermost module of the model whose forward is on the traceback."""
    import traceback

    names = {id(module): name for name, module in model.named_modules()}
    found = ""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        owner = frame.f_locals.get("self")
        if isinstance(owner, torch.nn.Module) and id(owner) in names:
            found = f"{names[id(owner)] or 'the network'}, {type(owner).__name__}({owner.extra_repr()})"
    return found
