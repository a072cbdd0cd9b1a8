"""Networks for pictures of three things in a garden."""

import torch
from torch import nn


class FlowerNet(nn.Module):
    """Two convolutions and two linear layers."""

    def __init__(self, classes=3):
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, padding=1)
        self.body = nn.Conv2d(16, 32, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(32)
        self.extra = nn.ModuleList([nn.Conv2d(32, 32, 3, padding=1)])
        self.pool = nn.MaxPool2d(8)
        self.hidden = nn.Linear(2048, 16)
        self.head = nn.Linear(16, classes)

    def forward(self, x):
        x = self.stem(x).relu()
        x = self.norm(self.body(x)).relu()
        for layer in self.extra:
            x = layer(x).relu()
        x = self.pool(x).flatten(1)
        return self.head(self.hidden(x).relu())


class SoftFlowers(nn.Module):
    """A small classifier for cross-entropy."""

    def __init__(self, classes=3):
        super().__init__()
        self.body = nn.Conv2d(3, 16, 5, stride=4)
        self.head = nn.Linear(16, classes)

    def forward(self, x):
        return self.head(self.body(x).relu().mean((2, 3)))


class LikelyFlowers(SoftFlowers):
    """The same for the negative log-likelihood."""

    def forward(self, x):
        return super().forward(x).log_softmax(1)


class DeepFlowers(nn.Module):
    """Halves the map until little is left."""

    def __init__(self):
        super().__init__()
        self.steps = nn.ModuleList(nn.Conv2d(3 if i == 0 else 8, 8, 3, stride=2, padding=1) for i in range(5))
        self.last = nn.Conv2d(8, 3, 2)

    def forward(self, x):
        for step in self.steps:
            x = step(x).relu()
        return self.last(x).flatten(1)


class TwinFlowers(nn.Module):
    """Two branches that are added."""

    def __init__(self):
        super().__init__()
        self.fine = nn.Conv2d(3, 8, 3, padding=1)
        self.coarse = nn.Conv2d(3, 8, 5, padding=2)
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        return self.head((self.fine(x) + self.coarse(x)).relu().mean((2, 3)))


class PooledFlowers(nn.Module):
    """Normalises what pooling left."""

    def __init__(self):
        super().__init__()
        self.body = nn.Conv2d(3, 16, 5, stride=4, bias=False)
        self.norm = nn.BatchNorm2d(16)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(16, 3)

    def forward(self, x):
        return self.head(self.pool(self.norm(self.body(x)).relu()).flatten(1))


class LogFlowers(SoftFlowers):
    """Looks at the logarithm of the picture."""

    def forward(self, x):
        return super().forward(torch.log1p(x.abs()))


class DimFlowers(SoftFlowers):
    """Looks at a darker picture."""

    def forward(self, x):
        return super().forward(x * 0.5)


class LoudFlowers(SoftFlowers):
    """Speaks with one voice for all channels."""

    def forward(self, x):
        return self.head(self.body(x).relu().mean((2, 3)))
