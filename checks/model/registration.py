"""Layers that the network holds where `parameters()` does not look."""

from __future__ import annotations

from collections.abc import Iterator

from dldoctor import Finding, HiddenLayers, Place, Severity, check
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
    return "nn.ParameterList" if parameter else "nn.ModuleList"
