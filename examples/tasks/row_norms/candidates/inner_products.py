"""Each row's inner product with itself, as a batch of products of a row and a column."""

import torch
from torch import nn


class ModelNew(nn.Module):
    def forward(self, x):
        return torch.bmm(x.unsqueeze(1), x.unsqueeze(2)).reshape(x.shape[0]).sqrt_()
