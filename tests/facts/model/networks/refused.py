"""Networks whose forward torch refuses, in ways that no layer of its own tells."""

import torch
import torch.nn.functional as F  # noqa: N812  # the field's own name for it
from torch import nn


class SmallMap(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 8, 7, stride=2)
        self.second = nn.Conv2d(8, 8, 5)
        self.head = nn.Linear(8, 4)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.first(x)), 2)
        x = F.max_pool2d(F.relu(self.second(x)), 3)  # expect: MOD004
        return self.head(x.amax((2, 3)))


class ViewOfPermuted(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3)
        self.head = nn.Linear(8 * 30 * 30, 5)

    def forward(self, x):
        x = self.conv(x).permute(0, 2, 3, 1)
        return self.head(x.view(x.size(0), -1))  # expect: MOD005


class OwnKernel(nn.Module):
    def __init__(self):
        super().__init__()
        self.kernel = nn.Parameter(torch.randn(8, 4, 3, 3))
        self.head = nn.Linear(9, 2)  # expect: MOD001

    def forward(self, x):
        x = F.conv2d(x, self.kernel, padding=1)  # expect: MOD005
        return self.head(F.adaptive_avg_pool2d(x.relu(), 1).flatten(1))


class DoubleInput(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn = nn.GRU(16, 8, batch_first=True)
        self.head = nn.Linear(8, 2)

    def forward(self, x):
        return self.head(self.rnn(x)[0][:, -1])  # expect: MOD019


class SquareMap(nn.Module):
    """The map is as wide as the norm declares channels, which is chance."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 32, 3, padding=1)
        self.norm = nn.BatchNorm2d(16)  # expect: MOD003
        self.plane = nn.LayerNorm((8, 8))  # expect: MOD003
        self.head = nn.Linear(32, 2)

    def forward(self, x):
        return self.head(F.relu(self.plane(self.norm(self.conv(x)))).mean((2, 3)))


class Expert:
    def __init__(self):
        self.layer = nn.Linear(16, 8)

    def __call__(self, x):
        return self.layer(x)


class PlainObject(nn.Module):
    def __init__(self):
        super().__init__()
        self.expert = Expert()  # expect: MOD010
        self.head = nn.Linear(8, 2)

    def forward(self, x):
        return self.head(self.expert(x).relu())
