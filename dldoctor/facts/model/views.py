"""Facts read from the one probe of the network, each for its own checks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

from dldoctor.fact import Fact, Unavailable
from dldoctor.facts.model.probe import BuildFault, ModelProbe
from dldoctor.facts.model.record import (
    ForwardFault,
    HiddenLayer,
    Layer,
    LossRun,
    OutputEnd,
    ShapeFault,
    SingleValue,
)
from dldoctor.facts.subjects import BatchSize, LossAsked, ModelTarget, OptimizerAsked
from dldoctor.finding import Exhibit, Listing, Table
from dldoctor.isolation import StackFrame


@dataclass(frozen=True)
class LayerTable(Fact):
    """The layers in the order of their first calls, and their sums. Sums are final when no shape is wrong."""

    layers: tuple[Layer, ...]
    inputs: tuple[str, ...]
    #: each parameter once, however many layers share it
    parameters: int
    trainable: int
    #: multiply-adds for one sample
    madds: int
    #: bytes kept for backward, for one sample
    activation_bytes: int
    #: "fake" when nothing was allocated, "real" for a tiny forward on the CPU
    mode: str
    #: whether the table was asked for
    wanted: bool = False

    @property
    def said(self) -> str:
        frozen = self.parameters - self.trainable
        parts = [
            f"{_count(self.parameters)} parameters" + (f" ({_count(frozen)} frozen)" if frozen else ""),
            f"{_count(self.madds)} MAdds",
            f"{self.activation_bytes / 2**20:,.1f} MiB of activations a sample",
        ]
        return ", ".join(parts) + ("; examined by a tiny forward on the CPU" if self.mode == "real" else "")

    def drawn(self, verbose: bool) -> tuple[Exhibit, ...]:
        if not (self.wanted or verbose):
            return ()
        rows = tuple(
            (layer.path, layer.what, _sides(layer.shape_in), _sides(layer.shape_out), _count(layer.parameters),
             _count(layer.madds), f"{layer.activation_bytes / 2**20:.1f}")
            for layer in self.layers
        )  # fmt: skip
        return (Table(("layer", "type", "in", "out", "params", "MAdds", "MiB"), rows),)

    @classmethod
    def gather(cls, probe: ModelProbe, target: ModelTarget) -> Self:
        forward = probe.forward_pass()
        built = probe.built
        return cls(
            forward.layers,
            forward.inputs,
            built.parameters if built else 0,
            built.trainable if built else 0,
            forward.madds,
            forward.activation_bytes // forward.batch,
            forward.mode,
            target.table,
        )


def _count(number: int) -> str:
    for size, unit in ((10**12, " T"), (10**9, " G"), (10**6, " M"), (10**4, " k")):
        if number >= size:
            return f"{number / (size if size > 10**4 else 10**3):.3g}{unit}"
    return str(number)


def _sides(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape)) or "scalar"


@dataclass(frozen=True)
class ShapeMismatches(Fact):
    """Layers that declare another size than the one that arrives, all of one pass."""

    faults: tuple[ShapeFault, ...]
    #: the input as given, and the smallest one that no layer finds too small
    inputs: tuple[str, ...]
    smallest: str = ""

    @classmethod
    def gather(cls, probe: ModelProbe) -> Self:
        forward = probe.forward_pass()
        return cls(forward.shapes, forward.inputs, forward.smallest)


@dataclass(frozen=True)
class ForwardEnd(Fact):
    """Whether import, constructor and forward came to their end, and what stopped them."""

    phase: str
    end: str
    end_detail: str
    stack: tuple[StackFrame, ...]
    #: the last line the child printed
    last_line: str
    build_failed: BuildFault | None
    faults: tuple[ForwardFault, ...]

    @classmethod
    def gather(cls, probe: ModelProbe) -> Self:
        lines = probe.output.strip().splitlines()
        return cls(
            probe.phase,
            probe.end,
            probe.end_detail,
            probe.stack,
            lines[-1][:200] if lines else "",
            probe.build_failed,
            probe.forward.faults if probe.forward else (),
        )


@dataclass(frozen=True)
class SingleValues(Fact):
    """Normalisations over one value per channel from each sample."""

    layers: tuple[SingleValue, ...]

    @classmethod
    def gather(cls, probe: ModelProbe) -> Self:
        return cls(probe.forward_pass().single_values)


@dataclass(frozen=True)
class HiddenLayers(Fact):
    """Modules and parameters that the network holds without registering them."""

    layers: tuple[HiddenLayer, ...]
    #: whether forward was seen to its end, so that a layer not called is one not used
    complete: bool

    @classmethod
    def gather(cls, probe: ModelProbe) -> Self:
        forward = probe.forward_pass()
        return cls(forward.hidden, not any(not fault.repaired for fault in forward.faults))


@dataclass(frozen=True)
class ModelOutputs(Fact):
    """The outputs of a forward that came to its end, and how each came about."""

    outputs: tuple[OutputEnd, ...]
    #: the one that is compared with the labels, when that is clear
    main: OutputEnd | None

    @classmethod
    def gather(cls, probe: ModelProbe) -> Self:
        forward = probe.forward_pass()
        if not forward.outputs:
            raise Unavailable("forward gave no output tensor")
        outputs = forward.outputs
        main = (
            outputs[0]
            if len(outputs) == 1
            else next((out for out in outputs if out.name in ("logits", "out", "output")), None)
        )
        return cls(outputs, main)


@dataclass(frozen=True)
class LossProbe(Fact):
    """The criterion, run forward and backward on tensors in the shape of the network's output."""

    run: LossRun

    @classmethod
    def gather(cls, probe: ModelProbe, asked: LossAsked) -> Self:
        if probe.loss is not None:
            return cls(probe.loss)
        if ":" in asked.name:
            raise Unavailable(f"{asked.name} needs --target SHAPE:DTYPE, and a forward that runs")
        raise Unavailable("the loss could not be run on the network's output")


#: bytes of state per byte of trainable parameter
_STATE = {
    "sgd": 0.0,
    "momentum": 1.0,
    "sgd_momentum": 1.0,
    "adam": 2.0,
    "adamw": 2.0,
    "nadam": 2.0,
    "radam": 2.0,
    "adamax": 2.0,
    "rmsprop": 1.0,
    "adagrad": 1.0,
    "adadelta": 2.0,
    "lion": 1.0,
    "muon": 1.0,
    "asgd": 1.0,
    "rprop": 2.0,
    "lars": 1.0,
    "lamb": 2.0,
    "sparseadam": 2.0,
    "adafactor": 0.01,
}


@dataclass(frozen=True)
class MemoryDemand(Fact):
    """The bytes that one training step asks of the GPU, by what they are for (float32, as the network is written)."""

    waiting_for: ClassVar[str] = "the memory of a training step"

    batch: int
    parameters: int
    buffers: int
    gradients: int
    optimizer: int
    #: kept by forward for backward, inputs and outputs included
    activations: int
    #: alive at the peak beside all of these
    temporaries: int
    #: what one more sample adds to the peak
    per_sample: int
    optimizer_name: str
    optimizer_assumed: bool
    #: of the batch alone: what does not shrink with it
    fixed: int

    @classmethod
    def gather(cls, probe: ModelProbe, batch: BatchSize, optimizer: OptimizerAsked | None) -> Self:
        if probe.built is None or len(probe.memory) < 2:
            raise Unavailable("the memory of a training step needs a network whose forward and backward run")
        one, two = probe.memory[:2]
        name = optimizer.name.lower().rpartition(".")[2] if optimizer else "adam"
        if name not in _STATE:
            raise Unavailable(
                f"the state of the optimizer {optimizer.name if optimizer else name} is not known; "
                f"one of {', '.join(sorted(_STATE))}"
            )
        state = int(_STATE[name] * probe.built.trainable_bytes)
        per_sample = max(0, two.peak - one.peak) // max(1, two.batch - one.batch)
        standing = probe.built.parameter_bytes + probe.built.buffer_bytes + state
        return cls(
            batch.size,
            probe.built.parameter_bytes,
            probe.built.buffer_bytes,
            one.gradients,
            state,
            one.activations,
            max(0, one.peak - one.activations - one.gradients),
            per_sample,
            name,
            optimizer is None,
            standing + max(0, one.peak - per_sample * one.batch),
        )

    def peak(self, batch: int) -> int:
        """Live bytes at the peak, with any batch: the demand grows evenly with it."""
        return self.fixed + self.per_sample * batch


@dataclass(frozen=True)
class ForwardTrace(Fact):
    """PySnooper's trace of the forward that failed (`--trace`)."""

    text: str

    @classmethod
    def gather(cls, probe: ModelProbe) -> Self:
        if not probe.trace:
            raise Unavailable("needs --trace and a forward that fails")
        return cls(probe.trace)

    def drawn(self, verbose: bool) -> tuple[Exhibit, ...]:
        return (Listing(self.text),)
