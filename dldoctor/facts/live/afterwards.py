"""Child side: what is tried after the short training: learning one batch by heart, telling inputs apart."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch

from dldoctor.facts.live import setup

if TYPE_CHECKING:
    from dldoctor.facts.live.train import Training

_STEPS = 40
#: a plateau at the start, as deep networks without normalisation have, takes longer to leave
_LONG = 150


def overfit(training: Training) -> list[dict[str, Any]]:
    """Learn one batch by heart from a fresh start: with the run's optimizer, then with milder ones until one works.

    Empty when the time was too short for a verdict.
    """
    if training.fresh is None or training.first_batch is None or training.step is not None:
        return []
    attempts: list[dict[str, Any]] = []
    rates = [
        (training.asked["optimizer"], training.optimizer.param_groups[0]["lr"], _STEPS),
        ("adam", 1e-3, _STEPS),
        ("adam", 1e-2, _STEPS),
        ("adam", 3e-4, _LONG),
    ]
    for name, rate, steps in rates:
        attempt = _attempt(training, name, rate, steps)
        if attempt is None:
            return []
        attempts.append(attempt)
        if learned(attempt["losses"]):
            break
    return attempts


def _attempt(training: Training, name: str, rate: float, steps: int) -> dict[str, Any] | None:
    assert training.fresh is not None  # asked before
    training.model.load_state_dict(training.fresh)
    training.model.train()
    optimizer = setup.optimizer({**training.asked, "optimizer": name, "learning_rate": rate}, training.model)
    losses: list[float] = []
    gradient = 0.0
    for _ in range(steps):
        if training.spent() > 0.85:
            return None
        optimizer.zero_grad(set_to_none=True)
        loss = training.forward_loss(training.first_batch)
        loss.backward()  # type: ignore[no-untyped-call]  # torch has no types here
        gradient = max(gradient, max((float(p.grad.abs().max()) for p in training.parameters.values()
                                      if p.grad is not None and not p.grad.is_sparse), default=0.0))  # fmt: skip
        optimizer.step()
        losses.append(float(loss.detach()))
        if not math.isfinite(losses[-1]):
            break
    return {"optimizer": name, "learning_rate": rate, "losses": losses, "gradient": gradient}


def learned(losses: list[float]) -> bool:
    """Whether the last losses lie so clearly below the first ones that no other rate need be tried.

    This spares time and judges nothing: what is too little of a fall is for the check to say, and it asks for less.
    """
    if not all(math.isfinite(loss) for loss in losses):
        return False
    first, last = sum(losses[:3]) / 3, min(losses[-5:])
    return last < first - 0.05 * abs(first) - 1e-6 or abs(first) < 1e-3


def spread(training: Training) -> tuple[float, int] | None:
    """How far outputs differ over different inputs, in train and in eval mode: the larger of both, and of how many."""
    if training.step is not None or training.first_batch is None:
        return None
    inputs, _ = training.split(training.first_batch)
    if not isinstance(inputs, torch.Tensor) or inputs.shape[0] < 4:
        return None
    flat = inputs.reshape(inputs.shape[0], -1)
    if len(torch.unique(flat.float(), dim=0)) < 4:
        return None
    spreads = []
    with torch.no_grad():
        for mode in (True, False):
            training.model.train(mode)
            output = training.output(inputs)
            if not output.is_floating_point() or output.shape[:1] != inputs.shape[:1]:
                return None
            rows = output.float().reshape(output.shape[0], -1)
            size = float(rows.abs().max())
            spreads.append(float((rows.amax(0) - rows.amin(0)).max()) / size if size > 0 else 0.0)
    training.model.train()
    return max(spreads), int(inputs.shape[0])
