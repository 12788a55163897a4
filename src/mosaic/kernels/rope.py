"""Rotary position embedding, in the half-rotation order of Llama and GPT-NeoX."""

from typing import Any

import tilelang.language as T
import torch

from mosaic.errors import KernelError
from mosaic.graph.kernel import kernel


def _rope(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, start: int) -> torch.Tensor:
    length, half = x.shape[1], x.shape[3] // 2
    c, s = (table[start : start + length, None, :] for table in (cos, sin))
    low, high = x[..., :half], x[..., half:]
    return torch.cat((low * c - high * s, high * c + low * s), -1)


@kernel(
    inputs={"x": "B S H D : dtype", "cos": "P D//2 : table_dtype", "sin": "P D//2 : table_dtype"},
    outputs={"y": "B S H D : dtype"},
    attributes={"start": 0},
    tunables={"block_S": (8, 16, 32, 64), "threads": (64, 128, 256)},
    reference=_rope,
)
def rope(B: int, S: int, H: int, D: int, P: int, dtype: str, table_dtype: str, start: int, block_S: int = 16, threads: int = 128) -> Any:
    """Turns each pair (x[j], x[j + D/2]) by the angle whose cosine and sine are in the tables' row start + s.

    Raises KernelError for an odd D, or tables with too few rows.
    """
    if D % 2:
        raise KernelError(f"kernel 'rope' turns pairs of elements, but a head has {D} of them; an even number is needed")
    if start + S > P:
        raise KernelError(f"kernel 'rope': rows {start} to {start + S - 1} of the tables are needed, but they have only {P}")
    half = D // 2

    @T.prim_func
    def main(
        x: T.Tensor((B, S, H, D), dtype),
        cos: T.Tensor((P, half), table_dtype),
        sin: T.Tensor((P, half), table_dtype),
        y: T.Tensor((B, S, H, D), dtype),
    ) -> None:
        with T.Kernel(T.ceildiv(S, block_S), H, B, threads=threads) as (bs, h, b):
            for i, j in T.Parallel(block_S, half):
                y[b, bs * block_S + i, h, j] = (
                    x[b, bs * block_S + i, h, j].astype("float32") * cos[start + bs * block_S + i, j].astype("float32")
                    - x[b, bs * block_S + i, h, j + half].astype("float32") * sin[start + bs * block_S + i, j].astype("float32")
                ).astype(dtype)
            for i, j in T.Parallel(block_S, half):
                y[b, bs * block_S + i, h, j + half] = (
                    x[b, bs * block_S + i, h, j + half].astype("float32") * cos[start + bs * block_S + i, j].astype("float32")
                    + x[b, bs * block_S + i, h, j].astype("float32") * sin[start + bs * block_S + i, j].astype("float32")
                ).astype(dtype)

    return main
