"""By the rows' lengths: the square root of the width over the length of a row scales it."""

import torch
from torch import nn


class ModelNew(nn.Module):
    def __init__(self, width, eps):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(width).uniform_(0.5, 1.5))
        self.eps = eps

    def forward(self, x):
        squares = torch.linalg.vecdot(x, x).unsqueeze(-1)
        return torch.rsqrt(squares / x.shape[-1] + self.eps) * x * self.weight
