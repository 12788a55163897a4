"""What is read of kernels, against a trace of what they touch (`trace.py`)."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
import pytest
import tilelang
import tilelang.language as T
import torch

import mosaic.kernels
from mosaic.errors import KernelError, ReadError
from mosaic.graph.kernel import Kernel, Spec, registered
from mosaic.stitch.library import as_prim_func
from mosaic.tiles.program import Guard, TileProgram
from mosaic.tiles.read import read, with_name
from tests.tiles import foreign_attention, foreign_gemm, foreign_rows
from tests.tiles.trace import Log, is_exact, touched, traces

mosaic.kernels.load()

# Kernels nobody here wrote: how each is made, and which features it must be found to have.
FOREIGN: Final[dict[str, tuple[Callable[[], Any], set[str]]]] = {
    "swizzled": (lambda: foreign_gemm.swizzled(70, 45, 40), set()),
    "split_k": (lambda: foreign_gemm.split_k(50, 40, 64), {"atomics"}),
    "split_k_elements": (lambda: foreign_gemm.split_k_elements(50, 40, 64), {"atomics"}),
    "dequantized_int4": (lambda: foreign_gemm.dequantized_int4(40, 33, 64), set()),
    "fp8_blockwise": (lambda: foreign_gemm.fp8_blockwise(40, 50, 70), set()),
    "grouped": (lambda: foreign_gemm.grouped((40, 20, 33), 48, 40), set()),
    "warp_specialized": (lambda: foreign_gemm.warp_specialized(70, 64, 40, block=16, group=4), {"barriers", "thread indices"}),
    "persistent": (lambda: foreign_gemm.persistent(70, 45, 40), set()),
    "flash causal": (lambda: foreign_attention.flash(1, 2, 1, 40, 32, causal=True), set()),
    "flash full": (lambda: foreign_attention.flash(1, 4, 2, 40, 32, causal=False), set()),
    "decode_split": (lambda: foreign_attention.decode_split(2, 16, 64, 32), set()),
    "decode_combine": (lambda: foreign_attention.decode_combine(2, 3, 2, 32), set()),
    "linear_attention": (lambda: foreign_attention.linear_attention(2, 40, 32), set()),
    "scan": (lambda: foreign_attention.scan(2, 40, 8), set()),
    "rms_norm": (lambda: foreign_rows.rms_norm(5, 64), set()),
    "layer_norm": (lambda: foreign_rows.layer_norm(5, 64), set()),
    "online_softmax": (lambda: foreign_rows.online_softmax(5, 70), set()),
    "top_k": (lambda: foreign_rows.top_k(13, 32, 2), set()),
    "vector_add": (lambda: foreign_rows.vector_add(100), set()),
    "threads_by_hand": (lambda: foreign_rows.threads_by_hand(100), {"thread indices"}),
    "gemv": (lambda: foreign_rows.gemv(20, 200), {"atomics", "thread indices"}),
    "histogram": (lambda: foreign_rows.histogram(100, 10), {"atomics"}),
    "scaled_in_place": (lambda: foreign_rows.scaled_in_place(20, 33), set()),
    "im2col_convolution": (lambda: foreign_rows.im2col_convolution(2, 16, 6, 6, 20, 3, 1, 1, 1), {"views of tensors"}),
    "gathered_convolution": (lambda: foreign_rows.gathered_convolution(2, 5, 7, 6, 9, 3, 2, 1), set()),
}
CONTENTS: Final[dict[str, dict[str, Any]]] = {
    "grouped": {"group_sizes": np.array([40, 20, 33]), "starts": np.array([0, 40, 60]), "padded_starts": np.array([0, 64, 96])},
    "histogram": {"values": np.arange(100) * 7 % 10},
}


def check_trace(program: TileProgram, log: Log, block: tuple[int, ...]) -> None:
    """Every element that one block touches is in an access; where accesses are exact, they hold no others."""
    grid = [axis.var for axis in program.grid]
    for param, mode in itertools.product(program.params, ("read", "write")):
        accesses = [a for a in program.accesses if a.tensor == param.name and a.mode in (mode, "update")]
        said = {element for a in accesses for element in touched(program, a, block)}
        real = log.get((param.name, mode), set())
        assert real <= said, f"{program.name}: {mode} of {param.name} in block {block}: {sorted(real - said)[:3]} not in {accesses}"
        if all(is_exact(a, grid) for a in accesses):
            assert real == said, f"{program.name}: {mode} of {param.name} in block {block}: {sorted(said - real)[:3]} is not touched"


def check(func: Any, contents: Mapping[str, Any] | None = None) -> TileProgram:
    program = read(func)
    for block, log in traces(func, contents):
        check_trace(program, log, block)
    return program


@pytest.mark.parametrize("name", FOREIGN)
def test_foreign_kernels_read_as_they_run(name: str) -> None:
    make, features = FOREIGN[name]
    program = check(make(), CONTENTS.get(name))
    assert program.features == features
    assert all(p.mode != "unused" for p in program.params)


def test_modes_of_foreign_kernels() -> None:
    def modes(name: str) -> dict[str, str]:
        return {p.name: p.mode for p in read(FOREIGN[name][0]()).params}

    assert modes("split_k") == {"A": "read", "B": "read", "C": "update"}
    assert modes("split_k_elements") == {"A": "read", "B": "read", "C": "update"}
    assert modes("histogram") == {"values": "read", "counts": "update"}
    assert modes("scaled_in_place") == {"X": "update", "scale": "read"}
    assert modes("im2col_convolution") == {"data": "read", "weight": "read", "out": "write"}
    assert modes("top_k") == {"logits": "read", "gates": "write", "indices": "write"}


# Shipped kernels


SHAPES: Final[dict[str, list[Spec]]] = {
    "attention": [Spec((1, 40, 2, 20), "float16")] * 3,
    "attention_causal": [Spec((1, 37, 2, 32), "float16"), *[Spec((1, 45, 1, 32), "float16")] * 2],
    "attention_masked": [*[Spec((1, 40, 2, 20), "float16")] * 3, Spec((1, 40), "int32")],
    "embedding": [Spec((21,), "int32"), Spec((30, 40), "float16")],
    "add_positions": [Spec((21, 40), "float16"), Spec((30, 40), "float16")],
    "rope": [Spec((1, 11, 2, 16), "float16"), Spec((20, 8), "float32"), Spec((20, 8), "float32")],
    "gemm": [Spec((37, 41), "float16"), Spec((41, 50), "float16")],
    "gemm_nt": [Spec((37, 41), "float16"), Spec((50, 41), "float16")],
    "dequantize_int4": [Spec((50, 32), "uint8"), Spec((50, 2), "float16")],
    "masked_mean_pool": [Spec((2, 19, 40), "float16"), Spec((2, 19), "int32")],
    "softmax_masked": [Spec((19, 45), "float16"), Spec((19, 45), "int32")],
    "conv1d": [Spec((2, 19, 12), "float16"), Spec((3, 12, 20), "float16")],
    "gemm_int4": [Spec((37, 64), "float16"), Spec((50, 32), "uint8"), Spec((50, 2), "float16")],
    "gemm_fp8": [Spec((37, 64), "float8_e4m3fn"), Spec((37,), "float32"), Spec((50, 64), "float8_e4m3fn"), Spec((50,), "float32")],
}


def specs_of(kernel: Kernel) -> list[Spec]:
    """Inputs of an awkward size: listed above, or made from the roles with one number a symbol."""
    if kernel.name in SHAPES:
        return SHAPES[kernel.name]
    sizes = dict(zip(dict.fromkeys(d for role in kernel.inputs for d in role.dims), (19, 45, 12, 7), strict=False))
    return [Spec(tuple(sizes[d] for d in role.dims), "float16" if role.dtype == "dtype" else role.dtype) for role in kernel.inputs]


SHIPPED = sorted(name for name, kernel in registered().items() if kernel.build.__module__.startswith("mosaic.kernels."))
"""What ships; other tests register kernels of their own in the same process."""


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_kernels_read_as_they_run(name: str) -> None:
    """Every choice of each tunable, read; the one that is least work, traced."""
    kernel = registered()[name]
    binding = kernel.bind(specs_of(kernel))
    outputs, inputs = {role.name for role in kernel.outputs}, {role.name for role in kernel.inputs}
    programs = []
    for choice in sampled(kernel, binding):
        program = read(as_prim_func(kernel.instantiate(binding, choice), name))
        assert {p.name for p in program.params if p.mode == "read"} == inputs, choice
        assert {p.name for p in program.params if p.mode == "write"} == outputs, choice
        assert not program.features - {"annotated layouts"}, choice
        programs.append(program)
    check(min(programs, key=trace_work).func)


def sampled(kernel: Kernel, binding: Any) -> list[dict[str, Any]]:
    """For each tunable and each of its choices, the first valid combination that has it."""
    found = []
    for name, values in kernel.tunables.items():
        for value in values:
            found += list(itertools.islice((c for c in kernel.choices(binding) if c[name] == value), 1))
    return found or [kernel.default_tunables()]


def trace_work(program: TileProgram) -> int:
    """Elements that a trace of one block goes through."""
    return sum(op.runs * op.elements for op in program.ops)


# Forms that upstream has


def sizes(program: TileProgram) -> list[tuple[Any, ...]]:
    return [p.shape for p in program.params]


def test_a_jit_function_with_fixed_shapes() -> None:
    @tilelang.jit
    def double(N: int, block: int = 32) -> Any:
        @T.prim_func
        def main(A: T.Tensor((N,), "float32"), C: T.Tensor((N,), "float32")) -> None:
            with T.Kernel(T.ceildiv(N, block), threads=32) as bx:
                for i in T.Parallel(block):
                    C[bx * block + i] = A[bx * block + i] * 2.0

        return main

    program = check(double.get_tir(70))
    assert sizes(program) == [(70,), (70,)]
    assert program.blocks == 3


def test_free_shapes_stay_as_names_and_are_listed() -> None:
    m, n = T.dynamic("m, n")

    @T.prim_func
    def main(A: T.Tensor((m, n), "float32"), C: T.Tensor((m, n), "float32")) -> None:
        with T.Kernel(T.ceildiv(m, 16), T.ceildiv(n, 16), threads=32) as (bx, by):
            for i, j in T.Parallel(16, 16):
                C[bx * 16 + i, by * 16 + j] = A[bx * 16 + i, by * 16 + j]

    program = read(main)
    assert program.dynamic == ("m", "n")
    assert sizes(program) == [("m", "n"), ("m", "n")]
    assert program.params[0].bytes is None
    assert program.blocks == 0
    assert program.accesses_of("C")[0].extent == (1, 1)


def test_an_eager_jit_function() -> None:
    @tilelang.jit
    def scale(A: Any, block: int = 32) -> Any:
        N = T.const("N")
        A: T.Tensor[[N], T.float32]  # type: ignore[no-redef]
        C = T.empty((N,), "float32")
        with T.Kernel(T.ceildiv(N, block), threads=32) as bx:
            for i in T.Parallel(block):
                C[bx * block + i] = A[bx * block + i] * 3.0
        return C

    func = scale.get_tir(torch.empty(70, device="meta"))
    program = read(as_prim_func(func, "scale"))
    assert [p.shape for p in program.params] == [(70,), (70,)]
    assert {p.mode for p in program.params} == {"read", "write"}


def test_what_a_compiled_kernel_object_holds_is_found() -> None:
    class Compiled:
        prim_func = foreign_rows.vector_add(100)

    assert as_prim_func(Compiled(), "k") is Compiled.prim_func
    with pytest.raises(KernelError, match="kernel 'k' returns a int; it must return a TileLang PrimFunc"):
        as_prim_func(3, "k")


# Loops, guards, and what is not followed


def test_a_loop_that_starts_elsewhere_is_counted_from_zero() -> None:
    @T.prim_func
    def main(A: T.Tensor((80, 16), "float32"), C: T.Tensor((80, 16), "float32")) -> None:
        with T.Kernel(1, threads=32) as bx:
            tile = T.alloc_shared((16, 16), "float32")
            for k in T.serial(2, 5):
                T.copy(A[k * 16 + bx, 0], tile)
                T.copy(tile, C[k * 16, 0])

    program = check(main)
    (write,) = program.accesses_of("C")
    assert write.start[0] is not None
    assert write.start[0].constant == 32
    assert write.loops[0].extent == 3


def test_guards() -> None:
    @T.prim_func
    def main(A: T.Tensor((40,), "float32"), C: T.Tensor((40,), "float32"), flags: T.Tensor((40,), "int32")) -> None:
        with T.Kernel(2, threads=32) as bx:
            for i in T.Parallel(32):
                if bx * 32 + i < 40:
                    C[bx * 32 + i] = A[bx * 32 + i]
            for i in T.Parallel(32):
                if (33 >= bx * 32 + i) and (flags[i] > 0):  # noqa: SIM300 (either side may be the smaller)
                    C[bx * 32 + i] = 1.0
                else:
                    C[bx * 32 + i] = 2.0

    program = check(main)
    edge, both, other = (w.guards for w in program.accesses_of("C"))
    assert [(g.bound, repr(g.value)) for g in edge] == [(40, "32*bx + i")]
    assert [g.bound for g in both] == [34, 0]
    assert both[1] == Guard(None)
    assert other == (Guard(None),)


def test_a_pointer_may_lead_anywhere() -> None:
    @T.prim_func
    def main(A: T.Tensor((64,), "float32"), B: T.Tensor((64,), "float32"), C: T.Tensor((64,), "float32")) -> None:
        with T.Kernel(1, threads=32):
            T.call_extern("handle", "copy_four", T.address_of(C[0]), T.address_of(A[4]))
            T.call_extern("handle", "fetch", T.access_ptr(B[0], "r"))

    program = read(main)
    assert {"pointers", "external calls"} <= program.features
    assert {p.name: p.mode for p in program.params} == {"A": "update", "B": "read", "C": "update"}
    assert all(a.start == (None,) for a in program.accesses)


def test_a_load_in_a_loops_bounds_is_seen() -> None:
    @T.prim_func
    def main(starts: T.Tensor((5,), "int32"), ends: T.Tensor((5,), "int32"), C: T.Tensor((64,), "float32")) -> None:
        with T.Kernel(4, threads=32) as bx:
            for i in T.serial(starts[bx], ends[bx + 1]):
                C[i] = 1.0

    program = read(main)
    assert {p.name: p.mode for p in program.params} == {"starts": "read", "ends": "read", "C": "write"}
    check(main, {"starts": np.array([0, 4, 9, 20, 50]), "ends": np.array([0, 4, 9, 20, 50])})


def test_pipelines_keep_several_versions_of_what_they_load() -> None:
    program = read(foreign_gemm.swizzled(64, 64, 64))
    versions = {b.name: b.versions for b in program.buffers}
    assert versions == {"A_shared": 2, "B_shared": 1, "C_local": 1}
    product = next(op for op in program.ops if op.op == "gemm")
    assert (product.runs, product.work, product.elements) == (4, 2 * 32 * 32 * 16, 64 * 16)
    assert program.work == 4 * 4 * 2 * 32 * 32 * 16


def test_with_name() -> None:
    assert with_name(read(foreign_rows.vector_add(10)), "other").name == "other"


# Refusals, each in one sentence


def two_launches() -> Any:
    @T.prim_func
    def main(A: T.Tensor((64,), "float32"), C: T.Tensor((64,), "float32")) -> None:
        with T.Kernel(2, threads=32) as bx:
            for i in T.Parallel(32):
                C[bx * 32 + i] = A[bx * 32 + i]
        with T.Kernel(2, threads=32) as bx:
            for i in T.Parallel(32):
                C[bx * 32 + i] = A[bx * 32 + i]

    return main


def no_launch() -> Any:
    @T.prim_func
    def main(A: T.Tensor((64,), "float32"), C: T.Tensor((64,), "float32")) -> None:
        for i in T.serial(64):
            C[i] = A[i]

    return main


def scalar_parameter() -> Any:
    @T.prim_func
    def main(A: T.Tensor((64,), "float32"), scale: T.float32) -> None:
        with T.Kernel(2, threads=32) as bx:
            for i in T.Parallel(32):
                A[bx * 32 + i] = A[bx * 32 + i] * scale

    return main


def dynamic_tile() -> Any:
    n = T.dynamic("n")

    @T.prim_func
    def main(A: T.Tensor((64, n), "float32"), C: T.Tensor((64, n), "float32")) -> None:
        with T.Kernel(2, threads=32) as bx:
            tile = T.alloc_shared((32, n), "float32")
            T.copy(A[bx * 32 : (bx + 1) * 32, 0:n], tile)
            T.copy(tile, C[bx * 32 : (bx + 1) * 32, 0:n])

    return main


def workspace() -> Any:
    @T.prim_func
    def main(A: T.Tensor((64,), "float32"), C: T.Tensor((64,), "float32")) -> None:
        with T.Kernel(2, threads=32) as bx:
            scratch = T.alloc_global((64,), "float32")
            for i in T.Parallel(32):
                scratch[bx * 32 + i] = A[bx * 32 + i]
            for i in T.Parallel(32):
                C[bx * 32 + i] = scratch[bx * 32 + i]

    return main


REFUSED: Final[dict[str, tuple[Callable[[], Any], str]]] = {
    "two launches": (two_launches, "has several launches or statements around T.Kernel; give each launch a function of its own"),
    "no launch": (no_launch, "T.Kernel launch"),
    "scalar": (scalar_parameter, "takes the scalar 'scale'; Mosaic reads kernels of tensors only"),
    "dynamic tile": (dynamic_tile, "depends on a shape; make"),
    "workspace": (workspace, "allocates 'scratch' in device memory; pass it in as a tensor"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_read_is_refused_in_a_sentence(name: str) -> None:
    make, message = REFUSED[name]
    with pytest.raises(ReadError) as refusal:
        read(make())
    text = str(refusal.value)
    assert message in text
    assert text.startswith("kernel 'main'")
    assert "\n" not in text
