"""Tile programs that copy: between all kinds of memory, at the edges of tensors, with axes of extent 1."""

from typing import Any

import tilelang.language as T


def copy_through(source: str, target: str, rows: int = 16, columns: int = 24, scope: str = "shared") -> Any:
    """y = x by way of on-chip memory, of any size: the tiles reach beyond the tensor."""
    M, N = T.dynamic("m"), T.dynamic("n")

    @T.prim_func
    def copy_through(x: T.Tensor((M, N), source), y: T.Tensor((M, N), target)) -> None:
        with T.Kernel(T.ceildiv(N, columns), T.ceildiv(M, rows), threads=32) as (bx, by):
            tile = T.alloc_shared((rows, columns), source) if scope == "shared" else T.alloc_fragment((rows, columns), source)
            rounded = T.alloc_fragment((rows, columns), target)
            T.copy(x[by * rows, bx * columns], tile)
            T.copy(tile, rounded)
            T.copy(rounded, y[by * rows, bx * columns])

    return copy_through


def shifted(M: int, N: int, by_rows: int, by_columns: int, safe: float | None = None) -> Any:
    """y[i, j] = x[i + by_rows, j + by_columns], which is 0 or `safe` outside x."""

    @T.prim_func
    def shifted(x: T.Tensor((M, N), "float32"), y: T.Tensor((M, N), "float32")) -> None:
        with T.Kernel(T.ceildiv(M, 8), threads=32) as b:
            tile = T.alloc_shared((8, N), "float32")
            if safe is not None:
                T.annotate_safe_value({x: T.float32(safe)})
            T.copy(x[b * 8 + by_rows : b * 8 + by_rows + 8, by_columns : by_columns + N], tile)
            T.copy(tile, y[b * 8 : b * 8 + 8, 0:N])

    return shifted


def shifted_elements(M: int, N: int, by_rows: int, by_columns: int, safe: float | None = None) -> Any:
    """As `shifted`, element by element."""

    @T.prim_func
    def shifted_elements(x: T.Tensor((M, N), "float32"), y: T.Tensor((M, N), "float32")) -> None:
        with T.Kernel(T.ceildiv(M, 8), threads=32) as b:
            if safe is not None:
                T.annotate_safe_value({x: T.float32(safe)})
            for i, j in T.Parallel(8, N):
                y[b * 8 + i, j] = x[b * 8 + i + by_rows, j + by_columns]

    return shifted_elements


def slices() -> Any:
    """Copies whose axes of extent 1 differ on the two sides."""

    @T.prim_func
    def slices(x: T.Tensor((3, 8, 16), "float32"), y: T.Tensor((8, 3, 16), "float32"), z: T.Tensor((16,), "float32")) -> None:
        with T.Kernel(3, threads=32) as b:
            tile = T.alloc_shared((8, 16), "float32")
            deep = T.alloc_shared((2, 8, 16), "float32")
            row = T.alloc_fragment((16,), "float32")
            T.copy(x[b, 0:8, 0:16], tile)
            T.copy(tile, deep[1, :, :])
            T.copy(deep[1, 0:8, 0:16], y[0:8, b, 0:16])
            T.copy(x[b, 5, :], row)
            if b == 2:
                T.copy(row, z)
                z[0] = x[0, 0, 0]

    return slices


def larger_tile() -> Any:
    """A tile copied into a part of a larger one, which starts as twos."""

    @T.prim_func
    def larger_tile(x: T.Tensor((4, 4), "float16"), y: T.Tensor((8, 8), "float32")) -> None:
        with T.Kernel(1, threads=32) as _:
            small = T.alloc_shared((4, 4), "float16")
            large = T.alloc_fragment((8, 8), "float32")
            T.fill(large, 2)
            T.copy(x, small)
            T.copy(small, large[2:6, 3:7])
            T.clear(large[7:8, 0:8])
            T.copy(large, y)

    return larger_tile


def transposed(M: int, N: int) -> Any:
    @T.prim_func
    def transposed(x: T.Tensor((M, N), "float16"), y: T.Tensor((N, M), "float32")) -> None:
        with T.Kernel(1, threads=32) as _:
            tile = T.alloc_shared((M, N), "float16")
            turned = T.alloc_shared((N, M), "float32")
            T.copy(x, tile)
            T.transpose(tile, turned)
            T.copy(turned, y)

    return transposed


def last_row() -> Any:
    """Indices that are always negative count from the end."""

    @T.prim_func
    def last_row(x: T.Tensor((5, 4), "float32"), y: T.Tensor((4,), "float32")) -> None:
        with T.Kernel(1, threads=32) as _:
            for j in T.Parallel(4):
                y[j] = x[-1, j - 4]

    return last_row


def mismatched() -> Any:
    """One axis copied to two."""

    @T.prim_func
    def mismatched(x: T.Tensor((16,), "float32"), y: T.Tensor((4, 4), "float32")) -> None:
        with T.Kernel(1, threads=32) as _:
            T.copy(x[0:16], y[0:4, 0:4])

    return mismatched


def accumulated(count: int, dtype: str, whole_tile: bool) -> Any:
    """Each of `count` blocks adds its row to the one of y, and takes the largest and smallest."""

    @T.prim_func
    def accumulated(
        x: T.Tensor((count, 32), dtype), y: T.Tensor((30,), dtype), high: T.Tensor((32,), dtype), low: T.Tensor((32,), dtype)
    ) -> None:
        with T.Kernel(count, threads=32) as b:
            row = T.alloc_fragment((32,), dtype)
            T.copy(x[b, 0:32], row)
            if whole_tile:
                T.atomic_add(y[0:32], row)
                T.atomic_max(high, row)
                T.atomic_min(low, row)
            else:
                for j in T.Parallel(32):
                    T.atomic_add(y[j], row[j])
                    T.atomic_max(high[j], row[j])
                    T.atomic_min(low[j], row[j])

    return accumulated


def tickets(count: int) -> Any:
    """Each block draws a number and writes its own at that place; the last one reads the counter."""

    @T.prim_func
    def tickets(counter: T.Tensor((2,), "int32"), y: T.Tensor((count,), "int32")) -> None:
        with T.Kernel(count, threads=32) as b:
            ticket = T.alloc_var("int32")
            ticket = T.atomic_add(counter[0], 1, return_prev=True)
            y[ticket] = b
            if ticket == count - 1:
                counter[1] = T.atomic_load(counter[0])

    return tickets


def windows(image: tuple[int, int, int, int], kernel: int, stride: int, dilation: int, padding: int, tile: tuple[int, int]) -> Any:
    """The matrix of windows that makes a convolution a product, tile by tile."""
    N, H, W, C = image
    reach = (kernel - 1) * dilation + 1
    rows = N * ((H + 2 * padding - reach) // stride + 1) * ((W + 2 * padding - reach) // stride + 1)
    columns = kernel * kernel * C

    @T.prim_func
    def windows(x: T.Tensor(image, "float16"), y: T.Tensor((rows, columns), "float16")) -> None:
        with T.Kernel(T.ceildiv(columns, tile[1]), T.ceildiv(rows, tile[0]), threads=32) as (bx, by):
            part = T.alloc_shared(tile, "float16")
            T.im2col(x, part, by, bx, kernel, stride, dilation, padding)
            T.copy(part, y[by * tile[0], bx * tile[1]])

    return windows
