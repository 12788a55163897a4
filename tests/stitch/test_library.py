"""Programs of a graph's nodes: names fit for source code, each kernel built once, registrations held to what is written."""

from __future__ import annotations

from dataclasses import replace

import pytest
import tilelang.language as T

from mosaic.errors import KernelError, ReadError
from mosaic.graph.graph import Graph
from mosaic.graph.kernel import kernel
from mosaic.stitch.library import Library, as_prim_func
from mosaic.stitch.plan import Planner
from mosaic.targets.target import find
from tests.stitch.graphs import largest_error, linear, random_inputs, run_plan

TILE = {"block_M": 16, "block_N": 32, "threads": 128}


def test_names_are_identifiers_and_distinct() -> None:
    g = Graph("names")
    x = g.input("a.b", (4, 4), "float32")
    y = g.call("relu", x, name="a_b")
    g.output(g.call("relu", y, name="c"))
    library = Library(g)
    labels = [library.label(name) for name in g.tensors]
    assert len(set(labels)) == 3
    assert all(label.isidentifier() for label in labels)
    assert [library.tensor(label) for label in labels] == list(g.tensors)


def test_nodes_alike_are_built_once_and_named_apart() -> None:
    built = []

    @kernel(inputs={"x": "M N : float32"}, outputs={"y": "M N : float32"}, reference=lambda x: x)
    def counted(M: int, N: int) -> object:
        built.append((M, N))

        @T.prim_func
        def main(x: T.Tensor((M, N), "float32"), y: T.Tensor((M, N), "float32")) -> None:
            with T.Kernel(1, threads=32):
                for i, j in T.Parallel(M, N):
                    y[i, j] = x[i, j]

        return main

    g = Graph("twice")
    x = g.input("x", (4, 4), "float32")
    g.output(g.call(counted, g.call(counted, x, name="one"), name="two"))
    library = Library(g)
    names = [[p.name for p in library.program(g.node(n), {}).params] for n in ("one", "two")]
    assert names == [["x", "one"], ["one", "two"]]
    assert built == [(4, 4)]


def test_a_tensor_taken_twice_is_one_parameter() -> None:
    """Under two names, the second was read from device memory, where nobody had put it once its producer was stitched in."""
    g = Graph("square")
    x = g.input("x", (8, 32), "float16")
    h = g.call("relu", x, name="h")
    g.output(g.call("multiply", h, h, name="square"))
    library = Library(g)
    made = library.program(g.node("square"), TILE)
    assert [(p.name, p.mode) for p in made.params] == [("h", "read"), ("square", "write")]
    plan = Planner(g, replace(find("cpu"), launch_seconds=1.0)).plan()
    assert len(plan.launches) == 1
    found = run_plan(plan, inputs := random_inputs(g))
    assert largest_error(g, inputs, found) < 1e-2  # a square of up to 16, in float16


def test_free_shapes_are_bound_to_the_nodes_sizes() -> None:
    m, n = T.dynamic("m, n")

    @kernel(inputs={"x": "M N : float32"}, outputs={"y": "M N : float32"}, reference=lambda x: x * 2)
    def free() -> object:
        @T.prim_func
        def main(x: T.Tensor((m, n), "float32"), y: T.Tensor((m, n), "float32")) -> None:
            with T.Kernel(T.ceildiv(m, 16), T.ceildiv(n, 16), threads=32) as (bx, by):
                for i, j in T.Parallel(16, 16):
                    y[bx * 16 + i, by * 16 + j] = x[bx * 16 + i, by * 16 + j] * 2.0

        return main

    g = Graph("free")
    x = g.input("x", (37, 20), "float32")
    y = g.call(free, x, name="once")
    g.output(g.call(free, g.view(y, (20, 37)), name="again"))
    library = Library(g)
    assert [p.shape for p in library.program(g.node("once"), {}).params] == [(37, 20), (37, 20)]
    assert [p.shape for p in library.program(g.node("again"), {}).params] == [(20, 37), (20, 37)]


def test_what_a_kernel_does_to_its_tensors_is_what_it_registers() -> None:
    @kernel(inputs={"x": "M N : float32"}, outputs={"y": "M N : float32"}, reference=lambda x: x)
    def spoils(M: int, N: int) -> object:
        @T.prim_func
        def main(x: T.Tensor((M, N), "float32"), y: T.Tensor((M, N), "float32")) -> None:
            with T.Kernel(1, threads=32):
                for i, j in T.Parallel(M, N):
                    y[i, j] = x[i, j]
                for i, j in T.Parallel(M, N):
                    T.atomic_add(x[i, j], 1.0)

        return main

    @kernel(inputs={"x": "M N : float32"}, outputs={"y": "M N : float32"}, reference=lambda x: x)
    def idles(M: int, N: int) -> object:
        @T.prim_func
        def main(x: T.Tensor((M, N), "float32"), y: T.Tensor((M, N), "float32")) -> None:
            with T.Kernel(1, threads=32):
                tile = T.alloc_shared((M, N), "float32")
                T.copy(x, tile)
                T.copy(y, tile)

        return main

    for made, message in ((spoils, "changes its input 'x'; register"), (idles, "never writes its output 'node'")):
        g = Graph("wrong")
        g.output(g.call(made, g.input("x", (4, 8), "float32"), name="node"))
        with pytest.raises(ReadError, match=message):
            Library(g).program(g.node("node"), {})


def test_a_registration_that_is_not_what_is_written() -> None:
    @kernel(inputs={"x": "M N : float32"}, outputs={"y": "M N : float32"}, reference=lambda x: x)
    def swapped(M: int, N: int) -> object:
        @T.prim_func
        def main(x: T.Tensor((N, M), "float32"), y: T.Tensor((N, M), "float32")) -> None:
            with T.Kernel(1, threads=32):
                for i, j in T.Parallel(N, M):
                    y[i, j] = x[i, j]

        return main

    g = Graph("wrong")
    g.output(g.call(swapped, g.input("x", (4, 8), "float32"), name="node"))
    with pytest.raises(ReadError, match="in its registration"):
        Library(g).program(g.node("node"), {})


def test_what_is_no_kernel() -> None:
    with pytest.raises(KernelError, match="returns a int; it must return a TileLang PrimFunc"):
        as_prim_func(3, "odd")
    graph = linear()
    assert type(as_prim_func(Library(graph).program(graph.node("biased"), TILE).func, "bias")).__name__ == "PrimFunc"
