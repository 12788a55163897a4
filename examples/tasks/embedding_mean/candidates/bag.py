"""Looked up and averaged in one step: the tensor of all looked-up rows is never made."""

from torch import nn


class ModelNew(nn.Module):
    def __init__(self, words, width):
        super().__init__()
        self.table = nn.Embedding(words, width)

    def forward(self, ids):
        return nn.functional.embedding_bag(ids, self.table.weight, mode="mean")
