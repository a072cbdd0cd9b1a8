"""What follows what in a network, read from the operations of a clean pass."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from torch import nn

from dldoctor.facts.model.inside import gradients, places
from dldoctor.facts.model.inside.ends import main_output, named_outputs
from dldoctor.facts.model.inside.flow import WEIGHTED, Node, node_of, words
from dldoctor.facts.model.inside.inputs import Spec
from dldoctor.facts.model.inside.recorder import Recorder, what
from dldoctor.facts.model.records.graph import (
    BatchAxis,
    FlattenedMap,
    Graph,
    LinearPair,
    Norm,
    ReluEnd,
    Reuse,
    Upsampling,
    Width,
)

_BatchNorm = nn.modules.batchnorm._BatchNorm
_Norm = (_BatchNorm, nn.modules.instancenorm._InstanceNorm)
_ConvTranspose = nn.modules.conv._ConvTransposeNd
_Conv = nn.modules.conv._ConvNd
_SAME = words("contiguous to float half bfloat16 clone type_as")
_DROPOUT = words("dropout dropout1d dropout2d dropout3d alpha_dropout feature_alpha_dropout")
_RESHAPES = words("view reshape flatten unflatten squeeze unsqueeze transpose permute T mT movedim")
_SCALED = words("mul div __mul__ __rmul__ __truediv__ mul_ div_ neg __neg__")
_ACTIVATIONS = words("""
    relu relu_ relu6 leaky_relu leaky_relu_ gelu silu elu elu_ selu celu mish hardswish hardtanh prelu tanh sigmoid
    softplus
""")
_CUT_AT_ZERO = words("relu relu_ relu6")
_NORMS = words("batch_norm layer_norm instance_norm group_norm")


def describe(net: nn.Module, specs: Sequence[Spec], done: Any, modes: Mapping[int, bool]) -> Graph:
    """The structure of the network as the clean pass `done` showed it."""
    rec: Recorder = done.rec
    reached = {name for key, name, _, _ in rec.flow.parameters if key in rec.flow.reached}
    trained = sum(size for _, name, size, _ in rec.flow.parameters if name in reached)
    missing = None
    if done.training and not rec.value_dependent:
        missing = gradients.untrained(net, rec, modes)
    return Graph(
        done.training,
        trained,
        missing,
        tuple(_norms(rec)),
        tuple(_pairs(rec)),
        tuple(_upsamplings(net, rec)),
        tuple(_flattened(rec)),
        tuple(_widths(rec)),
        tuple(_reused(net, rec)) if done.training else (),
        tuple(_batch_axes(net, specs, done)),
        _relu_end(rec, done.output),
        sum(p.numel() for p in net.parameters() if not nn.parameter.is_lazy(p)),
        rec.madds // rec.batch,
    )


def _path(rec: Recorder, node: Node) -> str:
    return rec.names.get(id(node.module), "")


def _back(
    node: Node | None, past: frozenset[str], alone: Sequence[Node] | None = None
) -> tuple[Node | None, list[str]]:
    """From a node back over operations of these names that take one tensor; with `alone`, ones used only here."""
    names: list[str] = []
    while node is not None and node.name in past and node.tensors == 1 and _is_alone(node, alone):
        names.insert(0, node.name)
        node = node.inputs[0] if node.inputs else None
    return node, names


def _is_alone(node: Node, outputs: Sequence[Node] | None) -> bool:
    return outputs is None or (len(node.consumers) == 1 and node not in outputs)


def _is_layer(node: Node | None, kind: Any) -> bool:
    """Whether an operation is a known layer's own, and that layer was called once."""
    return node is not None and node.name in WEIGHTED and isinstance(node.module, kind)


# --- before a normalisation ---


def _norms(rec: Recorder) -> Iterator[Norm]:
    seen = set()
    for node in rec.flow.nodes:
        norm = node.module
        if node.name not in _NORMS or not isinstance(norm, _Norm) or not places.is_made_by_user(norm):
            continue
        if not node.inputs or id(norm) in seen or len(rec.flow.calls.get(id(norm), ())) != 1:
            continue
        seen.add(id(norm))
        before, _ = _back(node.inputs[0], _SAME, rec.flow.outputs)
        activation = None
        if before is not None and before.name in _ACTIVATIONS and _is_alone(before, rec.flow.outputs):
            activation = before
            before, _ = _back(before.inputs[0] if before.inputs else None, _SAME, rec.flow.outputs)
        if before is None or not _is_layer(before, (nn.Linear, _Conv)) or not _is_alone(before, rec.flow.outputs):
            continue
        layer: Any = before.module
        if len(rec.flow.calls.get(id(layer), ())) != 1 or not places.is_made_by_user(layer):
            continue
        bias = layer.bias if before.bias else None
        yield Norm(
            _path(rec, node),
            what(norm),
            _path(rec, before),
            what(layer),
            places.call_at(layer),
            bias.numel() if bias is not None and bias.requires_grad else 0,
            activation.name.rstrip("_") if activation is not None else "",
            _activation_made(activation),
        )


def _activation_made(node: Node | None) -> Any:
    if node is None:
        return None
    if node.module is not None and not node.module._modules and places.call_at(node.module):
        return places.call_at(node.module)
    return node.at


# --- linear after linear ---


def _pairs(rec: Recorder) -> Iterator[LinearPair]:
    for node in rec.flow.nodes:
        second: Any = node.module
        outputs = rec.flow.outputs
        if not node.inputs or not _is_layer(node, (nn.Linear, _Conv)) or isinstance(second, _ConvTranspose):
            continue
        conv = isinstance(second, _Conv)
        past = _SAME | _DROPOUT if conv else _SAME | _DROPOUT | _RESHAPES | _SCALED
        before, between = _back(node.inputs[0], past, outputs)
        if before is None or not _is_layer(before, type(second)) or not _is_alone(before, outputs):
            continue
        first: Any = before.module
        if first is second or type(first) is not type(second):
            continue
        if not (places.is_made_by_user(first) or places.is_made_by_user(second)):
            continue
        if conv and not (_is_full(first) and _is_full(second)):
            continue
        widths = _widths_of(first)[0], _widths_of(first)[1], _widths_of(second)[1]
        if _widths_of(second)[0] != widths[1]:
            continue
        made = places.call_at(second if places.is_made_by_user(second) else first)
        yield LinearPair(_path(rec, before), what(first), _path(rec, node), what(second), made, tuple(between), widths)


def _is_full(conv: Any) -> bool:
    """Neither depthwise nor pointwise nor a factor of a separable kernel: those stand in pairs on purpose."""
    return conv.groups == 1 and all(side > 1 for side in conv.kernel_size)


def _widths_of(layer: Any) -> tuple[int, int]:
    if isinstance(layer, nn.Linear):
        return layer.in_features, layer.out_features
    return layer.in_channels, layer.out_channels


# --- single layers ---


def _upsamplings(net: nn.Module, rec: Recorder) -> Iterator[Upsampling]:
    for path, module in net.named_modules():
        if not isinstance(module, _ConvTranspose) or id(module) not in rec.flow.calls:
            continue
        if not places.is_made_by_user(module) or any(side != 1 for side in module.dilation):
            continue
        yield Upsampling(
            path,
            what(module),
            tuple(map(int, module.kernel_size)),
            tuple(map(int, module.stride)),
            places.call_at(module),
            places.argument_of(module, "kernel_size"),
        )


def _flattened(rec: Recorder) -> Iterator[FlattenedMap]:
    seen = set()
    for node in rec.flow.nodes:
        layer: Any = node.module
        if not node.inputs or not _is_layer(node, nn.Linear) or id(layer) in seen or not places.is_made_by_user(layer):
            continue
        seen.add(id(layer))
        before, _ = _back(node.inputs[0], _SAME | _DROPOUT | _ACTIVATIONS)
        if before is None or before.name not in ("view", "reshape", "flatten") or len(before.reshaped) < 3:
            continue
        sides = before.reshaped[1:]
        if before.reshaped[0] != rec.batch or math.prod(sides) != layer.in_features:
            continue
        yield FlattenedMap(
            _path(rec, node),
            what(layer),
            sides,
            layer.weight.numel(),
            layer.out_features,
            places.call_at(layer),
            places.argument_of(layer, "in_features"),
        )


def _widths(rec: Recorder) -> Iterator[Width]:
    heads = {id(head.module) for out in rec.flow.outputs if (head := _weighted_before(out)) is not None}
    seen = set()
    for node in rec.flow.nodes:
        layer: Any = node.module
        if not _is_layer(node, (nn.Linear, _Conv)) or id(layer) in seen or getattr(layer, "groups", 1) > 1:
            continue
        seen.add(id(layer))
        width_in, width_out = _widths_of(layer)
        is_first = not node.inputs or _weighted_before(node.inputs[0]) is None
        width_in = 8 if is_first else width_in
        width_out = 8 if id(layer) in heads else width_out
        row = rec.rows.get(id(layer))
        if row is None or not places.is_made_by_user(layer) or (width_in % 8 == 0 and width_out % 8 == 0):
            continue
        dtype = str(layer.weight.dtype).removeprefix("torch.")
        madds = row.madds // rec.batch
        yield Width(_path(rec, node), what(layer), width_in, width_out, madds, dtype, places.call_at(layer))


def _weighted_before(node: Node) -> Node | None:
    seen: Node | None = node
    while seen is not None and seen.name not in WEIGHTED:
        seen = seen.inputs[0] if seen.inputs else None
    return seen


# --- layers called more than once ---


def _reused(net: nn.Module, rec: Recorder) -> Iterator[Reuse]:
    calls = rec.flow.calls
    shared: dict[str, list[str]] = {}
    for path, module in net.named_modules():
        times = calls.get(id(module), [])
        if not isinstance(module, _BatchNorm) or len(times) < 2 or not moves(module):
            continue
        by_owner: dict[tuple[int, int], list[int]] = {}
        for owner, serial, feeder in times:
            by_owner.setdefault((owner, serial), []).append(feeder)
        most = max(by_owner.values(), key=lambda feeders: len(set(feeders)))
        if len(set(most)) > 1 and 0 not in most:
            names = tuple(rec.names.get(feeder, "") for feeder in dict.fromkeys(most))
            yield Reuse(path, what(module), 1, len(times), names, places.call_at(module))
        elif len(by_owner) > 1:
            top = path
            while (above := top.rpartition(".")[0]) and len(calls.get(id(net.get_submodule(above)), ())) > 1:
                top = above
            shared.setdefault(top, []).append(path)
    for top, paths in shared.items():
        module = net.get_submodule(top)
        if sum(other is module for parent in net.modules() for other in parent._modules.values()) > 1:
            continue  # one layer under several names: said of the container
        if places.is_made_by_user(module):
            count = len(calls.get(id(module), ()))
            yield Reuse(top, type(module).__name__, len(paths), count, (), places.call_at(module))


def moves(norm: Any) -> bool:
    """Whether a call in the present mode moves the running statistics."""
    return bool(norm.training and norm.track_running_stats and norm.running_mean is not None and norm.momentum != 0)


# --- the ends ---


def _batch_axes(net: nn.Module, specs: Sequence[Spec], done: Any) -> Iterator[BatchAxis]:
    """Outputs whose first axis is not the batch; a second pass with three samples says how it grows."""
    from dldoctor.facts.model.inside import passes

    rec: Recorder = done.rec
    odd = [
        (name, shape, at)
        for name, shape in _shapes(done)
        if len(shape) > 1
        and shape[0] != rec.batch
        and (at := next((s for s in reversed(rec.flow.swallowed) if s.result[0] == shape[0]), None)) is not None
    ]
    if not odd or rec.value_dependent:
        return
    again = passes.run(net, specs, rec.batch + 1, fake=done.mode == "fake", training=done.training)
    others = dict(_shapes(again)) if again.error is None else {}
    for name, shape, at in odd:
        if len(other := others.get(name, ())) == len(shape):
            rows = shape[0], other[0]
            yield BatchAxis(name, rows, shape, at.operation, at.place, at.shape, at.result, at.through)


def _shapes(done: Any) -> Iterator[tuple[str, tuple[int, ...]]]:
    for name, tensor in named_outputs(done.output):
        yield name, tuple(map(int, tensor.shape))


def _relu_end(rec: Recorder, output: Any) -> ReluEnd | None:
    main = main_output(output)
    end = node_of(main) if main is not None else None
    end, _ = _back(end, _SAME | _RESHAPES | _DROPOUT)
    if end is None or end.name not in _CUT_AT_ZERO or end.tensors != 1 or not end.inputs:
        return None
    before: Node | None = end.inputs[0]
    while before is not None and (before.name in _NORMS or before.name in _DROPOUT or before.name in _SAME):
        before = before.inputs[0] if before.inputs else None
    if before is None or not _is_layer(before, nn.Linear):
        return None
    layer: Any = before.module
    if main is None or not main.shape or int(main.shape[-1]) != layer.out_features:
        return None
    return ReluEnd(_path(rec, end), _activation_made(end), _path(rec, before), what(layer), layer.out_features)
