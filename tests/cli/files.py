"""Files as a user would write them, for the tests of the command line."""

from __future__ import annotations

from typing import Final

KERNEL: Final = '''"""A kernel that is not part of Mosaic."""

import tilelang.language as T

import mosaic


@mosaic.kernel(
    inputs={"x": "M N : dtype"},
    outputs={"y": "M N : dtype"},
    attributes={"factor": 2.0},
    tunables={"block_M": (16, 32), "block_N": (32, 64)},
    reference=lambda x, factor: x * factor,
    name="users_scale",
)
def scale(M, N, dtype, factor, block_M=32, block_N=64):
    """y = factor · x."""

    @T.prim_func
    def main(x: T.Tensor((M, N), dtype), y: T.Tensor((M, N), dtype)):
        with T.Kernel(T.ceildiv(N, block_N), T.ceildiv(M, block_M), threads=128) as (bx, by):
            for i, j in T.Parallel(block_M, block_N):
                y[by * block_M + i, bx * block_N + j] = x[by * block_M + i, bx * block_N + j] * T.cast(factor, dtype)

    return main
'''

GRAPH: Final = (
    KERNEL
    + """

def graph():
    g = mosaic.Graph("scaled_product")
    product = g.call("gemm", g.input("a", (64, 32), "float16"), g.input("b", (32, 64), "float16"), name="product")
    g.output(g.call("users_scale", product, factor=0.5, name="scale"))
    return g
"""
)
