"""In blocks: sums within each by a product with a triangle of ones, then what the blocks before add up to."""

import torch
from torch import nn

BLOCK = 64


class ModelNew(nn.Module):
    def forward(self, x):
        rows, columns = x.shape
        triangle = torch.ones(BLOCK, BLOCK, dtype=x.dtype, device=x.device).triu_()
        inside = (x.reshape(-1, BLOCK) @ triangle).reshape(rows, columns // BLOCK, BLOCK)
        ends = inside[:, :, -1]
        before = torch.cumsum(ends, dim=1) - ends
        return (inside + before.unsqueeze(-1)).reshape(rows, columns)
