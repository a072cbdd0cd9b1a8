"""A backbone whose own head is left over; no other file here names a layer like that."""

import torchvision
from torch import nn


class UnusedBackboneFc(nn.Module):
    def __init__(self):
        super().__init__()
        self.b = torchvision.models.resnet18()  # expect: MOD011
        self.h = nn.Linear(512, 5)

    def forward(self, x):
        b = self.b
        x = b.maxpool(b.relu(b.bn1(b.conv1(x))))
        return self.h(b.layer4(b.layer3(b.layer2(b.layer1(x)))).mean((2, 3)))
