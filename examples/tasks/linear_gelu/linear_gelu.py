"""A linear layer and GELU: a product, a bias and an activation, which a compiler would fuse."""

import torch
from torch import nn


class Model(nn.Module):
    def __init__(self, features, width):
        super().__init__()
        self.linear = nn.Linear(features, width)

    def forward(self, x):
        return nn.functional.gelu(self.linear(x))


def get_inputs():
    return [torch.randn(100, 384)]


def get_init_inputs():
    return [384, 500]
