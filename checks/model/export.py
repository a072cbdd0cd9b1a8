"""Whether the network leaves Python."""

from __future__ import annotations

from collections.abc import Iterator

from dldoctor import ExportRun, Finding, Place, Severity, check
from dldoctor.facts.model.frames import line_frame

_FIXES = {
    "values": "make the choice with torch.where or torch.cond, take the loop's length from a shape, or move the line "
    "out of the network",
    "numpy": "write it with torch's own operations: what NumPy does is not seen",
    "output": "return tensors, or tuples, lists and dicts of them",
}


@check(
    "MOD022",
    Severity.INFO,
    since="0.1",
    symptoms=(
        "Could not guard on data-dependent expression",
        "Could not extract specialized integer from data-dependent expression",
        "GuardOnDataDependentSymNode",
        "Failed to export the model with torch.export",
        "Exporting the operator {name} to ONNX opset version {n} is not supported",
    ),
)
def not_exportable(export: ExportRun) -> Iterator[Finding]:
    """torch.export does not take the network.

    ONNX and AOTInductor start from its result. What depends on values, on NumPy or on Python objects can't be recorded.

    Fix: torch.where or torch.cond for choices by value, torch's operations for NumPy's.
    """
    run = export.run
    if not run.error:
        return
    at = run.place
    yield Finding(
        Place(at.path, at.line) if at else None,
        "torch.export stops: {error}",
        error=run.error,
        show=line_frame(at),
        fix=_FIXES.get(run.kind),
    )
