"""Small networks with the habits of real code: other methods, hooks, checkpoints, wrappers, odd outputs."""

import torch
import torch.nn.functional as F  # noqa: N812  # the field's own name for it
from parts import mlp
from torch import nn


class MoE(nn.Module):
    def __init__(self):
        super().__init__()
        self.gate = nn.Linear(32, 4)
        self.experts = nn.ModuleList([nn.Sequential(nn.Linear(32, 64), nn.GELU(), nn.Linear(64, 32)) for _ in range(4)])

    def forward(self, x):
        shape = x.shape
        x = x.reshape(-1, 32)
        p = self.gate(x).softmax(-1)
        w, i = p.topk(2, -1)
        out = torch.zeros_like(x)
        for n, e in enumerate(self.experts):
            rows, k = torch.where(i == n)
            if rows.numel() == 0:
                continue
            out = out.index_add(0, rows, e(x[rows]) * w[rows, k, None])
        return out.view(shape)


class LowRank(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(64, 8, bias=False), nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 10))

    def forward(self, x):
        return self.net(x)


class ReluRegression(nn.Module):
    def __init__(self):
        super().__init__()
        self.n = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 1), nn.ReLU())

    def forward(self, x):
        return self.n(x)


class ReluRegressionMSE(ReluRegression):
    pass


class CheckpointNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Linear(32, 64)
        self.b = nn.Sequential(nn.ReLU(), nn.Linear(64, 64), nn.ReLU())
        self.c = nn.Linear(64, 5)

    def forward(self, x):
        from torch.utils.checkpoint import checkpoint

        return self.c(checkpoint(self.b, self.a(x), use_reentrant=False))


class CheckpointReentrant(CheckpointNet):
    def forward(self, x):
        from torch.utils.checkpoint import checkpoint

        return self.c(checkpoint(self.b, self.a(x), use_reentrant=True))


class WeightNorm(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = torch.nn.utils.weight_norm(nn.Conv2d(3, 16, 3))
        self.b = torch.nn.utils.parametrizations.weight_norm(nn.Conv2d(16, 16, 3))

    def forward(self, x):
        return self.b(self.a(x).relu()).mean((2, 3))


class SpectralNorm(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = torch.nn.utils.spectral_norm(nn.Conv2d(3, 16, 3))
        self.b = torch.nn.utils.parametrizations.spectral_norm(nn.Conv2d(16, 16, 3))

    def forward(self, x):
        return self.b(self.a(x).relu()).mean((2, 3))


def parallel():
    return nn.DataParallel(mlp())


def compiled():
    return torch.compile(mlp())


class ComplexNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.randn(17, 17, dtype=torch.cfloat))
        self.l = nn.Linear(32, 4)

    def forward(self, x):
        return self.l(torch.fft.irfft(torch.fft.rfft(x) @ self.w, n=32))


class WithLoss(nn.Module):
    def __init__(self):
        super().__init__()
        self.f = mlp()
        self.centers = nn.Parameter(torch.randn(5, 32))
        self.head = nn.Linear(32, 5)

    def forward(self, x):
        return self.f(x)

    def loss(self, x, y):
        return F.cross_entropy(self.head(self(x)), y) + (self.centers[y] - self(x)).pow(2).mean()


class DistributionOut(nn.Module):
    def __init__(self):
        super().__init__()
        self.l = nn.Linear(32, 16)
        self.m = nn.Linear(16, 4)
        self.s = nn.Linear(16, 4)

    def forward(self, x):
        h = self.l(x).relu()
        return torch.distributions.Normal(self.m(h), F.softplus(self.s(h)))


class LogSigmaLoss(nn.Module):
    def __init__(self):
        super().__init__()
        self.l = mlp()
        self.log_vars = nn.Parameter(torch.zeros(2))

    def forward(self, x):
        return self.l(x)


def train_step(model, x):
    return (torch.exp(-model.log_vars) * model(x).sum()).sum()


class HyperNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.h = nn.Linear(16, 8 * 16)
        self.b = nn.Parameter(torch.zeros(8))

    def forward(self, x):
        return torch.bmm(self.h(x).view(-1, 8, 16), x.unsqueeze(-1)).squeeze(-1) + self.b


class ActorCritic(nn.Module):
    def __init__(self):
        super().__init__()
        self.b = nn.Linear(4, 32)
        self.p = nn.Linear(32, 2)
        self.v = nn.Linear(32, 1)

    def forward(self, x):
        h = torch.tanh(self.b(x))
        return F.softmax(self.p(h), -1), self.v(h)

    def act(self, x):
        return torch.distributions.Categorical(self(x)[0]).sample().item()


class Dueling(nn.Module):
    def __init__(self):
        super().__init__()
        self.f = nn.Linear(4, 32)
        self.a = nn.Linear(32, 2)
        self.v = nn.Linear(32, 1)

    def forward(self, x):
        h = self.f(x).relu()
        a = self.a(h)
        return self.v(h) + a - a.mean(1, keepdim=True)


class MultiTask(nn.Module):
    def __init__(self):
        super().__init__()
        self.t = mlp()
        self.heads = nn.ModuleDict({"a": nn.Linear(32, 3), "b": nn.Linear(32, 4)})

    def forward(self, x, task="a"):
        return self.heads[task](self.t(x).relu())


class GCN(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Linear(16, 32)
        self.b = nn.Linear(32, 4)

    def forward(self, x, adj):
        return adj @ self.b((adj @ self.a(x)).relu())


class TemperatureParam(nn.Module):
    def __init__(self):
        super().__init__()
        self.l = nn.Linear(32, 5)
        self.t = nn.Parameter(torch.ones(1))

    def forward(self, x):
        return self.l(x) / self.t


class GumbelNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.l = nn.Linear(32, 8)
        self.e = nn.Linear(8, 32)

    def forward(self, x):
        return self.e(F.gumbel_softmax(self.l(x), hard=True))


class HardAttentionST(nn.Module):
    def __init__(self):
        super().__init__()
        self.l = nn.Linear(32, 8)
        self.e = nn.Linear(8, 32)

    def forward(self, x):
        p = self.l(x).softmax(-1)
        h = F.one_hot(p.argmax(-1), 8).float()
        return self.e(h + p - p.detach())


class Quantized(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("w", torch.ones(64, 32, dtype=torch.int8))
        self.s = nn.Parameter(torch.ones(64, 32), requires_grad=False)
        self.o = nn.Linear(64, 2)

    def forward(self, x):
        return self.o((x @ (self.w.to(x.dtype) * self.s).t()).relu())


class Lazy(nn.Module):
    def __init__(self):
        super().__init__()
        self.c = nn.LazyConv2d(16, 3, bias=False)
        self.n = nn.LazyBatchNorm2d()
        self.f = nn.LazyLinear(5)

    def forward(self, x):
        return self.f(self.n(self.c(x)).relu().flatten(1))


class SharedHeads(nn.Module):
    def __init__(self):
        super().__init__()
        h = nn.Linear(32, 4)
        self.l = nn.ModuleList([nn.Linear(32, 32) for _ in range(3)])
        self.h = nn.ModuleList([h for _ in range(3)])

    def forward(self, x):
        out = []
        for layer, h in zip(self.l, self.h, strict=False):
            x = layer(x).relu()
            out.append(h(x))
        return out


class LateReturn(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Linear(32, 32)
        self.h = nn.Linear(32, 3)

    def forward(self, x, return_features=False):
        f = self.a(x).relu()
        y = self.h(f)

        class Out:
            pass

        o = Out()
        o.logits = y
        o.features = f if return_features else None
        return o


class StoredLoss(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Linear(32, 32)
        self.r = nn.Linear(32, 1)
        self.h = nn.Linear(32, 3)
        self.losses = {}

    def forward(self, x):
        f = self.a(x).relu()
        self.losses["aux"] = self.r(f).pow(2).mean()
        return self.h(f)


class DetachedLog(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Linear(32, 32)
        self.h = nn.Linear(32, 3)

    def forward(self, x):
        f = self.a(x).relu()
        self.stats = {"norm": f.detach().norm(), "pred": None}
        y = self.h(f)
        self.stats["pred"] = y.argmax(-1)
        return y


class MonteCarloDropout(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Linear(32, 64)
        self.b = nn.Linear(64, 1)
        self.sampling = True

    def forward(self, x):
        x = F.dropout(self.a(x).relu(), p=0.2, training=self.training or self.sampling)
        return self.b(x)
