"""The cost model: what must be cheaper is, and limits are told."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mosaic.graph.graph import Graph
from mosaic.stitch.cost import block_bytes, cost, cost_inside, fits, registers
from mosaic.stitch.library import Library
from mosaic.targets.target import find
from mosaic.tiles.program import TileProgram
from tests.stitch.graphs import linear

HOPPER = find("sm_90a")
TILES = {"block_M": 64, "block_N": 64, "block_K": 32, "threads": 128, "num_stages": 2}


def product(rows: int = 256, width: int = 256, **tunables: int) -> TileProgram:
    graph: Graph = linear(rows, width)
    return Library(graph).program(graph.node("product"), {**TILES, **tunables})


def test_bytes_and_operations_are_counted() -> None:
    program = product()
    found = cost(program, HOPPER)
    assert found.moved_bytes == 3 * 256 * 256 * 2
    assert found.work == 2 * 256**3
    assert found.blocks == 16
    # each block loads a row of tiles of one operand and a row of the other, and stores one tile
    assert block_bytes(program) == (2 * 64 * 256 + 64 * 64) * 2
    assert found.loaded_bytes == 16 * block_bytes(program)


def test_a_grid_that_fills_the_device_is_cheaper_than_one_that_does_not() -> None:
    few, many = product(1024, 256, block_M=128, block_N=128), product(1024, 256, block_M=64, block_N=32)
    assert cost(few, HOPPER).blocks == 16
    assert cost(many, HOPPER).blocks == 128
    assert cost(few, HOPPER).fill < cost(many, HOPPER).fill


def test_work_grows_with_size() -> None:
    sizes = [cost(product(rows), HOPPER).seconds for rows in (256, 4096, 65536)]
    assert sizes == sorted(sizes)
    assert sizes[-1] > 5 * sizes[0]


def test_without_a_second_buffer_nothing_overlaps() -> None:
    assert cost(product(num_stages=1), HOPPER).seconds > cost(product(num_stages=2), HOPPER).seconds


def test_a_faster_device_is_faster() -> None:
    program = product(8192, 1024)
    slower = replace(HOPPER, bandwidth=HOPPER.bandwidth / 10)
    assert cost(program, slower).seconds > cost(program, HOPPER).seconds


def test_what_is_computed_twice_costs_twice() -> None:
    program = product()
    once = cost_inside(program, program, program.blocks, 0, HOPPER)
    assert cost_inside(program, program, 2 * program.blocks, 0, HOPPER) == pytest.approx(2 * once)


def test_limits() -> None:
    program = product(block_M=128, block_N=128, threads=128)
    assert fits(program, HOPPER) is None
    assert registers(program) > 128 * 128 // 128  # the accumulators, and more
    assert "shared memory" in (fits(program, replace(HOPPER, shared_per_block=16_384)) or "")
    assert "registers" in (fits(program, replace(HOPPER, registers_per_thread=96)) or "")
    assert fits(program, replace(find("cpu"), shared_per_block=1)) is None
