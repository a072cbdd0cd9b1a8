"""How a call of a loss is shown."""

from __future__ import annotations

from typing import Any

from dldoctor.facts.model.frames import line_frame
from dldoctor.facts.model.records.forward import Place as Line
from dldoctor.facts.model.records.loss import LossCall, LossRun
from dldoctor.finding import Finding, Fix, Place, Severity, Table

#: losses that take class indices
INDEXED = ("cross_entropy", "nll_loss", "multi_margin_loss")
#: losses that compare number by number and let shapes broadcast
ELEMENTWISE = ("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss", "kl_div", "poisson_nll_loss")


def shape(sides: tuple[int, ...]) -> str:
    """With B for the batch, which stands first."""
    return f"[{', '.join(['B', *map(str, sides[1:])])}]" if sides else "[]"


def failing_call(run: LossRun) -> LossCall | None:
    """The call that raised, when the target's shape was told and not derived."""
    if not run.error or not run.target_told or not run.calls or run.raised_in == "elsewhere":
        return None
    return run.calls[-1]


def at_line(line: Line | None, layer: str = "") -> Place:
    return Place(line.path if line else None, line.line if line else None, layer=layer.lstrip(".") or None)


def sides(call: LossCall) -> Table:
    """Output and target as they arrived."""
    return Table(
        ("", "shape", "dtype"),
        (
            ("output", shape(call.input_shape), call.input_dtype),
            ("target", shape(call.target_shape), call.target_dtype),
        ),
    )


def finding(
    run: LossRun, call: LossCall, template: str, fix: str | Fix, *, severity: Severity | None = None, **values: Any
) -> Finding:
    """At the line that calls the loss, or makes the criterion; at the failing one where it raised."""
    called = call.called or run.defined
    return Finding(
        at_line((run.place or called) if run.error else called),
        template,
        show=[*line_frame(called), sides(call)],
        fix=fix,
        severity=severity,
        function=call.function,
        **values,
    )
