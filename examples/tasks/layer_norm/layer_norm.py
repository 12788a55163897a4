"""Layer normalisation with parameters that matter: neither ones nor zeros."""

import torch
from torch import nn


class Model(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        nn.init.uniform_(self.norm.weight, 0.5, 2.0)
        nn.init.uniform_(self.norm.bias, -1.0, 1.0)

    def forward(self, x):
        return self.norm(x)


def get_inputs():
    return [2.0 * torch.randn(120, 768) + 0.5]


def get_init_inputs():
    return [768]
