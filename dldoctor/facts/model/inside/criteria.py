"""The criterion that `--loss` means."""

from __future__ import annotations

import inspect
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812  # the field's own name for it

from dldoctor.child import UserError
from dldoctor.facts.user_code import load

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
#: torch's losses that compare an input with a target
FUNCTIONS = {
    name
    for name, value in vars(F).items()
    if inspect.isfunction(value)
    and not name.startswith("_")
    and {"input", "target"} <= set(inspect.signature(value).parameters)
}
#: losses that need more than an output and a target, and what
_MORE = {
    "ctc_loss": "lengths",
    "gaussian_nll_loss": "a variance",
    "cosine_embedding_loss": "two outputs",
    "margin_ranking_loss": "two outputs",
    "triplet_margin_loss": "three outputs",
    "triplet_margin_with_distance_loss": "three outputs",
    "linear_cross_entropy": "the last layer's weight",
}


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
            raise UserError(
                f"{name}: is an object of type {type(found).__name__}; name a criterion or a function f(output, target)"
            )
        return found, ""
    plain = name.removeprefix("torch.").removeprefix("nn.").removeprefix("functional.").removeprefix("F.")
    if plain.endswith("Loss") and hasattr(torch.nn, plain):
        function = _function_of_class(plain)
        _require_pair(name, function)
        return getattr(torch.nn, plain)(), function
    key = plain.lower().replace("-", "_")
    for candidate in (key, f"{key}_loss", _SHORT.get(key, ""), _SHORT.get(key.removesuffix("_loss"), "")):
        _require_pair(name, candidate)
        if candidate in FUNCTIONS:
            return getattr(F, candidate), candidate
    import difflib

    close = difflib.get_close_matches(key, sorted(FUNCTIONS | set(_SHORT)), n=1)
    raise UserError(
        f"--loss {name}: no such loss in torch.nn.functional"
        f"{f' (did you mean {close[0]}?)' if close else ''}; your own is losses.py:criterion"
    )


def _require_pair(name: str, function: str) -> None:
    if function in _MORE:
        raise UserError(
            f"--loss {name}: {function} takes {_MORE[function]} besides an output and a target; put the call into a "
            "function f(output, target) and name it as losses.py:criterion"
        )


def _function_of_class(name: str) -> str:
    """`binary_cross_entropy_with_logits` of `BCEWithLogitsLoss`."""
    by_class = {
        "bce": "binary_cross_entropy",
        "bcewithlogits": "binary_cross_entropy_with_logits",
        "crossentropy": "cross_entropy",
        "kldiv": "kl_div",
        "nll2d": "nll_loss",
    }
    plain = name.removesuffix("Loss").lower()
    known = {function.replace("_", "").removesuffix("loss"): function for function in FUNCTIONS | set(_MORE)}
    return by_class.get(plain) or known.get(plain) or name
