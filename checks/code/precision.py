"""Pitfalls of training in mixed precision."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from dldoctor import Finding, Severity, SourceTree, check
from dldoctor.facts.source.blocks import exclusive
from dldoctor.facts.source.code import enclosing
from dldoctor.facts.source.flow.events import Event, Run
from dldoctor.facts.source.flow.roles import is_optimizer, origin
from dldoctor.facts.source.flow.values import Const, Loop, Object, Parameter, Result, Value, ancestry

_CLIPS = (
    "torch.nn.utils.clip_grad_norm_",
    "torch.nn.utils.clip_grad_value_",
    "torch.nn.utils.clip_grad_norm",
    "torch.nn.utils.clip_grad.clip_grad_norm_",
    "torch.nn.utils.clip_grad.clip_grad_value_",
)


@check(
    "SRC019",
    Severity.ERROR,
    since="0.1",
    symptoms=(
        "step() has already been called since the last update()",
        "Attempted step but _scale is None",
        "No inf checks were recorded prior to update",
        "No inf checks were recorded for this optimizer",
        "unscale_() is being called after step()",
    ),
)
def wrong_amp_order(source: SourceTree) -> Iterator[Finding]:
    """The steps of mixed precision come in the wrong order, or one is missing.

    A GradScaler multiplies the loss so that small gradients survive in half precision. Clipping or stepping on
    gradients that still carry the factor trains at another rate; where a scale or an update is missing, it raises.

    Fix: `scaler.scale(loss).backward()`, `scaler.unscale_(optimizer)` where gradients are clipped,
    `scaler.step(optimizer)`, `scaler.update()`.
    """
    seen: set[ast.AST] = set()
    for run in source.code.runs:
        if not any(e.name in ("scale", "step", "update") for e in run.of("method")):
            continue
        for scaler in _scalers(run):
            for event, message, label, fix in _misuse(run, scaler):
                if event.node not in seen:
                    seen.add(event.node)
                    yield Finding(
                        event.file.place(event.node), message, show=event.file.frame(event.node, label), fix=fix
                    )


def _scalers(run: Run) -> list[Value]:
    """The GradScalers of a run, known by their making or by the methods that nothing else has together."""
    found: dict[int, Value] = {}
    for event in run.of("method"):
        base = origin(event.value)
        if event.name not in ("scale", "step") or id(base) in found:
            continue
        if isinstance(base, Object) and base.symbol.endswith(".GradScaler") and base.symbol.startswith("torch."):
            enabled = base.keywords.get("enabled")
            if not (isinstance(enabled, Const) and enabled.value is False):
                found[id(base)] = base
        elif isinstance(base, Parameter) and base.marked(".scale") and base.marked(".step") and base.marked(".update"):
            found[id(base)] = base
    return list(found.values())


def _misuse(run: Run, scaler: Value) -> Iterator[tuple[Event, str, str, str]]:
    mine = [e for e in run.of("method") if origin(e.value) is scaler]
    if scaler.marked("escapes"):
        return
    scaled = {id(e.answer) for e in mine if e.name == "scale" and e.answer is not None}
    steps = [e for e in mine if e.name == "step" and e.arguments]
    for loop in _rounds(run, mine):
        here = [e for e in steps if e.loop in loop]
        backwards = run.inside(loop, "backward")
        if not backwards:
            continue
        with_scale = [e for e in backwards if any(id(v) in scaled for v in ancestry(e.value, 60))]
        if here and not with_scale and _all_plain(backwards):
            yield (
                backwards[0],
                "goes back through the loss unscaled, so that scaler.step() finds no scale to take out",
                "not scaled",
                "write scaler.scale(loss).backward()",
            )
        if here and not any(e.name == "update" for e in run.inside(loop, "method") if e.name == "update"):
            yield (
                here[-1],
                "is never followed by update(), so the second step raises and the scale never adapts",
                "no update() in this loop",
                "call scaler.update() after the last scaler.step() of each round",
            )
        if not with_scale or any(e.name == "unscale_" for e in run.inside(loop, "method")):
            continue
        for clip in run.inside(loop, "call"):
            if clip.name in _CLIPS and here and _between(run, with_scale[0], clip, here[-1]):
                yield (
                    clip,
                    "clips gradients that still carry the scale of the loss",
                    "no unscale_() before",
                    "call scaler.unscale_(optimizer) before clipping",
                )
        if not here:
            for step in run.inside(loop, "step"):
                if step.name != "scaler" and is_optimizer(step.value) and _after(with_scale, step):
                    yield (
                        step,
                        "steps on gradients that still carry the scale of the loss",
                        "not through the scaler",
                        "call scaler.step(optimizer) and scaler.update()",
                    )


def _rounds(run: Run, mine: list[Event]) -> list[Loop]:
    """The innermost loops in which a scaler is used."""
    found: dict[int, Loop] = {}
    for event in mine:
        loop = next((each for each in enclosing(event.loop) if run.inside(each, "step")), None)
        if loop is not None and event.name in ("scale", "step"):
            found[id(loop)] = loop
    return [loop for loop in found.values() if not any(o is not loop and o in loop for o in found.values())]


def _all_plain(backwards: list[Event]) -> bool:
    """Whether each is `loss.backward()`, and not the business of a library that may scale by itself."""
    return all(
        isinstance(e.node, ast.Call) and isinstance(e.node.func, ast.Attribute) and not e.node.args and _own(e.value)
        for e in backwards
    )


def _own(value: Value) -> bool:
    return isinstance(value, Result) and not any(
        isinstance(v, Result) and "scale" in v.made_by for v in ancestry(value, 40)
    )


def _between(run: Run, first: Event, event: Event, last: Event) -> bool:
    places = [next(i for i, each in enumerate(run.events) if each is e) for e in (first, event, last)]
    return places == sorted(places) and not _on_other_ways(first, event)


def _after(backwards: list[Event], step: Event) -> bool:
    return any(not _on_other_ways(each, step) for each in backwards)


def _on_other_ways(one: Event, other: Event) -> bool:
    """Whether the two may stand on ways that exclude each other, as far as it can be told."""
    if one.file is not other.file or one.function is not other.function:
        return True
    return exclusive(one.file.syntax, one.node, other.node)
