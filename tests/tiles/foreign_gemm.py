"""Matrix products as they are published for TileLang, in our own words: read by the tests as kernels that nobody here wrote."""

from typing import Any

import tilelang.language as T


def swizzled(M: int, N: int, K: int, block: int = 32, block_K: int = 16, dtype: str = "float16", threads: int = 128) -> Any:
    """Blocks are visited in panels, so that neighbours share operands in the second-level cache."""

    @T.prim_func
    def main(A: T.Tensor((M, K), dtype), B: T.Tensor((K, N), dtype), C: T.Tensor((M, N), dtype)) -> None:
        with T.Kernel(T.ceildiv(N, block), T.ceildiv(M, block), threads=threads) as (bx, by):
            A_shared = T.alloc_shared((block, block_K), dtype)
            B_shared = T.alloc_shared((block_K, block), dtype)
            C_local = T.alloc_fragment((block, block), "float")
            T.use_swizzle(panel_size=4)
            T.clear(C_local)
            for k in T.Pipelined(T.ceildiv(K, block_K), num_stages=2):
                T.copy(A[by * block, k * block_K], A_shared)
                for i, j in T.Parallel(block_K, block):
                    B_shared[i, j] = B[k * block_K + i, bx * block + j]
                T.gemm(A_shared, B_shared, C_local)
            T.copy(C_local, C[by * block, bx * block])

    return main


def split_k(M: int, N: int, K: int, block: int = 32, block_K: int = 16, split: int = 2, dtype: str = "float16") -> Any:
    """Several blocks add their parts of the contraction into one tile, by atomics."""
    part = K // split

    @T.prim_func
    def main(A: T.Tensor((M, K), dtype), B: T.Tensor((N, K), dtype), C: T.Tensor((M, N), "float32")) -> None:
        with T.Kernel(T.ceildiv(N, block), T.ceildiv(M, block), split, threads=128) as (bx, by, bz):
            A_shared = T.alloc_shared((block, block_K), dtype)
            B_shared = T.alloc_shared((block, block_K), dtype)
            C_local = T.alloc_fragment((block, block), "float32")
            T.clear(C_local)
            for ko in T.Pipelined(T.ceildiv(part, block_K), num_stages=1):
                T.copy(A[by * block, bz * part + ko * block_K], A_shared)
                T.copy(B[bx * block, bz * part + ko * block_K], B_shared)
                T.gemm(A_shared, B_shared, C_local, transpose_B=True)
            T.atomic_add(C[by * block, bx * block], C_local)

    return main


def split_k_elements(M: int, N: int, K: int, block: int = 32, block_K: int = 16, split: int = 2, dtype: str = "float16") -> Any:
    """The same with one atomic an element."""
    part = K // split

    @T.prim_func
    def main(A: T.Tensor((M, K), dtype), B: T.Tensor((N, K), dtype), C: T.Tensor((M, N), "float32")) -> None:
        with T.Kernel(T.ceildiv(N, block), T.ceildiv(M, block), split, threads=128) as (bx, by, bz):
            A_shared = T.alloc_shared((block, block_K), dtype)
            B_shared = T.alloc_shared((block, block_K), dtype)
            C_local = T.alloc_fragment((block, block), "float32")
            T.clear(C_local)
            for ko in T.serial(T.ceildiv(part, block_K)):
                T.copy(A[by * block, bz * part + ko * block_K], A_shared)
                T.copy(B[bx * block, bz * part + ko * block_K], B_shared)
                T.gemm(A_shared, B_shared, C_local, transpose_B=True)
            for i, j in T.Parallel(block, block):
                T.atomic_add(C[by * block + i, bx * block + j], C_local[i, j])

    return main


def dequantized_int4(M: int, N: int, K: int, block: int = 32, block_K: int = 32, dtype: str = "float16") -> Any:
    """Weights of 4 bits, two in a byte, unpacked into shared memory tile by tile."""

    @T.prim_func
    def main(A: T.Tensor((M, K), dtype), B: T.Tensor((N, K // 2), "int8"), C: T.Tensor((M, N), dtype)) -> None:
        with T.Kernel(T.ceildiv(N, block), T.ceildiv(M, block), threads=128) as (bx, by):
            A_shared = T.alloc_shared((block, block_K), dtype)
            packed = T.alloc_shared((block, block_K // 2), "int8")
            packed_local = T.alloc_fragment((block, block_K // 2), "int8")
            unpacked = T.alloc_fragment((block, block_K), dtype)
            B_shared = T.alloc_shared((block, block_K), dtype)
            C_local = T.alloc_fragment((block, block), "float32")
            T.clear(C_local)
            for k in T.Pipelined(T.ceildiv(K, block_K), num_stages=2):
                T.copy(A[by * block, k * block_K], A_shared)
                T.copy(B[bx * block, k * block_K // 2], packed)
                T.copy(packed, packed_local)
                for i, j in T.Parallel(block, block_K):
                    shifted = T.shift_right(packed_local[i, j // 2], T.cast(4 * (j % 2), "int8"))
                    unpacked[i, j] = T.cast(T.bitwise_and(shifted, 15) - 8, dtype)
                T.copy(unpacked, B_shared)
                T.gemm(A_shared, B_shared, C_local, transpose_B=True)
            T.copy(C_local, C[by * block, bx * block])

    return main


def fp8_blockwise(M: int, N: int, K: int, block: int = 32, group: int = 32) -> Any:
    """fp8 operands, a scale for each row and group of A and one for each square of B."""
    in_dtype = "float8_e4m3fn"

    @T.prim_func
    def main(
        A: T.Tensor((M, K), in_dtype),
        A_scale: T.Tensor((M, T.ceildiv(K, group)), "float32"),
        B: T.Tensor((N, K), in_dtype),
        B_scale: T.Tensor((T.ceildiv(N, group), T.ceildiv(K, group)), "float32"),
        C: T.Tensor((M, N), "bfloat16"),
    ) -> None:
        with T.Kernel(T.ceildiv(N, block), T.ceildiv(M, block), threads=128) as (bx, by):
            A_shared = T.alloc_shared((block, group), in_dtype)
            B_shared = T.alloc_shared((block, group), in_dtype)
            C_shared = T.alloc_shared((block, block), "bfloat16")
            scale = T.alloc_shared((block,), "float32")
            C_local = T.alloc_fragment((block, block), "float32")
            total = T.alloc_fragment((block, block), "float32")
            T.clear(C_local)
            T.clear(total)
            for k in T.Pipelined(T.ceildiv(K, group), num_stages=2):
                T.copy(A[by * block, k * group], A_shared)
                T.copy(B[bx * block, k * group], B_shared)
                b_scale = B_scale[bx * block // group, k]
                for i in T.Parallel(block):
                    scale[i] = A_scale[by * block + i, k] * b_scale
                T.gemm(A_shared, B_shared, C_local, transpose_B=True)
                for i, j in T.Parallel(block, block):
                    total[i, j] += C_local[i, j] * scale[i]
                T.clear(C_local)
            T.copy(total, C_shared)
            T.copy(C_shared, C[by * block, bx * block])

    return main


def grouped(sizes: tuple[int, ...], K: int, N: int, block: int = 32, block_K: int = 16, dtype: str = "float16") -> Any:
    """Rows of A belong to groups of different sizes, each with a matrix of its own; tables say where each group starts."""
    total, groups = sum(sizes), len(sizes)
    tiles = sum(-(-size // block) for size in sizes)

    @T.prim_func
    def main(
        A: T.Tensor((total, K), dtype),
        B: T.Tensor((groups, K, N), dtype),
        C: T.Tensor((total, N), dtype),
        group_sizes: T.Tensor((groups,), "int32"),
        starts: T.Tensor((groups,), "int32"),
        padded_starts: T.Tensor((groups,), "int32"),
    ) -> None:
        with T.Kernel(tiles, T.ceildiv(N, block), threads=128) as (bx, by):
            A_shared = T.alloc_shared((block, block_K), dtype)
            B_shared = T.alloc_shared((block_K, block), dtype)
            C_local = T.alloc_fragment((block, block), "float32")
            group = T.alloc_local((1,), "int32")
            group[0] = 0
            for i in range(groups):
                group[0] = T.if_then_else(bx * block >= padded_starts[i], i, group[0])
            row = starts[group[0]] + bx * block - padded_starts[group[0]]
            rows = T.max(0, T.min(block, group_sizes[group[0]] + padded_starts[group[0]] - bx * block))
            T.clear(C_local)
            for k in T.Pipelined(T.ceildiv(K, block_K), num_stages=2):
                T.copy(A[row : row + block, k * block_K : (k + 1) * block_K], A_shared)
                T.copy(B[group[0], k * block_K : (k + 1) * block_K, by * block : (by + 1) * block], B_shared)
                T.gemm(A_shared, B_shared, C_local)
            for i, j in T.Parallel(block, block):
                if i < rows:
                    C[row + i, by * block + j] = C_local[i, j]

    return main


def warp_specialized(M: int, N: int, K: int, block: int = 64, block_K: int = 32, group: int = 128, dtype: str = "float16") -> Any:
    """A producer and a consumer group of warps, with barriers by hand."""

    @T.prim_func
    def main(A: T.Tensor((M, K), dtype), B: T.Tensor((K, N), dtype), C: T.Tensor((M, N), dtype)) -> None:
        with T.Kernel(T.ceildiv(N, block), T.ceildiv(M, block), threads=2 * group) as (bx, by):
            A_shared = T.alloc_shared((block, block_K), dtype)
            B_shared = T.alloc_shared((block_K, block), dtype)
            C_local = T.alloc_fragment((block, block), "float32")
            full = T.alloc_barrier(arrive_count=group)
            empty = T.alloc_barrier(arrive_count=group)
            thread = T.get_thread_binding()
            if thread >= group:
                for k in T.serial(T.ceildiv(K, block_K)):
                    T.barrier_wait(empty, (k + 1) % 2)
                    T.copy(A[by * block, k * block_K], A_shared)
                    T.copy(B[k * block_K, bx * block], B_shared)
                    T.barrier_arrive(full)
            else:
                T.clear(C_local)
                for k in T.serial(T.ceildiv(K, block_K)):
                    T.barrier_wait(full, k % 2)
                    T.gemm(A_shared, B_shared, C_local)
                    T.barrier_arrive(empty)
                T.copy(C_local, C[by * block, bx * block])

    return main


def persistent(M: int, N: int, K: int, block: int = 32, block_K: int = 16, processors: int = 3, dtype: str = "float16") -> Any:
    """As many blocks as processors, each of which goes through tiles in waves."""
    columns = -(-N // block)
    tiles = -(-M // block) * columns
    waves = -(-tiles // processors)

    @T.prim_func
    def main(A: T.Tensor((M, K), dtype), B: T.Tensor((K, N), dtype), C: T.Tensor((M, N), dtype)) -> None:
        with T.Kernel(processors, threads=128) as block_id:
            A_shared = T.alloc_shared((block, block_K), dtype)
            B_shared = T.alloc_shared((block_K, block), dtype)
            C_local = T.alloc_fragment((block, block), "float32")
            for w in T.serial(waves):
                tile = w * processors + block_id
                by = tile // columns
                bx = tile % columns
                if tile < tiles:
                    T.clear(C_local)
                    for k in T.Pipelined(T.ceildiv(K, block_K), num_stages=2):
                        T.copy(A[by * block, k * block_K], A_shared)
                        T.copy(B[k * block_K, bx * block], B_shared)
                        T.gemm(A_shared, B_shared, C_local)
                    T.copy(C_local, C[by * block, bx * block])

    return main
