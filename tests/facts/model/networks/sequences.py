"""Recurrent networks and attention."""

import math
import random

import torch
import torch.nn.functional as F  # noqa: N812  # the field's own name for it
from torch import nn


class Seq2Seq(nn.Module):
    def __init__(self):
        super().__init__()
        self.src = nn.Embedding(100, 32)
        self.tgt = nn.Embedding(100, 32)
        self.enc = nn.GRU(32, 64, batch_first=True)
        self.dec = nn.GRU(32, 64, batch_first=True)
        self.out = nn.Linear(64, 100)
        self.teacher_forcing = 0.5

    def forward(self, src, tgt):
        _, h = self.enc(self.src(src))
        x = tgt[:, :1]
        outs = []

        for t in range(tgt.shape[1]):
            y, h = self.dec(self.tgt(x), h)
            logits = self.out(y)
            outs.append(logits)
            x = tgt[:, t : t + 1] if random.random() < self.teacher_forcing else logits.argmax(-1).detach()
        return torch.cat(outs, 1)


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.emb = nn.Embedding(100, 32)
        self.rnn = nn.LSTM(32, 32, batch_first=True)
        self.out = nn.Linear(32, 100)
        self.out.weight = self.emb.weight

    def forward(self, x):
        return self.out(self.rnn(self.emb(x))[0])


class Attention(nn.Module):
    def __init__(self, d=64, h=4):
        super().__init__()
        self.q = nn.Linear(d, d)
        self.k = nn.Linear(d, d)
        self.v = nn.Linear(d, d)
        self.o = nn.Linear(d, d)
        self.h = h

    def forward(self, x):
        size, steps, width = x.shape

        def s(t):
            return t.view(size, steps, self.h, -1).transpose(1, 2)

        a = (s(self.q(x)) @ s(self.k(x)).transpose(-2, -1) / math.sqrt(width // self.h)).softmax(-1)
        return self.o((a @ s(self.v(x))).transpose(1, 2).reshape(size, steps, width))


class TransformerLM(nn.Module):
    def __init__(self):
        super().__init__()
        self.e = nn.Embedding(100, 64)
        self.register_buffer("pe", torch.zeros(1, 512, 64))
        self.t = nn.TransformerEncoder(nn.TransformerEncoderLayer(64, 4, 128, batch_first=True, norm_first=True), 2)
        self.o = nn.Linear(64, 100)
        self.mask = None

    def forward(self, x):
        h = self.e(x) * 8 + self.pe[:, : x.size(1)]
        if self.mask is None or self.mask.size(0) != x.size(1):
            self.mask = nn.Transformer.generate_square_subsequent_mask(x.size(1)).to(x.device)
        return self.o(self.t(h, self.mask))


class WithGenerate(nn.Module):
    def __init__(self):
        super().__init__()
        self.e = nn.Embedding(100, 32)
        self.r = nn.GRU(32, 32, batch_first=True)
        self.o = nn.Linear(32, 100)
        self.stop = nn.Linear(32, 1)
        self.length_head = nn.Linear(32, 9)

    def forward(self, x):
        return self.o(self.r(self.e(x))[0])

    def generate(self, x, n):
        h = self.r(self.e(x))[0]
        return self.stop(h)

    def length(self, x):
        return [self.length_head(x) for _ in range(2)]


class MaskEmbedding(nn.Module):
    def __init__(self):
        super().__init__()
        self.l = nn.Linear(32, 32)
        self.mask_token = nn.Parameter(torch.zeros(32))
        self.mask_embed = nn.Linear(1, 32)
        self.type_embed = nn.Embedding(2, 32)

    def forward(self, x, mask=None, types=None):
        if mask is not None:
            x = torch.where(mask[..., None], self.mask_token, x) + self.mask_embed(mask[..., None].float())
        if types is not None:
            x = x + self.type_embed(types)
        return self.l(x)


class ALBERT(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(64, 4, 128, batch_first=True)
        self.o = nn.Linear(64, 3)

    def forward(self, x):
        for _ in range(4):
            x = self.layer(x)
        return self.o(x)


class Cache(nn.Module):
    def __init__(self):
        super().__init__()
        self.l = nn.Linear(64, 64)
        self.cache = {}
        self.pos = None
        self.inv_freq = torch.arange(32).float()

    def forward(self, x):
        if self.pos is None:
            self.pos = torch.outer(torch.arange(x.shape[1], device=x.device), self.inv_freq.to(x.device)).cos()
        if x.shape[1] not in self.cache:
            self.cache[x.shape[1]] = torch.ones(x.shape[1], 1, device=x.device)
        return self.l(x * torch.cat([self.pos, self.pos], -1) * self.cache[x.shape[1]])


class CacheBuffer(nn.Module):
    def __init__(self):
        super().__init__()
        self.l = nn.Linear(64, 64)
        self.register_buffer("t", torch.tril(torch.ones(64, 64)), persistent=False)
        self.scale = torch.tensor(8.0)

    def forward(self, x):
        return self.l(x) @ x.transpose(1, 2) / self.scale * self.t[: x.shape[1], : x.shape[1]]


class LSTMNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.r = nn.LSTM(32, 32, 2, batch_first=True, dropout=0.1, bidirectional=True)
        self.o = nn.Linear(64, 3)

    def forward(self, x):
        return self.o(self.r(x)[0][:, -1])


class BiGRUAttention(nn.Module):
    def __init__(self):
        super().__init__()
        self.r = nn.GRU(32, 32, batch_first=True, bidirectional=True)
        self.w = nn.Linear(64, 64)
        self.u = nn.Parameter(torch.randn(64))
        self.o = nn.Linear(64, 3)

    def forward(self, x):
        h, _ = self.r(x)
        a = (torch.tanh(self.w(h)) @ self.u).softmax(1)
        return self.o((h * a[..., None]).sum(1))


class FlattenedLM(nn.Module):
    def __init__(self):
        super().__init__()
        self.e = nn.Embedding(100, 32)
        self.r = nn.LSTM(32, 32, batch_first=True)
        self.o = nn.Linear(32, 100)

    def forward(self, x):
        return F.log_softmax(self.o(self.r(self.e(x))[0]).view(-1, 100), dim=1)


class Conformer(nn.Module):
    def __init__(self, d=32):
        super().__init__()
        self.n = nn.LayerNorm(d)
        self.p1 = nn.Conv1d(d, 2 * d, 1)
        self.dw = nn.Conv1d(d, d, 15, padding=7, groups=d, bias=False)
        self.bn = nn.BatchNorm1d(d)
        self.p2 = nn.Conv1d(d, d, 1)

    def forward(self, x):
        y = self.n(x).transpose(1, 2)
        y = F.glu(self.p1(y), 1)
        return x + self.p2(F.silu(self.bn(self.dw(y)))).transpose(1, 2)


class DETRLike(nn.Module):
    def __init__(self):
        super().__init__()
        self.b = nn.Sequential(nn.Conv2d(3, 32, 8, 8), nn.ReLU())
        self.p = nn.Conv2d(32, 64, 1)
        self.t = nn.Transformer(64, 4, 1, 1, 128, batch_first=True)
        self.q = nn.Parameter(torch.rand(10, 64))
        self.r = nn.Parameter(torch.rand(50, 32))
        self.c = nn.Parameter(torch.rand(50, 32))
        self.l = nn.Linear(64, 5)
        self.x = nn.Linear(64, 4)

    def forward(self, i):
        h = self.p(self.b(i))
        size, _, rows, columns = h.shape
        pos = torch.cat(
            [self.c[:columns].unsqueeze(0).repeat(rows, 1, 1), self.r[:rows].unsqueeze(1).repeat(1, columns, 1)], -1
        ).flatten(0, 1)
        h = self.t(pos + h.flatten(2).transpose(1, 2), self.q.unsqueeze(0).repeat(size, 1, 1))
        return {"logits": self.l(h), "boxes": self.x(h).sigmoid()}


class RNNCellLoop(nn.Module):
    def __init__(self):
        super().__init__()
        self.c = nn.LSTMCell(32, 32)
        self.o = nn.Linear(32, 2)

    def forward(self, x):
        h = c = x.new_zeros(x.size(0), 32)
        for t in range(x.size(1)):
            h, c = self.c(x[:, t], (h, c))
        return self.o(h)


class _CLCell(nn.Module):
    def __init__(self):
        super().__init__()
        self.c = nn.Conv2d(3 + 8, 32, 3, padding=1)

    def forward(self, x, h, c):
        i, f, o, g = self.c(torch.cat([x, h], 1)).chunk(4, 1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        return o.sigmoid() * c.tanh(), c


class ConvLSTM(nn.Module):
    def __init__(self):
        super().__init__()
        self.cell = _CLCell()
        self.o = nn.Conv2d(8, 1, 1)

    def forward(self, x):
        size, steps, _, rows, columns = x.shape
        h = x.new_zeros(size, 8, rows, columns)
        c = h.clone()
        for t in range(steps):
            h, c = self.cell(x[:, t], h, c)
        return self.o(h)


class PositionBuffer(nn.Module):
    def __init__(self):
        super().__init__()
        pe = torch.zeros(100, 64)
        self.register_buffer("pe", pe)
        self.l = nn.Linear(64, 64)

    def forward(self, x):
        return self.l(x + self.pe[: x.size(1)])


class Highway(nn.Module):
    def __init__(self):
        super().__init__()
        self.h = nn.Linear(32, 32)
        self.t = nn.Linear(32, 32)

    def forward(self, x):
        t = self.t(x).sigmoid()
        return self.h(x).relu() * t + x * (1 - t)


class WindowAttn(nn.Module):
    def __init__(self):
        super().__init__()
        self.qkv = nn.Linear(8, 24)
        self.p = nn.Linear(8, 8)

    def forward(self, x):
        size, rows, columns, channels = x.shape
        w = x.view(size, rows // 4, 4, columns // 4, 4, channels).permute(0, 1, 3, 2, 4, 5).reshape(-1, 16, channels)
        q, k, v = self.qkv(w).chunk(3, -1)
        w = self.p(F.scaled_dot_product_attention(q, k, v))
        return (
            w.view(size, rows // 4, columns // 4, 4, 4, channels)
            .permute(0, 1, 3, 2, 4, 5)
            .reshape(size, rows, columns, channels)
        )
