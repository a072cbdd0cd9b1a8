"""Pitfalls between a network's last layer and its loss, beside softmax: what is cut off, and where the loss lives."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from dldoctor import Finding, Severity, SourceTree, check
from dldoctor.facts.source.flow import vocabulary as words
from dldoctor.facts.source.flow.events import Event, Run
from dldoctor.facts.source.flow.roles import is_module, origin, role
from dldoctor.facts.source.flow.values import Class, Const, Either, Object, Result, Symbol, Value, ancestry

#: take logits, which are to be negative as well
_OF_LOGITS = frozenset(
    f"torch.nn.{name}"
    for name in (
        "CrossEntropyLoss",
        "BCEWithLogitsLoss",
        "MultiLabelSoftMarginLoss",
        "functional.cross_entropy",
        "functional.binary_cross_entropy_with_logits",
        "functional.multilabel_soft_margin_loss",
    )
)
_RELU = frozenset(
    ("torch.relu", "torch.nn.functional.relu", "torch.nn.functional.relu6", "torch.nn.ReLU", "torch.nn.ReLU6", ".relu")
)
#: hand values on as they are
_UNCHANGED = frozenset(
    (".to", ".cuda", ".cpu", ".float", ".view", ".reshape", ".squeeze", ".contiguous", ".flatten", "torch.squeeze",
     "torch.flatten", ".transpose", ".permute", ".unsqueeze", "torch.nn.Flatten", "torch.nn.Identity")
)  # fmt: skip


@check("SRC020", Severity.ERROR, since="0.1")
def relu_on_logits(source: SourceTree) -> Iterator[Finding]:
    """A ReLU stands between the last layer and the loss.

    It takes every negative logit to 0: no class can be ruled out, and where all are negative nothing has a gradient.
    The loss stays at that of guessing, and every prediction is the same class.

    Fix: give the loss what the last layer answers.
    """
    seen: set[ast.AST] = set()
    for event in source.code.events("loss"):
        given = event.arguments[0] if event.arguments else event.keywords.get("input")
        if given is None or event.node in seen or _loss_name(event) not in _OF_LOGITS:
            continue
        relu = _relu_of(given, 8)
        if relu is None or relu.node is None or relu.file is None or relu.node in seen:
            continue
        seen |= {event.node, relu.node}
        yield Finding(
            relu.file.place(relu.node),
            "cuts off every negative logit before the loss",
            show=(relu.file.frame(relu.node, "no logit below 0"), event.file.frame(event.node, "takes logits")),
            fix="give the loss what the last layer answers, without the ReLU",
        )


def _loss_name(event: Event) -> str:
    base = origin(event.value)
    return event.name or (base.symbol.replace("modules.loss.", "") if isinstance(base, Object) else "")


def _relu_of(value: Value, depth: int) -> Value | None:
    """The ReLU that a value went through last, on every way it may have come."""
    if depth == 0:
        return None
    if isinstance(value, Either):
        found = [_relu_of(option, depth - 1) for option in value.options]
        return found[0] if all(found) else None
    if not isinstance(value, Result):
        return None
    if value.made_by in _RELU:
        return value if any(_is_layer(each) for each in ancestry(value, 60)) else None
    if value.made_by == "last" and isinstance(value.inputs[0], Object):
        last = value.inputs[0]
        return last if last.symbol in _RELU else None
    if value.made_by == "forward":
        callee = origin(value.callee) if value.callee is not None else None
        if isinstance(callee, Object) and callee.symbol in _RELU:
            return value if any(_is_layer(each) for each in ancestry(value, 60)) else None
        if isinstance(callee, Object) and callee.symbol in _UNCHANGED:
            return _relu_of(value.inputs[0], depth - 1) if value.inputs else None
        inside = (value.attrs or {}).get("answer")
        return _relu_of(inside, depth - 1) if inside is not None else None
    if value.made_by in _UNCHANGED and value.inputs:
        return _relu_of(value.inputs[0], depth - 1)
    return None


def _is_layer(value: Value) -> bool:
    """What a layer with weights answered."""
    if not (isinstance(value, Result) and value.made_by == "forward" and value.callee is not None):
        return False
    layer = origin(value.callee)
    return isinstance(layer, Object) and layer.symbol.rpartition(".")[2] in (
        "Linear",
        "LazyLinear",
        "Conv2d",
        "Conv1d",
        "Sequential",
    )


@check("SRC047", Severity.WARNING, since="0.1", symptoms=("Expected all tensors to be on the same device & weight",))
def missing_loss_device(source: SourceTree) -> Iterator[Finding]:
    """A loss holds a tensor that stays on the CPU.

    Class weights are a buffer of the loss: where the network goes to the GPU and the loss does not, the first loss
    raises there, while all runs well on a machine without one.

    Fix: `criterion.to(device)`, or make the weights on the device.
    """
    seen: set[ast.AST] = set()
    for run in source.code.runs:
        losses = [e for e in run.of("loss") if e.node not in seen]
        if not losses or not (moved := _moved(run)) or any("set_default" in e.name for e in run.of("call")):
            continue
        for event in losses:
            criterion = origin(event.value)
            if (
                not (isinstance(criterion, Object) and role(criterion) == "loss" and criterion.symbol)
                or event.node in seen
            ):
                continue
            if criterion.marked(".to", ".cuda", "escapes", "seen outside") or criterion.node in seen:
                continue
            weights = [v for k, v in criterion.keywords.items() if k in ("weight", "pos_weight")]
            if criterion.symbol.endswith("CrossEntropyLoss") or criterion.symbol.endswith("NLLLoss"):
                weights += criterion.arguments[:1]
            if not any(_on_cpu(each) for each in weights) or _is_part(criterion, run) or criterion.node is None:
                continue
            parts = [v for given in event.arguments[:1] for v in ancestry(given, 60)]
            if not any(is_forward_of(v, moved) for v in parts) or any(_is_brought_back(v) for v in parts):
                continue
            seen |= {event.node, criterion.node}
            file = criterion.file
            if file is None:
                continue
            yield Finding(
                file.place(criterion.node),
                "keeps its weights on the CPU, while the network it judges is moved",
                show=(file.frame(criterion.node, "weights on the CPU"), event.file.frame(event.node, "fails on a GPU")),
                fix="move the loss to the same device: criterion.to(device)",
            )


def _is_brought_back(value: Value) -> bool:
    return isinstance(value, Result) and value.made_by == ".cpu"


def is_forward_of(value: Value, modules: set[int]) -> bool:
    return isinstance(value, Result) and value.callee is not None and id(origin(value.callee)) in modules


def _moved(run: Run) -> set[int]:
    """The networks that a run moves to a device that isn't surely the CPU."""
    found = set()
    for event in run.of("method"):
        if event.name not in ("to", "cuda") or not is_module(event.value):
            continue
        given = [*event.arguments, *event.keywords.values()]
        if event.name == "to" and (not given or all(_is_no_device(each) for each in given)):
            continue
        found.add(id(origin(event.value)))
    return found


def _is_no_device(value: Value) -> bool:
    """A dtype, or the CPU."""
    if isinstance(value, Symbol):
        return value.name.startswith("torch.")
    if isinstance(value, Result) and value.made_by == "torch.device":
        return all(isinstance(each, Const) and each.value == "cpu" for each in value.inputs)
    return isinstance(value, Const) and value.value in ("cpu", True, False, None)


def _on_cpu(value: Value) -> bool:
    """A tensor that was made on the CPU and never moved."""
    if isinstance(value, Result) and value.made_by in (".float", ".double", "operator Div", "operator Mult", ".sqrt"):
        return any(_on_cpu(each) for each in value.inputs) and all(
            _on_cpu(each) or isinstance(each, (Const,)) or _is_sum(each) for each in value.inputs
        )
    if not (isinstance(value, Result) and value.made_by in words.FACTORIES) or value.made_by.endswith("_like"):
        return False
    node = value.node
    return isinstance(node, ast.Call) and not any(k.arg in ("device", None) for k in node.keywords)


def _is_sum(value: Value) -> bool:
    return isinstance(value, Result) and value.made_by in (".sum", ".mean", ".max") and _on_cpu(value.inputs[0])


def _is_part(criterion: Object, run: Run) -> bool:
    """Whether a network holds the loss, so that it moves with it."""
    for event in run.of("method"):
        base = origin(event.value)
        if not (isinstance(base, Object) and isinstance(base.kind, Class) and base.attrs and is_module(base)):
            continue
        if any(origin(option) is criterion for value in base.attrs.values() for option in value.options):
            return True
    return False
