"""Networks that hold a part on purpose from training: teachers, frozen backbones, adapters."""

import copy

import torch
import torch.nn.functional as F  # noqa: N812  # the field's own name for it
import torchvision
from parts import mlp
from torch import nn


class Siamese(nn.Module):
    def __init__(self):
        super().__init__()
        self.enc = nn.Sequential(
            nn.Conv2d(1, 16, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(16 * 13 * 13, 64)
        )
        self.out = nn.Sequential(nn.ReLU(), nn.Linear(64, 1))

    def forward(self, a, b):
        return self.out((self.enc(a) - self.enc(b)).abs())


class FrozenHead(nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone = torchvision.models.resnet18(weights=None)
        for p in self.backbone.parameters():
            p.requires_grad = False
        self.backbone.fc = nn.Linear(512, 5)

    def forward(self, x):
        return self.backbone(x)


class FrozenEval(nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone = torchvision.models.resnet18(weights=None)
        self.backbone.fc = nn.Identity()
        self.backbone.requires_grad_(False)
        self.fc = nn.Linear(512, 5)

    def train(self, mode=True):
        super().train(mode)
        self.backbone.eval()
        return self

    def forward(self, x):
        with torch.no_grad():
            f = self.backbone(x)
        return self.fc(f)


class EMA(nn.Module):
    def __init__(self):
        super().__init__()
        self.student = mlp()
        self.average = copy.deepcopy(self.student)
        for p in self.average.parameters():
            p.requires_grad_(False)

    def forward(self, x):
        s = self.student(x)
        with torch.no_grad():
            t = self.average(x)
        return s, t


class EMAnoflag(nn.Module):
    def __init__(self):
        super().__init__()
        self.online = mlp()
        self.offline = mlp()
        self.offline.load_state_dict(self.online.state_dict())

    @torch.no_grad()
    def ema(self, x):
        return self.offline(x)

    def forward(self, x):
        return self.online(x), self.ema(x)


class _Rev(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, layer):
        ctx.l = layer
        return x.view_as(x)

    @staticmethod
    def backward(ctx, g):
        return -ctx.l * g, None


class GradReverse(nn.Module):
    def __init__(self):
        super().__init__()
        self.f = nn.Linear(32, 64)
        self.c = nn.Linear(64, 5)
        self.d = nn.Linear(64, 2)

    def forward(self, x):
        h = self.f(x).relu()
        return self.c(h), self.d(_Rev.apply(h, 1.0))


class SimSiam(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = mlp()
        self.predictor = nn.Sequential(nn.Linear(32, 16, bias=False), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 32))

    def forward(self, a, b):
        z1, z2 = self.encoder(a), self.encoder(b)
        return self.predictor(z1), self.predictor(z2), z1.detach(), z2.detach()


class BYOL(nn.Module):
    def __init__(self):
        super().__init__()
        self.online = mlp()
        self.predictor = nn.Sequential(nn.ReLU(), nn.Linear(32, 32))
        self.target = copy.deepcopy(self.online)

    def forward(self, a, b):
        p1, p2 = self.predictor(self.online(a)), self.predictor(self.online(b))
        with torch.no_grad():
            t1, t2 = self.target(a), self.target(b)
        return 2 - 2 * (F.cosine_similarity(p1, t2.detach())).mean() - 2 * (F.cosine_similarity(p2, t1.detach())).mean()


class DINO(nn.Module):
    def __init__(self):
        super().__init__()
        self.student = mlp()
        self.teacher = mlp()
        self.teacher.load_state_dict(self.student.state_dict())
        self.register_buffer("center", torch.zeros(1, 32))
        for p in self.teacher.parameters():
            p.requires_grad = False

    def forward(self, x):
        s = self.student(x) / 0.1
        t = F.softmax((self.teacher(x) - self.center) / 0.04, dim=-1).detach()
        return (-(t * F.log_softmax(s, -1)).sum(-1)).mean()


class _LoRALinear(nn.Module):
    def __init__(self, i, o, r=4):
        super().__init__()
        self.base = nn.Linear(i, o)
        self.base.requires_grad_(False)
        self.A = nn.Linear(i, r, bias=False)
        self.B = nn.Linear(r, o, bias=False)

    def forward(self, x):
        return self.base(x) + self.B(self.A(x))


class LoRA(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = _LoRALinear(64, 64, 32)
        self.b = _LoRALinear(64, 64, 32)

    def forward(self, x):
        return self.b(self.a(x).relu())


class _Blk(nn.Module):
    def __init__(self, d):
        super().__init__()
        self.n1 = nn.LayerNorm(d)
        self.qkv = nn.Linear(d, 3 * d)
        self.p = nn.Linear(d, d)
        self.n2 = nn.LayerNorm(d)
        self.m = nn.Sequential(nn.Linear(d, 4 * d), nn.GELU(), nn.Linear(4 * d, d), nn.Dropout(0.1))

    def forward(self, x):
        size, steps, width = x.shape
        q, k, v = self.qkv(self.n1(x)).view(size, steps, 3, 4, width // 4).permute(2, 0, 3, 1, 4)
        x = x + self.p(
            F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).reshape(size, steps, width)
        )
        return x + self.m(self.n2(x))


class CustomTransformer(nn.Module):
    def __init__(self):
        super().__init__()
        self.wte = nn.Embedding(100, 64)
        self.wpe = nn.Embedding(64, 64)
        self.h = nn.ModuleList([_Blk(64) for _ in range(2)])
        self.n = nn.LayerNorm(64)
        self.head = nn.Linear(64, 100, bias=False)
        self.head.weight = self.wte.weight

    def forward(self, x):
        h = self.wte(x) + self.wpe(torch.arange(x.shape[1], device=x.device))
        for b in self.h:
            h = b(h)
        return self.head(self.n(h))


class CaptionEncoder(nn.Module):
    def __init__(self):
        super().__init__()
        r = torchvision.models.resnet18(weights=None)
        self.resnet = nn.Sequential(*list(r.children())[:-1])
        self.linear = nn.Linear(r.fc.in_features, 64)
        self.bn = nn.BatchNorm1d(64, momentum=0.01)
        self.linear.bias = None

    def forward(self, x):
        with torch.no_grad():
            f = self.resnet(x)
        return self.bn(self.linear(f.reshape(f.size(0), -1)))


class DQN(nn.Module):
    def __init__(self):
        super().__init__()
        self.q = mlp(4, 32, 2)
        self.target_net = mlp(4, 32, 2)

    def forward(self, x):
        with torch.no_grad():
            t = self.target_net(x).max(1).values
        return self.q(x), t


class CLIPLike(nn.Module):
    def __init__(self):
        super().__init__()
        self.v = nn.Sequential(nn.Conv2d(3, 16, 8, 8), nn.Flatten(), nn.ReLU(), nn.Linear(256, 32))
        self.e = nn.Embedding(100, 32)
        self.t = nn.Linear(32, 32)
        self.logit_scale = nn.Parameter(torch.ones([]) * 2.6)

    def forward(self, i, t):
        a = F.normalize(self.v(i), dim=-1)
        b = F.normalize(self.t(self.e(t).mean(1)), dim=-1)
        layer = self.logit_scale.exp() * a @ b.t()
        return layer, layer.t()


class LinearProbeDetach(nn.Module):
    def __init__(self):
        super().__init__()
        self.e = mlp()
        self.d = nn.Sequential(nn.ReLU(), nn.Linear(32, 32))
        self.probe = nn.Linear(32, 5)

    def forward(self, x):
        z = self.e(x)
        return self.d(z), self.probe(z.detach())


class PrefixTuning(nn.Module):
    def __init__(self):
        super().__init__()
        self.lm = CustomTransformer()
        self.lm.requires_grad_(False)
        self.prefix = nn.Parameter(torch.randn(4, 64))

    def forward(self, x):
        h = torch.cat([self.prefix.expand(x.size(0), -1, -1), self.lm.wte(x)], 1)
        for b in self.lm.h:
            h = b(h)
        return self.lm.head(self.lm.n(h))


class MoCo(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder_q = torchvision.models.resnet18(num_classes=16)
        self.encoder_k = torchvision.models.resnet18(num_classes=16)
        for a, b in zip(self.encoder_q.parameters(), self.encoder_k.parameters(), strict=False):
            b.data.copy_(a.data)
            b.requires_grad = False
        self.register_buffer("queue", torch.randn(16, 64))
        self.queue = F.normalize(self.queue, dim=0)
        self.register_buffer("ptr", torch.zeros(1, dtype=torch.long))

    @torch.no_grad()
    def _momentum(self):
        for a, b in zip(self.encoder_q.parameters(), self.encoder_k.parameters(), strict=False):
            b.data = b.data * 0.99 + a.data * 0.01

    def forward(self, a, b):
        q = F.normalize(self.encoder_q(a), dim=1)
        with torch.no_grad():
            self._momentum()
            k = F.normalize(self.encoder_k(b), dim=1)
        pos = torch.einsum("nc,nc->n", [q, k]).unsqueeze(-1)
        neg = torch.einsum("nc,ck->nk", [q, self.queue.clone().detach()])
        return torch.cat([pos, neg], 1) / 0.07


class Perceptual(nn.Module):
    def __init__(self):
        super().__init__()
        self.g = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 3, 3, padding=1))
        self.vgg = torchvision.models.vgg11(weights=None).features[:6].eval()
        for p in self.vgg.parameters():
            p.requires_grad = False

    def forward(self, x):
        y = self.g(x)
        return y, self.vgg(y)


class FullPretrained(nn.Module):
    def __init__(self):
        super().__init__()
        self.m = torchvision.models.resnet18(weights="DEFAULT")
        self.m.fc = nn.Sequential(nn.Linear(512, 128), nn.ReLU(), nn.Dropout(0.2), nn.Linear(128, 5))

    def forward(self, x):
        return self.m(x)
