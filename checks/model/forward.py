"""Forward passes that do not come to their end."""

from __future__ import annotations

from collections.abc import Iterator

from dldoctor import BatchSize, DatasetRead, Finding, ForwardEnd, LossProbe, Place, Severity, SingleValues, Table, check
from dldoctor.facts.model.frames import line_frame
from dldoctor.facts.model.records.forward import Place as Line
from dldoctor.facts.model.records.items import ItemsRead
from dldoctor.finding import Exhibit

_DOING = {
    "start": "while torch was imported",
    "import": "while it was imported",
    "data": "while the Dataset was made and read",
    "build": "while the network was made",
    "watched": "in forward",
    "values": "in forward or backward",
    "forward": "in forward",
    "loss": "in the loss",
}


@check("MOD005", Severity.ERROR, Severity.WARNING, since="0.1")
def forward_fails(forward: ForwardEnd, loss: LossProbe | None) -> Iterator[Finding]:
    """Making the network, its forward pass or its loss raises, or ends the process.

    The first batch would do the same, perhaps after an hour of preparing data.

    Fix: see the line and the shapes there; --trace shows every line before it.
    """
    if forward.end != "done":
        last = forward.stack[-1] if forward.stack else None
        yield Finding(
            Place(last.path, last.line) if last else None,
            "{what} {detail} {doing}",
            what="the data" if forward.phase == "data" else "the network",
            detail=forward.end_detail,
            doing=_DOING.get(forward.phase, "in forward or backward"),
            output=forward.last_line,
            show=_stack(forward),
            fix=_end_fix(forward.end),
        )
    if forward.build_failed is not None:
        frame = forward.build_failed.frames[-1] if forward.build_failed.frames else {}
        code: list[Exhibit] = (
            list(line_frame(Line(frame["path"], frame["line"], frame.get("text") or ""))) if frame else []
        )
        yield Finding(
            Place(frame.get("path"), frame.get("line")),
            "the constructor raises {error}",
            error=forward.build_failed.error,
            show=[*code, *_locals(tuple((frame.get("locals") or {}).items()))],
        )
    for fault in forward.faults:
        if fault.operation == "dtype":
            continue  # MOD019 says it
        at = fault.place
        show: list[Exhibit] = [*line_frame(at), *_locals(fault.tensors)]
        where = fault.layer or fault.function or "forward"
        yield Finding(
            Place(at.path if at else None, at.line if at else None, layer=fault.layer or None),
            "{where} raises {error}",
            where=where,
            error=fault.error,
            function=fault.function,
            show=show,
            fix=fault.advice or None,
        )
    if loss is not None and loss.run.raised_in == "elsewhere" and loss.run.target_told and loss.run.place is not None:
        raised = loss.run.place  # of a loss that can't be called with two arguments no line raises
        yield Finding(
            Place(raised.path, raised.line),
            "{loss}, called with the output and the target, raises {error}",
            severity=Severity.WARNING,
            loss=loss.run.name,
            error=loss.run.error,
            show=line_frame(raised),
        )


@check(
    "MOD009",
    Severity.ERROR,
    since="0.1",
    symptoms=(
        "Expected more than 1 value per channel when training, got input size",
        "Expected more than 1 spatial element when training, got input size",
    ),
)
def batchnorm_single_value(norms: SingleValues, batch: BatchSize | None, data: DatasetRead | None) -> Iterator[Finding]:
    """A normalisation gets one value per channel, whose variance is nothing.

    torch raises in training. With BatchNorm it takes a batch of one sample, as the last batch of an epoch may be.

    Fix: a batch of 2 or more and drop_last=True, or GroupNorm.
    """
    last = _last_batch(data.read if data is not None else None)
    for norm in norms.layers:
        if norm.over_batch and not last and (batch is None or batch.size > 1):
            continue
        at = norm.made
        size = (last or "a batch of 1") if norm.over_batch else f"a map of {' x '.join(map(str, norm.shape[1:]))}"
        yield Finding(
            Place(at.path if at else None, at.line if at else None, layer=norm.layer),
            "{layer}, {what}, gets one value per channel from {size}",
            layer=norm.layer,
            what=norm.what,
            size=size,
            shape=list(norm.shape),
            show=line_frame(at),
            fix="train with a batch of 2 or more (DataLoader(..., drop_last=True) for the last one), or write "
            "nn.GroupNorm"
            if norm.over_batch
            else "normalise before the map shrinks to 1 x 1, or write nn.GroupNorm",
        )


def _last_batch(data: ItemsRead | None) -> str:
    """The last batch of an epoch, when the DataLoader gives one of a single sample."""
    size = data.kept_batch if data is not None else None
    if data is None or size is None or size < 2 or not data.length or data.length % size != 1:
        return ""
    return f"the last batch of {data.length:,} items in batches of {size}"


def _stack(forward: ForwardEnd) -> list[Table]:
    if not forward.stack:
        return []
    return [Table(("at", "in"), tuple((f"{frame.path}:{frame.line}", frame.function) for frame in forward.stack[-5:]))]


def _locals(tensors: tuple[tuple[str, str], ...]) -> list[Table]:
    return [Table(("local", "shape and dtype"), tensors[:12])] if tensors else []


def _end_fix(end: str) -> str:
    if end == "timeout":
        return "look for a loop that never ends; if it is only slow, raise --time-limit"
    if end == "memory":
        return "look for what it allocates; if it needs that much, raise --memory-limit"
    if end == "exit":
        return "move code that ends the process under if __name__ == '__main__':"
    if end == "exception":
        return "raise an Exception: this one goes past every except Exception"
    return "run it under python -X faulthandler; a crash in native code is often a wrong build of an extension"
