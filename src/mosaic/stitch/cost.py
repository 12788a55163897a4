"""How long a kernel will take, roughly: bytes, operations, launches, and how much of a device its grid fills.

The model is for choosing between programs that do the same, not for predicting a clock. Every
constant is a device's (`Device`), or is named here with its reason. The full solver's constants
will be measured; these are not.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Protocol

from mosaic.tiles.program import Access, TileProgram, element_bytes

CACHE_SPEEDUP: Final = 3.0
"""A second-level cache delivers a few times what device memory does; an assumption."""

STEP_SECONDS: Final = 4.5e-7
"""What a turn of a product's pipelined loop costs a block beside its operations: on an H200, products with tiles of
128x256x32 took 0.75 us a turn, of which the operations are 0.28 us at full rate (evidence/nvidia-h200/minilm.json)."""

LONE_STEP_SECONDS: Final = 1e-6
"""The same where nothing is loaded ahead: a turn then waits for device memory; an assumption."""

FIXED_SECONDS: Final = 1.3e-6
"""What a kernel takes on a GPU beside its launch, were it to do nothing: an H200 took 2.3 us for a norm of 26 rows
within a CUDA graph (evidence/nvidia-h200/minilm.json), of which 1.05 us are the launch."""

CPU_ELEMENT_SECONDS: Final = 5e-10
"""What a CPU core pays for each element that a tile operator touches (copying, converting, packing a product's
operand, mapping): between 0.34 and 0.73 ns in products of 256x384x384 with tiles from 128x128x32 to 16x384x32."""

OTHER_REGISTERS: Final = 40
"""Registers for addresses, operands and loop counters beside fragments; an assumption."""

THREADS_PER_PROCESSOR: Final = 2048


class Device(Protocol):
    """What the model needs to know of a target."""

    @property
    def kind(self) -> str: ...
    @property
    def processors(self) -> int: ...
    @property
    def shared_per_block(self) -> int: ...
    @property
    def registers_per_thread(self) -> int: ...
    @property
    def bandwidth(self) -> float: ...
    @property
    def launch_seconds(self) -> float: ...
    def matrix_rate(self, dtype: str) -> float: ...


@dataclass(frozen=True)
class Cost:
    """One launch. `moved_bytes` counts each tensor once, `loaded_bytes` what all blocks load and store."""

    seconds: float
    moved_bytes: int
    loaded_bytes: int
    work: int
    blocks: int
    fill: float
    """Part of the device's processors that the grid keeps busy, averaged over its waves."""


def block_bytes(program: TileProgram) -> int:
    """Bytes that one block loads from and stores to device memory."""
    return sum(_access_bytes(program, access) for access in program.accesses)


def _access_bytes(program: TileProgram, access: Access) -> int:
    turns = math.prod(loop.extent for loop in access.loops if isinstance(loop.extent, int))
    return turns * math.prod(access.extent) * element_bytes(program.param(access.tensor).dtype)


def registers(program: TileProgram) -> int:
    """32-bit registers a thread needs if all fragments live at once."""
    return OTHER_REGISTERS + -(-program.fragment_bytes // (4 * program.thread_count))


def fits(program: TileProgram, device: Device) -> str | None:
    """None if a block fits the device's on-chip memory, else which limit it breaks."""
    if device.kind == "cpu":
        return None
    reserve = 1024  # barriers of a specialised pipeline, with their alignment
    if program.shared_bytes + reserve > device.shared_per_block:
        return f"shared memory: {program.shared_bytes} bytes a block, the device has {device.shared_per_block - reserve}"
    if registers(program) > device.registers_per_thread:
        return f"registers: about {registers(program)} a thread, the device has {device.registers_per_thread}"
    return None


def cost(program: TileProgram, device: Device) -> Cost:
    """The cost of one launch of `program` on `device`."""
    moved = sum(p.bytes or 0 for p in program.params)
    resident = _resident(program, device, program.shared_bytes)
    slots = device.processors * resident
    waves = -(-program.blocks // slots)
    fixed = 0.0 if device.kind == "cpu" else FIXED_SECONDS
    running = waves * _block_seconds(program, device, _sharing(resident, program.blocks, device))
    seconds = device.launch_seconds + fixed + max(moved / device.bandwidth, running)
    fill = program.blocks / (waves * slots)
    return Cost(seconds, moved, block_bytes(program) * program.blocks, program.work, program.blocks, fill)


def cost_inside(program: TileProgram, host: TileProgram, runs: int, stage_bytes: int, device: Device) -> float:
    """Seconds that `program` adds to `host` when its body runs `runs` times over the host's whole grid."""
    resident = _resident(host, device, host.shared_bytes + program.shared_bytes + stage_bytes)
    waves = -(-host.blocks // (device.processors * resident))
    return waves * runs / host.blocks * _block_seconds(program, device, _sharing(resident, host.blocks, device))


def _sharing(resident: int, blocks: int, device: Device) -> int:
    """Blocks that really share a processor: it is not always full."""
    return min(resident, max(1, math.ceil(blocks / device.processors)))


def _block_seconds(program: TileProgram, device: Device, sharing: int) -> float:
    """One block, while `sharing` blocks share a processor: they share its rates, but wait at the same time."""
    products = [op for op in program.ops if op.op.startswith("gemm")]
    work = sum(op.runs * op.work for op in products)
    compute = work / (device.matrix_rate(_operand_dtype(program)) / device.processors * _efficiency(program, device))
    transfer = block_bytes(program) / (CACHE_SPEEDUP * device.bandwidth / device.processors)
    # Without a second buffer a block computes only after it has loaded.
    overlaps = _stages(program) > 1 or not products
    streaming = max(compute, transfer) if overlaps else compute + transfer
    if device.kind == "cpu":
        return streaming + sum(op.runs * op.elements for op in program.ops) * CPU_ELEMENT_SECONDS
    steps = sum(op.runs for op in products)
    return streaming * sharing + steps * (STEP_SECONDS if overlaps else LONE_STEP_SECONDS)


def _resident(program: TileProgram, device: Device, shared_bytes: int) -> int:
    """Blocks that a processor holds at once, if each takes `shared_bytes` of shared memory."""
    if device.kind == "cpu":
        return 1
    by_threads = THREADS_PER_PROCESSOR // max(32, program.thread_count)
    by_shared = device.shared_per_block // max(1, shared_bytes)
    by_registers = 65536 // (registers(program) * max(32, program.thread_count))
    return max(1, min(by_threads, by_shared, by_registers))


def _efficiency(program: TileProgram, device: Device) -> float:
    """Part of the matrix rate that tiles of this size can reach: operands are loaded anew for each tile."""
    if device.kind == "cpu":
        return 1.0
    sizes = [op.work / max(1, program.thread_count) for op in program.ops if op.op.startswith("gemm")]
    if not sizes:
        return 1.0
    # a 128x128x32 product on 128 threads, 8,192 operations each, runs at full rate
    return max(0.05, min(1.0, math.sqrt(min(sizes) / 8192)))


def _operand_dtype(program: TileProgram) -> str:
    buffers = {b.name: b for b in program.buffers}
    for op in program.ops:
        if op.op.startswith("gemm"):
            for name in op.reads:
                if name in buffers:
                    return buffers[name].dtype
    return "float32"


def _stages(program: TileProgram) -> int:
    return max((b.versions for b in program.buffers), default=1)
