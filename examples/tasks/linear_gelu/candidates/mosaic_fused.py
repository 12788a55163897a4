"""Three kernels that ship with Mosaic, fused into one for whatever shapes come."""

from torch import nn

import mosaic


def graph(x, weight, bias):
    g = mosaic.Graph("linear_gelu")
    tensors = [g.input(name, spec.shape, spec.dtype) for name, spec in (("x", x), ("weight", weight), ("bias", bias))]
    product = g.call("gemm_nt", tensors[0], tensors[1])
    g.output(g.call("gelu_erf", g.call("bias", product, tensors[2])))
    return g


fused = mosaic.candidate(graph)


class ModelNew(nn.Module):
    def __init__(self, features, width):
        super().__init__()
        self.linear = nn.Linear(features, width)

    def forward(self, x):
        return fused(x, self.linear.weight.detach(), self.linear.bias.detach())
