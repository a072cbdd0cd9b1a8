"""Blocks that several networks here are made of."""

from torch import nn


def mlp(i=32, h=64, o=32):
    return nn.Sequential(nn.Linear(i, h, bias=False), nn.BatchNorm1d(h), nn.ReLU(), nn.Linear(h, o))


def mlp_with_bias(i=32, h=64, o=32):
    return nn.Sequential(nn.Linear(i, h), nn.BatchNorm1d(h), nn.ReLU(), nn.Linear(h, o))


def double_conv(i, o):
    return nn.Sequential(
        nn.Conv2d(i, o, 3, padding=1, bias=False),
        nn.BatchNorm2d(o),
        nn.ReLU(True),
        nn.Conv2d(o, o, 3, padding=1, bias=False),
        nn.BatchNorm2d(o),
        nn.ReLU(True),
    )


class Encoder(nn.Module):
    def __init__(self, o=32):
        super().__init__()
        self.c1 = nn.Conv2d(3, 16, 3, 2, 1, bias=False)
        self.n1 = nn.BatchNorm2d(16)
        self.c2 = nn.Conv2d(16, o, 3, 2, 1, bias=False)
        self.n2 = nn.BatchNorm2d(o)

    def forward(self, x):
        return self.n2(self.c2(self.n1(self.c1(x)).relu())).relu()
