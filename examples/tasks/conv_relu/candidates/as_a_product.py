"""As one product: patches become columns, filters become rows."""

from torch import nn


class ModelNew(nn.Module):
    def __init__(self, channels, filters):
        super().__init__()
        self.conv = nn.Conv2d(channels, filters, kernel_size=3, stride=2, padding=1)

    def forward(self, x):
        weight = self.conv.weight
        rows, columns = ((size + 2 - 3) // 2 + 1 for size in x.shape[2:])
        patches = nn.functional.unfold(x, kernel_size=3, stride=2, padding=1)
        made = weight.reshape(weight.shape[0], -1) @ patches
        return made.add_(self.conv.bias.reshape(-1, 1)).clamp_(min=0.0).reshape(x.shape[0], -1, rows, columns)
