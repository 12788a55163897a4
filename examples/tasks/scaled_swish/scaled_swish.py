"""Elementwise: a swish with a learned-looking scale, y = 1.5 * x * sigmoid(0.75 * x)."""

import torch
from torch import nn


class Model(nn.Module):
    def __init__(self, slope, scale):
        super().__init__()
        self.slope = slope
        self.scale = scale

    def forward(self, x):
        return self.scale * x * torch.sigmoid(self.slope * x)


def get_inputs():
    return [torch.randn(200, 512)]


def get_init_inputs():
    return [0.75, 1.5]
