"""Small kernels of every habit, as producers and consumers, and stitching them in every way that is legal.

Each kernel's tensors are named after what the tests join them by; each computes in float32, so that stitched and separate
runs may be compared exactly.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import Any

import tilelang.language as T
import torch

from mosaic.stitch.attach import Attachment, attachments
from mosaic.stitch.inline import Scope, inline
from mosaic.stitch.legality import Refusal
from mosaic.targets.cpu import compile_cpu
from mosaic.tiles.program import TileProgram
from mosaic.tiles.read import read
from mosaic.tiles.rewrite import bind
from mosaic.tiles.verify import verify

Tensors = Mapping[str, torch.Tensor]


def program(func: Any, name: str = "", **names: str) -> TileProgram:
    """A kernel of the tests with its tensors renamed, read."""
    return read(bind(func, names, name=name or "_".join(names.values()) or "kernel"))


# -- element by element


def mapped(M: int, N: int, bm: int = 16, bn: int = 32, *, threads: int = 32, factor: float = 2.0, rows_first: bool = False) -> Any:
    """y = factor x + 1."""

    @T.prim_func
    def main(x: T.Tensor((M, N), "float32"), y: T.Tensor((M, N), "float32")) -> None:
        with T.Kernel(
            T.ceildiv(M, bm) if rows_first else T.ceildiv(N, bn), T.ceildiv(N, bn) if rows_first else T.ceildiv(M, bm), threads=threads
        ) as (p, q):
            row = p if rows_first else q
            column = q if rows_first else p
            for i, j in T.Parallel(bm, bn):
                y[row * bm + i, column * bn + j] = x[row * bm + i, column * bn + j] * factor + 1.0

    return main


def staged(M: int, N: int, bm: int = 16, bn: int = 32, *, threads: int = 32, scope: str = "shared", factor: float = 3.0) -> Any:
    """y = factor x - 1, by way of shared memory or registers, with a copy at either end."""

    @T.prim_func
    def main(x: T.Tensor((M, N), "float32"), y: T.Tensor((M, N), "float32")) -> None:
        with T.Kernel(T.ceildiv(N, bn), T.ceildiv(M, bm), threads=threads) as (bx, by):
            tile = T.alloc_shared((bm, bn), "float32") if scope == "shared" else T.alloc_fragment((bm, bn), "float32")
            T.copy(x[by * bm, bx * bn], tile)
            for i, j in T.Parallel(bm, bn):
                tile[i, j] = tile[i, j] * factor - 1.0
            T.copy(tile, y[by * bm, bx * bn])

    return main


def added(M: int, N: int, bm: int = 16, bn: int = 32, *, threads: int = 32) -> Any:
    """y = a + b."""

    @T.prim_func
    def main(a: T.Tensor((M, N), "float32"), b: T.Tensor((M, N), "float32"), y: T.Tensor((M, N), "float32")) -> None:
        with T.Kernel(T.ceildiv(N, bn), T.ceildiv(M, bm), threads=threads) as (bx, by):
            for i, j in T.Parallel(bm, bn):
                y[by * bm + i, bx * bn + j] = a[by * bm + i, bx * bn + j] + b[by * bm + i, bx * bn + j]

    return main


def walked(M: int, N: int, bm: int = 16, bn: int = 32, *, low: int = 0, threads: int = 32) -> Any:
    """y = x / 2, a row of tiles a block, counted from `low`."""

    @T.prim_func
    def main(x: T.Tensor((M, N), "float32"), y: T.Tensor((M, N), "float32")) -> None:
        with T.Kernel(T.ceildiv(M, bm), threads=threads) as by:
            tile = T.alloc_shared((bm, bn), "float32")
            for k in T.serial(low, T.ceildiv(N, bn) + low):
                T.copy(x[by * bm, (k - low) * bn], tile)
                for i, j in T.Parallel(bm, bn):
                    y[by * bm + i, (k - low) * bn + j] = tile[i, j] * 0.5

    return main


# -- neighbours, parts and other places


def stencil(M: int, N: int, bm: int = 16, bn: int = 32, *, halo: int = 2, threads: int = 32) -> Any:
    """y[i, j] = x[i, j] - x[i, j + halo]: what neighbouring blocks read overlaps."""

    @T.prim_func
    def main(x: T.Tensor((M, N + halo), "float32"), y: T.Tensor((M, N), "float32")) -> None:
        with T.Kernel(T.ceildiv(N, bn), T.ceildiv(M, bm), threads=threads) as (bx, by):
            for i, j in T.Parallel(bm, bn):
                y[by * bm + i, bx * bn + j] = x[by * bm + i, bx * bn + j] - x[by * bm + i, bx * bn + j + halo]

    return main


def left_half(M: int, N: int, bm: int = 16, bn: int = 16, *, twice: bool = False, threads: int = 32) -> Any:
    """y = x[:, : N / 2], or that twice side by side."""

    @T.prim_func
    def main(x: T.Tensor((M, N), "float32"), y: T.Tensor((M, N // 2 * (2 if twice else 1)), "float32")) -> None:
        with T.Kernel(T.ceildiv(N // 2, bn), T.ceildiv(M, bm), 2 if twice else 1, threads=threads) as (bx, by, side):
            for i, j in T.Parallel(bm, bn):
                if bx * bn + j < N // 2:
                    y[by * bm + i, side * (N // 2) + bx * bn + j] = x[by * bm + i, bx * bn + j]

    return main


def gathered(M: int, N: int, R: int, bm: int = 16, *, threads: int = 32) -> Any:
    """y[i] = x[ids[i]]."""

    @T.prim_func
    def main(x: T.Tensor((M, N), "float32"), ids: T.Tensor((R,), "int32"), y: T.Tensor((R, N), "float32")) -> None:
        with T.Kernel(T.ceildiv(R, bm), threads=threads) as bx:
            for i, j in T.Parallel(bm, N):
                y[bx * bm + i, j] = x[ids[bx * bm + i], j]

    return main


def strided(M: int, N: int, bn: int = 16, *, step: int = 3, threads: int = 32) -> Any:
    """y[:, j] = x[:, (bn b + j) // step], a block index and a loop variable under one division."""

    @T.prim_func
    def main(x: T.Tensor((M, N), "float32"), y: T.Tensor((M, N * step), "float32")) -> None:
        with T.Kernel(T.ceildiv(N * step, bn), threads=threads) as bx:
            for i, j in T.Parallel(M, bn):
                y[i, bx * bn + j] = x[i, (bx * bn + j) // step]

    return main


# -- rows


def row_sums(M: int, N: int, bm: int = 16, bn: int = 32, *, threads: int = 32) -> Any:
    """r[i] = sum of row i. Columns beyond the edge count as what loading them gives: 0."""

    @T.prim_func
    def main(x: T.Tensor((M, N), "float32"), r: T.Tensor((M,), "float32")) -> None:
        with T.Kernel(T.ceildiv(M, bm), threads=threads) as by:
            tile = T.alloc_fragment((bm, bn), "float32")
            part = T.alloc_fragment((bm,), "float32")
            total = T.alloc_fragment((bm,), "float32")
            T.clear(total)
            for k in T.serial(T.ceildiv(N, bn)):
                T.copy(x[by * bm, k * bn], tile)
                T.reduce_sum(tile, part, dim=1)
                for i in T.Parallel(bm):
                    total[i] += part[i]
            T.copy(total, r[by * bm])

    return main


def row_lows(M: int, N: int, bm: int = 16, bn: int = 64, *, threads: int = 32) -> Any:
    """r[i] = least of row i, in one tile whose columns beyond the edge are annotated to read as a large number."""

    @T.prim_func
    def main(x: T.Tensor((M, N), "float32"), r: T.Tensor((M,), "float32")) -> None:
        with T.Kernel(T.ceildiv(M, bm), threads=threads) as by:
            tile = T.alloc_shared((bm, bn), "float32")
            value = T.alloc_fragment((bm, bn), "float32")
            low = T.alloc_fragment((bm,), "float32")
            T.annotate_safe_value({x: T.float32(1e30)})
            T.copy(x[by * bm, 0], tile)
            T.copy(tile, value)
            T.reduce_min(value, low, dim=1)
            T.copy(low, r[by * bm])

    return main


def centered(M: int, N: int, bm: int = 16, *, threads: int = 32) -> Any:
    """Two outputs: c = x - row means, and the means."""

    @T.prim_func
    def main(x: T.Tensor((M, N), "float32"), c: T.Tensor((M, N), "float32"), mean: T.Tensor((M,), "float32")) -> None:
        with T.Kernel(T.ceildiv(M, bm), threads=threads) as by:
            rows = T.alloc_fragment((bm, N), "float32")
            total = T.alloc_fragment((bm,), "float32")
            T.copy(x[by * bm, 0], rows)
            T.reduce_sum(rows, total, dim=1)
            for i in T.Parallel(bm):
                total[i] = total[i] / N
            for i, j in T.Parallel(bm, N):
                rows[i, j] = rows[i, j] - total[i]
            T.copy(rows, c[by * bm, 0])
            T.copy(total, mean[by * bm])

    return main


def restored(M: int, N: int, bm: int = 16, bn: int = 32, *, threads: int = 32) -> Any:
    """y = c + mean, of two tensors that one kernel made."""

    @T.prim_func
    def main(c: T.Tensor((M, N), "float32"), mean: T.Tensor((M,), "float32"), y: T.Tensor((M, N), "float32")) -> None:
        with T.Kernel(T.ceildiv(N, bn), T.ceildiv(M, bm), threads=threads) as (bx, by):
            for i, j in T.Parallel(bm, bn):
                y[by * bm + i, bx * bn + j] = c[by * bm + i, bx * bn + j] + mean[by * bm + i]

    return main


# -- products


def multiplied(M: int, N: int, K: int, bm: int = 32, bn: int = 32, bk: int = 16, *, threads: int = 64, stages: int = 2) -> Any:
    """c = a b."""

    @T.prim_func
    def main(a: T.Tensor((M, K), "float32"), b: T.Tensor((K, N), "float32"), c: T.Tensor((M, N), "float32")) -> None:
        with T.Kernel(T.ceildiv(N, bn), T.ceildiv(M, bm), threads=threads) as (bx, by):
            a_tile = T.alloc_shared((bm, bk), "float32")
            b_tile = T.alloc_shared((bk, bn), "float32")
            acc = T.alloc_fragment((bm, bn), "float32")
            T.clear(acc)
            for k in T.Pipelined(T.ceildiv(K, bk), num_stages=stages):
                T.copy(a[by * bm, k * bk], a_tile)
                T.copy(b[k * bk, bx * bn], b_tile)
                T.gemm(a_tile, b_tile, acc)
            T.copy(acc, c[by * bm, bx * bn])

    return main


# -- stitching


def allocate(program: TileProgram, given: Tensors) -> dict[str, torch.Tensor]:
    """The program's tensors: those given, and NaN for what it writes (copies of what it changes in place)."""
    found = {}
    for param in program.params:
        if param.mode in ("read", "unused"):
            found[param.name] = given[param.name]
        elif param.mode == "update":
            found[param.name] = given[param.name].clone()
        else:
            found[param.name] = torch.full([int(n) for n in param.shape], float("nan"))
    return found


def run(program: TileProgram, given: Tensors) -> dict[str, torch.Tensor]:
    """What the program writes, on the CPU, with NaN in all memory that it does not write first."""
    tensors = allocate(program, given)
    compile_cpu(program.func, poison=True)(*tensors.values())
    return {p.name: tensors[p.name] for p in program.params if p.mode in ("write", "update")}


def legal(producer: TileProgram, consumer: TileProgram, tensors: Sequence[str]) -> list[Attachment]:
    found = attachments(producer, consumer, tensors)
    assert not isinstance(found, Refusal), str(found)
    return found


def every_way(producer: TileProgram, consumer: TileProgram, *tensors: str) -> Iterator[tuple[Attachment, frozenset[str], TileProgram]]:
    """The two stitched at every legal depth, in either memory, with the tensors kept and not."""
    for attachment in legal(producer, consumer, tensors):
        in_registers = all(h.registers for h in attachment.handovers)
        may_keep = attachment.recompute == 1 and attachment.complete
        scopes: tuple[Scope, ...] = ("shared", "register") if in_registers else ("shared",)
        for scope, keep in product(scopes, (False, True) if may_keep else (False,)):
            kept = frozenset(tensors) if keep else frozenset()
            func = inline(producer, consumer, attachment, dict.fromkeys(tensors, scope), keep=kept)
            stitched = read(func)
            verify(stitched)
            yield attachment, kept, stitched


def check(producer: TileProgram, consumer: TileProgram, *tensors: str, inputs: Tensors, wanted: Tensors) -> list[Attachment]:
    """Every way of stitching computes what the two do apart, exactly, and what PyTorch says, nearly."""
    apart = {**inputs, **run(producer, inputs)}
    apart |= run(consumer, apart)
    seen = []
    for attachment, kept, stitched in every_way(producer, consumer, *tensors):
        assert {p.name for p in stitched.params} & set(tensors) == kept
        found = run(stitched, inputs)
        for name, tensor in found.items():
            assert torch.equal(tensor, apart[name]), f"{name} at depth {attachment.depth}, kept {sorted(kept)}"
        for name, tensor in wanted.items():
            assert torch.allclose(found[name], tensor, rtol=1e-4, atol=1e-4), name
        seen.append(attachment)
    return seen
