"""A language model of 70.6 billion parameters, written by hand: nothing of it is ever allocated."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812  # the field's own name for it
from torch import Tensor, nn


class RMSNorm(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))

    def forward(self, x: Tensor) -> Tensor:
        return self.weight * x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-5)


class Attention(nn.Module):
    def __init__(self, dim: int, heads: int, kv: int) -> None:
        super().__init__()
        self.heads, self.kv, self.size = heads, kv, dim // heads
        self.q = nn.Linear(dim, dim, bias=False)
        self.k = nn.Linear(dim, kv * self.size, bias=False)
        self.v = nn.Linear(dim, kv * self.size, bias=False)
        self.o = nn.Linear(dim, dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        b, t, d = x.shape
        q = self.q(x).view(b, t, self.heads, self.size).transpose(1, 2)
        k = self.k(x).view(b, t, self.kv, self.size).transpose(1, 2)
        v = self.v(x).view(b, t, self.kv, self.size).transpose(1, 2)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
        return self.o(y.transpose(1, 2).reshape(b, t, d))


class Block(nn.Module):
    def __init__(self, dim: int, hidden: int, heads: int, kv: int) -> None:
        super().__init__()
        self.before, self.after = RMSNorm(dim), RMSNorm(dim)
        self.attention = Attention(dim, heads, kv)
        self.gate = nn.Linear(dim, hidden, bias=False)
        self.up = nn.Linear(dim, hidden, bias=False)
        self.down = nn.Linear(hidden, dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.before(x))
        y = self.after(x)
        return x + self.down(F.silu(self.gate(y)) * self.up(y))


class Llama(nn.Module):
    def __init__(
        self,
        dim: int = 8192,
        hidden: int = 28672,
        heads: int = 64,
        kv: int = 8,
        depth: int = 80,
        words: int = 128256,
    ) -> None:
        super().__init__()
        self.tokens = nn.Embedding(words, dim)
        self.blocks = nn.ModuleList(Block(dim, hidden, heads, kv) for _ in range(depth))
        self.norm = RMSNorm(dim)
        self.head = nn.Linear(dim, words, bias=False)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.tokens(ids)
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))
