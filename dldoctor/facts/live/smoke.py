"""A short real training, as it was measured step by step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Self

from dldoctor.fact import Fact, Unavailable
from dldoctor.facts.live.items import Failure
from dldoctor.facts.subjects import SmokeTarget
from dldoctor.finding import Curve, Exhibit, Table
from dldoctor.isolation import ChildEnd, run_child
from dldoctor.resources import Resources


@dataclass(frozen=True)
class Step:
    """One optimizer step; seconds waited for the batch and spent computing, the norm of all gradients."""

    loss: float
    wait: float
    compute: float
    gradient: float | None = None


@dataclass(frozen=True)
class Parameter:
    """A trainable parameter after the run."""

    name: str
    elements: int
    in_optimizer: bool
    #: whether any step gave it a gradient that was not zero throughout
    gradient: bool
    changed: bool
    #: whether its module was called at all
    called: bool


@dataclass(frozen=True)
class NonFinite:
    """The first NaN or Inf: in which step, in what, and the module whose output it was."""

    step: int
    #: "input", "weight", "output", "loss", "gradient"
    what: str
    #: module or parameter path
    layer: str
    type: str = ""
    #: range of what went into that module
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Overfit:
    """One attempt to learn a single batch by heart."""

    optimizer: str
    learning_rate: float
    losses: tuple[float, ...]
    #: the largest entry of any gradient in any of its steps; None when it was not measured
    gradient: float | None = None


@dataclass(frozen=True)
class Leak:
    """Graphs of past steps that are still alive, and the variable that holds them."""

    alive: int
    steps: int
    holder: str = ""
    path: str | None = None
    line: int | None = None
    text: str = ""


@dataclass(frozen=True)
class SmokeRun(Fact):
    """What a short training did."""

    waiting_for: ClassVar[str] = "the short training"

    device: str
    device_name: str
    #: the loss that was used
    loss: str
    #: classes of the output for a classification loss
    classes: int | None
    optimizer: str
    learning_rate: float
    batch: int
    workers: int
    #: processors that the training may use
    cores: int
    #: whether the user's own step ran (--step)
    own_step: bool
    steps: tuple[Step, ...]
    parameters: tuple[Parameter, ...]
    non_finite: NonFinite | None
    overfit: tuple[Overfit, ...]
    #: spread of the outputs over different inputs, relative to their size, after the run; None when not measured
    spread: float | None
    samples: int
    leak: Leak | None
    #: optimizer steps, and how many of them started from the gradients of the one before
    updates: int
    stale_updates: int
    crash: Failure | None
    #: the layer that failed, and its description
    crash_layer: str
    peak_memory: int | None
    end: ChildEnd
    #: parameters in the optimizer that are not the model's
    foreign: int = 0

    @property
    def said(self) -> str:
        where = f"on {self.device} ({self.device_name})" if self.device != "cpu" else "on the CPU, no GPU was used"
        if not self.steps:
            return f"no step was made {where}"
        memory = f", {self.peak_memory / 2**20:,.0f} MiB at most" if self.peak_memory else ""
        return f"{len(self.steps)} steps {where}, loss {self.steps[0].loss:.4g} -> {self.steps[-1].loss:.4g}{memory}"

    def drawn(self, verbose: bool) -> tuple[Exhibit, ...]:
        if len(self.steps) < 2:
            return ()
        later = self.steps[min(2, len(self.steps) - 1) :]
        wait, compute = (sorted(times)[len(times) // 2] * 1e3
                         for times in ([s.wait for s in later], [s.compute for s in later]))  # fmt: skip
        times = Table(
            ("step time, median", "ms"), (("waiting for data", f"{wait:.1f}"), ("computing", f"{compute:.1f}"))
        )
        return (Curve("loss", tuple(step.loss for step in self.steps)), times)

    @classmethod
    def gather(cls, target: SmokeTarget, resources: Resources) -> Self:
        import dataclasses
        import time

        import msgspec

        from dldoctor.fileform import to_plain

        arguments = to_plain(target) | {"folder": str(target.folder), "init": dict(target.init),
                                        "time_limit": resources.time_limit,
                                        "until": time.time() + resources.time_limit}  # fmt: skip
        run = run_child("dldoctor.facts.live.train:train", arguments, resources, cwd=target.folder,
                        limit_private_memory=False)  # fmt: skip
        if run.end.kind == "exception":
            raise RuntimeError(run.end.detail)  # what user code raises is caught: this is a defect of ours
        blank: dict[str, Any] = {"device": target.device, "device_name": "", "loss": target.loss or "", "classes": None,
                 "optimizer": target.optimizer, "learning_rate": target.learning_rate, "batch": target.batch,
                 "workers": 0, "cores": 0, "own_step": target.step is not None, "steps": [], "parameters": [],
                 "non_finite": None,
                 "overfit": [], "spread": None, "samples": 0, "leak": None, "updates": 0, "stale_updates": 0,
                 "crash": None, "crash_layer": "", "peak_memory": None}  # fmt: skip
        sent = {name: value for name, value in run.facts.items() if not name.startswith("$")}
        if run.end.kind in ("timeout", "memory") and "parameters" in sent:
            run.end = ChildEnd("done", "")  # the training itself was over: what came after it is our own curiosity
        known = {field.name for field in dataclasses.fields(cls)}
        plain = {**blank, **sent.pop("about", {}), **sent, "end": to_plain(run.end)}
        return msgspec.convert({name: value for name, value in plain.items() if name in known}, cls)


@dataclass(frozen=True)
class OwnStepRun(Fact):
    """The short training when it ran the user's own step."""

    run: SmokeRun

    @classmethod
    def gather(cls, run: SmokeRun) -> Self:
        if not run.own_step:
            raise Unavailable("needs --step train.py:train_step")
        return cls(run)
