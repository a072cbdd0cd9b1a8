"""The optimizer that `--optimizer` means: torch's own, stepped as on a GPU, or one whose state is known by its rule."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch

from dldoctor.child import UserError

#: other names, and what they set
_ALIASES: dict[str, tuple[str, dict[str, Any]]] = {
    "momentum": ("SGD", {"momentum": 0.9}),
    "sgd_momentum": ("SGD", {"momentum": 0.9}),
    "nesterov": ("SGD", {"momentum": 0.9, "nesterov": True}),
    "amsgrad": ("Adam", {"amsgrad": True}),
}
#: a block of 256 values in 8 bits shares one float32; small parameters keep their 32 bits
_BLOCK, _KEPT_WHOLE = 256, 4096

#: the bytes of each tensor of state that an optimizer keeps for one parameter
Rule = Callable[[torch.Tensor], Sequence[int]]


def _times(count: int) -> Rule:
    return lambda p: [p.numel() * p.element_size()] * count


def _in_8_bits(count: int) -> Rule:
    def rule(p: torch.Tensor) -> list[int]:
        if p.numel() < _KEPT_WHOLE:
            return [4 * p.numel()] * count
        return [p.numel(), 4 * math.ceil(p.numel() / _BLOCK)] * count

    return rule


def _factored(p: torch.Tensor) -> list[int]:
    """A sum for each row and each column; one value each for a vector."""
    if p.dim() < 2:
        return [p.numel() * 4]
    return [4 * p.numel() // p.shape[-1], 4 * p.numel() // p.shape[-2]]


#: those that torch has not, or that can't be stepped without values
_RULES: dict[str, Rule] = {
    "lion": _times(1),
    "lamb": _times(2),
    "lars": _times(1),
    "muon": _times(1),
    "sophia": _times(2),
    "adan": _times(4),
    "ranger": _times(3),
    "adafactor": _factored,
    "sparseadam": _times(2),
    "lbfgs": _times(2 * 100 + 4),  # a history of 100 pairs, and four vectors in flight
    "adam8bit": _in_8_bits(2),
    "adamw8bit": _in_8_bits(2),
    "lamb8bit": _in_8_bits(2),
    "lion8bit": _in_8_bits(1),
    "sgd8bit": _in_8_bits(1),
    "rmsprop8bit": _in_8_bits(1),
    "adagrad8bit": _in_8_bits(1),
}


def maker(name: str) -> Callable[[Iterable[torch.nn.Parameter]], torch.optim.Optimizer]:
    """What makes the optimizer of that name.

    Raises:
        UserError: nothing is known of it; the message names the nearest.
    """
    key = name.lower().rpartition(".")[2].replace("-", "_")
    plain = key.replace("_", "").removeprefix("paged").removeprefix("fused")
    if plain in _RULES:
        rule = _RULES[plain]
        return lambda parameters: ByRule(parameters, rule)
    kinds = {
        kind.lower(): kind
        for kind, value in vars(torch.optim).items()
        if inspect.isclass(value) and kind != "Optimizer"
    }
    kind, options = _ALIASES.get(key, (kinds.get(plain, ""), {}))
    if not kind:
        import difflib

        known = sorted({*kinds, *_RULES, *_ALIASES})
        close = difflib.get_close_matches(key, known, n=1)
        raise UserError(
            f"--optimizer {name}: nothing is known of its state; "
            + (f"did you mean {close[0]}?" if close else f"known are {', '.join(known)}")
        )
    made: Any = getattr(torch.optim, kind)
    accepted = inspect.signature(made).parameters
    if "foreach" in accepted:
        options = {**options, "foreach": True}  # what torch takes on a GPU when nothing is said
    if accepted["lr"].default is inspect.Parameter.empty:
        options = {**options, "lr": 1e-3}
    return lambda parameters: made(parameters, **options)


class ByRule(torch.optim.Optimizer):
    """Keeps as much as an optimizer of that kind keeps, and computes nothing."""

    def __init__(self, parameters: Iterable[torch.nn.Parameter], rule: Rule) -> None:
        super().__init__(parameters, {})
        self.rule = rule

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]  # it answers no loss
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                torch.empty_like(parameter)  # the update, while it is computed
                if parameter not in self.state:
                    self.state[parameter] = {
                        str(i): torch.empty(size, dtype=torch.uint8) for i, size in enumerate(self.rule(parameter))
                    }
