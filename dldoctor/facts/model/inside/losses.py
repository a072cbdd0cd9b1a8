"""The criterion, run for real on the network's output."""

from __future__ import annotations

import functools
import inspect
from typing import Any

import torch
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.weak import WeakTensorKeyDictionary

from dldoctor.facts.model.inside import places
from dldoctor.facts.model.inside.criteria import FUNCTIONS
from dldoctor.facts.model.inside.dispatch import tensors_in
from dldoctor.facts.model.inside.ends import main_output
from dldoctor.facts.model.inside.functions import Functions
from dldoctor.facts.model.inside.inputs import Spec
from dldoctor.facts.model.inside.recorder import Producer, Recorder
from dldoctor.facts.model.records.forward import Place, Sides
from dldoctor.facts.model.records.loss import Broadcast, LossCall, LossRun, Range
from dldoctor.facts.user_code import user_frames

_INDEXED = frozenset(("cross_entropy", "nll_loss", "multi_margin_loss"))
#: entries up to which an output is made for real
_LARGEST = 50_000_000
_PAIRWISE = frozenset(("sub", "__sub__", "__rsub__", "rsub", "subtract", "mul", "__mul__", "__rmul__", "eq", "__eq__"))


class _Losses(Functions):
    """Notes what arrives at each loss function, and from where."""

    def __init__(self, recorder: Recorder, from_model: list[Producer], real_output: bool, real_target: bool) -> None:
        super().__init__(recorder)
        self.from_model = from_model
        self.real_output, self.real_target = real_output, real_target
        self.calls: list[LossCall] = []
        self.broadcasts: list[Broadcast] = []
        #: whether it was the last of the calls that raised
        self.failed = False
        #: what a tensor was made from: `output:0`, ..., `target`
        self.origins: WeakTensorKeyDictionary = WeakTensorKeyDictionary()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(func, "__name__", "")
        if name in FUNCTIONS:
            self.see(name, func, args, kwargs or {})
        try:
            output = super().__torch_function__(func, types, args, kwargs)
        except Exception:
            self.failed = name in FUNCTIONS
            raise
        if name in ("__get__", "size", "dim", "__set__", "numel", "detach", "item", "detach_"):
            if name in ("detach", "detach_") and isinstance(output, torch.Tensor):
                self.origins[output] = self.origins_of(args)
            return output
        if name in _PAIRWISE and len(args) > 1:
            self.see_pair(name, args[0], args[1], output)
        origins = self.origins_of((args, kwargs))
        if origins:
            for tensor in tensors_in(output):
                self.origins[tensor] = origins
        return output

    def origins_of(self, values: Any) -> frozenset[str]:
        found: frozenset[str] = frozenset()
        for tensor in tensors_in(values):
            if tensor in self.origins:
                found |= self.origins[tensor]
        return found

    def see(self, name: str, func: Any, args: Any, kwargs: dict[str, Any]) -> None:
        try:
            given = _signature(func).bind_partial(*args, **kwargs).arguments
        except TypeError:
            return
        x, y = given.get("input"), given.get("target")
        if not isinstance(x, torch.Tensor) or not isinstance(y, torch.Tensor):
            return
        producer = self.rec.producer(x)
        in_model = producer is not None and any(producer is other for other in self.from_model)
        left, right = self.origins_of(x), self.origins_of(y)
        real = (self.real_target or "target" not in right) and (
            self.real_output or not any(origin.startswith("output") for origin in right)
        )
        ignore = int(given.get("ignore_index", -100))
        called = places.current_place()
        self.calls.append(
            LossCall(
                name,
                tuple(x.shape),
                _name(x.dtype),
                tuple(y.shape),
                _name(y.dtype),
                producer.kind if producer else "",
                in_model,
                producer.layer if producer else "",
                producer.place if producer and producer.place else called,
                called,
                _range(x) if self.real_output and left and "target" not in left else None,
                _range(y, ignore if name in _INDEXED else None) if real and right else None,
                y.requires_grad,
                "told" if right == {"target"} else "output" if right and not right & left else "",
                _sides(given.get("weight")),
                _sides(given.get("pos_weight")),
                str(given.get("reduction", "mean")),
                ignore,
                _chance(name, x) if self.real_output and left else None,
            )
        )

    def see_pair(self, name: str, a: Any, b: Any, output: Any) -> None:
        """[B, 1] against [B] gives [B, B]: each sample is compared with all targets."""
        if not all(isinstance(t, torch.Tensor) for t in (a, b, output)):
            return
        batch = self.rec.batch
        for x, y in ((a, b), (b, a)):
            if {x.shape, y.shape} != {torch.Size((batch, 1)), torch.Size((batch,))}:
                continue
            if self.origins_of(y) == {"target"} and any(o.startswith("output") for o in self.origins_of(x)):
                operation = name.strip("_").removeprefix("r") if name != "rsub" else "sub"
                self.broadcasts.append(
                    Broadcast(operation, tuple(x.shape), tuple(y.shape), tuple(output.shape), places.current_place())
                )
                return


def run(
    criterion: Any,
    shown: str,
    function: str,
    rec: Recorder,
    output: Any,
    real: Any,
    target: Spec | None,
    batch_target: Any,
) -> LossRun | None:
    """Forward and backward of the criterion; None where there is nothing to compare or no target is known.

    `real` is the output of a real forward, in the structure of `output`, where there is one; `batch_target` the target
    of real items.
    """
    told = target is not None or batch_target is not None
    main = main_output(output)
    if (main is None and function) or (not told and not function):
        return None
    if main is not None and main.numel() > _LARGEST:
        return None
    tensors = [leaf for leaf in tree_leaves(output) if isinstance(leaf, torch.Tensor)]
    values = _same_structure(tensors, real)
    from_model: list[Producer] = []
    own = Recorder(
        criterion if isinstance(criterion, torch.nn.Module) else torch.nn.Identity(), rec.batch, repair=False
    )
    watch = _Losses(own, from_model, values is not None, batch_target is not None)

    def made(value: Any) -> Any:
        if not isinstance(value, torch.Tensor):
            return value
        producer = rec.producer(value)
        index = next(i for i, other in enumerate(tensors) if other is value)
        result = _plausible(value, producer) if values is None else values[index].detach().clone()
        if result.is_floating_point() or result.is_complex():
            result.requires_grad_()
        # Known by its making, or by having come out of the network with nothing known about it.
        origin = producer or Producer("", "", None)
        from_model.append(origin)
        own.producers[result] = origin
        watch.origins[result] = frozenset((f"output:{index}",))
        return result

    given = made(main) if function else tree_map(made, output)
    compared = batch_target
    if compared is None:
        compared = target.tensor(rec.batch, values=True) if target is not None else _derived(function, given)
        if compared is None:
            return None
        if target is not None and not compared.is_floating_point():
            compared = torch.zeros_like(compared)  # class 0 is in every range
        elif target is not None and not compared.is_complex():
            compared = compared.sigmoid()  # a probability is a number that every loss takes
    for tensor in tensors_in(compared):
        watch.origins[tensor] = frozenset(("target",))
    if function in _INDEXED and main is not None:
        given, compared = _tokens(given, compared, main, rec, told)
        watch.origins[given] = frozenset(("output:0",))
        own.producers[given] = from_model[0]
        watch.origins[compared] = frozenset(("target",))
    error, place, value, result, raised_in = "", None, None, None, ""
    try:
        with watch:
            loss = criterion(given, compared)
            if isinstance(loss, torch.Tensor):
                result = tuple(loss.shape)
                value = float(loss.detach().sum()) if loss.numel() == 1 else None
                raised_in = "backward"
                (loss if loss.dim() == 0 else loss.sum()).backward()  # type: ignore[no-untyped-call]  # torch ships no type for it
    except Exception as problem:
        error = f"{type(problem).__name__}: {str(problem).strip().splitlines()[0] if str(problem).strip() else ''}"
        raised_in = raised_in or ("call" if watch.failed else "elsewhere")
        frames = user_frames(problem.__traceback__)
        place = Place(frames[-1]["path"], frames[-1]["line"], frames[-1].get("text") or "") if frames else None
    return LossRun(
        shown,
        not function,
        tuple(watch.calls),
        told,
        rec.batch,
        error,
        place,
        value,
        values is not None,
        batch_target is not None,
        result,
        _defined(criterion) if not function else None,
        tuple(watch.broadcasts),
        raised_in if error else "",
    )


def _same_structure(tensors: list[torch.Tensor], real: Any) -> list[torch.Tensor] | None:
    """The tensors of a real output, when they are of the same shapes."""
    leaves = [leaf for leaf in tree_leaves(real) if isinstance(leaf, torch.Tensor)]
    return leaves if leaves and [t.shape for t in leaves] == [t.shape for t in tensors] else None


def _tokens(
    given: torch.Tensor, compared: torch.Tensor, main: torch.Tensor, rec: Recorder, told: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """The classes of each token stand on the last axis: [B, T, C] is handed to the loss as [B * T, C], as a training
    loop does."""
    producer = rec.producer(main)
    on_axis_one = producer is not None and producer.kind in ("conv", "map")
    if given.dim() != 3 or (compared.shape != given.shape[:-1] if told else on_axis_one):
        return given, compared
    if not told:
        compared = torch.zeros(tuple(given.shape[:-1]), dtype=torch.int64)
    return given.flatten(0, 1), compared.flatten()


def _plausible(value: torch.Tensor, producer: Producer | None) -> torch.Tensor:
    if not value.is_floating_point():
        return torch.zeros(tuple(value.shape), dtype=value.dtype)
    made = torch.randn(tuple(value.shape), dtype=value.dtype)
    kind = producer.kind if producer else ""
    if kind in ("softmax", "sigmoid"):
        made = made.sigmoid()
    elif kind in ("log_softmax", "logsigmoid"):
        made = torch.nn.functional.logsigmoid(made)
    elif kind == "relu":
        made = made.relu()
    return made


def _derived(function: str, output: torch.Tensor) -> torch.Tensor | None:
    """A target of the kind that the function wants, where none was told."""
    if function in _INDEXED:
        return torch.zeros((output.shape[0], *output.shape[2:]), dtype=torch.int64) if output.dim() > 1 else None
    if function == "multilabel_margin_loss":
        return torch.full(tuple(output.shape), -1, dtype=torch.int64)
    return torch.zeros_like(output).detach()


@functools.cache
def _signature(function: Any) -> inspect.Signature:
    return inspect.signature(function)


def _range(tensor: torch.Tensor, leave_out: int | None = None) -> Range | None:
    values = tensor.detach()
    if values.is_complex():
        return None
    if leave_out is not None and not values.is_floating_point():
        values = values[values != leave_out]
    if values.numel() == 0:
        return None
    return float(values.min()), float(values.max())


def _chance(name: str, x: torch.Tensor) -> float | None:
    """The loss when every class is equally often right."""
    if name not in ("cross_entropy", "nll_loss") or x.dim() < 2 or not x.is_floating_point() or x.shape[1] < 2:
        return None
    values = x.detach().double()
    logs = values.log_softmax(1) if name == "cross_entropy" else values
    return float(-logs.mean())


def _sides(tensor: Any) -> Sides | None:
    return tuple(tensor.shape) if isinstance(tensor, torch.Tensor) else None


def _defined(criterion: Any) -> Place | None:
    """The first line of a function or class of the user's, or the line that makes a module of torch's."""
    code = criterion if inspect.isfunction(criterion) else type(criterion)
    try:
        path, line = inspect.getsourcefile(code), inspect.getsourcelines(code)[1]
    except (OSError, TypeError):
        path, line = None, 0
    if path and places.users(path):
        return places.place_of(path, line)
    return places.made_at(criterion) if isinstance(criterion, torch.nn.Module) else None


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
