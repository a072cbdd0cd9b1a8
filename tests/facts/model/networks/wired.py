"""Networks with layers in a wrong order, twice in a place, or not registered."""

import torch
import torch.nn.functional as F  # noqa: N812  # the field's own name for it
import torchvision
from parts import Encoder
from torch import nn


class PlainWeight(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Linear(32, 32)
        self.w = torch.randn(32, 5, requires_grad=True)  # expect: MOD024

    def forward(self, x):
        return self.a(x).relu() @ self.w


class Scaled(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Linear(32, 32)
        self.w = nn.Parameter(torch.randn(32, 5)) * 0.01  # expect: MOD024

    def forward(self, x):
        return self.a(x).relu() @ self.w


class CudaParam(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Linear(32, 32)
        self.w = nn.Parameter(torch.randn(32, 5)).cuda()  # expect: MOD024, MOD034

    def forward(self, x):
        return self.a(x).relu() @ self.w


class ListWeights(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Linear(32, 32)
        self.ws = [torch.ones(32, requires_grad=True) for _ in range(2)]  # expect: MOD024

    def forward(self, x):
        x = self.a(x).relu()
        for w in self.ws:
            x = x * w
        return x


class MeanConst(nn.Module):
    def __init__(self):
        super().__init__()
        self.mean = torch.tensor([0.4, 0.4, 0.4]).view(1, 3, 1, 1)  # expect: MOD024
        self.c = nn.Conv2d(3, 8, 3)

    def forward(self, x):
        return self.c(x - self.mean)


class MaskConst(nn.Module):
    def __init__(self):
        super().__init__()
        self.q = nn.Linear(32, 32)
        self.mask = torch.tril(torch.ones(8, 8))  # expect: MOD024

    def forward(self, x):
        a = self.q(x) @ x.transpose(1, 2)
        return a.masked_fill(self.mask == 0, -1e9).softmax(-1) @ x


class _Pos(nn.Module):
    def __init__(self, d):
        super().__init__()
        self.pe = torch.zeros(100, d)  # expect: MOD024

    def forward(self, x):
        return x + self.pe[: x.size(1)]


class NestedPos(nn.Module):
    def __init__(self):
        super().__init__()
        self.enc = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), _Pos(64))
        self.o = nn.Linear(64, 3)

    def forward(self, x):
        return self.o(self.enc(x).mean(1))


class Swallow(nn.Module):
    def __init__(self):
        super().__init__()
        self.e = Encoder()
        self.fc = nn.Linear(32 * 8 * 4, 5)

    def forward(self, x):
        x = self.e(x)
        x = x.view(-1, 32 * 8 * 4)  # expect: MOD026
        return self.fc(x)


class SwallowDeep(nn.Module):
    def __init__(self):
        super().__init__()
        self.e = Encoder()
        self.h = nn.Sequential(nn.Linear(32 * 8 * 8, 64), nn.ReLU(), nn.Linear(64, 5))

    def feats(self, x):
        return self.e(x).reshape(-1, 32 * 8 * 8)  # expect: MOD026

    def forward(self, x):
        return self.h(self.feats(x))


class Shared(nn.Module):
    def __init__(self):
        super().__init__()
        self.inp = nn.Linear(32, 32)
        self.layers = nn.ModuleList([nn.Linear(32, 32)] * 4)  # expect: MOD030

    def forward(self, x):
        x = self.inp(x).relu()
        for layer in self.layers:
            x = layer(x).relu()
        return x


class SharedSeq(nn.Module):
    def __init__(self):
        super().__init__()
        b = nn.Sequential(nn.Conv2d(16, 16, 3, padding=1), nn.ReLU())  # expect: MOD030
        self.body = nn.Sequential(*[b] * 3)

    def forward(self, x):
        return self.body(x)


class Oversized(nn.Module):
    def __init__(self):
        super().__init__()
        self.f = nn.Sequential(
            nn.Conv2d(3, 32, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(32, 80, 3), nn.ReLU(), nn.MaxPool2d(2)
        )
        self.c = nn.Sequential(nn.Flatten(), nn.Linear(80 * 54 * 54, 500), nn.ReLU())  # expect: MOD031

    def forward(self, x):
        return self.c(self.f(x))


class NoAct(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Linear(32, 64)
        self.b = nn.Linear(64, 64)
        self.c = nn.Linear(64, 5)  # expect: MOD032

    def forward(self, x):
        x = F.relu(self.a(x))
        return self.c(self.b(x))


class NoActDropout(nn.Module):
    def __init__(self):
        super().__init__()
        self.e = Encoder()
        self.head = nn.Sequential(
            nn.Flatten(),
            nn.Linear(2048, 64),
            nn.Dropout(0.5),
            nn.Linear(64, 5),  # expect: MOD032
        )

    def forward(self, x):
        return self.head(self.e(x))


class NoActConv(nn.Module):
    def __init__(self):
        super().__init__()
        self.e = nn.Sequential(nn.Conv2d(3, 16, 3), nn.Conv2d(16, 32, 3), nn.ReLU())  # expect: MOD032
        self.fc = nn.Linear(32, 5)

    def forward(self, x):
        return self.fc(self.e(x).mean((2, 3)))


class BackboneTwice(nn.Module):
    def __init__(self):
        super().__init__()
        self.b = torchvision.models.resnet18()
        self.fc = nn.Linear(1000, 5)  # expect: MOD032

    def forward(self, x):
        return self.fc(self.b(x))


class Cuda(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Linear(32, 32).cuda()  # expect: MOD034

    def forward(self, x):
        return self.a(x)


class CudaForward(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.GRUCell(32, 32)

    def forward(self, x):
        h = torch.zeros(x.size(0), 32, device="cuda")  # expect: MOD034
        return self.a(x, h)


class ReuseBN(nn.Module):
    def __init__(self):
        super().__init__()
        self.c1 = nn.Conv2d(3, 16, 3, bias=False)
        self.c2 = nn.Conv2d(16, 16, 3, bias=False)
        self.bn = nn.BatchNorm2d(16)  # expect: MOD036
        self.fc = nn.Linear(16, 3)

    def forward(self, x):
        return self.fc(self.bn(self.c2(self.bn(self.c1(x)).relu())).relu().mean((2, 3)))


class _RB(nn.Module):
    def __init__(self, d):
        super().__init__()
        self.c = nn.ModuleList([nn.Conv2d(d, d, 3, padding=1, bias=False) for _ in range(2)])
        self.norm = nn.BatchNorm2d(d)  # expect: MOD036

    def forward(self, x):
        for c in self.c:
            x = x + self.norm(c(x)).relu()
        return x


class ReuseBNNested(nn.Module):
    def __init__(self):
        super().__init__()
        self.s = nn.Conv2d(3, 16, 3, bias=False)
        self.b = nn.Sequential(_RB(16), _RB(16))
        self.fc = nn.Linear(16, 3)

    def forward(self, x):
        return self.fc(self.b(self.s(x).relu()).mean((2, 3)))


class Misaligned(nn.Module):
    def __init__(self):
        super().__init__()
        self.f = nn.Sequential(
            nn.Conv2d(3, 33, 3),
            nn.ReLU(),
            nn.Conv2d(33, 50, 3),
            nn.ReLU(),
            nn.Conv2d(50, 64, 3),  # expect: MOD037
            nn.Tanh(),
        )
        self.fc = nn.Linear(64, 5)

    def forward(self, x):
        return self.fc(self.f(x).mean((2, 3)))


class EncoderFrozenOwn(nn.Module):
    def __init__(self):
        super().__init__()
        self.e = Encoder()  # expect: MOD028
        self.fc = nn.Linear(32, 5)
        self.e.requires_grad_(False)

    def forward(self, x):
        return self.fc(self.e(x).mean((2, 3)))
