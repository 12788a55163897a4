"""A program a row; the row is read once."""

import torch
import triton
import triton.language as tl


@triton.jit
def kernel(x, w, y, columns, eps, WIDTH: tl.constexpr):
    row = tl.program_id(0).to(tl.int64) * columns
    place = tl.arange(0, WIDTH)
    inside = place < columns
    values = tl.load(x + row + place, mask=inside, other=0.0).to(tl.float32)
    scale = tl.rsqrt(tl.sum(values * values, 0) / columns + eps)
    weights = tl.load(w + place, mask=inside, other=0.0).to(tl.float32)
    tl.store(y + row + place, (values * scale * weights).to(tl.float16), mask=inside)


def rms_norm(x, w, eps):
    out = torch.empty_like(x)
    rows, columns = x.shape
    kernel[(rows,)](x, w, out, columns, eps, triton.next_power_of_2(columns), num_warps=8)
    return out
