"""What the instructions that conversions are made of cost on a GPU: the constants of `mosaic.layouts.cost`.

    python -m benchmarks.instructions --out evidence/instructions.json
    python -m benchmarks.instructions --update      puts them into src/mosaic/layouts/costs.json

For each instruction: `issue`, processor cycles that one warp's instruction takes when 32 warps of one block issue nothing else, and
`latency`, cycles until a dependent one may start, of one warp. Both by the processor's own clock, the least of all samples.

Known limitations: loads and stores of shared memory are without conflicts; `latency` of a store is that of storing and loading it again,
less a load's, with the one exclusive or between them that keeps both; loops add less than one cycle in a hundred.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks.cuda_driver import CudaError, Device, build

COSTS: Final = Path(__file__).parents[1] / "src" / "mosaic" / "layouts" / "costs.json"
ITERATIONS: Final = 256
UNROLL: Final = 16
CHAINS: Final = 4
SAMPLES: Final = 9


@dataclass(frozen=True)
class Probe:
    """One instruction: a statement on the word `v` of a chain, which starts as its lane or as an address. `zero` is, but
    the compiler does not know it, so that nothing is left out; `side` keeps what else is loaded."""

    name: str
    statement: str
    start: str = "lane"
    width: int = 4


PROBES: Final = (
    Probe("shuffle", "v = __shfl_sync(0xffffffffu, v, v);"),
    Probe("shuffle_xor", "v = __shfl_xor_sync(0xffffffffu, v, 1);"),
    Probe("transpose", 'asm volatile("movmatrix.sync.aligned.m8n8.trans.b16 %0, %0;" : "+r"(v));'),
    Probe("permute", "v = __byte_perm(v, zero, zero);"),
    Probe("select", 'asm volatile("{.reg .pred p; setp.ne.u32 p, %1, 0; selp.b32 %0, %2, %0, p;}" : "+r"(v) : "r"(zero), "r"(lane));'),
    Probe("convert_half", 'asm volatile("{.reg .f32 f; mov.b32 f, %0; cvt.rn.f16x2.f32 %0, f, f;}" : "+r"(v));'),
    Probe(
        "convert_fp8",
        'asm volatile("{.reg .f32 f; .reg .b16 h; mov.b32 f, %0; cvt.rn.satfinite.e4m3x2.f32 h, f, f; mov.b32 %0, {h, h};}" : "+r"(v));',
    ),
    Probe("load4", 'asm volatile("ld.shared.u32 %0, [%0];" : "+r"(v));', "at"),
    Probe(
        "load8",
        'unsigned w; asm volatile("ld.shared.v2.u32 {%0, %1}, [%0];" : "+r"(v), "=r"(w)); side ^= w;',
        "at",
        8,
    ),
    Probe(
        "load16",
        'unsigned w, x, y; asm volatile("ld.shared.v4.u32 {%0, %1, %2, %3}, [%0];" : "+r"(v), "=r"(w), "=r"(x), "=r"(y)); '
        "side ^= w ^ x ^ y;",
        "at",
        16,
    ),
    Probe("store4", 'asm volatile("st.shared.u32 [%0], %0;" ::"r"(v) : "memory"); v ^= zero;', "at"),
    Probe("store8", 'asm volatile("st.shared.v2.u32 [%0], {%0, %0};" ::"r"(v) : "memory"); v ^= zero;', "at", 8),
    Probe("store16", 'asm volatile("st.shared.v4.u32 [%0], {%0, %0, %0, %0};" ::"r"(v) : "memory"); v ^= zero;', "at", 16),
    Probe(
        "store_load",
        'asm volatile("st.shared.u32 [%0], %0;" ::"r"(v) : "memory"); v ^= zero; asm volatile("ld.shared.u32 %0, [%0];" : "+r"(v));',
        "at",
    ),
    Probe("barrier", "__syncthreads();"),
)


def source(probe: Probe) -> str:
    """Two kernels: one chain of dependent instructions, and several side by side. Addresses loaded are those that were stored."""

    def kernel(kind: str, chains: int) -> str:
        declare = " ".join(f"unsigned v{at} = {probe.start};" for at in range(chains))
        body = " ".join(f"step(v{at}, lane, zero, side);" for at in range(chains))
        total = " ^ ".join(f"v{at}" for at in range(chains))
        return f"""
extern "C" __global__ void {kind}(unsigned* out, long long* clocks, unsigned zero) {{
  __shared__ __align__(1024) unsigned stage[32 * 1024 / 4];
  const unsigned lane = threadIdx.x & 31;
  const unsigned base = (unsigned)__cvta_generic_to_shared(stage);
  // Lanes side by side, {probe.width} bytes each, which hold their address, so that a chain of loads stays where it is.
  const unsigned at = base + threadIdx.x * {probe.width};
  for (int word = 0; word < {probe.width // 4}; ++word) stage[threadIdx.x * {probe.width // 4} + word] = at;
  __syncthreads();
  {declare}
  unsigned side = 0;
  const long long start = clock64();
#pragma unroll 1
  for (int turn = 0; turn < {ITERATIONS // chains}; ++turn) {{
#pragma unroll
    for (int again = 0; again < {UNROLL}; ++again) {{ {body} }}
  }}
  const long long end = clock64();
  out[threadIdx.x] = {total} ^ side;
  if (lane == 0) clocks[threadIdx.x / 32] = end - start;
}}
"""

    step = f"__device__ __forceinline__ void step(unsigned &v, unsigned lane, unsigned zero, unsigned &side) {{ {probe.statement} }}\n"
    return step + kernel("latency", 1) + kernel("issue", CHAINS)


def cycles(device: Device, cubin: Path, kind: str, warps: int) -> float:
    """The least cycles that one block took, from its first warp's start to the slowest warp's end, per instruction."""
    module = device.load(cubin)
    out, clocks = device.allocate(4 * 1024), device.allocate(8 * 32)
    best = float("inf")
    for _ in range(SAMPLES):
        module.launch(kind, 1, 32 * warps, out, clocks, 0)
        device.synchronize()
        best = min(best, float(max(device.download(clocks, warps, ctypes.c_int64))))
    device.free(out, clocks)
    return best / (ITERATIONS * UNROLL * (warps if kind == "issue" else 1))


def measure(device: Device, cubins: dict[str, Path]) -> dict[str, dict[str, float]]:
    found = {}
    for probe in PROBES:
        if probe.name == "barrier":
            # Of a block of four warps, as conversions have; a barrier blocks, so it has no rate of its own.
            each = cycles(device, cubins[probe.name], "latency", 4)
            found[probe.name] = {"issue": each, "latency": each}
            continue
        found[probe.name] = {
            "issue": cycles(device, cubins[probe.name], "issue", 32),
            "latency": cycles(device, cubins[probe.name], "latency", 1),
        }
    for width in (4, 8, 16):
        found[f"store{width}"]["latency"] = found["store_load"]["latency"] - found["load4"]["latency"]
    del found["store_load"]
    return found


def update(record: dict[str, Any], path: Path) -> None:
    """Replaces one architecture's constants in the package."""
    data = json.loads(path.read_text(encoding="utf-8"))
    kept = {name: record[name] for name in ("label", "source", "clock_hz", "instructions")}
    data["targets"][record["arch"]] = kept
    path.write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arch", default="sm_90a")
    parser.add_argument("--out", type=Path, help="where to write the record as JSON")
    parser.add_argument("--update", action="store_true", help="put the constants into the package")
    parser.add_argument("--build-only", action="store_true", help="compile all kernels and stop")
    parser.add_argument("--library", default="libcuda.so.1", help="CUDA's driver")
    arguments = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        cubins = build({probe.name: source(probe) for probe in PROBES}, Path(folder), arguments.arch)
        print(f"{len(cubins)} probes compiled")
        if arguments.build_only:
            return 0
        try:
            device = Device(arguments.library)
            instructions = measure(device, cubins)
        except CudaError as error:
            print(f"instructions are not measured: {error}", file=sys.stderr)
            return 2
    when = time.strftime("%Y-%m-%d", time.gmtime())
    record = {
        "arch": arguments.arch, "label": "measured", "clock_hz": device.clock_hz, "device": device.name, "driver": device.driver,
        "source": f"benchmarks/instructions.py on {device.name}, driver {device.driver}, {when}", "instructions": instructions,
    }  # fmt: skip
    for name, both in instructions.items():
        print(f"{name:12} issue {both['issue']:7.2f}  latency {both['latency']:7.2f} cycles")
    if arguments.out:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    if arguments.update:
        update(record, COSTS)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
