"""The network as the child saw it: the one measurement from which all other facts about a model are read."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, ClassVar, NoReturn, Self

from dldoctor.fact import Fact, Unavailable
from dldoctor.facts.model.question import MemoryQuestion
from dldoctor.facts.model.records.export import Export
from dldoctor.facts.model.records.forward import Built, Forward, StateEntry
from dldoctor.facts.model.records.graph import Graph, Registration
from dldoctor.facts.model.records.loss import LossRun
from dldoctor.facts.model.records.memory import StepMemory
from dldoctor.facts.subjects import (
    CheckpointAsked,
    ExportAsked,
    ItemSource,
    LossAsked,
    ModelTarget,
    TargetSpec,
)
from dldoctor.isolation import StackFrame
from dldoctor.resources import Resources


@dataclass(frozen=True)
class BuildFault:
    """An exception in the constructor; `frames` are the user's, innermost last."""

    error: str
    frames: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True)
class ModelProbe(Fact):
    """All that the child sent, and how it ended. Parts that it did not reach are None."""

    waiting_for: ClassVar[str] = "the network's forward pass"

    #: what it was doing last: start, import, build, forward, loss, memory
    phase: str
    #: `done`, or `exit`, `signal`, `timeout`, `memory` where user code ended the process
    end: str
    #: half a sentence: "was killed by SIGSEGV"
    end_detail: str = ""
    #: the user's frames at that end, innermost last
    stack: tuple[StackFrame, ...] = ()
    output: str = ""
    built: Built | None = None
    #: the state_dict, in its order
    state: tuple[StateEntry, ...] = ()
    build_failed: BuildFault | None = None
    forward: Forward | None = None
    registration: Registration | None = None
    graph: Graph | None = None
    loss: LossRun | None = None
    memory: StepMemory | None = None
    export: Export | None = None
    trace: str = ""
    #: why forward can't be examined here, where that is so
    unexaminable: str = ""
    #: (part, exception) where measuring a part failed by our own fault
    failed: tuple[tuple[str, str], ...] = ()

    @classmethod
    def gather(
        cls,
        target: ModelTarget,
        loss: LossAsked | None,
        compare: TargetSpec | None,
        items: ItemSource | None,
        memory: MemoryQuestion | None,
        checkpoint: CheckpointAsked | None,
        export: ExportAsked | None,
        resources: Resources,
    ) -> Self:
        from dldoctor.fileform import to_plain
        from dldoctor.isolation import run_child

        run = run_child(
            "dldoctor.facts.model.inside.examine:examine",
            {
                "target": target.target,
                "folder": str(target.folder.resolve()),
                "init": to_plain(target.init),
                "inputs": to_plain(target.inputs),
                "loss": loss.name if loss else "",
                "compare": to_plain(compare) if compare else None,
                "items": to_plain(items) | {"folder": str(items.folder.resolve())} if items else None,
                "memory": {**to_plain(memory), "seconds": resources.time_limit / 2} if memory else None,
                # a checkpoint can be compared with a network whose forward nobody described
                "weights_alone": checkpoint is not None,
                "export": export is not None,
                "trace": target.trace,
                "pysnooper": _pysnooper(target.trace),
            },
            resources,
            environment={"CUDA_VISIBLE_DEVICES": "", "PYTORCH_JIT": "0", "TORCHDYNAMO_DISABLE": "1"},
        )
        stack, detail = _users(run.end.stack, target.folder), run.end.detail
        if run.end.kind == "exception":
            innermost = run.end.stack[-1] if run.end.stack else None
            if not stack or innermost is None or Path(target.folder, innermost.path).name != Path(stack[-1].path).name:
                raise RuntimeError(f"the child failed in {run.facts.get('phase', 'start')}: {detail}")
            detail = f"raised {detail}"  # a BaseException of the user's own: no except Exception stops it
        return cls(
            phase=run.facts.get("phase", "start"),
            end=run.end.kind,
            end_detail=detail,
            stack=stack,
            output=run.end.output[-4000:],
            **_parts(run.facts),
        )

    def missing(self, part: str, why: str) -> NoReturn:
        """Say why a part (`values`, `loss`, ...) is not there.

        Raises:
            RuntimeError: measuring it failed, by our own fault.
            Unavailable: with the reason `why`, or that of the forward pass.
        """
        for name, error in self.failed:
            if name == part:
                raise RuntimeError(f"the network's {part} could not be measured: {error}")
        self.forward_pass()
        raise Unavailable(why)

    def forward_pass(self) -> Forward:
        """The forward pass.

        Raises:
            Unavailable: there was none.
        """
        if self.forward is not None:
            return self.forward
        if self.unexaminable:
            raise Unavailable(f"forward can't be examined: {self.unexaminable}")
        raise Unavailable("the network's forward did not run")


def _parts(sent: dict[str, Any]) -> dict[str, Any]:
    """The records among what was sent, by field."""
    import typing

    import msgspec

    kinds = typing.get_type_hints(ModelProbe)
    names = [f.name for f in fields(ModelProbe) if f.name in sent and f.name not in ("phase", "end", "stack", "output")]
    return {name: msgspec.convert(sent[name], kinds[name]) for name in names}


def _users(stack: tuple[StackFrame, ...], folder: Path) -> tuple[StackFrame, ...]:
    """The frames below the model's folder, with paths relative to it."""
    root = folder.resolve()
    return tuple(
        StackFrame(Path(frame.path).resolve().relative_to(root).as_posix(), frame.line, frame.function)
        for frame in stack
        if Path(frame.path).resolve().is_relative_to(root) and "site-packages" not in frame.path
    )


def _pysnooper(wanted: bool) -> str:
    """The folder of the PySnooper package, which the child may not have."""
    import importlib.util

    spec = importlib.util.find_spec("pysnooper") if wanted else None
    return str(Path(spec.origin).parent) if spec is not None and spec.origin else ""
