"""How long a kernel will take, roughly: bytes, operations, launches, and how much of a device its grid fills.

The model is for choosing between programs that do the same, not for predicting a clock. Every
constant is a device's (`Device`), or is named here with its reason.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Protocol

from mosaic.tiles.program import Access, TileOp, TileProgram, element_bytes

CACHE_SPEEDUP: Final = 3.8
"""How much more than device memory a GPU's second-level cache delivers; fitted like those below."""

CPU_CACHE_SPEEDUP: Final = 3.0
"""The same of a processor; an assumption."""

MATRIX_SHARE: Final = 0.59
"""Part of the matrix rate that a processor's products reach while their operands are there. This and the constants below were fitted to
218 launches of products, attention and norms behind products on an H200, tiles from 16x384 to 128x256, with and without specialised warps,
one to eleven blocks a processor: they are within 16 % (root mean square of the logarithm; benchmarks/tiles.py,
evidence/nvidia-h200/tiles.json)."""

TURN_SECONDS: Final = 2.4e-7
"""What a turn of a product's pipelined loop takes a block at least."""

TURN_WORK_SECONDS: Final = 3.1e-8
"""What a turn costs the processor, so that other blocks there have to wait for it."""

TIGHT: Final = 0.17
"""By how much products are slower where a thread's fragments take 256 registers rather than 128, and no warps are set aside for loading."""

EXPOSED: Final = 0.34
"""Part of the shorter of the two, waiting for turns and the work in them, that the longer one does not hide."""

SPECIALIZED_TURN_SECONDS: Final = 2.8e-7
"""The same where warps that only load hand over to those that compute."""

LONE_TURN_SECONDS: Final = 2.6e-7
"""What a turn takes beside its loads and operations, which then follow each other, where nothing is loaded ahead."""

START_SECONDS: Final = 2.1e-6
"""From a block's start to its first operands, and from its last result to the next block."""

REFILL_SECONDS: Final = 1e-6
"""What a pipelined loop waits for its first operands, each time that it is begun anew within a block; an assumption."""

ELEMENT_SECONDS: Final = 8.4e-12
"""What a processor spends on each element that is copied within the chip, converted, mapped or reduced."""

BUSY_THREADS: Final = 164
"""Threads of a processor with fewer of which that takes longer."""

SQUEEZE: Final = 0.8
"""How far registers may be held below what fragments would take if all lived at once: 0.83 and 0.94 did not spill, 0.62 did."""

FIXED_SECONDS: Final = 1.3e-6
"""What a kernel takes on a GPU beside its launch, were it to do nothing: an H200 took 2.5 and 3.1 us for norms of 8 and 26 rows
within a CUDA graph (evidence/nvidia-h200/minilm_8x128.json, minilm.json), of which 1.05 us are the launch."""

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
    def specializes_warps(self) -> bool: ...
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


def cost(program: TileProgram, device: Device, *, specialized: bool = False) -> Cost:
    """The cost of one launch of `program` on `device`; `specialized` says whether some of its warps only load."""
    moved = sum(p.bytes or 0 for p in program.params)
    resident = residents(program, device, specialized=specialized)
    slots = device.processors * resident
    waves = -(-program.blocks // slots)
    fixed = 0.0 if device.kind == "cpu" else FIXED_SECONDS
    sharing = min(resident, max(1, math.ceil(program.blocks / device.processors)))
    running = waves * _wave_seconds(program, device, sharing, specialized=specialized)
    seconds = device.launch_seconds + fixed + max(moved / device.bandwidth, running)
    fill = program.blocks / (waves * slots)
    return Cost(seconds, moved, block_bytes(program) * program.blocks, program.work, program.blocks, fill)


def cheapest(program: TileProgram, device: Device) -> tuple[Cost, bool, int]:
    """The cost of the launch as it costs least: whether warps that only load are left to TileLang, and the blocks that a processor must
    have the registers for, as the cost counts on them (0 where that is no matter)."""
    plain, specialized = cost(program, device), True
    if can_specialize(program, device):
        # At equal cost as an author would have it.
        other = cost(program, device, specialized=True)
        if other.seconds <= plain.seconds:
            return other, True, 0
        specialized = False
    resident = residents(program, device) if device.kind == "cuda" and has_products(program) else 0
    return plain, specialized, resident if resident > 1 else 0


def has_products(program: TileProgram) -> bool:
    """Whether the program multiplies matrices."""
    return any(op.op.startswith("gemm") for op in program.ops)


def can_specialize(program: TileProgram, device: Device) -> bool:
    """Whether a pipelined loop of the program's products can be shared out to warps that load and warps that compute."""
    return device.specializes_warps and _stages(program) > 1 and has_products(program)


def residents(program: TileProgram, device: Device, *, specialized: bool = False, shared_bytes: int | None = None) -> int:
    """Blocks that a processor holds at once. Specialised warps share out all of its registers to one block."""
    if device.kind == "cpu" or specialized:
        return 1
    threads = max(32, program.thread_count)
    by_shared = device.shared_per_block // max(1, program.shared_bytes if shared_bytes is None else shared_bytes)
    by_registers = int(65536 / (SQUEEZE * registers(program) * threads))
    return max(1, min(THREADS_PER_PROCESSOR // threads, by_shared, by_registers))


def cost_inside(program: TileProgram, host: TileProgram, runs: int, stage_bytes: int, device: Device) -> float:
    """Seconds that `program` adds to `host` when its body runs `runs` times over the host's whole grid."""
    resident = residents(host, device, shared_bytes=host.shared_bytes + program.shared_bytes + stage_bytes)
    waves = -(-host.blocks // (device.processors * resident))
    sharing = min(resident, max(1, math.ceil(host.blocks / device.processors)))
    return waves * runs / host.blocks * _wave_seconds(program, device, sharing)


def _wave_seconds(program: TileProgram, device: Device, sharing: int, *, specialized: bool = False) -> float:
    """As many blocks as share a processor, begun together: they share its rates, but wait at the same time."""
    products = [op for op in program.ops if op.op.startswith("gemm")]
    speedup = CPU_CACHE_SPEEDUP if device.kind == "cpu" else CACHE_SPEEDUP
    transfer = block_bytes(program) / (speedup * device.bandwidth / device.processors)
    if device.kind == "cpu":
        compute = sum(op.runs * op.work for op in products) / (device.matrix_rate(_operand_dtype(program)) / device.processors)
        streaming = max(compute, transfer) if _stages(program) > 1 or not products else compute + transfer
        return streaming + sum(op.runs * op.elements for op in program.ops) * CPU_ELEMENT_SECONDS
    if not products:
        return transfer * sharing
    rate = MATRIX_SHARE * device.matrix_rate(_operand_dtype(program)) / device.processors
    tight = 0.0 if specialized else max(0.0, registers(program) / 128 - 1)
    compute = sum(op.runs * op.work for op in products) / rate * (1 + TIGHT * tight)
    threads = max(32, program.thread_count) * sharing
    rest = _elements_between(program) * ELEMENT_SECONDS * max(1.0, BUSY_THREADS / threads)
    turns = sum(op.runs for op in products)
    if _stages(program) > 1:
        ahead = turns * (SPECIALIZED_TURN_SECONDS if specialized else TURN_SECONDS)
        busy, refills = max(compute, transfer), _pipelines_begun(program) - 1
        alone = START_SECONDS + refills * REFILL_SECONDS + max(busy, ahead) + EXPOSED * min(busy, ahead) + rest
    else:
        alone = START_SECONDS + compute + transfer + turns * LONE_TURN_SECONDS + rest
    limited = max(compute + rest + turns * TURN_WORK_SECONDS, transfer)
    return max(alone + (sharing - 1) * limited, sharing * limited)


def _pipelines_begun(program: TileProgram) -> int:
    """How often a block begins a pipelined loop: more than once where it stands inside another loop, or follows another."""
    found: dict[object, int] = {}
    for access in program.accesses:
        for number, loop in enumerate(access.loops):
            if loop.stages > 1:
                found[loop.var] = math.prod(outer.extent for outer in access.loops[:number] if isinstance(outer.extent, int))
                break
    return max(1, sum(found.values()))


def _elements_between(program: TileProgram) -> int:
    """Elements that a block's threads touch one by one: not a product's operands, nor what is loaded for them."""
    tensors = {param.name for param in program.params}
    shared = {buffer.name for buffer in program.buffers if buffer.scope.startswith("shared")}

    def counts(op: TileOp) -> bool:
        loads = op.op == "copy" and tensors & set(op.reads) and shared & set(op.writes)
        return not op.op.startswith("gemm") and op.op != "fill" and not loads

    return sum(op.runs * op.elements for op in program.ops if counts(op))


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
