"""What the choices of a layout plan cost, in seconds over a whole launch. Each function is cached on plain data and returns one to ask.

Cycles are counted for one block (`places`); the device's processors run blocks beside each other, so that a launch takes cycles times
blocks over processors. They are for choosing, not for predicting a clock.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Final

from mosaic.layouts.conversion import Conversion
from mosaic.layouts.cost import Work, constants, cost
from mosaic.layouts.facts import Limits, Product
from mosaic.layouts.fragments import Policy, warp_grid
from mosaic.layouts.places import WAVEFRONT, Memory, Order, Place, Room, conversion, stage_cycles, store_width

FIXED_SECONDS: Final = 1.3e-6
"""What a kernel takes on a GPU beside its launch, were it to do nothing, as stitch.cost has it from an H200 (evidence/)."""

OTHER_REGISTERS: Final = 40
"""Registers for addresses, operands and loop counters beside fragments; an assumption."""


UNKNOWN_EXCHANGES: Final = 3
"""Exchanges of a shuffle between layouts that do not only permute bits: as many as the most that occur between fragments."""


@cache
def device_price(tensor_bytes: int, limits: Limits) -> Callable[[Memory], float]:
    """A tensor written to device memory and read again, and one more launch."""
    fixed = 0.0 if limits.kind == "cpu" else FIXED_SECONDS
    seconds = 2 * tensor_bytes / limits.bandwidth + limits.launch_seconds + fixed
    return lambda memory: seconds if memory == "device" else 0.0


def conversion_work(found: Conversion, tile_bytes: int, threads: int) -> Work:
    """The instructions of each warp, and of the longest chain, that a tile's conversion in registers takes, about.

    What is emitted for two layouts is known exactly once it is emitted (`layouts.emit`), which takes too long for every pair that might
    be chosen. Each exchange of a shuffle moves half of a thread's words, each of which is selected and put in its place; what goes
    through shared memory is written and read 16 bytes at a time, without bank conflicts.
    """
    words = math.ceil(tile_bytes / 4 / threads)
    if found.is_free:
        return Work({}, {}, threads)
    if found.kind == "permute":
        return Work({"select": 2 * words}, {"select": 2}, threads)
    if found.kind == "shuffle":
        rounds = found.exchanges or UNKNOWN_EXCHANGES
        count = math.ceil(rounds * words / 2)
        names = ("shuffle", "select", "permute")
        return Work(dict.fromkeys(names, count), dict.fromkeys(names, rounds), threads)
    accesses = max(1, math.ceil(words / 4))
    return Work({"store16": accesses, "load16": accesses, "barrier": 2}, {"store16": 1, "load16": 1, "barrier": 2}, threads)


@cache
def conversion_price(rows: int, columns: int, element_bytes: int, times: int, limits: Limits) -> Callable[..., float]:
    """A tile handed over on the chip, `times` in a launch: staged, or converted in registers."""

    def price(memory: Memory, source: Place, target: Place, swizzle: int, threads: int, order: Order = "natural") -> float:
        if memory == "device" or limits.kind == "cpu":
            return 0.0
        if memory == "shared":
            write = stage_cycles(source, element_bytes, swizzle, limits.arch, write=True)
            waiting = 2 * constants(limits.arch).instructions["barrier"].issue
            cycles = write + stage_cycles(target, element_bytes, swizzle, limits.arch, write=False) + waiting
            return cycles / limits.clock * times / limits.processors
        work = conversion_work(conversion(source, target, order), rows * columns * element_bytes, threads)
        return cost(work, limits.arch).seconds * times / limits.processors

    return price


@cache
def operand_price(product: Product, blocks: int, limits: Limits) -> Callable[[Policy, int], float]:
    """Reading a product's operands from shared memory: each row of warps reads B, each column of warps A (once, if A is in registers).

    A warpgroup of wgmma reads its B once for all of its four warps.
    """
    element_bytes = {"float8": 1, "int8": 1, "tfloat32": 4, "float32": 4}.get(product.dtype, 2)

    def price(policy: Policy, threads: int) -> float:
        family = limits.family(product, threads)
        grid = None if family is None else warp_grid(family, policy, product.m, product.n, threads // limits.lanes)
        if grid is None:
            return 0.0
        rows = grid.rows // 4 if family == "wgmma" else grid.rows
        first = 0 if product.a_in_registers else product.m * product.k * grid.columns
        cycles = (first + product.n * product.k * rows) * element_bytes / WAVEFRONT
        return cycles / limits.clock * product.runs * blocks / limits.processors

    return price


@cache
def store_price(rows: int, columns: int, element_bytes: int, times: int, limits: Limits) -> Callable[..., float]:
    """Storing a tile to device memory in narrow pieces: a cycle for each instruction of a warp beyond those of 16 bytes a lane."""

    def price(memory: Memory, target: Place) -> float:
        if memory != "register" or limits.kind == "cpu":
            return 0.0
        size = rows * columns * element_bytes / limits.lanes
        extra = size / store_width(target, element_bytes) - size / 16
        return max(0.0, extra) / limits.clock * times / limits.processors

    return price


@cache
def occupancy_price(
    shared_bytes: int, fragment_bytes: int, blocks: int, threads: tuple[tuple[int, float], ...], limits: Limits
) -> Callable[..., float]:
    """The part of the launch in which processors wait for the last blocks: waves that are not full take as long as full ones."""
    seconds = dict(threads)

    def price(room: Room, count: int) -> float:
        registers = OTHER_REGISTERS + math.ceil((fragment_bytes + room.most) / (4 * count))
        resident = min(
            limits.threads_per_processor // count,
            limits.shared_per_block // max(1, shared_bytes + room.stages),
            limits.registers_per_processor // (registers * count),
        )
        slots = limits.processors * max(1, resident)
        filled = blocks / (math.ceil(blocks / slots) * slots) if blocks > slots else 1.0
        return seconds[count] * (1 - filled)

    return price
