"""Facts read from the one probe of the network, each for its own checks."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

from dldoctor.fact import Fact, Unavailable
from dldoctor.facts.model.layer_tree import HEADER, count, rows, size
from dldoctor.facts.model.probe import BuildFault, ModelProbe
from dldoctor.facts.model.records.forward import (
    ForwardFault,
    HiddenLayer,
    Layer,
    OutputEnd,
    ShapeFault,
    SingleValue,
    StateEntry,
)
from dldoctor.facts.subjects import ModelTarget
from dldoctor.finding import Exhibit, Listing, Table
from dldoctor.isolation import StackFrame


@dataclass(frozen=True)
class LayerTable(Fact):
    """The layers in the order of their first calls, and their sums. Sums are final when no shape is wrong.

    Bytes of activations are those of one sample.
    """

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
    #: whether the table was asked for, and to which depth
    wanted: bool = False
    depth: int | None = None

    @property
    def said(self) -> str:
        frozen = self.parameters - self.trainable
        parts = [
            f"{count(self.parameters)} parameters" + (f" ({count(frozen)} frozen)" if frozen else ""),
            f"{count(self.madds)} MAdds",
            f"{size(self.activation_bytes)} of activations a sample",
        ]
        return ", ".join(parts) + ("; examined by a tiny forward on the CPU" if self.mode == "real" else "")

    def drawn(self, verbose: bool) -> tuple[Exhibit, ...]:
        if not (self.wanted or verbose):
            return ()
        return (Table(HEADER, rows(self.layers, self.depth, whole=verbose)),)

    @classmethod
    def gather(cls, probe: ModelProbe, target: ModelTarget) -> Self:
        forward = probe.forward_pass()
        built = probe.built
        return cls(
            tuple(replace(layer, activation_bytes=layer.activation_bytes // forward.batch) for layer in forward.layers),
            forward.inputs,
            built.parameters if built else 0,
            built.trainable if built else 0,
            forward.madds,
            forward.activation_bytes // forward.batch,
            forward.mode,
            target.table,
            target.depth,
        )


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
class NetworkState(Fact):
    """The network's state_dict: names, shapes and dtypes, in its order."""

    entries: tuple[StateEntry, ...]

    @classmethod
    def gather(cls, probe: ModelProbe) -> Self:
        if not probe.state:
            raise Unavailable("the network could not be built" if probe.built is None else "its state_dict is empty")
        return cls(probe.state)


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
