"""The feed-forward half of a transformer's layer: a norm, two linear layers around GELU, and the residual."""

import torch
from torch import nn


class Model(nn.Module):
    def __init__(self, width, hidden):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.up = nn.Linear(width, hidden)
        self.down = nn.Linear(hidden, width)

    def forward(self, x):
        return x + self.down(nn.functional.gelu(self.up(self.norm(x))))


def get_inputs():
    return [torch.randn(4, 50, 192)]


def get_init_inputs():
    return [192, 768]
