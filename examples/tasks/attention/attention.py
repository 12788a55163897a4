"""Scaled dot-product attention of several heads, with a length that no tile divides."""

import math

import torch
from torch import nn


class Model(nn.Module):
    def forward(self, query, key, value):
        scores = query @ key.transpose(-2, -1) / math.sqrt(query.shape[-1])
        return torch.softmax(scores, dim=-1) @ value


def get_inputs():
    return [torch.randn(1, 4, 133, 64) for _ in range(3)]


def get_init_inputs():
    return []
