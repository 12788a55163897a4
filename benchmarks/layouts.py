"""Handovers in registers between tile computations whose layouts disagree: what TileLang refuses, through Mosaic.

    python -m benchmarks.layouts --json OUT                        the pairs of the facts: refused alone, lowered, built, right on the CPU
    python -m benchmarks.layouts --gpu --sample 240 --json OUT     on a Hopper GPU: the pairs and a sample of the corpus, run and compared
    python -m benchmarks.layouts --corpus 2400 --json OUT          the corpus lowered for four targets, without a GPU
    ... --records FILE --json OUT                                  any of these, each record kept at once: a run that was stopped goes on

from the repository's root, with src on PYTHONPATH. Results are compared with float64 within the harness's bounds. On a GPU the program
for sm_90a runs as it is; that for sm_80 is compiled for the virtual architecture compute_80 and this GPU's machine code, so that its
source's instructions (mma, cp.async) are what runs, and launched through CUDA's driver.

A kernel of the corpus that is refused counts as a failure, unless a product of it is refused too when it stands alone: then there is
nothing to hand over, and its class is `product`.

Known limitations: a kernel of the corpus is one block; inputs are normally distributed; sm_80's instructions run on Hopper, not on Ampere.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import ctypes
import json
import multiprocessing
import os
import platform
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, Final

import torch

from mosaic.errors import MosaicError, TargetError
from mosaic.harness.report import Report
from mosaic.stitch.finish import NO_SPECIALIZATION
from mosaic.targets import cuda, tools, upstream
from mosaic.targets.cache import Cache
from mosaic.targets.cpu import compile_cpu
from mosaic.targets.load import load_lowered
from mosaic.targets.lower import lower
from mosaic.targets.lowered import Lowered
from mosaic.targets.target import find
from mosaic.tiles.anatomy import dissect
from tests.fuzz.handovers import CORPUS, TARGETS, handovers, takes
from tests.layouts.chain import Chain, build, products
from tests.layouts.checked import check
from tests.layouts.pairs import NVIDIA, PAIRS, Pair

_MOST_SHARED: Final = 8  # CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES

Record = dict[str, Any]


def as_pair(chain: Chain) -> Pair:
    return Pair(chain.name, lambda: build(chain), chain.tensors(), chain.steps(), ())


def refused_alone(pair: Pair, target: str) -> str | None:
    """What TileLang says of the kernel as it is; None if it takes it."""
    device = find(target)
    configs = [{}, {NO_SPECIALIZATION: True}] if device.specializes_warps else [{}]
    said = None
    for config in configs:
        try:
            upstream.lower_source(pair.make(), device, config)
            return None
        except upstream.Refused as refusal:
            said = str(refusal)
    return said


def worst(report: Report) -> Record:
    """The largest error as a share of its bound, and what is wrong, if anything."""
    ratio = max((finding.ratio for finding in report.findings), default=float("nan"))
    return {"ratio": ratio, "wrong": [failure.message for failure in report.failures], "compared": len(report.findings)}


def lowered_record(lowered: Lowered) -> Record:
    kinds = [str(each["kind"]) for each in lowered.conversions]
    emitted = lowered.emitted
    return {
        "conversions": [dict(each) for each in lowered.conversions],
        "class": strongest(kinds),
        "shared_bytes": lowered.shared_bytes,
        "threads": lowered.threads,
        "registers": emitted.registers if emitted else None,
        "spill_bytes": emitted.spill_bytes if emitted else None,
        "notes": list(lowered.notes),
    }


def strongest(kinds: Iterable[str]) -> str:
    """The most costly class of conversion; "direct" where there is none."""
    order = ("direct", "identity", "permute", "shuffle", "shared")
    return max(kinds, key=order.index, default="direct")


# On a GPU


class Launcher:
    """Machine code that TileLang's source for sm_80 is compiled to for this GPU, launched with PyTorch's tensors."""

    def __init__(self, lowered: Lowered) -> None:
        self.cuda = ctypes.CDLL("libcuda.so.1")
        torch.cuda.current_stream()  # makes the context
        torch.zeros(1, device="cuda")
        match = re.search(r"__global__ void __launch_bounds__\([^)]*\) (\w+)\(([^)]*)\)", lowered.source)
        if match is None:
            raise TargetError(f"no kernel is found in the source of {lowered.name}")
        self.order = [re.split(r"[\s*]+", part.strip())[-1] for part in match[2].split(",")]
        self.names = [str(name) for name in lowered.params]
        self.threads, self.shared = lowered.threads, lowered.shared_bytes
        self.grid = grid_of(lowered.program)
        self.module, self.function = ctypes.c_void_p(), ctypes.c_void_p()
        self._call("cuModuleLoadData", ctypes.byref(self.module), build_for_here(lowered))
        self._call("cuModuleGetFunction", ctypes.byref(self.function), self.module, match[1].encode())
        self._call("cuFuncSetAttribute", self.function, _MOST_SHARED, max(self.shared, 0))

    def _call(self, name: str, *arguments: Any) -> None:
        status = getattr(self.cuda, name)(*arguments)
        if status:
            raise TargetError(f"CUDA's driver answers {status} to {name}")

    def __call__(self, *tensors: torch.Tensor) -> None:
        given = dict(zip(self.names, tensors, strict=True))
        values = [ctypes.c_uint64(given[name].data_ptr()) for name in self.order]
        pointers = (ctypes.c_void_p * len(values))(*(ctypes.cast(ctypes.byref(value), ctypes.c_void_p) for value in values))
        stream = ctypes.c_void_p(torch.cuda.current_stream().cuda_stream)
        self._call("cuLaunchKernel", self.function, *self.grid, self.threads, 1, 1, self.shared, stream, pointers, None)
        torch.cuda.synchronize()


def grid_of(func: Any) -> tuple[int, int, int]:
    """Blocks along x, y, z."""
    extents = {str(loop.thread_binding.thread_tag): int(loop.extent) for loop in dissect(func).grid}
    x, y, z = (extents.get(f"blockIdx.{axis}", 1) for axis in "xyz")
    return x, y, z


def build_for_here(lowered: Lowered) -> bytes:
    """A cubin for compute capability 9.0, by way of compute_80: the source sees the older architecture."""
    nvcc = tools.find_cuda_tool("nvcc")
    if nvcc is None:
        raise TargetError("no nvcc is on this machine")
    with tempfile.TemporaryDirectory(prefix="mosaic-layouts-") as work:
        (Path(work) / "kernel.cu").write_text(lowered.source)
        command = [
            str(nvcc),
            *cuda.FLAGS,
            "-gencode=arch=compute_80,code=sm_90",
            *upstream.include_flags(),
            "kernel.cu",
            "-o",
            "kernel.cubin",
        ]
        done = tools.run(command, Path(work))
        if done.returncode:
            raise TargetError(f"nvcc refuses {lowered.name}: {cuda.first_error(done.stdout + done.stderr)}")
        return (Path(work) / "kernel.cubin").read_bytes()


def run_on_gpu(pair: Pair, target: str, lowered: Lowered) -> Record:
    kernel: Callable[..., None] = Launcher(lowered) if target == "sm_80" else load_lowered(lowered)
    return worst(check(pair.tensors, pair.steps, kernel, device="cuda", tf32=True))


# One kernel for one target, in a process of the pool


def prepare() -> None:
    torch.set_num_threads(1)


def pair_job(job: tuple[int, str, bool, str]) -> Record:
    number, target, gpu, folder = job
    pair = PAIRS[number]
    record: Record = {"pair": pair.name, "target": target}
    try:
        record["alone"] = refused_alone(pair, target)
        lowered = lower(pair.make(), target, binary=target in NVIDIA, cache=Cache(Path(folder)))
        record |= lowered_record(lowered)
        if target == "sm_80" or not gpu:
            record["cpu"] = worst(check(pair.tensors, pair.steps, compile_cpu(pair.make()), device="cpu", tf32=False))
            record["cpu_converted"] = worst(check(pair.tensors, pair.steps, compile_cpu(lowered.program), device="cpu", tf32=False))
        if gpu and target in NVIDIA:
            record["gpu"] = run_on_gpu(pair, target, lowered)
    except MosaicError as error:
        record["error"] = str(error)
    return record


def corpus_job(job: tuple[Chain, str, bool, str]) -> Record:
    chain, target, gpu, folder = job
    pair = as_pair(chain)
    record: Record = {"chain": chain.to_dict(), "name": chain.name, "target": target}
    start = time.perf_counter()
    try:
        lowered = lower(pair.make(), target, binary=False, cache=Cache(Path(folder)))
        record |= lowered_record(lowered)
        record["seconds"] = time.perf_counter() - start
        if gpu:
            record["gpu"] = run_on_gpu(pair, target, lowered)
    except MosaicError as error:
        alone = product_refused(chain, target, folder)
        record["class"] = "refused" if alone is None else "product"
        record["error" if alone is None else "product"] = str(error) if alone is None else alone
    return record


def product_refused(chain: Chain, target: str, folder: str) -> str | None:
    """What is said of the first of the chain's products that is refused even if it stands alone; None if all are taken."""
    for func in products(chain):
        try:
            lower(func, target, binary=False, cache=Cache(Path(folder)))
        except MosaicError as error:
            return str(error)
    return None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gpu", action="store_true", help="run the programs for sm_80 and sm_90a on this machine's GPU")
    parser.add_argument("--sample", type=int, default=240, help="kernels of the corpus that run on the GPU")
    parser.add_argument("--corpus", type=int, default=0, help=f"kernels of the corpus to lower for all targets (all: {CORPUS})")
    parser.add_argument("--skip", type=int, default=0, help="kernels of the corpus, from its beginning, that are left out")
    parser.add_argument("--records", type=Path, help="where each record is kept at once, and found when run again")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--json", type=Path, help="where the records go")
    options = parser.parse_args()
    start = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="mosaic-layouts-") as folder:
        found = measure(options, folder)
    found["seconds"] = time.perf_counter() - start
    found["time"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    found["environment"] = {"system": platform.platform(), "python": platform.python_version()}
    found["environment"] |= {"torch": torch.__version__, "tilelang": upstream.VERSION}
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(found, indent=1))
    return report(found)


def measure(options: argparse.Namespace, folder: str) -> dict[str, Any]:
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(options.jobs, mp_context=context, initializer=prepare) as pool:
        pairs, sample, corpus = [], [], []
        if not options.corpus:
            targets = NVIDIA if options.gpu else TARGETS
            jobs = [(n, target, options.gpu, folder) for n, pair in enumerate(PAIRS) for target in targets if target in pair.refused]
            pairs = list(kept(pool, pair_job, [((PAIRS[job[0]].name, job[1]), job) for job in jobs], options.records))
        if options.gpu:
            drawn = list(handovers(options.seed, options.sample))
            wanted = [(chain, target, True, folder) for n, chain in enumerate(drawn) for target in [NVIDIA[n % 2]] if takes(chain, target)]
            sample = list(
                kept(pool, corpus_job, [((chain.name, target), (chain, target, *rest)) for chain, target, *rest in wanted], options.records)
            )
        if options.corpus:
            drawn = list(handovers(options.seed, options.corpus))[options.skip :]
            every = [(chain, target, False, folder) for chain in drawn for target in TARGETS if takes(chain, target)]
            corpus = list(kept(pool, corpus_job, [((job[0].name, job[1]), job) for job in every], options.records))
    device = torch.cuda.get_device_name() if options.gpu else None
    return {
        "device": device,
        "seed": options.seed,
        "asked": options.sample,
        "skipped": options.skip,
        "pairs": pairs,
        "sample": sample,
        "corpus": corpus,
    }


Key = tuple[str, str]
"""Of a record: the name of its pair or kernel, and the target."""


def kept(pool: ProcessPoolExecutor, work: Callable[[Any], Record], jobs: Sequence[tuple[Key, Any]], path: Path | None) -> Iterator[Record]:
    """The records of all jobs. Those that the file (JSON Lines) holds are not made again; the others are added to it one by one."""
    known: dict[Key, Record] = {}
    if path is not None and path.exists():
        for line in path.read_text(encoding="utf-8").splitlines():
            with contextlib.suppress(json.JSONDecodeError):  # the last line of a run that was stopped
                record = json.loads(line)
                known[record.get("pair") or record["name"], record["target"]] = record
    yield from (known[key] for key, _ in jobs if key in known)
    for record in pool.map(work, [job for key, job in jobs if key not in known], chunksize=1):
        if path is not None:
            with path.open("a", encoding="utf-8") as out:
                out.write(json.dumps(record) + "\n")
        yield record


def report(found: Mapping[str, Any]) -> int:
    """Prints the tables; 1 if anything is refused or wrong."""
    failures = 0
    for record in found["pairs"]:
        problems = problems_of(record)
        if record["alone"] is None:
            problems.append("TileLang takes it alone")
        failures += bool(problems)
        shown = "; ".join(problems) or "right"
        print(f"{record['pair']:60} {record['target']:8} {record.get('class', '-'):9} {record.get('registers')!s:5} {shown}"[:200])
    for title in ("sample", "corpus"):
        if found[title]:
            failures += table(title, found[title])
    print(f"{found['seconds']:.0f} s on {found['device'] or 'this processor'}; {failures} failures")
    return 1 if failures else 0


def problems_of(record: Record) -> list[str]:
    problems = [record["error"]] if "error" in record else []
    for where in ("cpu", "cpu_converted", "gpu"):
        problems += [f"{where}: {message}" for message in record.get(where, {}).get("wrong", [])]
    if record.get("spill_bytes"):
        problems.append(f"spills {record['spill_bytes']} bytes")
    return problems


def table(title: str, records: list[Record]) -> int:
    """Counts by target and class, then everything that went wrong."""
    counts = collections.Counter((record["target"], record["class"]) for record in records)
    print(f"{title}: {len(records)} programs")
    for (target, kind), count in sorted(counts.items()):
        print(f"  {target:8} {kind:9} {count}")
    bad = [record for record in records if problems_of(record)]
    for record in bad[:40]:
        print(f"  {record['name']} for {record['target']}: {'; '.join(problems_of(record))}"[:300])
    return len(bad)


if __name__ == "__main__":
    sys.exit(main())
