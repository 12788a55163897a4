"""Kernels around one conversion: one checks what it does, one repeats it and is timed."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.conversion_cases import Case
from mosaic.layouts.banks import WIDEST
from mosaic.layouts.conversion import Kind
from mosaic.layouts.emit import DeviceFunction, emit
from mosaic.layouts.emit.blocks import find_blocks
from mosaic.layouts.emit.counts import counts
from mosaic.layouts.emit.dialect import dialect, element_bytes, type_name
from mosaic.layouts.emit.emit import moves_words
from mosaic.layouts.emit.memory import Memory, group_registers
from mosaic.layouts.emit.places import Places
from mosaic.layouts.emit.registers import Builder
from mosaic.layouts.emit.shared import convert_shared
from mosaic.layouts.emit.shuffle import way_cost, ways
from mosaic.layouts.emit.steps import Transpose
from mosaic.layouts.emit.text import WHOLE_BLOCK, print_function

HEADER = """\
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_fp8.h>
#include <cstring>
using half_t = __half;
using bfloat16_t = __nv_bfloat16;
using fp8_e4_t = __nv_fp8_e4m3;
using fp8_e5_t = __nv_fp8_e5m2;
"""
LIMIT = 48 << 10


@dataclass(frozen=True)
class Variant:
    """One way of converting: `emitted`, `swizzled` (through shared memory although a shuffle would do), `padded`, `naive`,
    and `movmatrix` and `shuffled` where both are possible."""

    name: str
    function: DeviceFunction


@dataclass(frozen=True)
class Bench:
    case: Case
    source: Places
    target: Places
    kind: str
    variants: tuple[Variant, ...]
    text: str


def staged(case: Case, name: str, arch: str, *, vectors: bool) -> DeviceFunction:
    """Staging as one writes it by hand: row-major, rows padded by 16 bytes; register by register, or in the vectors that rows allow."""
    how = dialect(arch)
    source, target = Places.of(case.source, how.warp_size), Places.of(case.target, how.warp_size)
    sizes = element_bytes(case.source_dtype), element_bytes(case.target_dtype)
    words = moves_words(case.source_dtype, case.target_dtype)
    size = min(sizes)
    builder = Builder(source.threads, how.warp_size, size, casts_first=sizes[1] <= sizes[0], whole_words=words)
    row = source.extents[-1]
    held = sorted({element for places in source.elements for element in places if element is not None})
    offset = {element: element + element // row * (WIDEST // size) for element in held}

    def runs(places: Places) -> tuple[tuple[int, ...], ...]:
        return group_registers(places.elements, offset, size) if vectors else tuple((at,) for at in range(places.registers))

    memory = Memory(offset, 1 + max(offset.values()), WIDEST, runs(source), runs(target))
    shared = convert_shared(builder, source, target, memory, LIMIT, reused=True)
    program = builder.program(shared)
    text = print_function(program, how, name, case.source_dtype, case.target_dtype, WHOLE_BLOCK)
    return DeviceFunction(name, text, "shared", shared, WIDEST, source.threads, program, *counts(program))


def within_warp(case: Case, arch: str) -> list[Variant]:
    """Both ways within a warp where movmatrix is one of them: `movmatrix` and `shuffled`, each the cheapest of its kind."""
    how = dialect(arch)
    source, target = Places.of(case.source, how.warp_size), Places.of(case.target, how.warp_size)
    blocks = find_blocks(source, target)
    if blocks is None or len(blocks) > 1:
        return []
    sizes = element_bytes(case.source_dtype), element_bytes(case.target_dtype)
    words = moves_words(case.source_dtype, case.target_dtype)
    builder = Builder(source.threads, how.warp_size, min(sizes), casts_first=sizes[1] <= sizes[0], whole_words=words)
    found: dict[str, Builder] = {}
    for way in sorted(ways(builder, blocks[0].source, blocks[0].target, how), key=lambda way: way_cost(way, how).cycles):
        found.setdefault("movmatrix" if any(isinstance(step, Transpose) for step in way.steps) else "shuffled", way)
    if len(found) < 2:
        return []
    variants = []
    for name, way in sorted(found.items()):
        program = way.program(0)
        text = print_function(program, how, name, case.source_dtype, case.target_dtype, WHOLE_BLOCK)
        variants.append(Variant(name, DeviceFunction(name, text, "shuffle", 0, 0, source.threads, program, *counts(program))))
    return variants


def bench(case: Case, arch: str) -> Bench:
    """All ways of one conversion, and the source text of their kernels."""
    how = dialect(arch)

    def convert(name: str, kind: Kind | None) -> DeviceFunction:
        dtypes = case.source_dtype, case.target_dtype
        return emit(
            case.source, case.target, source_dtype=dtypes[0], target_dtype=dtypes[1], arch=arch, name=name, shared_limit=LIMIT, kind=kind
        )

    first = convert("emitted", None)
    variants = [Variant("emitted", first)]
    if first.kind != "shared":
        variants.append(Variant("swizzled", convert("swizzled", "shared")))
    if first.kind == "shuffle":
        variants += within_warp(case, arch)
    variants += [Variant(name, staged(case, name, arch, vectors=name == "padded")) for name in ("padded", "naive")]
    source, target = Places.of(case.source, how.warp_size), Places.of(case.target, how.warp_size)
    kernels = [
        text
        for variant in variants
        for text in (variant.function.text, _check(case, variant, source, target), _time(case, variant, source, target))
    ]
    return Bench(case, source, target, first.kind, tuple(variants), HEADER + "\n".join(kernels))


def _stage(function: DeviceFunction) -> tuple[str, str]:
    if not function.shared_bytes:
        return "", ""
    return f"  __shared__ __align__(1024) char stage[{function.shared_bytes}];\n", ", stage"


def _value(dtype: str, value: str) -> str:
    return f"static_cast<{type_name(dtype)}>({value})" if "int" in dtype else f"{type_name(dtype)}(static_cast<float>({value}))"


def _check(case: Case, variant: Variant, source: Places, target: Places) -> str:
    """Registers hold one hexadecimal digit of their element's number, which every type holds exactly."""
    declare, pass_on = _stage(variant.function)
    threads = source.threads
    return f"""
extern "C" __global__ void check_{variant.name}(const int* elements, float* out, int digit) {{
{declare}  {type_name(case.source_dtype)} source[{source.registers}];
  {type_name(case.target_dtype)} target[{target.registers}];
#pragma unroll
  for (int at = 0; at < {source.registers}; ++at)
    source[at] = {_value(case.source_dtype, f"elements[at * {threads} + threadIdx.x] >> 4 * digit & 15")};
  {variant.function.name}(source, target{pass_on});
#pragma unroll
  for (int at = 0; at < {target.registers}; ++at) out[at * {threads} + threadIdx.x] = static_cast<float>(target[at]);
}}
"""


def _time(case: Case, variant: Variant, source: Places, target: Places) -> str:
    """What comes out goes in next: as it is, where it is as much and of the same type, so that the loop adds nothing; else it is
    exclusive-ored into what went in, one instruction a word, so that nothing can be left out or moved away.
    """
    declare, pass_on = _stage(variant.function)
    mine = source.registers * element_bytes(case.source_dtype) // 4
    theirs = target.registers * element_bytes(case.target_dtype) // 4
    feed = "= to[at]" if mine == theirs and case.source_dtype == case.target_dtype else f"^= to[at % {theirs}]"
    return f"""
extern "C" __global__ void time_{variant.name}(unsigned* out, int iterations) {{
{declare}  unsigned from[{mine}], to[{theirs}];
#pragma unroll
  for (int at = 0; at < {mine}; ++at) from[at] = out[at * {source.threads} + threadIdx.x];
#pragma unroll 1
  for (int turn = 0; turn < iterations; ++turn) {{
    {type_name(case.source_dtype)} source[{source.registers}];
    {type_name(case.target_dtype)} target[{target.registers}];
    memcpy(source, from, {4 * mine});
    {variant.function.name}(source, target{pass_on});
    memcpy(to, target, {4 * theirs});
#pragma unroll
    for (int at = 0; at < {max(mine, theirs)}; ++at) from[at % {mine}] {feed};
  }}
#pragma unroll
  for (int at = 0; at < {mine}; ++at) out[at * {source.threads} + threadIdx.x] = from[at];
}}
"""
