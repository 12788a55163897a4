"""Programs of a graph's nodes: names fit for source code, each kernel built once, registrations held to what is written."""

from __future__ import annotations

import pytest
import tilelang.language as T

from mosaic.errors import KernelError, ReadError
from mosaic.graph.graph import Graph
from mosaic.graph.kernel import kernel
from mosaic.stitch.library import Library, as_prim_func
from tests.stitch.graphs import linear

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


def test_a_tensor_taken_twice() -> None:
    g = Graph("square")
    x = g.input("x", (8, 32), "float16")
    g.output(g.call("multiply", x, x, name="square"))
    made = Library(g).program(g.node("square"), g.node("square").kernel.default_tunables())  # type: ignore[union-attr]
    assert [p.mode for p in made.params].count("write") == 1


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
