"""Takes the way that torch takes on a GPU where it chooses by device: attention, dropout, recurrence, autocast."""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812  # the field's own name for it
from torch.overrides import TorchFunctionMode

from dldoctor.facts.model.inside.functions import on_cpu
from dldoctor.facts.model.inside.memory.tape import Tape
from dldoctor.facts.model.inside.runtime import patched

aten = torch.ops.aten
_STAYS = ("cuda", "pin_memory")
_RNN = {"lstm": 6, "gru": 5, "rnn_tanh": 1, "rnn_relu": 1}
_HALVES = (torch.float16, torch.bfloat16)


class GpuPath(TorchFunctionMode):
    """Sees every torch function that is called from Python; `cuda` is where the tensors are taken to be already."""

    def __init__(self, tape: Tape) -> None:
        super().__init__()
        self.tape = tape
        self.recurrent = False

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(func, "__name__", "")
        if name in _STAYS:
            return args[0]
        args, kwargs = on_cpu(args, kwargs or {})
        if name in _RNN and len(args) == 9 and not isinstance(args[3], (list, tuple)):
            self.recurrent = True
            return self.rnn(name, *args)
        if name == "dropout" and func in (torch.dropout, _dropout):
            return self.dropout(*args, **kwargs)
        if func is _attention:
            return self.attention(*args, **kwargs)
        return func(*args, **kwargs)

    @contextlib.contextmanager
    def patches(self) -> Iterator[None]:
        """Also catch what torch's own functions call among themselves, which no function mode sees."""
        with (
            patched(F, "dropout", self.dropout),
            patched(F, "scaled_dot_product_attention", self.attention),
            patched(torch.amp.autocast_mode.autocast, "__init__", _autocast_on_cpu),
        ):
            yield

    def dropout(
        self,
        input: torch.Tensor,  # noqa: A002  # torch's own name
        p: float = 0.5,
        training: bool = True,
        inplace: bool = False,
        *,
        train: bool | None = None,
    ) -> torch.Tensor:
        if not (training if train is None else train) or p == 0:
            return input
        if inplace or not input.requires_grad:
            output: torch.Tensor = (aten.dropout_ if inplace else aten.dropout)(input, p, True)
            return output
        return torch.native_dropout(input, p, True)[0]

    def attention(
        self,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        attn_mask: torch.Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        scale: float | None = None,
        enable_gqa: bool = False,
    ) -> torch.Tensor:
        if torch.is_autocast_enabled("cpu"):
            dtype = torch.get_autocast_dtype("cpu")
            query, key, value = (x.to(dtype) if x.is_floating_point() else x for x in (query, key, value))
            if attn_mask is not None and attn_mask.is_floating_point():
                attn_mask = attn_mask.to(dtype)
        if enable_gqa and query.dim() > 2 and key.shape[-3] != query.shape[-3]:
            times = query.shape[-3] // key.shape[-3]
            key, value = key.repeat_interleave(times, -3), value.repeat_interleave(times, -3)
        fits = query.dim() == 4 and query.shape[-1] == key.shape[-1]
        if fits and attn_mask is None and query.dtype in _HALVES and query.shape[-1] <= 256:
            return self.flash(query, key, value, dropout_p, is_causal, scale)
        if fits and query.shape[-1] % 4 == 0 and value.shape[-1] % 4 == 0:
            bias = self.bias(attn_mask, query, key)
            self.tape_backward(query, _Scratch.lines(query))
            output: torch.Tensor = aten._scaled_dot_product_efficient_attention(
                query, key, value, bias, query.requires_grad or key.requires_grad, dropout_p, is_causal, scale=scale
            )[0]
            return output
        return aten._scaled_dot_product_attention_math(  # type: ignore[no-any-return]  # torch ships no type for it
            query, key, value, attn_mask, dropout_p, is_causal, scale=scale
        )[0]

    def flash(
        self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, dropout: float, causal: bool, scale: float | None
    ) -> torch.Tensor:
        width = q.shape[-1]
        missing = -width % 8
        if missing:
            scale = scale if scale is not None else 1 / math.sqrt(width)
            q, k, v = (F.pad(x, (0, missing)) for x in (q, k, v))
        self.tape_backward(q, _Scratch.flash(q))
        output: torch.Tensor = aten._scaled_dot_product_flash_attention(q, k, v, dropout, causal, False, scale=scale)[0]
        return output[..., :width] if missing else output

    def bias(self, mask: torch.Tensor | None, query: torch.Tensor, key: torch.Tensor) -> torch.Tensor | None:
        """The mask as the kernel takes it: of the queries' type, rows a multiple of 16 wide, one for each head."""
        if mask is None:
            return None
        if mask.dtype is torch.bool:
            mask = torch.zeros_like(mask, dtype=query.dtype).masked_fill_(mask.logical_not(), -math.inf)
        columns = key.shape[-2]
        if columns % 16 and mask.shape[-1] == columns:
            mask = F.pad(mask, (0, -columns % 16))[..., :columns]
        return mask.expand(query.shape[0], query.shape[1], query.shape[-2], columns)

    def tape_backward(self, query: torch.Tensor, size: int) -> None:
        """Note what the kernel takes when the gradient comes by."""
        if query.requires_grad and torch.is_grad_enabled():
            query.register_hook(lambda gradient: self.tape.scratch(size) or gradient)  # type: ignore[func-returns-value,no-untyped-call]  # torch ships no type for it

    def rnn(
        self,
        name: str,
        x: torch.Tensor,
        state: Any,
        weights: Any,
        biased: bool,
        layers: int,
        dropout: float,
        training: bool,
        bidirectional: bool,
        batch_first: bool,
    ) -> Any:
        """cuDNN's fused layers: outputs, last states, and one buffer kept for backward."""
        states = list(state) if isinstance(state, (tuple, list)) else [state]
        directions = 2 if bidirectional else 1
        steps = x.shape[1] if batch_first else x.shape[0]
        samples = x.shape[0] if batch_first else x.shape[1]
        hidden = states[0].shape[-1]
        per_layer = directions * hidden * steps * samples
        kept = _RNN[name] * per_layer * layers + per_layer * (layers - 1) * (2 if dropout else 1)
        dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else x.dtype
        shape = (*x.shape[:-1], directions * hidden)
        outputs = _Recurrent.apply(shape, dtype, kept, x, *states, *weights)
        return (outputs[0], *outputs[1:])


class _Recurrent(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, shape: tuple[int, ...], dtype: torch.dtype, kept: int, *inputs: torch.Tensor) -> Any:
        x = inputs[0]
        cells = [t for t in inputs[1:] if t.dim() == 3]
        output = x.new_empty(shape, dtype=dtype)
        weights = x.new_empty(sum(t.numel() for t in inputs[1 + len(cells) :]), dtype=dtype)
        ctx.save_for_backward(output, x.new_empty(kept, dtype=dtype), weights, *inputs)
        return (output, *(torch.empty_like(cell, dtype=dtype) for cell in cells))

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        _, _, weights, *inputs = ctx.saved_tensors
        torch.empty_like(weights)  # their gradients lie together before they are handed out
        return (None, None, None, *(torch.empty_like(t) for t in inputs))


class _Scratch:
    """What attention's backward kernels take for themselves."""

    @staticmethod
    def lines(query: torch.Tensor) -> int:
        """One number for each row: the sum of gradient times output."""
        return 4 * math.prod(query.shape[:-1])

    @staticmethod
    def flash(query: torch.Tensor) -> int:
        """The query's gradient summed up in float32, rows rounded up to 128, and the sums of the rows."""
        *outer, rows, width = query.shape
        rows = -(-rows // 128) * 128
        return 4 * math.prod(outer) * rows * (width + -width % 32 + 1)


_dropout = F.dropout
_attention = F.scaled_dot_product_attention
_autocast = torch.amp.autocast_mode.autocast.__init__


def _autocast_on_cpu(self: Any, device_type: str, dtype: Any = None, *args: Any, **kwargs: Any) -> None:
    if device_type == "cuda":
        device_type, dtype = "cpu", dtype or torch.float16
    _autocast(self, device_type, dtype, *args, **kwargs)


# --- autocast --------------------------------------------------------------------------------------------------------

#: what autocast computes in float32 on a GPU and leaves alone on a CPU
_IN_FLOAT32 = re.findall(
    r"\S+",
    """
    acos asin cosh erfinv exp expm1 log log10 log2 log1p reciprocal rsqrt sinh tan softplus layer_norm
    native_layer_norm group_norm cosine_similarity poisson_nll_loss cosine_embedding_loss nll_loss nll_loss2d
    hinge_embedding_loss kl_div l1_loss smooth_l1_loss huber_loss mse_loss margin_ranking_loss soft_margin_loss
    triplet_margin_loss binary_cross_entropy_with_logits cdist logsumexp upsample_nearest2d upsample_bilinear2d
    upsample_bicubic2d cumprod cumsum sum.dim_IntList sum prod softmax.int log_softmax.int norm.ScalarOpt_dim
    pow.Tensor_Scalar pow.Tensor_Tensor
    """,
)


@contextlib.contextmanager
def autocast(dtype: torch.dtype | None) -> Iterator[None]:
    """What `torch.autocast("cuda", dtype)` does, for tensors that pose as the CPU's; nothing without a dtype."""
    if dtype is None:
        yield
        return
    library: Any = torch.library.Library("aten", "IMPL")  # type: ignore[no-untyped-call]  # torch ships no type for it
    try:
        for name in _IN_FLOAT32:
            packet, _, overload = name.partition(".")
            found = getattr(getattr(aten, packet, None), overload or "default", None)
            if found is not None:
                with contextlib.suppress(RuntimeError):  # the CPU's own autocast has a rule for it, the same
                    library.impl(name if overload else packet, _in_float32(found), "AutocastCPU")
        with torch.autocast("cpu", dtype):
            yield
    finally:
        library._destroy()


def _in_float32(func: Any) -> Callable[..., Any]:
    def widened(value: Any) -> Any:
        if isinstance(value, torch.Tensor) and value.dtype in _HALVES:
            return value.to(torch.float32)
        if isinstance(value, (list, tuple)):
            return type(value)(map(widened, value))
        return value

    def call(*args: Any, **kwargs: Any) -> Any:
        with torch._C._ExcludeDispatchKeyGuard(torch._C.DispatchKeySet(torch._C.DispatchKey.AutocastCPU)):
            return func(*map(widened, args), **{name: widened(value) for name, value in kwargs.items()})

    return call
