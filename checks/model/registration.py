"""Layers that the network holds where `parameters()` does not look."""

from __future__ import annotations

from collections.abc import Iterator

from dldoctor import Finding, HiddenLayers, Place, Registered, Severity, check
from dldoctor.facts.model.frames import line_frame
from dldoctor.facts.model.records.forward import HiddenLayer


@check("MOD010", Severity.ERROR, Severity.WARNING, since="0.1")
def unregistered_layers(hidden: HiddenLayers) -> Iterator[Finding]:
    """Layers in a plain list, dict or function are no part of the network.

    `parameters()`, `.to(device)`, `state_dict()` and `.eval()` do not see them: they are never trained, moved or saved.

    Fix: nn.ModuleList or nn.ModuleDict in place of the list or dict.
    """
    for layer in hidden.layers:
        severity = _severity(layer, hidden.complete)
        if severity is None:
            continue
        owner = f"{layer.owner}.{layer.holder}" if layer.owner else layer.holder
        at = layer.place
        if layer.container == "forward":
            template = "forward makes a new {kind} at each call, with {parameters} parameters that are never trained"
            fix = f"make the {layer.kind} in __init__ and keep it as an attribute"
        elif layer.only_mode:
            template = "{owner} is a plain {container} that holds {kind}: eval() does not reach it"
            fix = _fix(layer)
        else:
            template = "{owner} is a plain {container} that holds {kind}: {parameters} parameters are not registered"
            fix = _fix(layer)
        yield Finding(
            Place(at.path if at else None, at.line if at else None, layer=owner),
            template,
            severity=severity,
            owner=owner,
            container=layer.container,
            kind=_count(layer),
            parameters=layer.parameters,
            show=line_frame(at),
            fix=fix,
        )


def _severity(layer: HiddenLayer, complete: bool) -> Severity | None:
    """None where it is meant: a frozen teacher in a list, mere activations, layers that forward never calls."""
    if layer.only_mode:
        return Severity.WARNING if layer.called else None
    if not layer.trainable or layer.called_without_gradient:
        return None
    if layer.called:
        return Severity.ERROR
    return Severity.WARNING if not complete and layer.count > 1 else None


def _count(layer: HiddenLayer) -> str:
    if layer.container == "forward" or layer.count == 1:
        return layer.kind
    return f"{layer.count} modules" if layer.kind != "Parameter" else f"{layer.count} Parameters"


def _fix(layer: HiddenLayer) -> str:
    parameter = layer.kind == "Parameter"
    if layer.container == "dict":
        return "nn.ParameterDict" if parameter else "nn.ModuleDict (its keys must be strings)"
    if layer.container == "function":
        return "keep the layer as an attribute of the module, too"
    if layer.container == "object":
        return f"derive its class from nn.Module, or keep the {layer.kind} as an attribute of the module, too"
    return "nn.ParameterList" if parameter else "nn.ModuleList"


@check("MOD024", Severity.ERROR, Severity.WARNING, since="0.1")
def unregistered_tensor(registered: Registered) -> Iterator[Finding]:
    """A plain tensor as an attribute, where a Parameter or a buffer is meant.

    `parameters()`, `.to(device)` and `state_dict()` do not see it: a weight is never trained, a constant stays on the
    CPU and is not saved.

    Fix: nn.Parameter for what is learned, register_buffer for what is constant.
    """
    for tensor in registered.tensors:
        owner = f"{tensor.layer}.{tensor.attribute}" if tensor.layer else tensor.attribute
        learned = tensor.requires_grad or tensor.computed
        if not learned and not tensor.mixed:
            continue
        at = tensor.assigned or tensor.used_at
        if tensor.computed:
            template = "{owner} is the result of an operation on a Parameter, and no Parameter itself"
            fix = f"compute first and wrap last: self.{tensor.attribute} = nn.Parameter(...)"
        elif learned:
            template = "{owner} wants gradients and is a plain tensor: the optimizer does not get it"
            fix = f"self.{tensor.attribute} = nn.Parameter(...)"
        else:
            template = "{owner} is a plain tensor: net.to(device) leaves it behind, and {operation} meets it there"
            fix = f"self.register_buffer('{tensor.attribute}', ...); persistent=False keeps it out of the state_dict"
        yield Finding(
            Place(at.path if at else None, at.line if at else None, layer=owner),
            template,
            severity=Severity.ERROR if learned else Severity.WARNING,
            owner=owner,
            shape=list(tensor.shape),
            dtype=tensor.dtype,
            operation=tensor.operation,
            show=[*line_frame(tensor.assigned), *line_frame(tensor.used_at, "used here")],
            fix=fix,
        )


@check("MOD030", Severity.INFO, since="0.1", unless=("MOD010",))
def shared_module(registered: Registered) -> Iterator[Finding]:
    """One layer stands several times in a container.

    `[layer] * n` is one layer n times: all places share its weights. Some networks tie them on purpose.

    Fix: [make_layer() for _ in range(n)] makes n layers.
    """
    for shared in registered.shared:
        at = shared.made
        kind = shared.what.partition("(")[0]
        yield Finding(
            Place(at.path if at else None, at.line if at else None, layer=shared.container or None),
            "the entries {entries} of {container} are one {kind}, which they share",
            entries=", ".join(shared.names[:-1]) + f" and {shared.names[-1]}",
            container=shared.container or f"the {shared.kind}",
            kind=kind,
            weights=shared.weights,
            show=line_frame(at),
            fix=f"if they are to learn apart: nn.{shared.kind}("
            + ("*" if shared.kind == "Sequential" else "")
            + f"[{kind}(...) for _ in range({len(shared.names)})])",
        )


@check("MOD034", Severity.INFO, since="0.1")
def needs_gpu(registered: Registered) -> Iterator[Finding]:
    """The network names a GPU itself.

    It can't be made or run on a machine without one, on another card, or under DistributedDataParallel's own device.

    Fix: make tensors where the input is (x.new_zeros, device=x.device), and move the network from outside.
    """
    for line in registered.gpu:
        yield Finding(
            Place(line.path, line.line),
            "the network asks for a GPU by name",
            show=line_frame(line),
            fix="device=x.device (or x.new_zeros(...)) in forward; net.to(device) where the network is made",
        )
