"""One product with its bias, then GELU by the error function, written out and in place."""

import math

import torch
from torch import nn


class ModelNew(nn.Module):
    def __init__(self, features, width):
        super().__init__()
        self.linear = nn.Linear(features, width)

    def forward(self, x):
        y = torch.addmm(self.linear.bias, x, self.linear.weight.t())
        gate = torch.erf(y * math.sqrt(0.5)).add_(1.0)
        return gate.mul_(y).mul_(0.5)
