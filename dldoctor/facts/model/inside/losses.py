"""The criterion, run for real on small tensors in the shape of the network's output."""

from __future__ import annotations

import inspect
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812  # the field's own name for it
from torch.utils._pytree import tree_map

from dldoctor.child import UserError
from dldoctor.facts.model.inside import places
from dldoctor.facts.model.inside.ends import main_output
from dldoctor.facts.model.inside.functions import Functions
from dldoctor.facts.model.inside.inputs import Spec
from dldoctor.facts.model.inside.recorder import Producer, Recorder
from dldoctor.facts.model.records.forward import Place
from dldoctor.facts.model.records.loss import LossCall, LossRun
from dldoctor.facts.user_code import load, user_frames

_SHORT = {
    "bce": "binary_cross_entropy",
    "bce_with_logits": "binary_cross_entropy_with_logits",
    "ce": "cross_entropy",
    "mse": "mse_loss",
    "l1": "l1_loss",
    "nll": "nll_loss",
    "mae": "l1_loss",
    "smooth_l1": "smooth_l1_loss",
    "huber": "huber_loss",
    "bcewithlogits": "binary_cross_entropy_with_logits",
    "kl_div": "kl_div",
}
_INDEXED = frozenset(("cross_entropy", "nll_loss"))
_WATCHED = frozenset(("cross_entropy", "nll_loss", "binary_cross_entropy", "binary_cross_entropy_with_logits"))
_FUNCTIONS = {
    name
    for name, value in vars(F).items()
    if inspect.isfunction(value) and {"input", "target"} <= set(inspect.signature(value).parameters)
}
#: entries up to which an output is made for real
_LARGEST = 50_000_000


def resolve(name: str, folder: str) -> tuple[Any, str]:
    """The criterion that `--loss` means, and the function of torch it is (empty for the user's own).

    Raises:
        UserError: there is no such loss; the message names the nearest.
    """
    if ":" in name:
        found = load(name, folder)
        if inspect.isclass(found) and issubclass(found, torch.nn.Module):
            found = found()
        if inspect.isfunction(found) and not [
            p
            for p in inspect.signature(found).parameters.values()
            if p.default is p.empty and p.kind is not p.VAR_POSITIONAL
        ]:
            found = found()
        if not callable(found):
            raise UserError(f"{name}: is a {type(found).__name__}; name a criterion or a function f(output, target)")
        return found, ""
    plain = name.removeprefix("nn.").removeprefix("torch.nn.").removeprefix("F.")
    if plain.endswith("Loss") and hasattr(torch.nn, plain):
        return getattr(torch.nn, plain)(), _function_of_class(plain)
    key = plain.lower().replace("-", "_")
    for candidate in (key, f"{key}_loss", _SHORT.get(key, ""), _SHORT.get(key.removesuffix("_loss"), "")):
        if candidate in _FUNCTIONS:
            return getattr(F, candidate), candidate
    import difflib

    close = difflib.get_close_matches(key, sorted(_FUNCTIONS | set(_SHORT)), n=1)
    raise UserError(
        f"--loss {name}: no such loss in torch.nn.functional"
        f"{f' (did you mean {close[0]}?)' if close else ''}; your own is losses.py:criterion"
    )


def _function_of_class(name: str) -> str:
    by_class = {
        "CrossEntropyLoss": "cross_entropy",
        "NLLLoss": "nll_loss",
        "BCELoss": "binary_cross_entropy",
        "BCEWithLogitsLoss": "binary_cross_entropy_with_logits",
    }
    return by_class.get(name, name)


class _Losses(Functions):
    """Notes what arrives at each loss function."""

    def __init__(self, recorder: Recorder, from_model: list[Producer]) -> None:
        super().__init__(recorder)
        self.from_model = from_model
        self.calls: list[LossCall] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(func, "__name__", "")
        if name in _WATCHED:
            self.see(name, args, kwargs or {})
        return super().__torch_function__(func, types, args, kwargs)

    def see(self, name: str, args: Any, kwargs: dict[str, Any]) -> None:
        x = args[0] if args else kwargs.get("input")
        y = args[1] if len(args) > 1 else kwargs.get("target")
        if not isinstance(x, torch.Tensor) or not isinstance(y, torch.Tensor):
            return
        producer = self.rec.producer(x)
        in_model = producer is not None and any(producer is other for other in self.from_model)
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
                producer.place if producer and producer.place else places.current_place(),
            )
        )


def run(criterion: Any, shown: str, function: str, rec: Recorder, output: Any, target: Spec | None) -> LossRun | None:
    """Forward and backward of the criterion; None where there is nothing to compare or no target is known."""
    main = main_output(output)
    if (
        (main is None and function)
        or (target is None and not function)
        or (main is not None and main.numel() > _LARGEST)
    ):
        return None
    from_model: list[Producer] = []
    own = Recorder(
        criterion if isinstance(criterion, torch.nn.Module) else torch.nn.Identity(), rec.batch, repair=False
    )

    def real(value: Any) -> Any:
        if not isinstance(value, torch.Tensor):
            return value
        producer = rec.producer(value)
        made = _plausible(value, producer)
        # Known by its making, or by having come out of the network with nothing known about it.
        origin = producer or Producer("", "", None)
        from_model.append(origin)
        own.producers[made] = origin
        return made

    given = real(main) if function else tree_map(real, output)
    compared = target.tensor(rec.batch, values=True) if target is not None else _derived(function, given)
    if compared is None:
        return None
    if target is not None and not compared.is_floating_point():
        compared = torch.zeros_like(compared)  # class 0 is in every range
    watch = _Losses(own, from_model)
    error, place, value = "", None, None
    try:
        with watch:
            loss = criterion(given, compared)
            if isinstance(loss, torch.Tensor):
                (loss if loss.dim() == 0 else loss.sum()).backward()  # type: ignore[no-untyped-call]  # torch ships no type for it
                value = float(loss.detach().sum()) if loss.numel() == 1 else None
    except Exception as problem:
        error = f"{type(problem).__name__}: {str(problem).strip().splitlines()[0] if str(problem).strip() else ''}"
        frames = user_frames(problem.__traceback__)
        place = Place(frames[-1]["path"], frames[-1]["line"]) if frames else None
    return LossRun(shown, not function, tuple(watch.calls), target is not None, rec.batch, error, place, value)


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
    return made.requires_grad_()


def _derived(function: str, output: torch.Tensor) -> torch.Tensor | None:
    """A target of the kind that the function wants, where none was told."""
    if function in _INDEXED:
        return torch.zeros((output.shape[0], *output.shape[2:]), dtype=torch.int64) if output.dim() > 1 else None
    return torch.zeros_like(output).detach()


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
