"""What happens in one forward pass, noted while it runs: the stack of layers, their shapes, faults, who made what."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.utils.weak import WeakTensorKeyDictionary

from dldoctor.facts.model.inside import places
from dldoctor.facts.model.inside.flow import Flow
from dldoctor.facts.model.records.forward import (
    Argument,
    ForwardFault,
    Layer,
    Place,
    ShapeFault,
    ShapeHint,
    ShapeKind,
    Sides,
    SingleValue,
    Step,
)
from dldoctor.facts.user_code import shapes_of

lazy = torch.nn.parameter.is_lazy
_CALL = torch.nn.Module.__call__
_ARGUMENTS = {
    "Linear": ("in_features", "out_features"),
    "Embedding": ("num_embeddings", "embedding_dim"),
    "LayerNorm": ("normalized_shape",),
    "GroupNorm": ("num_groups", "num_channels"),
    "Dropout": ("p",),
    "MultiheadAttention": ("embed_dim", "num_heads"),
    "LSTM": ("input_size", "hidden_size"),
    "GRU": ("input_size", "hidden_size"),
    "RNN": ("input_size", "hidden_size"),
}


def what(module: torch.nn.Module) -> str:
    """A module as its maker wrote it, in short: `Conv2d(3, 16, 3)`."""
    kind = type(module).__name__
    names = _ARGUMENTS.get(kind, ())
    if "Conv" in kind and hasattr(module, "kernel_size"):
        names = ("in_channels", "out_channels", "kernel_size")
    elif "Pool" in kind:
        names = ("output_size",) if "Adaptive" in kind else ("kernel_size",)
    elif "BatchNorm" in kind or "InstanceNorm" in kind:
        names = ("num_features",)
    values = [
        whole(getattr(module, name)) if name == "normalized_shape" else _number(getattr(module, name))
        for name in names
        if hasattr(module, name)
    ]
    if getattr(module, "groups", 1) > 1:
        values.append(f"groups={module.groups}")
    return f"{kind}({', '.join(values)})"


def whole(sides: tuple[int, ...]) -> str:
    """Sides as they are written where each of them counts."""
    return str(sides[0]) if len(sides) == 1 else f"({', '.join(map(str, sides))})"


def _number(value: Any) -> str:
    if isinstance(value, (tuple, list)):
        return str(value[0]) if len(set(value)) == 1 else f"({', '.join(map(str, value))})"
    return str(value)


#: (recorder, path, module, args, kwargs) -> the arguments to call with, and the output in place of a call
BeforeCall = Callable[..., tuple[tuple[Any, ...], dict[str, Any], Any]]


@dataclass
class Producer:
    """How a tensor came about: its last operation that matters, where, and the last layer with weights before it."""

    kind: str
    layer: str
    place: Place | None
    head: torch.nn.Module | None = None


@dataclass
class Row:
    """What is summed up for one module while forward runs."""

    module: torch.nn.Module
    path: str
    shape_in: Sides
    shape_out: Sides = ()
    dtype: str = ""
    madds: int = 0
    activation_bytes: int = 0
    calls: int = 0


@dataclass
class Recorder:
    """One forward pass of `root` over a batch of `batch` samples."""

    root: torch.nn.Module
    batch: int
    #: whether faults are repaired so that the rest can be seen
    repair: bool = True
    names: dict[int, str] = field(default_factory=dict)
    stack: list[tuple[str, torch.nn.Module]] = field(default_factory=list)
    rows: dict[int, Row] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)
    shapes: list[ShapeFault] = field(default_factory=list)
    faults: list[ForwardFault] = field(default_factory=list)
    single_values: dict[str, SingleValue] = field(default_factory=dict)
    value_dependent: dict[Place, None] = field(default_factory=dict)
    #: modules called that the network does not know by name: gradients were on in any of the calls
    strangers: dict[int, tuple[torch.nn.Module, bool]] = field(default_factory=dict)
    producers: WeakTensorKeyDictionary = field(default_factory=WeakTensorKeyDictionary)
    inputs: WeakTensorKeyDictionary = field(default_factory=WeakTensorKeyDictionary)
    flow: Flow = field(default_factory=Flow)
    certain: bool = True
    counting: bool = True
    madds: int = 0
    #: the module in which the exception that ended forward was raised
    raised: tuple[BaseException, str] | None = None

    def __post_init__(self) -> None:
        self.names = {id(module): path for path, module in self.root.named_modules()}
        self.flow.batch = self.batch

    # --- the watch over nn.Module.__call__ ---

    @contextlib.contextmanager
    def watching(self, before_call: BeforeCall) -> Iterator[None]:
        """Every module's call goes through this recorder, and first through `before_call`."""
        from dldoctor.facts.model.inside.runtime import patched

        def call(module: torch.nn.Module, *args: Any, **kwargs: Any) -> Any:
            path = self.names.get(id(module))
            if path is None:
                self.meet(module)
                path = f"{self.stack[-1][0]}.{type(module).__name__}" if self.stack else type(module).__name__
            arrived = first_tensor(args)
            args, kwargs, instead = before_call(self, path, module, args, kwargs)
            row = self.enter(path, module, arrived)
            try:
                output = _CALL(module, *args, **kwargs) if instead is None else instead
            except BaseException as error:
                if self.raised is None or self.raised[0] is not error:
                    self.raised = (error, path)
                raise
            finally:
                self.stack.pop()
            self.leave(row, path, module, arrived, output)
            return output

        with patched(torch.nn.Module, "__call__", call):
            yield

    def meet(self, module: torch.nn.Module) -> None:
        """A module without a name was called; a submodule of one that is already known is not told apart."""
        if any(id(other) in self.strangers for _, other in self.stack):
            return
        before = self.strangers.get(id(module), (module, False))[1]
        self.strangers[id(module)] = (module, before or torch.is_grad_enabled())

    def enter(self, path: str, module: torch.nn.Module, arrived: torch.Tensor | None) -> Row | None:
        self.stack.append((path, module))
        self.flow.enter(self.stack, arrived)
        if not is_leaf(module) and not any(p is not None for p in module._parameters.values()):
            return None
        row = self.rows.get(id(module))
        if row is None:
            row = self.rows[id(module)] = Row(module, path, self.sides(arrived))
        row.calls += 1
        return row

    def leave(
        self, row: Row | None, path: str, module: torch.nn.Module, arrived: torch.Tensor | None, output: Any
    ) -> None:
        if row is None:
            return
        result = first_tensor(output)
        if result is not None:
            row.shape_out = self.sides(result)
            row.dtype = str(result.dtype).removeprefix("torch.")
        if is_leaf(module) and self.counting:
            self.steps.append(Step(path, what(module), self.shown(arrived), self.shown(result)))

    # --- shapes ---

    def sides(self, tensor: torch.Tensor | None) -> Sides:
        """A tensor's sides without the batch axis."""
        if tensor is None:
            return ()
        shape = tuple(int(side) for side in tensor.shape)
        return shape[1:] if len(shape) > 1 and shape[0] == self.batch else shape

    def shown(self, tensor: torch.Tensor | None) -> str:
        return " x ".join(map(str, self.sides(tensor)))

    # --- faults ---

    def shape_fault(
        self,
        kind: ShapeKind,
        path: str,
        module: torch.nn.Module,
        x: torch.Tensor,
        parameter: str,
        declared: Any,
        arriving: Any,
        hint: ShapeHint = "",
        out: str = "",
        editable: bool = True,
    ) -> None:
        """Note that `module` declares another size than the one that arrives, once per module."""
        if any(fault.layer == path for fault in self.shapes):
            return
        argument: Argument | None = places.argument_of(module, parameter) if editable else None
        chain = (*self.steps[-3:], Step(path, what(module), self.shown(x), out, marked=True))
        self.shapes.append(
            ShapeFault(
                kind,
                path,
                what(module),
                parameter,
                _number(declared),
                _number(arriving),
                self.sides(x),
                places.made_at(module),
                argument,
                places.current_place(),
                chain,
                hint,
                self.certain,
            )
        )

    def small_map(self, operation: str, x: torch.Tensor, kernel: Any) -> None:
        """Note that the map is smaller than the window of an operation that is no layer."""
        where = places.current_place()
        named = operation if where is None else f"{operation}, {where.path}:{where.line}"
        chain = (*self.steps[-3:], Step("-", named, self.shown(x), "nothing", marked=True))
        declared, arriving = _number(kernel), _number(x.shape[-1])
        self.shapes.append(
            ShapeFault(
                "small",
                operation,
                operation,
                "kernel_size",
                declared,
                arriving,
                self.sides(x),
                None,
                None,
                where,
                chain,
            )
        )

    def forward_fault(self, error: str, operation: str = "", advice: str = "", repaired: bool = True) -> None:
        """Note an exception of an operation at the user's running line, once per line."""
        frame = places.current_frame()
        place = places.place_of(frame.f_code.co_filename, frame.f_lineno) if frame else None
        if any(fault.place == place and fault.operation == operation for fault in self.faults):
            return
        code = frame.f_code if frame else None
        name = "" if code is None else getattr(code, "co_qualname", code.co_name)
        tensors = tuple(shapes_of(frame.f_locals).items()) if frame else ()
        self.faults.append(
            ForwardFault(
                error, self.stack[-1][0] if self.stack else "", place, name, operation, tensors, repaired, advice
            )
        )

    # --- who made a tensor ---

    def producer(self, tensor: Any) -> Producer | None:
        if not isinstance(tensor, torch.Tensor) or tensor not in self.producers:
            return None
        found: Producer = self.producers[tensor]
        return found

    def is_input(self, tensor: torch.Tensor) -> bool:
        return tensor in self.inputs

    def value_read(self) -> Place | None:
        """A value was asked for that a tensor without memory does not have."""
        place = places.current_place()
        if place is not None:
            self.value_dependent[place] = None
        return place

    def layers(self) -> tuple[Layer, ...]:
        """The layer table, in the order of the first calls."""
        table = []
        for row in self.rows.values():
            own = [p for p in row.module._parameters.values() if p is not None]
            table.append(
                Layer(
                    row.path,
                    type(row.module).__name__,
                    what(row.module),
                    places.made_at(row.module),
                    row.shape_in,
                    row.shape_out,
                    row.dtype,
                    sum(p.numel() for p in own if not lazy(p)),
                    sum(p.numel() for p in own if p.requires_grad and not lazy(p)),
                    row.madds // self.batch,
                    row.activation_bytes,
                    row.calls,
                )
            )
        return tuple(table)


def is_leaf(module: torch.nn.Module) -> bool:
    """Whether a module calls no other (attention counts as one layer)."""
    return not module._modules or isinstance(module, torch.nn.MultiheadAttention)


def first_tensor(value: Any) -> torch.Tensor | None:
    """The first tensor in a value, in the order of the arguments."""
    if isinstance(value, torch.Tensor):
        return value
    if isinstance(value, (tuple, list)):
        return next((t for item in value if (t := first_tensor(item)) is not None), None)
    if isinstance(value, dict):
        return first_tensor(list(value.values()))
    return None
