"""Known layers are asked before they run: what they declare against what arrives; then the input is made to fit.

The input is repaired, never the output, so that everything behind the layer sees what its declaration promises.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

from dldoctor.facts.model.inside import places
from dldoctor.facts.model.inside.recorder import Recorder, what, whole
from dldoctor.facts.model.records.forward import ShapeHint, SingleValue

_Conv = nn.modules.conv._ConvNd
_ConvTranspose = nn.modules.conv._ConvTransposeNd
_BatchNorm = nn.modules.batchnorm._BatchNorm
_InstanceNorm = nn.modules.instancenorm._InstanceNorm
_RNN = (nn.RNNBase, nn.RNNCellBase)
_POOLS = (nn.modules.pooling._MaxPoolNd, nn.modules.pooling._AvgPoolNd)
_LAST_AXIS = tuple(kind for kind in (nn.LayerNorm, getattr(nn, "RMSNorm", None)) if kind is not None)

#: positional arguments, keyword arguments, and the output in place of a call that can't be made to fit
Instead = tuple[tuple[Any, ...], dict[str, Any], Any]


def fit(x: torch.Tensor, axis: int, size: int) -> torch.Tensor:
    """`x` with `size` entries along `axis`, its gradient path whole."""
    axis %= x.dim()
    shape = list(x.shape)
    shape[axis] = size
    return x.narrow(axis, 0, 1).expand(shape)


def before_call(rec: Recorder, path: str, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Instead:
    """Note what does not fit, and answer arguments that do."""
    x = args[0] if args else kwargs.get("input")
    if not rec.repair or not isinstance(x, torch.Tensor) or not _is_torchs(module):
        return args, kwargs, None
    output = None
    if isinstance(module, nn.Linear):
        x = _linear(rec, path, module, _same_dtype(rec, module, x))
    elif isinstance(module, _Conv):
        x = _conv(rec, path, module, _same_dtype(rec, module, x))
    elif isinstance(module, _POOLS):
        x = _pool(rec, path, module, x)
    elif isinstance(module, (_BatchNorm, _InstanceNorm)):
        output = _channels(rec, path, module, x)
        if output is None:
            output = _values(rec, path, module, x)
    elif isinstance(module, nn.GroupNorm):
        output = _group_norm(rec, path, module, x)
    elif isinstance(module, _LAST_AXIS):
        output = _layer_norm(rec, path, module, x)
    elif isinstance(module, _RNN):
        x = _features(rec, path, module, _same_dtype(rec, module, x), "input_size", module.input_size)
    elif isinstance(module, (nn.TransformerEncoderLayer, nn.TransformerDecoderLayer)):
        if x.dim() and x.shape[-1] != module.self_attn.embed_dim:  # its width out is its width in
            _features(rec, path, module, x, "d_model", module.self_attn.embed_dim, module.self_attn.num_heads)
            output = x
    elif isinstance(module, nn.MultiheadAttention):
        return _attention(rec, path, module, args, kwargs)
    if output is not None:
        return args, kwargs, output
    if args:
        return (x, *args[1:]), kwargs, None
    return args, {**kwargs, "input": x} if "input" in kwargs else kwargs, None


def _is_torchs(module: nn.Module) -> bool:
    """Whether the layer's arithmetic is torch's own: a subclass may permute first, a hook may reshape."""
    if not (type(module).forward.__module__ or "").startswith("torch."):
        return False
    return all(
        (getattr(hook, "__module__", None) or type(hook).__module__ or "").startswith("torch.")
        for hook in module._forward_pre_hooks.values()
    )


def _same_dtype(rec: Recorder, module: Any, x: torch.Tensor) -> torch.Tensor:
    weight = next(module.parameters(recurse=False), None) if isinstance(module, _RNN) else module.weight
    if not isinstance(weight, torch.Tensor) or x.dtype == weight.dtype or _autocast():
        return x
    if nn.parameter.is_lazy(weight):
        return x
    names = [str(t.dtype).removeprefix("torch.") for t in (x, weight)]
    rec.forward_fault(
        f"RuntimeError: {what(module)} gets {names[0]} and its weights are {names[1]}",
        "dtype",
        f"convert the input: x.to(torch.{names[1]})",
    )
    return x.to(weight.dtype)


def _autocast() -> bool:
    return torch.is_autocast_enabled("cpu") or torch.is_autocast_enabled("cuda")


def _linear(rec: Recorder, path: str, module: nn.Linear, x: torch.Tensor) -> torch.Tensor:
    wanted = module.in_features
    if not wanted or x.dim() == 0 or x.shape[-1] == wanted:
        return x
    shape = tuple(x.shape)
    out = str(module.out_features)
    if len(shape) == 1 and shape[0] % rec.batch == 0 and len(rec.steps) > 0:
        per_sample = shape[0] // rec.batch
        rec.shape_fault("linear", path, module, x, "in_features", wanted, per_sample, "batch-flattened", out)
        return fit(x.reshape(rec.batch, per_sample), -1, wanted)
    if len(shape) > 2 and shape[0] == rec.batch and _is_map(rec, x):
        values = math.prod(shape[1:])
        hint: ShapeHint = "pool" if shape[1] == wanted and values != wanted else "flatten"
        rec.shape_fault("linear", path, module, x, "in_features", wanted, values, hint, out)
        return fit(x.flatten(1), -1, wanted)
    hint = "transpose" if len(shape) > 2 and shape[-2] == wanted else ""
    rec.shape_fault("linear", path, module, x, "in_features", wanted, shape[-1], hint, out)
    return fit(x, -1, wanted)


def _is_map(rec: Recorder, x: torch.Tensor) -> bool:
    """Whether the tensor comes straight from a layer that puts channels first, so that flattening was forgotten."""
    producer = rec.producer(x)
    return (producer is not None and producer.kind in ("conv", "map")) or (rec.is_input(x) and x.dim() == 4)


def _conv(rec: Recorder, path: str, module: Any, x: torch.Tensor) -> torch.Tensor:
    spatial, wanted = len(module.kernel_size), module.in_channels
    if not wanted or x.dim() not in (spatial + 1, spatial + 2):
        return x
    axis = x.dim() - spatial - 1
    arriving = x.shape[axis]
    out = f"{module.out_channels} channels"
    if arriving != wanted:
        hint: ShapeHint = ""
        if axis == 0 and arriving == rec.batch:
            hint = "channel-axis"
        elif axis == 1 and x.shape[-1] == wanted and rec.is_input(x):
            hint = "channels-last"
        rec.shape_fault(
            "conv",
            path,
            module,
            x,
            "in_channels",
            wanted,
            1 if hint == "channel-axis" else arriving,
            hint,
            out,
            editable=module.groups == 1,
        )
        if hint == "channels-last":
            x = x.movedim(-1, 1)
        elif hint == "channel-axis":
            x = fit(x.unsqueeze(1), 1, wanted)
        else:
            x = fit(x, axis, wanted)
    if isinstance(module, _ConvTranspose) or isinstance(module.padding, str):
        return x
    for i in range(spatial):
        needed = module.dilation[i] * (module.kernel_size[i] - 1) + 1 - 2 * module.padding[i]
        x = _large_enough(rec, path, module, x, i - spatial, needed)
    return x


def _pool(rec: Recorder, path: str, module: Any, x: torch.Tensor) -> torch.Tensor:
    spatial = int(type(module).__name__[-2])
    if x.dim() not in (spatial + 1, spatial + 2):
        return x
    kernel, padding = _each(module.kernel_size, spatial), _each(module.padding, spatial)
    stride = _each(module.stride if module.stride is not None else module.kernel_size, spatial)
    dilation = _each(getattr(module, "dilation", 1), spatial)
    for i in range(spatial):
        needed = dilation[i] * (kernel[i] - 1) + 1 - 2 * padding[i]
        if module.ceil_mode:
            needed = min(needed, max(1, needed - stride[i] + 1))
        x = _large_enough(rec, path, module, x, i - spatial, needed)
    return x


def _each(value: Any, count: int) -> tuple[int, ...]:
    return tuple(value) * (count if len(value) == 1 else 1) if isinstance(value, (tuple, list)) else (value,) * count


def _large_enough(rec: Recorder, path: str, module: Any, x: torch.Tensor, axis: int, needed: int) -> torch.Tensor:
    if 0 < x.shape[axis] >= needed:
        return x
    rec.shape_fault("small", path, module, x, "kernel_size", module.kernel_size, x.shape[axis], out="nothing")
    return (
        fit(x, axis, max(needed, 1))
        if x.shape[axis]
        else x.new_zeros(*x.shape[:axis], max(needed, 1), *(x.shape[axis:][1:]))
    )


def _channels(rec: Recorder, path: str, module: Any, x: torch.Tensor) -> torch.Tensor | None:
    """Norm layers keep the shape: what arrives goes on as it is."""
    wanted = module.num_features
    if not wanted or x.dim() < 2 or x.shape[1] == wanted or (module.weight is None and module.running_mean is None):
        return None
    if type(module).__name__[-2:] in ("1d", "2d", "3d") and x.dim() not in _NORM_DIMS[type(module).__name__[-2:]]:
        return None
    producer = rec.producer(x)
    in_place = producer is not None and getattr(producer.head, "out_channels", None) == x.shape[1]
    hint: ShapeHint = "transpose" if x.dim() > 2 and x.shape[-1] == wanted and not in_place else ""
    rec.shape_fault("norm", path, module, x, "num_features", wanted, x.shape[1], hint, rec.shown(x))
    return x


_NORM_DIMS = {"1d": (2, 3), "2d": (4,), "3d": (5,)}


def _values(rec: Recorder, path: str, module: Any, x: torch.Tensor) -> torch.Tensor | None:
    if not (module.training or module.running_mean is None) or x.dim() < 2:
        return None
    over_batch = isinstance(module, _BatchNorm)
    spatial = math.prod(x.shape[2:])
    if spatial != 1 or x.shape[0] != rec.batch or (not over_batch and x.dim() < 3):
        return None
    rec.single_values.setdefault(
        path, SingleValue(path, what(module), places.made_at(module), rec.sides(x), spatial, over_batch)
    )
    return x if not over_batch or x.shape[0] == 1 else None


def _group_norm(rec: Recorder, path: str, module: nn.GroupNorm, x: torch.Tensor) -> torch.Tensor | None:
    if x.dim() < 2 or x.shape[1] == module.num_channels:
        return None
    rec.shape_fault(
        "norm",
        path,
        module,
        x,
        "num_channels",
        module.num_channels,
        x.shape[1],
        out=rec.shown(x),
        editable=x.shape[1] % module.num_groups == 0,
    )
    return x


def _layer_norm(rec: Recorder, path: str, module: Any, x: torch.Tensor) -> torch.Tensor | None:
    wanted = tuple(module.normalized_shape)
    if tuple(x.shape[-len(wanted) :]) == wanted:
        return None
    if x.dim() < len(wanted):
        return None
    arriving = tuple(x.shape[-len(wanted) :])
    hint: ShapeHint = "transpose" if len(wanted) == 1 and x.dim() > 2 and x.shape[1] == wanted[0] else ""
    rec.shape_fault("norm", path, module, x, "normalized_shape", whole(wanted), whole(arriving), hint, rec.shown(x))
    return x


def _features(
    rec: Recorder, path: str, module: Any, x: torch.Tensor, parameter: str, wanted: int, heads: int = 1
) -> torch.Tensor:
    """`x` at the wanted width; a width that the heads do not divide is one that the constructor refuses."""
    if x.dim() == 0 or x.shape[-1] == wanted:
        return x
    arriving = x.shape[-1]
    rec.shape_fault("linear", path, module, x, parameter, wanted, arriving, out="", editable=arriving % heads == 0)
    return fit(x, -1, wanted)


def _attention(
    rec: Recorder, path: str, module: nn.MultiheadAttention, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Instead:
    names = ("query", "key", "value")
    given = [args[i] if i < len(args) else kwargs.get(name) for i, name in enumerate(names)]
    wanted = (module.embed_dim, module.kdim, module.vdim)
    query = given[0]
    if isinstance(query, torch.Tensor) and query.shape[-1] != module.embed_dim:
        _features(rec, path, module, query, "embed_dim", module.embed_dim, module.num_heads)
        return args, kwargs, (query, None)  # its width out is its width in
    fitted: list[Any] = []
    for name, x, size in zip(("embed_dim", "kdim", "vdim"), given, wanted, strict=True):
        if isinstance(x, torch.Tensor) and x.shape[-1] != size:
            fitted.append(_features(rec, path, module, x, name, size))
        else:
            fitted.append(x)
    positional = tuple(fitted[: min(len(args), 3)]) + args[3:]
    keywords = {**kwargs, **{name: fitted[i] for i, name in enumerate(names) if name in kwargs}}
    return positional, keywords, None
