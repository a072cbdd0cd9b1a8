"""Calls of torch's functions in the user's forward: who made a tensor, what failed, and a plausible way on."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from dldoctor.facts.model.inside import places
from dldoctor.facts.model.inside.flow import ATTRIBUTES, words
from dldoctor.facts.model.inside.layers import fit
from dldoctor.facts.model.inside.recorder import Producer, Recorder, first_tensor
from dldoctor.facts.model.records.forward import Step

#: what a tensor is stays what it is under these
_SAME = words("""
    view reshape flatten squeeze unsqueeze permute transpose contiguous clone float to type half double bfloat16
    movedim swapaxes view_as reshape_as squeeze_ t mT type_as cpu cuda expand unflatten __getitem__ select
    narrow detach
""")
#: operations that matter when they come last
_ENDS = {
    "softmax": "softmax",
    "_softmax": "softmax",
    "log_softmax": "log_softmax",
    "sigmoid": "sigmoid",
    "sigmoid_": "sigmoid",
    "logsigmoid": "logsigmoid",
    "relu": "relu",
    "relu_": "relu",
    "tanh": "tanh",
    "log": "log",
    "softmin": "softmax",
    "log_": "log",
    "hardsigmoid": "sigmoid",
    "gumbel_softmax": "softmax",
}
#: pointwise and pooling operations that keep the width of the last layer with weights
_KEEP_HEAD = words("""
    dropout dropout2d feature_dropout alpha_dropout dropout_ interpolate upsample mean adaptive_avg_pool1d
    adaptive_avg_pool2d adaptive_avg_pool3d adaptive_max_pool2d avg_pool2d avg_pool1d max_pool2d amax max leaky_relu
    gelu silu clamp mul div mul_ div_ truediv __truediv__ __mul__ __rmul__ pad pixel_unshuffle
""")
_MAPS = words("""
    batch_norm instance_norm group_norm max_pool2d max_pool1d max_pool3d avg_pool2d avg_pool1d avg_pool3d
    adaptive_avg_pool2d adaptive_avg_pool1d adaptive_max_pool2d interpolate upsample boolean_dispatch dropout2d
    pixel_shuffle
""")
_POINTWISE_ON_MAPS = words("""
    relu relu_ leaky_relu leaky_relu_ gelu silu dropout hardswish elu mish tanh sigmoid add __add__ add_
""")
_WEIGHTED = {
    "linear": "linear",
    "conv1d": "conv",
    "conv2d": "conv",
    "conv3d": "conv",
    "conv_transpose1d": "conv",
    "conv_transpose2d": "conv",
    "conv_transpose3d": "conv",
}
_RESHAPING = words("""
    view reshape flatten squeeze unsqueeze permute transpose cat stack movedim unflatten chunk
""")
_ELEMENTWISE = words("""
    add sub mul div add_ sub_ mul_ div_ __add__ __radd__ __sub__ __rsub__ __mul__ __rmul__ __truediv__ __iadd__
    __imul__ maximum minimum where
""")
_PRODUCTS = words("""
    matmul __matmul__ __rmatmul__ mm bmm
""")
_POOLS = words("""
    max_pool1d max_pool2d max_pool3d avg_pool1d avg_pool2d avg_pool3d
""")
_CONVOLUTIONS = words("""
    conv1d conv2d conv3d
""")
_CUDA_CALLS = words("""
    cuda pin_memory
""")
#: what torch says of real tensors
_NOT_CONTIGUOUS = (
    "RuntimeError: view size is not compatible with input tensor's size and stride (at least one dimension spans "
    "across two contiguous subspaces). Use .reshape(...) instead."
)


class OnCpu(TorchFunctionMode):
    """The CPU plays the GPU that is not there, for code that names `cuda`."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        args, kwargs = on_cpu(args, kwargs or {})
        name = getattr(func, "__name__", "")
        return _played(name, args[0]) if name in _CUDA_CALLS else func(*args, **kwargs)


class Functions(TorchFunctionMode):
    """Stands above every torch function that the user's forward calls."""

    def __init__(self, recorder: Recorder) -> None:
        super().__init__()
        self.rec = recorder

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(func, "__name__", "")
        if name in ("__get__", "size", "dim", "__set__", "numel"):
            got = func(*args, **(kwargs or {}))
            attribute = getattr(getattr(func, "__self__", None), "__name__", "")
            if attribute in ATTRIBUTES:
                self.flow(attribute if name == "__get__" else "copy_", args, {}, got)
            return got
        args, kwargs = on_cpu(args, kwargs or {})
        if name in _CUDA_CALLS:
            return _played(name, args[0])
        try:
            output = func(*args, **kwargs)
        except (RuntimeError, ValueError, IndexError) as error:
            if not self.rec.repair or not _is_about_shapes(error):
                raise
            output = self.way_on(name, func, args, kwargs, error)
        self.note(name, args, output)
        self.flow(name, args, kwargs, output)
        return output

    def flow(self, name: str, args: Any, kwargs: dict[str, Any], output: Any) -> None:
        stack = self.rec.stack
        self.rec.flow.note(stack[-1][1] if stack else None, name, args, kwargs, output)

    # --- who made what ---

    def note(self, name: str, args: Any, output: Any) -> None:
        """Remember how the output came about, as far as the ends of a network and its shapes need it."""
        rec = self.rec
        if not isinstance(output, torch.Tensor):
            if isinstance(output, (tuple, list)) and name in ("max", "chunk", "split"):
                output = first_tensor(output)
            if not isinstance(output, torch.Tensor):
                return
        source = first_tensor(args)
        before = rec.producer(source)
        here = rec.stack[-1][0] if rec.stack else ""
        if name in _SAME:
            if before is not None:
                rec.producers[output] = before
            if source is not None and rec.is_input(source) and name in ("float", "to", "contiguous"):
                rec.inputs[output] = True
        elif name in _WEIGHTED:
            module = rec.stack[-1][1] if rec.stack else None
            known = module is not None and (hasattr(module, "out_features") or hasattr(module, "out_channels"))
            rec.producers[output] = Producer(_WEIGHTED[name], here, places.current_place(), module if known else None)
        elif name in _ENDS:
            kind = _ENDS[name]
            if kind in ("relu", "tanh") and before is not None and before.kind in ("conv", "map"):
                kind = "map"
            rec.producers[output] = Producer(kind, here, places.current_place(), before.head if before else None)
        elif name in _MAPS or (name in _POINTWISE_ON_MAPS and before is not None and before.kind in ("conv", "map")):
            rec.producers[output] = Producer("map", here, None, before.head if before and name in _KEEP_HEAD else None)
        elif name in _KEEP_HEAD and before is not None:
            rec.producers[output] = Producer(name, here, None, before.head)
        if name in _RESHAPING and rec.counting and not self.inside_a_layer():
            frame = places.current_frame()
            if frame is not None and source is not None:
                where = places.place_of(frame.f_code.co_filename, frame.f_lineno)
                rec.steps.append(Step("-", f"{name}, {where.path}:{where.line}", rec.shown(source), rec.shown(output)))

    def inside_a_layer(self) -> bool:
        return bool(self.rec.stack) and not self.rec.stack[-1][1]._modules

    # --- the way on after a failure ---

    def way_on(self, name: str, func: Callable[..., Any], args: Any, kwargs: Any, error: Exception) -> Any:
        """Note the failure and answer a tensor of the shape that was most probably meant; raise where none is."""
        rec = self.rec
        tensors = [a for a in args if isinstance(a, torch.Tensor)]
        if name in ("view", "reshape") and tensors:
            sizes = args[1] if len(args) == 2 and not isinstance(args[1], int) else args[1:]
            return self.reshaped(name, tensors[0], [int(size) for size in sizes], error)
        if name in _ELEMENTWISE and len(tensors) == 2:
            larger = max(tensors, key=lambda t: (t.dim(), t.numel()))
            rec.forward_fault(
                _no_broadcast(*tensors), name, f"{_shape(tensors[0])} and {_shape(tensors[1])} do not broadcast"
            )
            rec.certain = False
            return larger * 1 if larger.is_floating_point() else larger.clone()
        if name in _PRODUCTS and len(tensors) == 2 and tensors[0].dim() > 1 and tensors[1].dim() > 1:
            left, right = tensors
            hint = ""
            if left.shape[-1] == right.shape[-1]:
                hint = "; the second one transposed would fit: .transpose(-2, -1)"
            rec.forward_fault(
                f"RuntimeError: mat1 and mat2 shapes cannot be multiplied ({_flat(left)} and {_flat(right)})",
                name,
                f"{_shape(left)} @ {_shape(right)} do not fit{hint}",
            )
            rec.certain = False
            right = right.transpose(-2, -1) if hint else right
            return func(fit(left, -1, right.shape[-2]) if left.shape[-1] != right.shape[-2] else left, right)
        if name in ("cat", "concat", "concatenate") and args and isinstance(args[0], (tuple, list)) and args[0]:
            return self.joined(args, kwargs, func, name, error)
        if name == "linear" and len(tensors) >= 2 and tensors[0].dim() > 1:
            rec.forward_fault(
                f"RuntimeError: mat1 and mat2 shapes cannot be multiplied ({_flat(tensors[0])} and "
                f"{_flat(tensors[1].t())})",
                name,
                f"the weight takes {tensors[1].shape[-1]} features, {tensors[0].shape[-1]} arrive",
            )
            return func(fit(tensors[0], -1, tensors[1].shape[-1]), *args[1:], **kwargs)
        if name in _POOLS and args[:1] == tuple(tensors[:1]) and "too small" in str(error):
            return self.pooled(name, func, args, kwargs)
        if name in _CONVOLUTIONS and len(tensors) >= 2 and tensors[0].dim() == tensors[1].dim():
            x, weight = tensors[:2]
            wanted = weight.shape[1] * int(args[6] if len(args) > 6 else kwargs.get("groups", 1))
            if x.shape[1] != wanted:
                rec.forward_fault(_text(error), name, f"the weight takes {wanted} channels, {x.shape[1]} arrive")
                return func(fit(x, 1, wanted), *args[1:], **kwargs)
        raise error

    def pooled(self, name: str, func: Callable[..., Any], args: Any, kwargs: dict[str, Any]) -> Any:
        """The pooling of a map that is enlarged to its window."""
        x = args[0]
        kernel = args[1] if len(args) > 1 else kwargs["kernel_size"]
        spatial = int(name[-2])
        sides = tuple(kernel) if isinstance(kernel, (tuple, list)) else (kernel,)
        self.rec.small_map(name, x, kernel)
        for axis, side in zip(range(-spatial, 0), sides * (spatial if len(sides) == 1 else 1), strict=True):
            if x.shape[axis] < side:
                x = fit(x, axis, side)
        return func(x, *args[1:], **kwargs)

    def reshaped(self, name: str, x: torch.Tensor, sizes: list[int], error: Exception) -> torch.Tensor:
        rec = self.rec
        per_sample = x.numel() // rec.batch if x.shape[:1] == (rec.batch,) else None
        if per_sample is not None and len(sizes) == 2 and sizes[0] in (-1, rec.batch) and sizes[1] > 0:
            rec.forward_fault(_text(error), name, f"{sizes[1]} values per sample are asked for, {per_sample} are there")
            return x.reshape(rec.batch, per_sample)
        known = math.prod(size for size in sizes if size > 0)
        if name == "view" and (x.numel() == known or (sizes.count(-1) == 1 and known and x.numel() % known == 0)):
            rec.forward_fault(_NOT_CONTIGUOUS, name, ".reshape(...) in place of .view(...), or .contiguous() before it")
            return x.reshape(sizes)
        rec.forward_fault(
            _text(error),
            name,
            f"{_shape(x)} has {x.numel()} values; the shape asked for takes {known} "
            + ("or a multiple" if -1 in sizes else "exactly"),
        )
        rec.certain = False
        whole = [1 if size == -1 else size for size in sizes]
        return x.flatten()[:1].expand(math.prod(whole)).reshape(whole)

    def joined(self, args: Any, kwargs: Any, func: Callable[..., Any], name: str, error: Exception) -> Any:
        tensors = list(args[0])
        axis = int(args[1] if len(args) > 1 else kwargs.get("dim", 0))
        if not all(isinstance(t, torch.Tensor) and t.dim() == tensors[0].dim() for t in tensors):
            raise error
        self.rec.forward_fault(
            _text(error), name, "sides other than the joined one must be equal: " + ", ".join(map(_shape, tensors))
        )
        self.rec.certain = False
        fitted = []
        for tensor in tensors:  # to the longest sides: the skip of a U-Net is as large as its next level wants
            for side in range(tensor.dim()):
                longest = max(t.shape[side] for t in tensors)
                if side != axis % tensor.dim() and tensor.shape[side] != longest:
                    tensor = fit(tensor, side, longest)  # noqa: PLW2901  # one side after the other
            fitted.append(tensor)
        return func(fitted, *args[1:], **kwargs)


def _played(name: str, tensor: torch.Tensor) -> torch.Tensor:
    """What `.cuda()` gives; of a Parameter on the CPU that is no Parameter, but the result of a copy."""
    if name == "cuda":
        places.note_gpu()
        if isinstance(tensor, torch.nn.Parameter) and torch.is_grad_enabled():
            return tensor.clone()
    return tensor


def on_cpu(args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """The arguments with the CPU in place of a GPU that is not there."""
    if any(_is_gpu(value) for value in args):
        places.note_gpu()
        args = tuple(torch.device("cpu") if _is_gpu(value) else value for value in args)
    if _is_gpu(kwargs.get("device")):
        places.note_gpu()
        kwargs = {**kwargs, "device": torch.device("cpu")}
    if kwargs.get("pin_memory"):
        kwargs = {**kwargs, "pin_memory": False}
    return args, kwargs


def _is_gpu(value: Any) -> bool:
    if isinstance(value, torch.device):
        return value.type == "cuda"
    return isinstance(value, str) and value.partition(":")[0] == "cuda"


def _is_about_shapes(error: Exception) -> bool:
    """Whether an operation refused its operands, rather than a value being asked for that does not exist."""
    return type(error) in (RuntimeError, ValueError, IndexError)


def _text(error: BaseException) -> str:
    return f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else 'no text'}"


def _no_broadcast(a: torch.Tensor, b: torch.Tensor) -> str:
    """What torch says of real tensors."""
    longest = max(a.dim(), b.dim())
    sides = [(1,) * (longest - t.dim()) + tuple(t.shape) for t in (a, b)]
    for axis in range(longest - 1, -1, -1):
        one, two = sides[0][axis], sides[1][axis]
        if one != two and 1 not in (one, two):
            return (
                f"RuntimeError: The size of tensor a ({one}) must match the size of tensor b ({two}) "
                f"at non-singleton dimension {axis}"
            )
    return "RuntimeError: shapes do not broadcast"


def _shape(tensor: torch.Tensor) -> str:
    return f"[{', '.join(str(int(side)) for side in tensor.shape)}]"


def _flat(tensor: torch.Tensor) -> str:
    return f"{math.prod(tensor.shape[:-1])}x{tensor.shape[-1]}"
