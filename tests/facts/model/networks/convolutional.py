"""Convolutional networks of all kinds."""

import random

import torch
import torch.nn.functional as F  # noqa: N812  # the field's own name for it
from torch import nn


class _IR(nn.Module):
    def __init__(self, i, o, s=1, e=4):
        super().__init__()
        h = i * e
        self.conv = nn.Sequential(
            nn.Conv2d(i, h, 1, bias=False),
            nn.BatchNorm2d(h),
            nn.ReLU6(True),
            nn.Conv2d(h, h, 3, s, 1, groups=h, bias=False),
            nn.BatchNorm2d(h),
            nn.ReLU6(True),
            nn.Conv2d(h, o, 1, bias=False),
            nn.BatchNorm2d(o),
        )
        self.res = s == 1 and i == o

    def forward(self, x):
        return x + self.conv(x) if self.res else self.conv(x)


class MobileNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU6())
        self.f = nn.Sequential(_IR(16, 24, 2), _IR(24, 24), _IR(24, 40, 2))
        self.dw = nn.Conv2d(40, 40, 3, padding=1, groups=40)
        self.pw = nn.Conv2d(40, 80, 1)
        self.c = nn.Linear(80, 10)

    def forward(self, x):
        return self.c(self.pw(self.dw(self.f(self.stem(x)))).relu().mean((2, 3)))


class _LN(nn.LayerNorm):
    def forward(self, x):
        return F.layer_norm(x.permute(0, 2, 3, 1), self.normalized_shape, self.weight, self.bias, self.eps).permute(
            0, 3, 1, 2
        )


class _CN(nn.Module):
    def __init__(self, d):
        super().__init__()
        self.dw = nn.Conv2d(d, d, 7, padding=3, groups=d)
        self.n = nn.LayerNorm(d)
        self.a = nn.Linear(d, 4 * d)
        self.b = nn.Linear(4 * d, d)
        self.g = nn.Parameter(1e-6 * torch.ones(d))

    def forward(self, x):
        return x + (self.g * self.b(F.gelu(self.a(self.n(self.dw(x).permute(0, 2, 3, 1)))))).permute(0, 3, 1, 2)


class ConvNeXt(nn.Module):
    def __init__(self):
        super().__init__()
        self.s = nn.Sequential(nn.Conv2d(3, 32, 4, 4), _LN(32))
        self.b = nn.Sequential(_CN(32), _CN(32))
        self.d = nn.Sequential(_LN(32), nn.Conv2d(32, 64, 2, 2))
        self.b2 = _CN(64)
        self.n = nn.LayerNorm(64)
        self.h = nn.Linear(64, 10)

    def forward(self, x):
        return self.h(self.n(self.b2(self.d(self.b(self.s(x)))).mean((2, 3))))


class _Pre(nn.Module):
    def __init__(self, i, o, s=1):
        super().__init__()
        self.n1 = nn.BatchNorm2d(i)
        self.c1 = nn.Conv2d(i, o, 3, s, 1, bias=False)
        self.n2 = nn.BatchNorm2d(o)
        self.c2 = nn.Conv2d(o, o, 3, 1, 1, bias=False)
        self.sc = nn.Conv2d(i, o, 1, s, bias=False) if s != 1 or i != o else None

    def forward(self, x):
        h = F.relu(self.n1(x))
        sc = self.sc(h) if self.sc is not None else x
        return self.c2(F.relu(self.n2(self.c1(h)))) + sc


class PreAct(nn.Module):
    def __init__(self):
        super().__init__()
        self.c = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.l = nn.Sequential(_Pre(16, 16), _Pre(16, 32, 2), _Pre(32, 32))
        self.n = nn.BatchNorm2d(32)
        self.f = nn.Linear(32, 10)

    def forward(self, x):
        return self.f(F.relu(self.n(self.l(self.c(x)))).mean((2, 3)))


class AuxHead(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Conv2d(3, 16, 3)
        self.aux = nn.Linear(16, 5)
        self.b = nn.Conv2d(16, 16, 3)
        self.fc = nn.Linear(16, 5)

    def forward(self, x):
        x = self.a(x).relu()
        if self.training:
            aux = self.aux(x.mean((2, 3)))
        y = self.fc(self.b(x).relu().mean((2, 3)))
        return (y, aux) if self.training else y


class PyAnchors(nn.Module):
    def __init__(self):
        super().__init__()
        self.c = nn.Conv2d(3, 6, 3)
        self.sizes = torch.tensor([16, 32, 64])
        self.strides = [torch.tensor([8.0, 16.0])]
        self.idx = torch.tensor([0, 2, 4])

    def forward(self, x):
        a = [int(s) for s in self.sizes.tolist()]
        b = self.c(x)[:, self.idx]
        return b * sum(a)


class MovedConstant(nn.Module):
    def __init__(self):
        super().__init__()
        self.c = nn.Conv2d(3, 6, 3)
        self.mean = torch.tensor([1.0, 2.0, 3.0]).view(3, 1, 1)
        self.std = torch.ones(3, 1, 1)

    def forward(self, x):
        return self.c((x - self.mean.to(x)) / self.std.type_as(x))


class PatchRows(nn.Module):
    def __init__(self):
        super().__init__()
        self.l = nn.Linear(3 * 64, 10)

    def forward(self, x):
        p = F.unfold(x, 8, stride=8).transpose(1, 2)
        return self.l(p.reshape(-1, 3 * 64))


class RetinaHead(nn.Module):
    def __init__(self):
        super().__init__()
        self.c1 = nn.Conv2d(3, 16, 3, 2, 1)
        self.c2 = nn.Conv2d(16, 16, 3, 2, 1)
        self.head = nn.Sequential(nn.Conv2d(16, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 9, 3, padding=1))

    def forward(self, x):
        a = self.c1(x).relu()
        b = self.c2(a).relu()
        return [self.head(f) for f in (a, b)]


class FPN(nn.Module):
    def __init__(self):
        super().__init__()
        self.s = nn.Conv2d(3, 16, 3, 2, 1)
        self.c = nn.ModuleList([nn.Conv2d(16, 32, 3, 2, 1), nn.Conv2d(32, 64, 3, 2, 1)])
        self.l = nn.ModuleList([nn.Conv2d(32, 24, 1), nn.Conv2d(64, 24, 1)])
        self.o = nn.ModuleList([nn.Conv2d(24, 24, 3, padding=1) for _ in range(2)])

    def forward(self, x):
        a = self.c[0](self.s(x).relu()).relu()
        b = self.c[1](a).relu()
        t = self.l[1](b)
        m = self.l[0](a) + F.interpolate(t, scale_factor=2)
        return [self.o[0](m), self.o[1](t)]


class SENet(nn.Module):
    def __init__(self):
        super().__init__()
        self.c = nn.Conv2d(3, 32, 3)
        self.f = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(32, 8, 1), nn.ReLU(), nn.Conv2d(8, 32, 1), nn.Sigmoid()
        )
        self.o = nn.Linear(32, 5)

    def forward(self, x):
        x = self.c(x).relu()
        return self.o((x * self.f(x)).mean((2, 3)))


class GatedCNN(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Conv1d(32, 64, 3, padding=1)
        self.b = nn.Conv1d(32, 64, 3, padding=1)
        self.o = nn.Linear(32, 3)

    def forward(self, x):
        return self.o(F.glu(self.b(F.glu(self.a(x), 1)), 1).mean(-1))


class SqueezeStyle(nn.Module):
    def __init__(self):
        super().__init__()
        self.f = nn.Sequential(nn.Conv2d(3, 16, 3), nn.ReLU())
        self.c = nn.Sequential(nn.Dropout(0.5), nn.Conv2d(16, 10, 1), nn.ReLU(True), nn.AdaptiveAvgPool2d(1))

    def forward(self, x):
        return torch.flatten(self.c(self.f(x)), 1)


class StochasticDepthNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.s = nn.Conv2d(3, 16, 3, padding=1)
        self.b = nn.ModuleList([nn.Sequential(nn.Conv2d(16, 16, 3, padding=1), nn.ReLU()) for _ in range(8)])
        self.o = nn.Linear(16, 3)

    def forward(self, x):

        x = self.s(x).relu()
        for b in self.b:
            if self.training and random.random() < 0.5:
                continue
            x = x + b(x)
        return self.o(x.mean((2, 3)))


class PointNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.n = nn.Sequential(
            nn.Conv1d(3, 64, 1, bias=False),
            nn.BatchNorm1d(64),
            nn.ReLU(),
            nn.Conv1d(64, 128, 1, bias=False),
            nn.BatchNorm1d(128),
        )
        self.f = nn.Linear(128, 9)

    def forward(self, x):
        return self.f(self.n(x).max(2)[0])


class ImagesInList(nn.Module):
    def __init__(self):
        super().__init__()
        self.c = nn.Conv2d(3, 8, 3)
        self.f = nn.Linear(8, 4)

    def forward(self, xs):
        return torch.cat([self.f(self.c(x[None]).relu().mean((2, 3))) for x in xs])


class Capsule(nn.Module):
    def __init__(self):
        super().__init__()
        self.c = nn.Conv2d(1, 32, 9, 2)
        self.W = nn.Parameter(torch.randn(10, 320, 16, 10) * 0.01)

    def sq(self, s):
        n = (s**2).sum(-1, keepdim=True)
        return n / (1 + n) * s / n.sqrt()

    def forward(self, x):
        u = self.sq(self.c(x)[:, :, :, :10].reshape(x.size(0), 320, 10))
        u = torch.einsum("bid,jiod->bjio", u, self.W.transpose(2, 3).transpose(2, 3))
        b = torch.zeros(x.size(0), 10, 320, 1, device=x.device)
        ud = u.detach()
        for r in range(3):
            c = b.softmax(1)
            if r < 2:
                v = self.sq((c * ud).sum(2))
                b = b + (ud * v.unsqueeze(2)).sum(-1, keepdim=True)
            else:
                v = self.sq((c * u).sum(2))
        return v.norm(dim=-1)


class Mixer(nn.Module):
    def __init__(self):
        super().__init__()
        self.p = nn.Conv2d(3, 32, 8, 8)
        self.n1 = nn.LayerNorm(32)
        self.t = nn.Sequential(nn.Linear(16, 32), nn.GELU(), nn.Linear(32, 16))
        self.n2 = nn.LayerNorm(32)
        self.c = nn.Sequential(nn.Linear(32, 64), nn.GELU(), nn.Linear(64, 32))
        self.h = nn.Linear(32, 5)

    def forward(self, x):
        x = self.p(x).flatten(2).transpose(1, 2)
        x = x + self.t(self.n1(x).transpose(1, 2)).transpose(1, 2)
        x = x + self.c(self.n2(x))
        return self.h(x.mean(1))


class FeatureHook(nn.Module):
    def __init__(self):
        super().__init__()
        self.c = nn.Conv2d(3, 8, 3)
        self.side = nn.Conv2d(8, 4, 1)
        self.f = nn.Linear(8, 4)
        self.feats = {}
        self.side.register_forward_hook(lambda m, i, o: self.feats.__setitem__("side", o))

    def forward(self, x):
        x = self.c(x).relu()
        self.side(x)
        return self.f(x.mean((2, 3)))


class ListFeatures(nn.Module):
    def __init__(self):
        super().__init__()
        self.b = nn.ModuleList([nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3), nn.Conv2d(8, 8, 3)])
        self.acts = [nn.ReLU()] * 3
        self.act = nn.ReLU()

    def forward(self, x):
        out = []
        for b in self.b:
            x = self.act(b(x))
            out.append(x)
        return out


class ConvMixer(nn.Module):
    def __init__(self):
        super().__init__()
        self.s = nn.Sequential(nn.Conv2d(3, 32, 4, 4), nn.GELU(), nn.BatchNorm2d(32))
        self.f = nn.Linear(32, 5)

    def forward(self, x):
        return self.f(self.s(x).mean((2, 3)))


class MNISTExample(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 32, 3, 1)
        self.conv2 = nn.Conv2d(32, 64, 3, 1)
        self.dropout1 = nn.Dropout(0.25)
        self.dropout2 = nn.Dropout(0.5)
        self.fc1 = nn.Linear(9216, 128)
        self.fc2 = nn.Linear(128, 10)

    def forward(self, x):
        x = F.relu(self.conv1(x))
        x = F.relu(self.conv2(x))
        x = self.dropout1(F.max_pool2d(x, 2))
        x = torch.flatten(x, 1)
        x = F.relu(self.fc1(x))
        x = self.dropout2(x)
        return F.log_softmax(self.fc2(x), dim=1)


class TutorialNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 6, 5)
        self.pool = nn.MaxPool2d(2, 2)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.fc1 = nn.Linear(16 * 5 * 5, 120)
        self.fc2 = nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, 10)

    def forward(self, x):
        x = self.pool(F.relu(self.conv1(x)))
        x = self.pool(F.relu(self.conv2(x)))
        x = x.view(-1, 16 * 5 * 5)
        x = F.relu(self.fc1(x))
        x = F.relu(self.fc2(x))
        return self.fc3(x)


class LeNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.f = nn.Sequential(
            nn.Conv2d(1, 6, 5),
            nn.Tanh(),
            nn.AvgPool2d(2),
            nn.Conv2d(6, 16, 5),
            nn.Tanh(),
            nn.AvgPool2d(2),
            nn.Conv2d(16, 120, 5),
            nn.Tanh(),
        )
        self.c = nn.Sequential(nn.Linear(120, 84), nn.Tanh(), nn.Linear(84, 10))

    def forward(self, x):
        return self.c(self.f(x).flatten(1))
