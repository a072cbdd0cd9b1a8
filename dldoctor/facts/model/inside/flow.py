"""The operations of one forward pass as a graph: which tensor came out of which, and where gradients end."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from dldoctor.facts.model.inside import places
from dldoctor.facts.model.inside.runtime import patched
from dldoctor.facts.model.records.forward import Place


def words(text: str) -> frozenset[str]:
    """The names in a text."""
    return frozenset(text.split())


#: under this name a tensor holds the operation that it came out of
_NODE = "_dldoctor_node"
#: attributes of a tensor that are tensors themselves
ATTRIBUTES = frozenset(("data", "T", "mT", "H", "mH", "real", "imag"))
#: operations that take values out of torch, or that copy them without their history
_READS = words("numpy item tolist __array__ __float__ __int__ __bool__ __index__")
WEIGHTED = words("linear conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d bilinear")
#: operations whose line is wanted: activations, which may stand in forward itself
_NOTED = words("relu relu_ relu6 leaky_relu leaky_relu_ gelu silu elu selu hardswish mish tanh sigmoid")
#: what switches gradients off, as these are entered or made
_SWITCHES = ((torch.no_grad, "__enter__"), (torch.inference_mode, "__enter__"), (torch.set_grad_enabled, "__init__"))
#: operations that put a tensor where another is, or that ask another for its shape alone
MOVES = words("to cuda type_as")
_LIKE = MOVES | words("expand_as view_as reshape_as")
_RESHAPES = words("view reshape flatten view_as reshape_as")


@dataclass(eq=False, slots=True)
class Node:
    """One call of a torch function."""

    name: str
    module: torch.nn.Module | None
    #: the operations that its tensors came out of, the first argument's first
    inputs: list[Node]
    #: of all arguments that are tensors, how many there are
    tensors: int
    consumers: list[Node] = field(default_factory=list)
    bias: bool = False
    #: of a reshape: the shape before it
    reshaped: tuple[int, ...] = ()
    #: a tensor that wanted gradients went in, none came out: `detach`, `no_grad`, `argmax`, ...
    cut: str = ""
    at: Place | None = None
    #: under no_grad, within activation checkpointing
    checkpointed: bool = False
    #: something that `.to(device)` moves went in: an input, a Parameter, a buffer, or what came of them
    placed: bool = False
    #: the plain tensor of a module that this was made of, where nothing placed went in
    constant: torch.Tensor | None = None

    def __deepcopy__(self, memo: Any) -> Node:
        return self  # a copied tensor came about as its original did


@dataclass
class Swallowed:
    """A reshape whose first axis is not the batch's any more."""

    operation: str
    place: Place | None
    shape: tuple[int, ...]
    result: tuple[int, ...]
    #: it cuts through an axis rather than joining whole ones
    through: bool


@dataclass
class Use:
    """A plain tensor of a module, as an argument of an operation."""

    operation: str
    place: Place | None
    #: beside tensors that `.to(device)` moves
    mixed: bool


@dataclass
class Flow:
    """What one pass did with tensors and modules."""

    batch: int = 0
    nodes: list[Node] = field(default_factory=list)
    #: by id: the operations that took this parameter
    users: dict[int, list[Node]] = field(default_factory=dict)
    #: by id: for each call of a module, its owner, the owner's how-manieth call it was in, and the layer that fed it
    calls: dict[int, list[tuple[int, int, int]]] = field(default_factory=dict)
    swallowed: list[Swallowed] = field(default_factory=list)
    #: plain tensors on modules before the pass, by id; and what used them
    plain: dict[int, Any] = field(default_factory=dict)
    buffers: set[int] = field(default_factory=set)
    uses: dict[int, list[Use]] = field(default_factory=dict)
    #: storages that were written to in place
    written: set[int] = field(default_factory=set)
    #: id, name, entries and storage of each parameter that wants gradients
    parameters: list[tuple[int, str, int, int]] = field(default_factory=list)
    #: ids of parameters and plain tensors that the outputs' gradients reach
    reached: set[int] = field(default_factory=set)
    #: parameters that forward replaced by new ones
    replaced: set[str] = field(default_factory=set)
    outputs: list[Node] = field(default_factory=list)
    #: False where the output holds something in which no tensors can be found
    known: bool = True
    #: where gradients were switched off, while they are
    _off_at: Place | None = None
    _off_by_checkpoint: bool = False

    # --- modules ---

    def enter(self, stack: list[tuple[str, torch.nn.Module]], arrived: torch.Tensor | None) -> None:
        """A module is called; `stack` ends with it."""
        owner = id(stack[-2][1]) if len(stack) > 1 else 0
        feeder = node_of(arrived) if arrived is not None else None
        while feeder is not None and feeder.name not in WEIGHTED:
            feeder = feeder.inputs[0] if feeder.inputs else None
        fed_by = id(feeder.module) if feeder is not None else 0
        self.calls.setdefault(id(stack[-1][1]), []).append((owner, len(self.calls.get(owner, ())), fed_by))

    # --- operations ---

    def note(
        self, module: torch.nn.Module | None, name: str, args: Any, kwargs: Mapping[str, Any], output: Any
    ) -> None:
        """One torch function was called."""
        given = list(_tensors(args))
        if kwargs:
            given.extend(_tensors(kwargs.values()))
        made = list(_tensors((output,)))
        if not given or not (made or name in _READS or name == "__setitem__"):
            return
        inputs: list[Node] = []
        wants = False
        node = Node(name, module, inputs, len(given))
        self.nodes.append(node)
        for tensor in given:
            before = node_of(tensor)
            if before is not None:
                inputs.append(before)
                before.consumers.append(node)
            wants = wants or tensor.requires_grad
            node.placed = node.placed or self.is_placed(tensor)
            if isinstance(tensor, torch.nn.Parameter):
                self.users.setdefault(id(tensor), []).append(node)
            elif id(tensor) in self.plain or (before is not None and before.constant is not None):
                self.use(node, tensor, given)
        if name in _NOTED:
            node.at = places.current_place()
        if name in WEIGHTED:
            node.bias = (args[2] if len(args) > 2 else kwargs.get("bias")) is not None
        if wants:
            self.cut(node, made)
        if name.endswith("_") and (not name.endswith("__") or name == "__iadd__"):
            self.written.add(given[0].untyped_storage()._cdata)
        if name in _RESHAPES and made:
            self.reshaped(node, given[0], made[0])
        for tensor in given[:1] if name == "__setitem__" else made:
            with contextlib.suppress(AttributeError):
                setattr(tensor, _NODE, node)

    def cut(self, node: Node, made: list[torch.Tensor]) -> None:
        if not torch.is_grad_enabled():
            node.cut, node.checkpointed = "no_grad", self._off_by_checkpoint
            node.at = self._off_at or places.current_place()
        elif not any(tensor.requires_grad for tensor in made):
            node.cut, node.at = node.name, places.current_place()

    def use(self, node: Node, tensor: torch.Tensor, given: list[torch.Tensor]) -> None:
        """An operation takes a plain tensor, or something made of it alone."""
        before = node_of(tensor)
        origin = self.plain.get(id(tensor), before.constant if before is not None else None)
        if origin is None:
            return
        others = [other for other in given if other is not tensor and self.is_placed(other)]
        mixed = tensor.dim() > 0 and any(other.dim() > 0 for other in others)
        if node.name in ("__getitem__", "__setitem__") and given[0] is not tensor:
            mixed = False  # an index may stay on the CPU
        if node.name in _LIKE:
            mixed = False
        if not others or (node.name in _LIKE and node.name not in MOVES):
            node.constant = origin
        self.uses.setdefault(id(origin), []).append(Use(node.name, places.current_place(), mixed))

    def is_placed(self, tensor: torch.Tensor) -> bool:
        """Whether it is where the network is, rather than where it was made."""
        node = node_of(tensor)
        return (
            isinstance(tensor, torch.nn.Parameter) or (node is not None and node.placed) or id(tensor) in self.buffers
        )

    def reshaped(self, node: Node, source: torch.Tensor, result: torch.Tensor) -> None:
        shape, after = tuple(map(int, source.shape)), tuple(map(int, result.shape))
        node.reshaped = shape
        if not shape or not after or shape[0] != self.batch or after[0] == shape[0] or not result.numel():
            return
        rest, trailing = result.numel() // after[0], 1
        joins = {trailing := trailing * side for side in reversed(shape)} | {1}
        self.swallowed.append(Swallowed(node.name, places.current_place(), shape, after, rest not in joins))

    # --- the pass as a whole ---

    def begin(self, net: torch.nn.Module, inputs: Iterable[torch.Tensor], plain: Iterable[torch.Tensor]) -> None:
        for tensor in inputs:
            setattr(tensor, _NODE, Node("input", None, [], 0, placed=True))
        self.buffers = set(map(id, net.buffers()))
        self.plain = {id(tensor): tensor for tensor in plain}
        self.parameters = [
            (id(p), name, p.numel(), p.untyped_storage()._cdata)
            for name, p in net.named_parameters()
            if p.requires_grad and not torch.nn.parameter.is_lazy(p)
        ]

    def finish(self, net: torch.nn.Module, output: Any) -> None:
        """Follow the gradients from what came out of forward, and from what it left on its modules."""
        roots: list[torch.Tensor] = []
        self.known = _collect(output, roots, 4)
        self.outputs = [node for tensor in roots if (node := node_of(tensor)) is not None]
        for module in net.modules():
            for name, value in vars(module).items():
                if not name.startswith(("_parameters", "_buffers", "_modules")):
                    _collect(value, roots, 2)
        now = {name: id(p) for name, p in net.named_parameters()}
        self.replaced = {name for key, name, _, _ in self.parameters if now.get(name, key) != key}
        checkpoints = self.follow([t.grad_fn for t in roots if t.grad_fn is not None])
        self.reached |= {id(t) for t in roots if t.requires_grad and t.is_leaf}
        if checkpoints:
            for key, users in self.users.items():
                if any(node.checkpointed for node in users):
                    self.reached.add(key)

    def follow(self, roots: list[Any]) -> bool:
        """Mark all leaves of the graph; whether reentrant checkpoints stand in it, which hide theirs."""
        seen, todo, checkpoints = set(roots), list(set(roots)), False
        while todo:
            function = todo.pop()
            variable = getattr(function, "variable", None)
            if variable is not None:
                self.reached.add(id(variable))
            checkpoints = checkpoints or type(function).__name__ == "CheckpointFunctionBackward"
            for following, _ in function.next_functions:
                if following is not None and following not in seen:
                    seen.add(following)
                    todo.append(following)
        return checkpoints

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Note where gradients are switched off while this lasts."""

        def noting(switch: Callable[..., Any]) -> Callable[..., Any]:
            def switched(context: Any, *mode: bool) -> Any:
                by = sys._getframe(1).f_code.co_filename.replace("\\", "/")
                checkpoint = by.endswith("torch/utils/checkpoint.py")  # its gradients are off already
                if not any(mode) and (torch.is_grad_enabled() or checkpoint):
                    self._off_at = places.current_place()
                    self._off_by_checkpoint = checkpoint
                return switch(context, *mode)

            return switched

        with contextlib.ExitStack() as stack:
            for kind, name in _SWITCHES:
                stack.enter_context(patched(kind, name, noting(getattr(kind, name))))
            yield


def node_of(tensor: torch.Tensor) -> Node | None:
    """The operation that a tensor came out of; None for inputs, parameters and what was not seen."""
    return getattr(tensor, _NODE, None)


def _tensors(values: Iterable[Any]) -> Iterator[torch.Tensor]:
    for value in values:
        if isinstance(value, torch.Tensor):
            yield value
        elif isinstance(value, (tuple, list)):
            yield from _tensors(value)


def _collect(value: Any, found: list[torch.Tensor], depth: int) -> bool:
    """All tensors in a value; False where something was met into which one can't see."""
    if isinstance(value, torch.Tensor):
        found.append(value)
        return True
    if value is None or isinstance(value, (str, bytes, bool, int, float, complex, torch.dtype, torch.device)):
        return True
    if depth == 0 or isinstance(value, torch.nn.Module):
        return False
    if isinstance(value, Mapping):
        inside = list(value.values())
    elif isinstance(value, (tuple, list, set, frozenset)):
        inside = list(value)
    elif callable(value) or not hasattr(value, "__dict__"):
        return False
    else:
        inside = list(vars(value).values())
    seen = [_collect(item, found, depth - 1) for item in inside]
    return all(seen)
