"""Rows of all sentences as one matrix; biases and the residual go into the products that they follow."""

import torch
from torch import nn


class ModelNew(nn.Module):
    def __init__(self, width, hidden):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.up = nn.Linear(width, hidden)
        self.down = nn.Linear(hidden, width)

    def forward(self, x):
        rows = x.reshape(-1, x.shape[-1])
        normed = nn.functional.layer_norm(rows, (x.shape[-1],), self.norm.weight, self.norm.bias, self.norm.eps)
        hidden = nn.functional.gelu(torch.addmm(self.up.bias, normed, self.up.weight.t()))
        return torch.addmm(rows + self.down.bias, hidden, self.down.weight.t()).reshape(x.shape)
