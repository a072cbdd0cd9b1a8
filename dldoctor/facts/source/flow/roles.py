"""The part a value plays in a training: module, optimizer, loss function, loader; and whether it carries a graph."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator

from dldoctor.facts.source.flow import vocabulary as words
from dldoctor.facts.source.flow.values import (
    Class,
    Collection,
    Const,
    Either,
    Function,
    Object,
    Parameter,
    Result,
    Symbol,
    Value,
    ancestry,
)

#: methods that a network has and nothing else in a training script
_MODULE_METHODS = (".eval", ".parameters", ".named_parameters")
#: what an argument is called that is a network, where its answers are gone back through
_NETWORK = re.compile(r"(\w+_)?(model|net|network|netz|backbone|classifier|student|模型|网络)", re.IGNORECASE)
#: answer pieces of the tensor they get
_PIECES = frozenset((".chunk", ".split", ".unbind", "torch.chunk", "torch.split", "torch.unbind"))
#: answer values and indices
_PAIRS = frozenset(
    (
        ".max",
        ".min",
        ".topk",
        ".sort",
        ".kthvalue",
        ".median",
        ".mode",
        "torch.max",
        "torch.min",
        "torch.topk",
        "torch.sort",
    )
)


#: bases that bring no layer along
_WITHOUT_MODES = {"torch.nn.Module", "torch.nn.Sequential", "builtins.object", "abc.ABC", "typing.Generic"}


def origin(value: Value) -> Value:
    """The value behind `.to(device)`, `.eval()`, a wrapper's `.module` and the like."""
    for _ in range(20):
        if (
            isinstance(value, Result)
            and value.made_by[1:] in words.SAME_OBJECT
            and value.made_by[0] == "."
            and value.inputs
        ) or (isinstance(value, Result) and value.made_by in (".module", "._orig_mod") and value.inputs):
            value = value.inputs[0]
        else:
            break
    return value


def role(value: Value) -> str:
    """`module`, `optimizer`, `loss`, `loader`, `scheduler`, or nothing; of several branches what all agree on."""
    if isinstance(value, Either):
        found = {role(o) for o in value.options if not (isinstance(o, Const) and o.value is None)}
        return found.pop() if len(found) == 1 else ""
    value = origin(value)
    if isinstance(value, Object):
        return _made(value)
    if isinstance(value, Parameter):
        return _annotated(value.annotation)
    return ""


def _made(thing: Object) -> str:
    if isinstance(thing.kind, Class):
        bases = thing.kind.outer_bases
        if any(words.is_loss_class(base) for base in bases):
            return "loss"
        if any(words.is_module_base(base) for base in bases):
            return "module"
        if any(base == "torch.optim.Optimizer" or words.is_optimizer(base) for base in bases):
            return "optimizer"
        return "loader" if any(words.is_loader(base) for base in bases) else ""
    if words.is_loss_class(thing.kind):
        return "loss"
    if words.is_optimizer(thing.kind):
        return "optimizer"
    if words.is_loader(thing.kind):
        return "loader"
    if thing.kind.startswith("torch.optim.lr_scheduler."):
        return "scheduler"
    return "module" if words.is_module(thing.kind) else ""


def _annotated(annotation: str) -> str:
    if annotation in ("torch.nn.Module", "torch.nn.modules.Module"):
        return "module"
    if annotation in ("torch.optim.Optimizer", "torch.optim.optimizer.Optimizer") or words.is_optimizer(annotation):
        return "optimizer"
    return "loader" if words.is_loader(annotation) else ""


def is_module(value: Value) -> bool:
    """Whether the value is a network: by its making, its annotation, or what is called on it."""
    if isinstance(value, Either):
        known = [o for o in value.options if not (isinstance(o, Const) and o.value is None)]
        return bool(known) and all(is_module(o) for o in known)
    base = origin(value)
    if role(base) == "module":
        return True
    if not isinstance(base, (Parameter, Result)):
        return False
    if base.marked(*_MODULE_METHODS) or (base.marked("called") and base.marked(".train")):
        return True
    # the name only tells a network from a loss, of which the same is true
    return (
        isinstance(base, Parameter)
        and base.marked("answers")
        and not base.annotation
        and _NETWORK.fullmatch(base.name) is not None
    )


def may_be_network(owner: Value) -> bool:
    """Whether an object is a network, or derives from something out of sight that may be one."""
    if not (isinstance(owner, Object) and isinstance(owner.kind, Class)):
        return False
    plain = ("builtins.", "abc.", "typing.", "dataclasses.")
    return not owner.kind.in_sight or any(not base.startswith(plain) for base in owner.kind.outer_bases)


def is_optimizer(value: Value) -> bool:
    """Whether the value is an optimizer by its making or annotation, or an argument that is used and named as one."""
    base = origin(value)
    if isinstance(base, Either):
        known = [o for o in base.options if not (isinstance(o, Const) and o.value is None)]
        return bool(known) and all(is_optimizer(o) for o in known)
    if role(base) == "optimizer":
        return True
    # a name alone decides nothing: the caller has seen `.step()` behind `.backward()` in one loop
    return (
        isinstance(base, Parameter)
        and not base.annotation
        and not base.marked("called")  # as those of other libraries are
        and base.name.lower() in ("optimizer", "optim", "opt", "optimiser")
    )


def has_graph(value: Value, known: dict[int, bool | None] | None = None, depth: int = 80) -> bool | None:
    """Whether a value is tied to the graph of parameters: True, False, or None where the text doesn't tell."""
    if value.marked("backward", "requires_grad"):
        return True
    if isinstance(value, (Const, Symbol, Function, Class)):
        return False
    known = {} if known is None else known
    if id(value) not in known:
        known[id(value)] = None  # a circle tells nothing, nor does a very long way
        if depth and isinstance(value, Result):
            known[id(value)] = _result_graph(value, known, depth)
        elif depth and isinstance(value, (Either, Collection)):
            known[id(value)] = _any_graph(value.inputs, known, depth) if value.inputs else None
    return known[id(value)]


def _result_graph(value: Result, known: dict[int, bool | None], depth: int) -> bool | None:
    made_by = value.made_by
    if value.grad is False or made_by in words.GRAPHLESS:
        return False
    if made_by == "forward":
        if value.grad is True and value.callee is not None and role(value.callee) == "module":
            if _without_parameters(value.callee):
                return _any_graph(value.inputs, known, depth)
            return None if origin(value.callee).marked("frozen", "frozen parts") else True
        return None
    if made_by == "operator []" and isinstance(value.inputs[0], Result) and value.inputs[0].made_by in _PAIRS:
        return None  # values or indices
    if made_by == "part" and isinstance(value.inputs[0], Result) and value.inputs[0].made_by in _PIECES:
        return has_graph(value.inputs[0], known, depth - 1)
    if made_by in ("loss", "builtins.sum") or made_by.startswith((".", "torch.", "operator")):
        return _any_graph(value.inputs, known, depth)
    return None


def _without_parameters(module: Value) -> bool:
    """Whether a network certainly holds nothing that is trained: a function of torch's, or one of nothing but code."""
    base = origin(module)
    if not isinstance(base, Object):
        return False
    if base.symbol:
        return words.PARAMETERLESS.fullmatch(base.symbol) is not None
    assert isinstance(base.kind, Class)
    return (
        base.kind.in_sight
        and not set(base.kind.outer_bases) - _WITHOUT_MODES
        and not any(isinstance(base.kind.member(name), Function) for name in ("__init__", "build", "setup"))
        and not base.attrs
    )


def _any_graph(values: tuple[Value, ...], known: dict[int, bool | None], depth: int) -> bool | None:
    found = {has_graph(each, known, depth - 1) for each in values}
    return True if True in found else None if None in found else False


def blocked(value: Value, seen: set[int] | None = None, depth: int = 80) -> list[Result] | None:
    """Where autograd was off on every way to a value; None where some way is open or out of sight."""
    seen = set() if seen is None else seen
    if value.marked("requires_grad") or depth == 0:
        return None
    if isinstance(value, (Const, Symbol)) or id(value) in seen:
        return []
    seen.add(id(value))
    if isinstance(value, Either):
        return _all_blocked(value.options, seen, depth)
    if not isinstance(value, Result):
        return None
    if value.grad is False and (value.made_by == "forward" or (value.callee is not None and is_module(value.callee))):
        return [value]
    if value.made_by in ("data", "compare") or value.made_by in words.FACTORIES or is_drawn(value):
        return []
    if value.made_by == "loss" and value.callee is not None and not isinstance(value.callee, Symbol):
        criterion = origin(value.callee)
        if not (isinstance(criterion, Object) and criterion.symbol):
            return None  # a loss of one's own may hold parameters
    given = value.callee is not None and isinstance(origin(value.callee), Parameter) and value.grad is False
    if value.made_by == "loss" or given or value.made_by.startswith((".", "torch.", "operator")):
        return _all_blocked(value.inputs, seen, depth)
    return None


def is_drawn(value: Value) -> bool:
    """Whether it is a part of what a loop goes over: of a batch."""
    base, loop = value, value.loop
    while isinstance(base, Result) and base.made_by == "part" and base.inputs:
        base = base.inputs[0]
    return (
        base is not value
        and isinstance(base, Parameter)
        and loop is not None
        and loop.iterates is not None
        and any(part is base for part in ancestry(loop.iterates, 10))
    )


def _all_blocked(values: tuple[Value, ...], seen: set[int], depth: int) -> list[Result] | None:
    found: list[Result] = []
    for each in values:
        part = blocked(each, seen, depth - 1)
        if part is None:
            return None
        found += part
    return found


def knows_modes(module: Value, seen: set[int] | None = None, *, sure: bool = False) -> bool:
    """Whether training and evaluation mode differ for a network; where not all its layers are in sight, it is True
    too, unless `sure` asks for a layer that is known to have modes."""
    base = origin(module)
    inner = seen is not None
    seen = set() if seen is None else seen
    if id(base) in seen:
        return False
    seen.add(id(base))
    if isinstance(base, Either):
        return any(knows_modes(option, seen if inner else set(), sure=sure) for option in base.options)
    if not isinstance(base, Object):
        return not (sure and inner)
    if base.symbol in ("torch.nn.Parameter", "torch.nn.parameter.Parameter", "torch.nn.Buffer"):
        return False  # a tensor, whatever it is made from
    if base.symbol:
        plain = base.symbol.startswith("torch.nn.") and not words.MODE_LAYER.fullmatch(base.symbol)
        certain = not sure or (words.is_module(base.symbol) and "from_pretrained" not in base.symbol)
        return (not plain and certain) or any(knows_modes(part, seen, sure=sure) for part in _parts(base.arguments))
    assert isinstance(base.kind, Class)
    if base.kind.definition.name.endswith("Loss"):
        return False  # a loss of one's own compares, whatever it was derived from
    bases = set(base.kind.outer_bases) - _WITHOUT_MODES
    if any(words.MODE_LAYER.fullmatch(each) for each in bases) or (not sure and not base.kind.in_sight):
        return True
    if any(not each.startswith("torch.nn.") and (not sure or words.is_module(each)) for each in bases):
        return True
    if any(
        isinstance(n, ast.Attribute) and (n.attr == "training" or "dropout" in n.attr or n.attr == "batch_norm")
        for n in ast.walk(base.kind.definition)
    ):
        return True
    return any(knows_modes(part, seen, sure=sure) for part in _parts((base.attrs or {}).values()))


def _parts(values: Iterable[Value]) -> Iterator[Value]:
    """The parts of a network among its attributes; a number is none, a value from out of sight may be one."""
    for value in values:
        for each in value.options:
            if isinstance(each, Collection):
                yield from _parts(each.items)
            elif isinstance(each, Object) or (
                isinstance(each, Result)
                and not each.made_by.startswith(("operator", "torch.", "builtins.", "numpy.", "math.", "compare"))
            ):
                yield each
