"""One exponential and one division; the scale is folded into the numerator."""

import torch
from torch import nn


class ModelNew(nn.Module):
    def __init__(self, slope, scale):
        super().__init__()
        self.slope = slope
        self.scale = scale

    def forward(self, x):
        decay = torch.exp(x * -self.slope)
        return (x * self.scale).div_(decay.add_(1.0))
