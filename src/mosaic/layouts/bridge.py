"""From what TileLang infers for a fragment to Mosaic's own layouts: which element each register of each thread holds."""

from __future__ import annotations

import torch

from mosaic.layouts.layout import Layout
from mosaic.layouts.linear import LayoutError
from mosaic.layouts.read import LayoutTable

EMPTY = -1
"""Stands for a register that holds no element."""


def places(table: LayoutTable, threads: int) -> torch.Tensor:
    """The row-major number of the element that each place holds, int64 [registers, threads], or `EMPTY`.

    threads: of the block. An element that is replicated stands at each of its places. The program must be one without producer warps:
    its threads count from 0. Raises LayoutError for a shared buffer, or a thread or register outside of the block or the fragment.
    """
    if table.thread is None or table.register is None:
        raise LayoutError(f"{table.name} lies in shared memory, not in registers")
    thread = table.thread
    register = table.register.unsqueeze(-1).expand_as(thread)
    if int(thread.min()) < 0 or int(thread.max()) >= threads or int(register.min()) < 0 or int(register.max()) >= table.size:
        raise LayoutError(f"the layout of {table.name} leaves its block of {threads} threads or its {table.size} registers")
    element = torch.arange(register[..., 0].numel()).reshape(table.shape).unsqueeze(-1).expand_as(thread)
    found = torch.full((table.size, threads), EMPTY, dtype=torch.int64)
    found[register, thread] = element
    # Two elements at one place: one of them would be lost.
    if not bool((found[register, thread] == element).all()):
        raise LayoutError(f"the layout of {table.name} is not injective: two of its elements lie in one register")
    return found


def layout_of(table: LayoutTable, threads: int, warp_size: int) -> Layout | None:
    """(register, lane, warp) to the fragment's indices `i0`, `i1`, ...; None if a warp that holds anything has empty registers.

    Warps at the end that hold nothing are left out. Exact: every place of the table, replicas too. Raises LayoutError as `places` does.
    """
    held = places(table, threads)
    lanes = min(warp_size, threads)
    by_warp = held.reshape(table.size, threads // lanes, lanes)
    used = [warp for warp in range(by_warp.shape[1]) if bool((by_warp[:, warp] != EMPTY).any())]
    by_warp = by_warp[:, : used[-1] + 1]
    if bool((by_warp == EMPTY).any()):
        return None
    rest = by_warp.permute(0, 2, 1)
    indices = []
    for extent in reversed(table.shape):
        indices.append(rest % extent)
        rest = rest // extent
    extents = tuple((f"i{axis}", extent) for axis, extent in enumerate(table.shape))
    values = torch.stack(list(reversed(indices)), dim=-1)
    inputs = (("register", table.size), ("lane", lanes), ("warp", used[-1] + 1))
    return Layout.from_table(inputs, extents, values)
