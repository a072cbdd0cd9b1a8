from .check import Check, check
from .fact import BadInput, Fact, Subject, TableFact, Unavailable
from .facts.classes import ClassCount
from .facts.model.head import ModelHead
from .facts.model.probe import ModelProbe
from .facts.model.views import (
    ForwardEnd,
    ForwardTrace,
    HiddenLayers,
    LayerTable,
    LossProbe,
    MemoryDemand,
    ModelOutputs,
    ShapeMismatches,
    SingleValues,
)
from .facts.subjects import (
    BatchSize,
    ClassesAsked,
    DatasetFolder,
    GpuMemoryAsked,
    InputSpec,
    ItemSource,
    LoaderDemand,
    LossAsked,
    Machine,
    ModelTarget,
    OptimizerAsked,
    PortAsked,
    SmokeTarget,
    SourcePaths,
    TargetSpec,
    WorkersAsked,
)
from .finding import (
    Advice,
    CodeFrame,
    Curve,
    Edit,
    Edits,
    Finding,
    HexBytes,
    Histogram,
    Place,
    Quarantine,
    Severity,
    ShapeChain,
    ShapeStep,
    Table,
)
from .outcome import Entry, Outcome
from .resources import Resources

__version__: str
