"""Two passes: the mean, then the squares of what is left; weight and bias in one multiply-add."""

import torch
from torch import nn


class ModelNew(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        nn.init.uniform_(self.norm.weight, 0.5, 2.0)
        nn.init.uniform_(self.norm.bias, -1.0, 1.0)

    def forward(self, x):
        centred = x - x.mean(dim=-1, keepdim=True)
        variance = (centred * centred).mean(dim=-1, keepdim=True)
        scaled = centred * torch.rsqrt(variance + self.norm.eps)
        return torch.addcmul(self.norm.bias, scaled, self.norm.weight)
