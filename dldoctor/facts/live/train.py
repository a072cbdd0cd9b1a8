"""Child side: a short real training of the user's model on the user's data."""

from __future__ import annotations

import copy
import itertools
import math
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch.optim.optimizer import register_optimizer_step_post_hook
from torch.utils.data import DataLoader

from dldoctor.child import UserError
from dldoctor.facts.live import setup, watch
from dldoctor.facts.live.pull import failure, raised_by_us
from dldoctor.facts.user_code import load

Send = Callable[[str, Any], None]
#: parameters beyond which no copy is kept for the tests that need a fresh start
_COPIED = 200_000_000
_OVERFIT_STEPS = 40


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
        self.parameters = dict(self.model.named_parameters())
        self.fresh = None
        if sum(p.numel() for p in self.parameters.values()) <= _COPIED:
            self.fresh = copy.deepcopy(self.model.state_dict())
        self.optimizer = setup.optimizer(asked, self.model)
        self.step = load(asked["step"], asked["folder"]) if asked["step"] else None
        self.loss_name, self.loss = asked["loss"] or "", setup.loss(asked)
        self.graphs, self.updates = watch.GraphWatch(), watch.UpdateWatch()
        self.steps: list[dict[str, Any]] = []
        self.with_gradient: set[str] = set()
        self.called: set[str] = set()
        self.first_batch: Any = None
        self.classes: int | None = None
        self.non_finite: dict[str, Any] | None = None

    def about(self) -> dict[str, Any]:
        cuda = self.device.type == "cuda"
        return {
            "device": str(self.device),
            "device_name": torch.cuda.get_device_name(self.device) if cuda else "CPU",
            "loss": self.loss_name,
            "classes": self.classes,
            "batch": self.loader.batch_size or self.asked["batch"],
            "workers": self.loader.num_workers,
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

    def output(self, inputs: Any) -> Any:
        """The model's main output: the tensor, or the first one of a tuple or dict."""
        result = self.model(inputs)
        if isinstance(result, Mapping):
            result = result.get("out", next(iter(result.values())))
        if isinstance(result, (tuple, list)):
            result = result[0]
        return getattr(result, "logits", result)

    def choose_loss(self, output: torch.Tensor, target: Any) -> None:
        """Take the loss that fits the targets, when none was asked for."""
        if self.loss is None:
            name = setup.fitting_loss(output, target)
            self.loss_name, self.loss = name, setup.LOSSES[name]
        if self.loss_name == "cross_entropy" and output.ndim >= 2:
            self.classes = output.shape[1]

    def forward_loss(self, batch: Any) -> torch.Tensor:
        inputs, target = self.split(batch)
        output = self.output(inputs)
        self.choose_loss(output, target)
        assert self.loss is not None  # chosen just now
        return self.loss(output, target)

    def own_step(self, batch: Any) -> torch.Tensor:
        """The plain step: zero_grad, forward, loss, backward, step."""
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.forward_loss(batch)
        if not watch.finite(loss):
            self.locate(batch, "loss")
        loss.backward()  # type: ignore[no-untyped-call]  # torch has no types here
        self.optimizer.step()
        return loss

    def locate(self, batch: Any, what: str) -> None:
        """Where the first NaN or Inf of this batch is born; weights and input are looked at first."""
        if self.non_finite is not None:
            return
        step = len(self.steps)
        inputs = batch[0] if isinstance(batch, (tuple, list)) and batch else batch
        bad = next((name for name, p in self.parameters.items() if not watch.finite(p)), None)
        if not watch.finite(inputs):
            self.non_finite = {"step": step, "what": "input", "layer": ""}
        elif bad is not None:
            self.non_finite = {"step": step, "what": "weight", "layer": bad}
        else:
            found = None
            if self.step is None:
                with torch.no_grad():
                    found = watch.first_non_finite(self.model, lambda: self.output(inputs))
            self.non_finite = {"step": step, **(found or {"what": what, "layer": ""})}


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
        send("overfit", _overfit(training))
        _constant(training)


def _run(training: Training) -> None:
    handles = [
        module.register_forward_pre_hook(lambda m, _, name=name: training.called.add(name))
        for name, module in training.model.named_modules()
    ]
    stepped = register_optimizer_step_post_hook(lambda optimizer, *_: training.updates.after_step(optimizer))
    started = {name: p.detach().clone() for name, p in training.parameters.items()} if training.fresh else {}
    try:
        with watch.marked_backward(training.graphs), _before_backward(training.updates):
            _steps(training)
    finally:
        stepped.remove()
        for handle in handles:
            handle.remove()
    optimized = {id(p) for group in training.optimizer.param_groups for p in group["params"]}
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
        training.graphs.step = number
        began = time.perf_counter()
        batch = _moved(next(batches), training.device)
        _synchronise(training.device)
        arrived = time.perf_counter()
        if training.first_batch is None:
            training.first_batch = batch
        if not watch.finite(batch):
            training.locate(batch, "input")
        if training.step is None:
            loss = training.own_step(batch)
        else:
            loss = training.step(training.model, batch, training.optimizer)
        value = _value(loss)
        _synchronise(training.device)
        done = time.perf_counter()
        training.steps.append({"loss": value, "wait": arrived - began, "compute": done - arrived,
                               "gradient": _gradients(training)})  # fmt: skip
        if not math.isfinite(value):
            training.locate(batch, "loss")
            return
        if number % 5 == 4:
            training.send("steps", training.steps)


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


class _before_backward:  # noqa: N801  # used like a function
    """Tell the update watch about each backward before it runs."""

    def __init__(self, updates: watch.UpdateWatch) -> None:
        self.updates = updates

    def __enter__(self) -> None:
        self.original = torch.autograd.backward
        original, updates = self.original, self.updates

        def backward(*args: Any, **kwargs: Any) -> None:
            updates.before_backward()
            original(*args, **kwargs)

        torch.autograd.backward = backward

    def __exit__(self, *_: object) -> None:
        torch.autograd.backward = self.original


def _leak(training: Training) -> None:
    graphs = training.graphs
    old, steps = graphs.old(), len(training.steps)
    # a ring of a few losses is nobody's leak: most of the past must be alive
    if len(old) < 8 or len(old) < 0.6 * (steps - 8):
        return
    roots = {**watch.user_globals(), "model": training.model}
    holder, count = watch.holder_of(roots, old)
    about: dict[str, Any] = {"alive": len(old), "steps": steps, "holder": holder if count >= 5 else ""}
    line = watch.growing_line(holder) if count >= 5 else None
    if line:
        about |= {"path": line[0], "line": line[1], "text": line[2]}
    training.send("leak", about)


def _overfit(training: Training) -> list[dict[str, Any]]:
    """Learn one batch by heart from a fresh start: with the run's optimizer, then with milder ones until one works."""
    if training.fresh is None or training.first_batch is None or training.step is not None:
        return []
    attempts = []
    asked = training.asked
    rates = [
        (asked["optimizer"], training.optimizer.param_groups[0]["lr"]),
        ("adam", 1e-3),
        ("adam", 1e-2),
        ("adam", 1e-4),
    ]
    for name, rate in dict.fromkeys(rates):
        training.model.load_state_dict(training.fresh)
        training.model.train()
        optimizer = setup.optimizer({**asked, "optimizer": name, "learning_rate": rate}, training.model)
        losses = []
        for _ in range(_OVERFIT_STEPS):
            optimizer.zero_grad(set_to_none=True)
            loss = training.forward_loss(training.first_batch)
            loss.backward()  # type: ignore[no-untyped-call]  # torch has no types here
            optimizer.step()
            losses.append(_value(loss))
            if not math.isfinite(losses[-1]):
                break
        attempts.append({"optimizer": name, "learning_rate": rate, "losses": losses})
        if learned(losses):
            break
    return attempts


def learned(losses: list[float]) -> bool:
    """Whether the last losses lie clearly below the first ones."""
    if not all(math.isfinite(loss) for loss in losses):
        return False
    first, last = sum(losses[:3]) / 3, min(losses[-5:])
    return last < first - 0.05 * abs(first) - 1e-6 or abs(first) < 1e-3


def _constant(training: Training) -> None:
    """How far outputs differ over different inputs, in train and in eval mode: the larger of both."""
    if training.step is not None or training.first_batch is None:
        return
    inputs, _ = training.split(training.first_batch)
    if not isinstance(inputs, torch.Tensor) or inputs.shape[0] < 4:
        return
    flat = inputs.reshape(inputs.shape[0], -1)
    if len(torch.unique(flat.float(), dim=0)) < 4:
        return
    spreads = []
    with torch.no_grad():
        for mode in (True, False):
            training.model.train(mode)
            output = training.output(inputs)
            if (
                not isinstance(output, torch.Tensor)
                or not output.is_floating_point()
                or output.shape[:1] != inputs.shape[:1]
            ):
                return
            rows = output.float().reshape(output.shape[0], -1)
            size = float(rows.abs().max())
            spreads.append(float((rows.amax(0) - rows.amin(0)).max()) / size if size > 0 else 0.0)
    training.send("spread", max(spreads))
    training.send("samples", int(inputs.shape[0]))


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
