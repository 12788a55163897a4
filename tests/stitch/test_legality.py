"""Each check trips on what it is for, and on nothing else."""

from __future__ import annotations

import tilelang.language as T

from mosaic.stitch.legality import BlockMap, Refusal, block_map, check_aliasing, check_dynamic_shapes, check_features, check_specs
from mosaic.tiles.program import TileProgram
from tests.stitch.parts import mapped, program


def plain() -> TileProgram:
    return program(mapped(50, 70), x="x", y="h")


def dynamic() -> TileProgram:
    m = T.dynamic("m")

    @T.prim_func
    def main(x: T.Tensor((m, 32), "float32"), y: T.Tensor((m, 32), "float32")) -> None:
        with T.Kernel(T.ceildiv(m, 16), threads=32) as bx:
            for i, j in T.Parallel(16, 32):
                y[bx * 16 + i, j] = x[bx * 16 + i, j]

    return program(main, x="x", y="h")


def atomic() -> TileProgram:
    @T.prim_func
    def main(x: T.Tensor((64, 32), "float32"), y: T.Tensor((64, 32), "float32")) -> None:
        with T.Kernel(4, threads=32) as bx:
            for i, j in T.Parallel(16, 32):
                T.atomic_add(y[bx * 16 + i, j], x[bx * 16 + i, j])

    return program(main, x="x", y="h")


def gapped() -> TileProgram:
    """Writes every second column."""

    @T.prim_func
    def main(x: T.Tensor((64, 32), "float32"), y: T.Tensor((64, 64), "float32")) -> None:
        with T.Kernel(4, threads=32) as bx:
            for i, j in T.Parallel(16, 32):
                y[bx * 16 + i, j * 2] = x[bx * 16 + i, j]

    return program(main, x="x", y="h")


def conditional() -> TileProgram:
    """Writes only the blocks with an even index."""

    @T.prim_func
    def main(x: T.Tensor((64, 32), "float32"), y: T.Tensor((64, 32), "float32")) -> None:
        with T.Kernel(4, threads=32) as bx:
            if bx % 2 == 0:
                for i, j in T.Parallel(16, 32):
                    y[bx * 16 + i, j] = x[bx * 16 + i, j]

    return program(main, x="x", y="h")


def diagonal() -> TileProgram:
    """One block index moves both dims."""

    @T.prim_func
    def main(x: T.Tensor((64, 64), "float32"), y: T.Tensor((64, 64), "float32")) -> None:
        with T.Kernel(4, threads=32) as bx:
            for i, j in T.Parallel(16, 16):
                y[bx * 16 + i, bx * 16 + j] = x[bx * 16 + i, bx * 16 + j]

    return program(main, x="x", y="h")


def in_place() -> TileProgram:
    @T.prim_func
    def main(x: T.Tensor((64, 32), "float32")) -> None:
        with T.Kernel(4, threads=32) as bx:
            for i, j in T.Parallel(16, 32):
                x[bx * 16 + i, j] = x[bx * 16 + i, j] + 1.0

    return program(main, x="h")


def name_of(refusal: object) -> str:
    assert isinstance(refusal, Refusal), refusal
    assert refusal.reason
    return refusal.check


def test_dynamic_shapes() -> None:
    assert name_of(check_dynamic_shapes(dynamic())) == "dynamic-shapes"
    assert check_dynamic_shapes(plain()) is None


def test_features() -> None:
    assert name_of(check_features(atomic(), repeated=True)) == "features"
    assert check_features(plain(), repeated=True) is None


def test_specs() -> None:
    consumer = program(mapped(70, 50), x="h", y="z")
    assert name_of(check_specs(plain(), consumer, "h")) == "specs"
    assert check_specs(plain(), program(mapped(50, 70), x="h", y="z"), "h") is None


def test_aliasing() -> None:
    writer, reader = program(mapped(64, 32), x="x", y="h"), program(mapped(64, 32), x="h", y="z")
    assert check_aliasing(writer, reader, "h", ["h"]) is None
    assert name_of(check_aliasing(writer, in_place(), "h", ["h"])) == "aliasing"
    # the consumer overwrites what the producer reads
    assert name_of(check_aliasing(writer, program(mapped(64, 32), x="h", y="x"), "h", ["h"])) == "aliasing"


def test_block_maps() -> None:
    found = block_map(plain(), "h")
    assert isinstance(found, BlockMap)
    assert found.tile == (16, 32)
    assert [axis is not None for axis in found.axes] == [True, True]
    assert name_of(block_map(gapped(), "h")) == "region-coverage"
    assert name_of(block_map(conditional(), "h")) == "predicated-write"
    assert name_of(block_map(diagonal(), "h")) in ("block-map", "region-coverage")
