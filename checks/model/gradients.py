"""Parameters that training does not reach."""

from __future__ import annotations

from collections.abc import Iterator

from dldoctor import Finding, Gradients, Listing, Place, Registered, Severity, Table, check
from dldoctor.facts.model.frames import line_frame
from dldoctor.facts.model.records.forward import Place as Line
from dldoctor.facts.model.records.graph import Frozen, Untrained

_CUTS = {
    "no_grad": "torch.no_grad()",
    "checkpoint": "checkpoint(use_reentrant=True)",
    "data": ".data",
    "detach": ".detach()",
    "detach_": ".detach_()",
    "numpy": ".numpy()",
    "item": ".item()",
    "tolist": ".tolist()",
}

#: a share that one decimal would show as 100 %
_NEARLY_ALL = 0.9995


@check(
    "MOD011",
    Severity.WARNING,
    since="0.1",
    symptoms=(
        "Expected to have finished reduction in the prior iteration",
        "Parameters which did not receive grad for rank {n}",
    ),
)
def unused_parameters(gradients: Gradients) -> Iterator[Finding]:
    """Parameters that no output depends on.

    They are never trained, take memory, and DistributedDataParallel stops at them: it waits for their gradients.

    Fix: call the layer in forward, or remove it; DistributedDataParallel(find_unused_parameters=True) bears with it.
    """
    for group in gradients.untrained:
        if group.state == "blocked":
            continue
        if group.state == "unused":
            template = "{layer} holds {weights:,} weights that forward never uses"
            verb = "use" if group.what == "Parameter" else "call"
            fix = f"{verb} {group.holder} in forward, or remove it"
        else:
            template = "{layer} runs, but no output depends on its {weights:,} weights"
            fix = f"use the result of {group.holder} in what forward returns, or remove it"
        yield Finding(
            _place(group),
            template,
            layer=group.holder,
            weights=group.weights,
            names=list(group.names),
            show=line_frame(group.made),
            fix=f"{fix}; DistributedDataParallel needs find_unused_parameters=True while it stays",
        )


@check("MOD023", Severity.ERROR, Severity.INFO, since="0.1", unless=("MOD005",))
def gradient_blocked(gradients: Gradients) -> Iterator[Finding]:
    """Forward uses a parameter, and something cuts its gradient off.

    Nothing raises: the layers before the cut stay as they were initialised, and training stalls.

    Fix: take the no_grad, detach, .data, argmax or numpy out of forward; freeze with requires_grad_(False) where meant.
    """
    for group in gradients.untrained:
        if group.state != "blocked" or group.meant in ("twin", "named"):
            continue
        at = group.cut_at or group.made
        whole = not gradients.trained
        holder = group.holder or "the network"
        yield Finding(
            Place(at.path if at else None, at.line if at else None, layer=group.holder or None),
            "{cut} cuts off the gradient of all {count} parameters of the network"
            if whole
            else "{cut} cuts off the gradient of {count} {parameters} of {layer}",
            severity=Severity.INFO if group.meant and not whole else Severity.ERROR,
            cut=_CUTS.get(group.cut, group.cut),
            count=group.count,
            parameters="parameter" if group.count == 1 else "parameters",
            layer=holder,
            weights=group.weights,
            names=list(group.names),
            show=[
                *line_frame(at),
                Table(("parameters without a gradient",), tuple((name,) for name in group.names)),
            ],
            fix=_way_out(group),
        )


def _way_out(group: Untrained) -> str:
    holder = group.holder or "net"
    if group.cut == "no_grad":
        return (
            f"take the layers out of torch.no_grad(); if they are meant to stay as they are, {holder}"
            ".requires_grad_(False) says so"
        )
    if group.cut == "checkpoint":
        return "checkpoint(..., use_reentrant=False): the reentrant one passes gradients only to inputs that want them"
    if group.cut in ("detach", "detach_", "data"):
        return (
            f"take it out where {holder} is to be trained; x + (y - x).detach() passes a gradient straight through; if "
            f"{holder} is meant to stay as it is, {holder}.requires_grad_(False) says so"
        )
    if group.cut in ("numpy", "item", "tolist", "tensor", "as_tensor", "from_numpy"):
        return "stay with torch's own operations in forward: values that leave torch lose their history"
    return (
        f"{group.cut} has no gradient: use softmax or sigmoid, F.gumbel_softmax(..., hard=True), or hard + soft - "
        "soft.detach(), which gives the layers before it the gradient of soft"
    )


@check("MOD012", Severity.INFO, Severity.ERROR, since="0.1")
def frozen_parameters(registered: Registered, *, share: float = 0.5) -> Iterator[Finding]:
    """Parameters with requires_grad=False.

    A frozen share is often meant. With nothing left to train, backward raises or training does nothing.

    Fix: requires_grad_(True) on what shall learn; a head made after the freezing learns by itself.
    """
    if not registered.weights or registered.trainable == registered.weights:
        return
    frozen = registered.weights - registered.trainable
    followers = sum(part.weights for part in registered.frozen if part.twin)  # a teacher: meant
    if not registered.trainable:
        yield Finding(
            None,
            "nothing trains: all {frozen:,} weights have requires_grad=False",
            severity=Severity.ERROR,
            frozen=frozen,
            fix="make the new head after the loop that freezes, or call requires_grad_(True) on what shall learn",
        )
    elif frozen - followers >= share * registered.weights:
        largest = sorted(registered.frozen, key=lambda part: -part.weights)[:8]
        yield Finding(
            None,
            "all but {trainable:,} of {weights:,} weights are frozen"
            if frozen / registered.weights >= _NEARLY_ALL
            else "{percent:.1f} % of the weights are frozen, {trainable:,} train",
            weights=registered.weights,
            percent=100 * frozen / registered.weights,
            frozen=frozen,
            trainable=registered.trainable,
            show=Table(("frozen", "type", "weights"), tuple((p.layer, p.what, f"{p.weights:,}") for p in largest)),
            fix="if that is not meant: requires_grad_(True) on what shall learn; else give the optimizer the rest: "
            "(p for p in net.parameters() if p.requires_grad)",
        )


@check("MOD028", Severity.WARNING, since="0.1")
def frozen_batchnorm_updates(registered: Registered) -> Iterator[Finding]:
    """Frozen BatchNorm layers go on moving their running statistics in train mode.

    requires_grad=False holds weight and bias alone: each batch shifts mean and variance away from what was trained.

    Fix: override train() so that the frozen part stays in eval().
    """
    parts: dict[tuple[str, Line | None], list[Frozen]] = {}
    for part in registered.frozen:
        if part.moving_norms and not part.twin:
            parts.setdefault((part.layer.rpartition(".")[0], part.made), []).append(part)
    for (above, at), frozen in parts.items():
        layer = frozen[0].layer if len(frozen) == 1 or not above else above
        count = sum(part.moving_norms for part in frozen)
        yield Finding(
            Place(at.path if at else None, at.line if at else None, layer=layer),
            "{count} frozen BatchNorm {layers} of {layer} {move} {their} running statistics in train mode",
            count=count,
            layers="layer" if count == 1 else "layers",
            move="moves" if count == 1 else "move",
            their="its" if count == 1 else "their",
            layer=layer,
            first=frozen[0].first_norm,
            parts=[part.layer for part in frozen],
            show=[*line_frame(at), Listing(_stay_in_eval(frozen), whole=True)],
            fix="let the network's train() keep them in eval mode",
        )


def _stay_in_eval(frozen: list[Frozen]) -> str:
    """A method for the network's class."""
    return "\n".join(
        (
            "def train(self, mode=True):",
            "    super().train(mode)",
            *(f"    self.{part.layer}.eval()" for part in frozen),
            "    return self",
        )
    )


def _place(group: Untrained) -> Place:
    at = group.made
    return Place(at.path if at else None, at.line if at else None, layer=group.holder)
