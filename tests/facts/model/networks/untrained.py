"""Networks parts of which training does not reach, and ends that are cut off."""

import torch
import torch.nn.functional as F  # noqa: N812  # the field's own name for it
import torchvision
from parts import Encoder
from torch import nn


class ReluLogits(nn.Module):
    def __init__(self):
        super().__init__()
        self.e = Encoder()
        self.head = nn.Sequential(nn.Linear(32, 16), nn.ReLU(), nn.Linear(16, 5), nn.ReLU())  # expect: MOD007

    def forward(self, x):
        return self.head(self.e(x).mean((2, 3)))


def block(i, o):
    return nn.Sequential(nn.Linear(i, o), nn.BatchNorm1d(o), nn.ReLU())  # expect: MOD007, MOD013


class ReluLogitsBN(nn.Module):
    def __init__(self):
        super().__init__()
        self.n = nn.Sequential(block(32, 64), block(64, 5))

    def forward(self, x):
        return self.n(x)


class ReluFunctional(nn.Module):
    def __init__(self):
        super().__init__()
        self.e = Encoder()
        self.fc = nn.Linear(32, 5)

    def forward(self, x):
        y = self.fc(self.e(x).mean((2, 3)))
        return F.relu(y)  # expect: MOD007


class Unused(nn.Module):
    def __init__(self):
        super().__init__()
        self.e = Encoder()
        self.e2 = Encoder()  # expect: MOD011
        self.fc = nn.Linear(32, 5)

    def forward(self, x):
        return self.fc(self.e(x).mean((2, 3)))


class UnusedParam(nn.Module):
    def __init__(self):
        super().__init__()
        self.l = nn.Linear(32, 32)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, 32))  # expect: MOD011

    def forward(self, x):
        return self.l(x)


class Dropped(nn.Module):
    def __init__(self):
        super().__init__()
        self.e = Encoder()
        self.att = nn.Conv2d(32, 32, 1)  # expect: MOD011
        self.fc = nn.Linear(32, 5)

    def forward(self, x):
        f = self.e(x)
        f * self.att(f).sigmoid()
        return self.fc(f.mean((2, 3)))


class AllFrozen(nn.Module):
    def __init__(self):
        super().__init__()
        self.m = torchvision.models.resnet18()
        self.m.fc = nn.Linear(512, 3)
        for p in self.m.parameters():
            p.requires_grad = False

    def forward(self, x):
        return self.m(x)


class BiasBN(nn.Module):
    def __init__(self):
        super().__init__()
        self.stages = nn.ModuleList(
            [nn.Sequential(nn.Conv2d(i, o, 3), nn.BatchNorm2d(o)) for i, o in ((3, 16), (16, 32))]  # expect: MOD013
        )
        self.fc = nn.Linear(32, 3)

    def forward(self, x):
        for s in self.stages:
            x = s(x)
        return self.fc(x.mean((2, 3)))


class ActNorm(nn.Module):
    def __init__(self):
        super().__init__()
        self.c = nn.Conv2d(3, 16, 3)
        self.n = nn.BatchNorm2d(16)
        self.fc = nn.Linear(16, 3)

    def forward(self, x):
        x = F.relu(self.c(x))  # expect: MOD014
        return self.fc(self.n(x).mean((2, 3)))


class Checker(nn.Module):
    def __init__(self):
        super().__init__()
        self.d = nn.Sequential(
            nn.ConvTranspose2d(16, 8, 3, stride=2, padding=1, output_padding=1),  # expect: MOD016
            nn.ReLU(),
            nn.ConvTranspose2d(8, 3, kernel_size=5, stride=3),  # expect: MOD016
        )

    def forward(self, x):
        return self.d(x)


class NoGradEnc(nn.Module):
    def __init__(self):
        super().__init__()
        self.e = Encoder()
        self.fc = nn.Linear(32, 5)

    def forward(self, x):
        with torch.no_grad():  # expect: MOD023
            f = self.e(x)
        return self.fc(f.mean((2, 3)))


class NoGradDecorator(nn.Module):
    def __init__(self):
        super().__init__()
        self.e = Encoder()
        self.fc = nn.Linear(32, 5)

    @torch.no_grad()
    def feats(self, x):
        return self.e(x)

    def forward(self, x):
        return self.fc(self.feats(x).mean((2, 3)))  # expect: MOD023


class DetachMid(nn.Module):
    def __init__(self):
        super().__init__()
        self.e = Encoder()
        self.e2 = nn.Conv2d(32, 32, 3)
        self.fc = nn.Linear(32, 5)

    def forward(self, x):
        f = self.e(x)
        f = f.detach().clone()  # expect: MOD023
        return self.fc(self.e2(f).relu().mean((2, 3)))


class DataMid(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Linear(32, 32)
        self.b = nn.Linear(32, 5)

    def forward(self, x):
        h = self.a(x).relu()
        h = h.data * 2  # expect: MOD023
        return self.b(h)


class Argmax(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Linear(32, 8)
        self.e = nn.Embedding(8, 16)
        self.b = nn.Linear(16, 5)

    def forward(self, x):
        i = self.a(x).argmax(-1)  # expect: MOD023
        return self.b(self.e(i).relu())


class NumpyTrip(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Linear(32, 32)
        self.b = nn.Linear(32, 5)

    def forward(self, x):
        h = self.a(x).relu()
        h = torch.from_numpy(h.detach().cpu().numpy() * 2)  # expect: MOD023
        return self.b(h)


class HardGate(nn.Module):
    def __init__(self):
        super().__init__()
        self.gate = nn.Linear(32, 32)
        self.b = nn.Linear(32, 5)

    def forward(self, x):
        keep = (self.gate(x) > 0).float()  # expect: MOD023
        return self.b(x * keep)


class WholeNoGrad(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Linear(32, 32)
        self.b = nn.Linear(32, 5)

    @torch.no_grad()
    def forward(self, x):
        return self.b(self.a(x).relu())  # expect: MOD023


class SetGrad(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Linear(32, 32)
        self.b = nn.Linear(32, 5)

    def forward(self, x):
        with torch.set_grad_enabled(False):  # expect: MOD023
            h = self.a(x).relu()
        return self.b(h)


class TensorCopy(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Linear(32, 32)
        self.b = nn.Linear(32, 5)

    def forward(self, x):
        h = torch.tensor(self.a(x).relu())  # expect: MOD023
        return self.b(h)


class CkptFirst(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Sequential(nn.Linear(32, 32), nn.ReLU())
        self.b = nn.Linear(32, 5)

    def forward(self, x):
        from torch.utils.checkpoint import checkpoint

        return self.b(checkpoint(self.a, x, use_reentrant=True))  # expect: MOD023
