"""Calls of torch's functions that are pitfalls of their own: softmax, squeeze, changes in place, tensors made on the
CPU, operands of two dtypes. One pass notes them; where that leaves a doubt, a second pass decides."""

from __future__ import annotations

import types
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakTensorKeyDictionary

from dldoctor.facts.model.inside import places
from dldoctor.facts.model.inside.dispatch import tensors_in
from dldoctor.facts.model.inside.ends import named_outputs
from dldoctor.facts.model.inside.recorder import Recorder
from dldoctor.facts.model.records.forward import Place
from dldoctor.facts.model.records.watched import DeviceFault, Overwritten, SoftmaxCall, Squeezed, Watched

_SOFTMAX = frozenset(("softmax", "log_softmax", "softmin", "gumbel_softmax"))
_PRODUCTS = frozenset(("matmul", "__matmul__", "__rmatmul__", "bmm", "einsum", "baddbmm"))
_SCALED = frozenset(
    ("mul", "div", "add", "sub", "__mul__", "__truediv__", "__add__", "__sub__", "masked_fill", "masked_fill_", "where",
     "mul_", "div_", "add_", "__rmul__", "__radd__", "__itruediv__", "__imul__", "__iadd__", "float")
)  # fmt: skip
#: functions that make a tensor, on the CPU unless they are told another device
FACTORIES = frozenset(
    ("zeros", "ones", "full", "empty", "arange", "linspace", "eye", "rand", "randn", "randint", "randperm", "tensor",
     "as_tensor", "from_numpy", "normal", "tril_indices", "triu_indices", "hann_window", "hamming_window")
)  # fmt: skip
_QUICK = ("__get__", "size", "dim", "__set__", "numel", "is_floating_point", "untyped_storage", "data_ptr")
#: argument numbers of operands that must be of one dtype
_ONE_DTYPE = {
    "linear": (0, 1), "conv1d": (0, 1), "conv2d": (0, 1), "conv3d": (0, 1), "conv_transpose1d": (0, 1),
    "conv_transpose2d": (0, 1), "conv_transpose3d": (0, 1), "matmul": (0, 1), "__matmul__": (0, 1), "mm": (0, 1),
    "bmm": (0, 1), "addmm": (0, 1, 2), "baddbmm": (0, 1, 2), "mv": (0, 1), "dot": (0, 1), "prelu": (0, 1),
    "scaled_dot_product_attention": (0, 1, 2),
}  # fmt: skip

#: code and line of a frame; its text is read only when it is shown
_Frame = tuple[types.CodeType, int]


@dataclass
class _Change:
    name: str
    layer: str
    frame: _Frame | None
    version: int


@dataclass
class _Kept:
    tensor: torch.Tensor
    version: int
    by: str
    frame: _Frame | None


class Watch(TorchFunctionMode):
    """Stands above the functions of one pass."""

    def __init__(self, rec: Recorder) -> None:
        super().__init__()
        self.rec = rec
        self.softmaxes: list[SoftmaxCall] = []
        #: line, layer and shapes of each squeeze() without an axis
        self.squeezes: list[Squeezed] = []
        self.makes_tensors = False
        self.kept: list[_Kept] = []
        self.changes: dict[int, list[_Change]] = {}
        self.products: WeakTensorKeyDictionary = WeakTensorKeyDictionary()
        self.running = ""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        if name in _QUICK:
            return func(*args, **kwargs)
        if name in _ONE_DTYPE:
            args = self.one_dtype(name, args)
        first = args[0] if args and isinstance(args[0], torch.Tensor) else None
        shape = tuple(first.shape) if first is not None and name in ("squeeze", "squeeze_") else ()
        version = _version(first)
        before, self.running = self.running, name
        try:
            output = func(*args, **kwargs)
        finally:
            self.running = before
        if first is not None and _version(first) != version:
            self.changed(first, name)
        if name in _SOFTMAX:
            self.softmax(name, args, kwargs)
        elif name in ("squeeze", "squeeze_") and len(args) == 1 and not kwargs and shape[:1] == (self.rec.batch,):
            self.squeezes.append(Squeezed(places.current_place(), self.layer, shape, tuple(output.shape), (), ()))
        elif name in FACTORIES and kwargs.get("device") is None and not self.makes_tensors:
            self.makes_tensors = places.current_frame() is not None
        elif name in _PRODUCTS or (name in _SCALED and first is not None and first in self.products):
            for tensor in tensors_in(output):
                self.products[tensor] = True
        return output

    @property
    def layer(self) -> str:
        return self.rec.stack[-1][0] if self.rec.stack else ""

    # --- dtypes ---

    def one_dtype(self, name: str, args: Any) -> Any:
        """Operands of one dtype; a tensor without memory does not mind two."""
        numbers = [i for i in _ONE_DTYPE[name] if i < len(args) and isinstance(args[i], torch.Tensor)]
        dtypes = [args[i].dtype for i in numbers]
        if len(set(dtypes)) < 2 or not self.rec.repair or _autocast():
            return args
        shown = [str(dtype).removeprefix("torch.") for dtype in dtypes]
        usual = [torch.get_default_dtype(), *reversed(dtypes)]  # what weights are, then what comes last
        wanted = next((dtype for dtype in usual if dtype in dtypes and dtype.is_floating_point), dtypes[0])
        self.rec.forward_fault(
            f"RuntimeError: {name.strip('_')} gets {' and '.join(shown)}",
            "dtype",
            f"bring both to one dtype: .to(torch.{str(wanted).removeprefix('torch.')})",
        )
        return tuple(arg.to(wanted) if i in numbers else arg for i, arg in enumerate(args))

    # --- softmax ---

    def softmax(self, name: str, args: Any, kwargs: dict[str, Any]) -> None:
        x = args[0] if args else kwargs.get("input", kwargs.get("logits"))
        if not isinstance(x, torch.Tensor) or x.dim() == 0:
            return
        number = 4 if name == "gumbel_softmax" else 1
        given = kwargs.get("dim", args[number] if len(args) > number else -1 if number == 4 else None)
        axis = int(given) % x.dim() if given is not None else 0 if x.dim() in (1, 3) else 1
        producer = self.rec.producer(x)
        kind = "product" if x in self.products else producer.kind if producer else ""
        self.softmaxes.append(
            SoftmaxCall(name, self.layer, places.current_place(), tuple(x.shape), axis, given is not None, kind)
        )

    # --- changes in place ---

    def packed(self, tensor: torch.Tensor) -> None:
        """Autograd keeps a tensor for backward."""
        version = _version(tensor)
        if version is not None and not isinstance(tensor, torch.nn.Parameter):
            self.kept.append(_Kept(tensor, version, self.running, _frame()))

    def changed(self, tensor: torch.Tensor, name: str) -> None:
        version = _version(tensor)
        if version is not None:
            storage = tensor.untyped_storage()._cdata
            self.changes.setdefault(storage, []).append(_Change(name, self.layer, _frame(), version))

    def overwritten(self) -> list[tuple[_Kept, _Change | None]]:
        """What was kept and has changed since, with the operation that changed it."""
        found = []
        for kept in self.kept:
            if _version(kept.tensor) == kept.version:
                continue
            later = self.changes.get(kept.tensor.untyped_storage()._cdata, [])
            found.append((kept, next((change for change in later if change.version > kept.version), None)))
        return found


@dataclass(frozen=True)
class Runs:
    """Further passes, made when the first one leaves a doubt."""

    #: (batch, training) -> a pass of the same kind without repairs
    forward: Callable[[int, bool], Any]
    #: the exception of forward and backward, if there is one
    backward: Callable[[], BaseException | None]
    #: on a GPU without memory; None where that can't be
    gpu: Callable[[], Any] | None


def watched(done: Any, net: torch.nn.Module, runs: Runs) -> Watched:
    """What the pass showed."""
    watch: Watch = done.watch
    return Watched(
        _softmaxes(done, watch, runs),
        tuple(_overwritten(watch, runs)),
        tuple(_squeezed(done, watch, runs)),
        _devices(net, watch, runs),
    )


def _softmaxes(done: Any, watch: Watch, runs: Runs) -> tuple[SoftmaxCall, ...]:
    """The calls; where one may be over the batch, a batch of another size tells."""
    calls = watch.softmaxes
    ends = [producer for _, t in named_outputs(done.output) if (producer := done.rec.producer(t)) is not None]
    marked = [
        replace(
            call,
            is_output=any(
                end.kind in ("softmax", "log_softmax") and (end.place, end.layer) == (call.place, call.layer)
                for end in ends
            ),
        )
        for call in calls
    ]
    suspects = [call for call in marked if call.axis == 0 and len(call.shape) > 1]
    if not suspects:
        return tuple(marked)
    other = runs.forward(3, done.training)
    others = other.watch.softmaxes if other.error is None else []
    if len(others) != len(marked):
        return tuple(marked)
    result = []
    for call, larger in zip(marked, others, strict=True):
        if len(larger.shape) == len(call.shape):
            grows = [b * 2 == a * 3 for a, b in zip(call.shape, larger.shape, strict=True)]
            over, elsewhere = grows[call.axis], any(g for i, g in enumerate(grows) if i != call.axis)
            result.append(replace(call, over_batch=over, other_batch=elsewhere))
        else:
            result.append(call)
    return tuple(result)


def _overwritten(watch: Watch, runs: Runs) -> list[Overwritten]:
    suspects = watch.overwritten()
    watch.kept.clear()
    if not suspects:
        return []
    error = runs.backward()
    if error is None or "modified by an inplace operation" not in str(error):
        return []  # no gradient goes through it
    found: dict[Any, Overwritten] = {}
    for kept, change in suspects:
        at = _place(change.frame) if change else None
        found.setdefault(
            at,
            Overwritten(
                str(error).splitlines()[0][:200],
                tuple(kept.tensor.shape),
                kept.by.strip("_"),
                _place(kept.frame),
                change.name if change else "",
                change.layer if change else "",
                at,
            ),
        )
    return list(found.values())


def _squeezed(done: Any, watch: Watch, runs: Runs) -> list[Squeezed]:
    """Squeezes that cost the batch axis of the output, or an exception, when the batch is one sample."""
    lines = {(entry.place, entry.layer) for entry in watch.squeezes}
    if not lines:
        return []
    one = runs.forward(1, False)
    taken = [entry for entry in one.watch.squeezes if (entry.place, entry.layer) in lines and entry.before[0] == 1]
    if not taken:
        return []
    last = taken[-1]
    if one.error is not None:
        if runs.forward(done.rec.batch, False).error is not None:
            return []
        text = str(one.error).strip().splitlines()
        return [replace(last, error=f"{type(one.error).__name__}: {text[0] if text else ''}")]
    pairs = zip(named_outputs(one.output), named_outputs(done.output), strict=False)
    for (name, small), (other, large) in pairs:
        if name == other and large.dim() and large.shape[0] == done.rec.batch and small.dim() == large.dim() - 1:
            return [replace(last, output_of_one=tuple(small.shape), output_of_two=tuple(large.shape))]
    return []


def _devices(net: torch.nn.Module, watch: Watch, runs: Runs) -> tuple[DeviceFault, ...]:
    from dldoctor.facts.model.inside import devices

    if runs.gpu is None or not (watch.makes_tensors or devices.plain_tensors(net)):
        return ()
    return tuple(runs.gpu().devices)


def _version(tensor: torch.Tensor | None) -> int | None:
    try:
        return None if tensor is None else tensor._version
    except RuntimeError:  # made under inference_mode: it has none
        return None


def _frame() -> _Frame | None:
    frame = places.current_frame()
    return (frame.f_code, frame.f_lineno) if frame is not None else None


def _place(frame: _Frame | None) -> Place | None:
    return places.place_of(frame[0].co_filename, frame[1]) if frame is not None else None


def _autocast() -> bool:
    return torch.is_autocast_enabled("cpu") or torch.is_autocast_enabled("cuda")
