"""Conversions between layouts on a GPU: each as it is emitted, against staging through padded shared memory.

    python -m benchmarks.conversions --out evidence/conversions.json     from the repository's root, with src on PYTHONPATH
    python -m benchmarks.conversions --build-only                        compiles everything, needs no GPU
    python -m benchmarks.conversions --ncu --out ...                     also asks the GPU's counters for bank conflicts

Ways: `emitted` (the smallest class), `swizzled` (shared memory with the best swizzle, where a smaller class is emitted), `padded`
(row-major rows padded by 16 bytes, in the vectors that they allow), `naive` (the same, register by register); `movmatrix` and `shuffled`
where both can do what is emitted. All of them cast alike.
Each is first checked: every element's number goes through it, digit by digit. Then blocks repeat it, every way in turn, sample by sample;
a figure is the median of the time of one conversion of one block, `alone` with one block on each processor, `full` with four.

Every case is timed with the cast from an accumulator, and `moved`, without one, as fusion emits it: a copy has cast before.

Known limitations: with a cast the loop adds an exclusive or for each register, which takes as long in all ways, so that those ratios are
smaller than those of the movement; the clocks are not fixed; one GPU.
"""

from __future__ import annotations

import argparse
import csv
import io
import itertools
import json
import math
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

from benchmarks.conversion_cases import cases
from benchmarks.conversion_kernels import Bench, Variant, bench
from benchmarks.cuda_driver import CudaError, Device, Module, build
from mosaic.layouts.emit.dialect import dialect
from mosaic.layouts.emit.interpret import interpret

SAMPLES: Final = 15
ITERATIONS: Final = 2000
FULL: Final = 4
COUNTERS: Final = (
    "l1tex__data_bank_conflicts_pipe_lsu_mem_shared_op_ld.sum",
    "l1tex__data_bank_conflicts_pipe_lsu_mem_shared_op_st.sum",
)
COUNTED: Final = ("emitted", "padded", "naive")


def check(device: Device, module: Module, made: Bench, variant: Variant, *, digits: int = 8) -> int:
    """How many places of the target hold something wrong, looking at no more than so many digits."""
    threads = made.source.threads
    numbers = [0 if element is None else element for row in made.source.elements for element in row]
    elements = device.upload(numbers)
    out = device.allocate(4 * made.target.registers * threads)
    wrong = digit = 0
    while digit == 0 or (digit < digits and max(numbers) >> 4 * digit):
        module.launch(f"check_{variant.name}", 1, threads, elements, out, digit)
        device.synchronize()
        found = device.download(out, made.target.registers * threads)
        for register, row in enumerate(made.target.elements):
            for thread, element in enumerate(row):
                wrong += element is not None and found[register * threads + thread] != element >> 4 * digit & 15
        digit += 1
    device.free(elements, out)
    return wrong


def sample(device: Device, module: Module, made: Bench) -> dict[str, dict[str, list[float]]]:
    """Seconds of one conversion, every sample, by way and by how many blocks a processor has."""
    threads = made.source.threads
    words = device.upload([0x3C003C00] * (threads * made.source.registers))
    found: dict[str, dict[str, list[float]]] = {variant.name: {"alone": [], "full": []} for variant in made.variants}
    for turn in range(SAMPLES + 1):
        for variant in made.variants:
            for how, blocks in (("alone", 1), ("full", FULL)):
                seconds = module.time(f"time_{variant.name}", blocks * device.processors, threads, words, ITERATIONS)
                if turn:  # the first one warms up
                    found[variant.name][how].append(seconds / (ITERATIONS * blocks))
    device.free(words)
    return found


def model(made: Bench, variant: Variant, arch: str) -> dict[str, Any]:
    """What is known without a GPU."""
    outcome = interpret(variant.function.program, made.source.elements, dialect(arch).banks)
    return {
        "kind": variant.function.kind,
        "instructions": dict(variant.function.instructions),
        "shared_bytes": variant.function.shared_bytes,
        "conflicts_by_model": outcome.conflicts,
    }


def counters(folder: Path, chosen: list[int]) -> dict[str, dict[str, float]] | str:
    """Bank conflicts by the GPU's counters of one run of some conversions, each way; or why there are none."""
    ncu = shutil.which("ncu")
    if ncu is None:
        return "ncu is not here"
    command = [
        ncu,
        "--csv",
        "--metrics",
        ",".join(COUNTERS),
        "--kernel-name",
        "regex:check_",
        sys.executable,
        "-m",
        "benchmarks.conversions",
    ]
    done = subprocess.run(
        [*command, "--cubins", str(folder), "--only", *map(str, chosen)], capture_output=True, text=True, check=False, timeout=120
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith('"')]
    found: dict[str, dict[str, float]] = {}
    launched = [f"{index} {way}" for index in chosen for way in COUNTED]
    for row in csv.DictReader(io.StringIO("\n".join(lines))):
        name, number = row.get("Metric Name", ""), row.get("ID", "")
        if name in COUNTERS and number.isdigit() and int(number) < len(launched):
            found.setdefault(launched[int(number)], {})[name] = float(row["Metric Value"].replace(",", ""))
    return found or f"ncu gave nothing: {(done.stdout + done.stderr)[-300:]}"


def geometric_mean(values: list[float]) -> float | None:
    return math.exp(sum(map(math.log, values)) / len(values)) if values else None


def summarise(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Geometric means, over all cases and by class, of how much faster the emitted way is; `moved`: only those without a cast."""
    found: dict[str, Any] = {}
    classes = (
        (("identity",), "identity"),
        (("permute",), "permute"),
        (("shuffle",), "shuffle"),
        (("permute", "shuffle"), "permute and shuffle"),
        (("shared",), "shared"),
        ((), "all"),
    )
    for (kinds, name), moved in itertools.product(classes, (False, True)):
        chosen = [row for row in rows if not moved or row["source_dtype"] == row["target_dtype"]]
        chosen = [row for row in chosen if not kinds or row["kind"] in kinds]
        for how, other in itertools.product(("alone", "full"), ("naive", "padded", "swizzled", "movmatrix", "shuffled")):
            ratios = [row["ways"][other]["median"][how] / row["ways"]["emitted"]["median"][how] for row in chosen if other in row["ways"]]
            found[f"{name}{' moved' if moved else ''}, {how}, against {other}"] = geometric_mean(ratios)
    return found


def measure(device: Device, benches: list[Bench], cubins: dict[str, Path], arch: str) -> list[dict[str, Any]]:
    rows = []
    for index, made in enumerate(benches):
        module = device.load(cubins[str(index)])
        wrong = {variant.name: check(device, module, made, variant) for variant in made.variants}
        samples = sample(device, module, made)
        ways = {
            variant.name: {
                **model(made, variant, arch),
                "wrong": wrong[variant.name],
                "median": {how: statistics.median(values) for how, values in samples[variant.name].items()},
                "samples": samples[variant.name],
            }
            for variant in made.variants
        }
        rows.append({"name": made.case.name, "source_dtype": made.case.source_dtype, "target_dtype": made.case.target_dtype,
                     "threads": made.source.threads, "kind": made.kind, "ways": ways})  # fmt: skip
        times = "  ".join(f"{name} {1e9 * way['median']['alone']:7.1f}/{1e9 * way['median']['full']:6.1f}" for name, way in ways.items())
        print(
            f"{made.kind:9} {made.case.name} ({made.case.source_dtype}, {made.case.target_dtype}): {times} ns, wrong {sum(wrong.values())}",
            flush=True,
        )
    return rows


def only(arguments: argparse.Namespace, benches: list[Bench]) -> int:
    """One launch of each way that is counted, in this order, for ncu."""
    device = Device(arguments.library)
    wrong = 0
    for index, made in zip(arguments.only, benches, strict=True):
        module = device.load(Path(arguments.cubins, f"{index}.cubin"))
        for way in COUNTED:
            wrong += sum(check(device, module, made, variant, digits=1) for variant in made.variants if variant.name == way)
    return min(1, wrong)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arch", default="sm_90a")
    parser.add_argument("--out", type=Path, help="where to write everything as JSON")
    parser.add_argument("--build-only", action="store_true", help="compile all kernels and stop")
    parser.add_argument("--ncu", action="store_true", help="ask the GPU's counters for bank conflicts of some conversions")
    parser.add_argument("--library", default="libcuda.so.1", help="CUDA's driver")
    parser.add_argument("--cubins", help="a folder of compiled kernels (with --only)")
    parser.add_argument("--only", type=int, nargs="+", help="check these conversions once, by their numbers, nothing else")
    arguments = parser.parse_args(argv)
    chosen = cases() if arguments.only is None else [cases()[index] for index in arguments.only]
    benches = [bench(case, arguments.arch) for case in chosen]
    if arguments.only is not None:
        return only(arguments, benches)
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        cubins = build({str(index): made.text for index, made in enumerate(benches)}, Path(folder), arguments.arch)
        spills = [path for path in cubins.values() if any(_spills(line) for line in path.with_suffix(".log").read_text().splitlines())]
        print(f"{len(cubins)} conversions compiled in {time.monotonic() - start:.1f} s, {len(spills)} with spilled registers")
        if arguments.build_only:
            return min(1, len(spills))
        try:
            device = Device(arguments.library)
            rows = measure(device, benches, cubins, arguments.arch)
        except CudaError as error:
            print(f"conversions are not measured: {error}", file=sys.stderr)
            return 2
        sampled = [index for index, made in enumerate(benches) if made.kind == "shared"]
        conflicts = counters(Path(folder), sampled) if arguments.ncu else "not asked for"
    summary = summarise(rows)
    for name, ratio in summary.items():
        if ratio is not None:
            print(f"{name}: {ratio:.2f}x")
    print(f"bank conflicts: {conflicts}")
    record = {
        "what": "conversions between layouts", "device": device.name, "driver": device.driver, "processors": device.processors,
        "clock_hz": device.clock_hz, "arch": arguments.arch, "iterations": ITERATIONS, "blocks_full": FULL, "label": "measured",
        "environment": {"system": platform.platform(), "python": platform.python_version(), "nvcc": nvcc_version()},
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "cases": rows, "summary": summary, "bank_conflicts": conflicts,
    }  # fmt: skip
    if arguments.out:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return int(any(way["wrong"] for row in rows for way in row["ways"].values()))


def nvcc_version() -> str:
    """What nvcc says of itself in the line before its last, such as `Cuda compilation tools, release 13.0, V13.0.88`."""
    done = subprocess.run(["nvcc", "--version"], capture_output=True, text=True, check=False)
    return next((line for line in done.stdout.splitlines() if "release" in line), "unknown")


def _spills(line: str) -> bool:
    return "bytes spill stores" in line and "0 bytes spill stores, 0 bytes spill loads" not in line


if __name__ == "__main__":
    os.environ.setdefault("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
    raise SystemExit(main())
