"""Online: the running maximum and sum over blocks of columns, then one pass that divides."""

import torch
from torch import nn

BLOCK = 256


class ModelNew(nn.Module):
    def forward(self, x):
        largest = torch.full((x.shape[0], 1), -torch.inf, dtype=x.dtype, device=x.device)
        total = torch.zeros((x.shape[0], 1), dtype=x.dtype, device=x.device)
        for block in x.split(BLOCK, dim=1):
            now = torch.maximum(largest, block.amax(dim=1, keepdim=True))
            total = total * torch.exp(largest - now) + torch.exp(block - now).sum(dim=1, keepdim=True)
            largest = now
        return torch.exp(x - largest) / total
