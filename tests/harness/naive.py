"""A judge of the usual sort, to show that the corpus's cheats are real: each fools it. Never use it for anything else.

Its flaws are those of published ones: everything in one process, a fixed seed, one shape, the same inputs for every call, a generous
tolerance and a share of elements that may be wrong, comparisons in which NaN is no error, Python's clock looked up when it is
used, as many samples as the warm-up suggests, the verdict printed on stdout, its files beside the candidate's, shared caches.
"""

from __future__ import annotations

import atexit
import ctypes
import json
import multiprocessing
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from mosaic.harness.audit.corpus import Entry

BUDGET = 0.05
KEPT: list[object] = []
"""Results of timed calls, so that nobody could leave them out."""


def make_inputs(definition: dict[str, Any], case: dict[str, int]) -> list[torch.Tensor]:
    """Everybody's seed."""
    torch.manual_seed(42)
    shapes = [[case[dim] if dim in case else int(dim) for dim in map(str, given["shape"])] for given in definition["inputs"].values()]
    return [torch.randn(shape) for shape in shapes]


def compare(out: torch.Tensor, expected: torch.Tensor, atol: float, rtol: float) -> bool:
    """99 percent of the elements within a tolerance."""
    if torch.allclose(out.float(), expected.float(), atol=atol, rtol=rtol):
        return True
    wrong = (out - expected).abs() > atol + rtol * expected.abs()
    return float(wrong.float().mean()) <= 0.01


def clocked(function: Callable[..., Any], arguments: Sequence[Any], calls: int) -> float:
    """Median seconds of a call."""
    import statistics

    samples: list[float] = []
    for _ in range(calls):
        start = time.perf_counter()
        KEPT.append(function(*arguments))
        samples.append(time.perf_counter() - start)
    return statistics.median(samples)


def load(path: Path, name: str) -> Callable[..., Any]:
    """The candidate's function, in this very process."""
    if path.suffix == ".c":
        library = path.with_suffix(".so")
        subprocess.run(["gcc", "-O3", "-shared", "-fPIC", "-o", library, path, "-lpthread", "-lm"], check=True)
        function = getattr(ctypes.CDLL(str(library)), name)

        def call(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
            out = torch.empty(a.shape[0], b.shape[1])
            sizes = [ctypes.c_int64(size) for size in (a.shape[0], b.shape[1], a.shape[1])]
            function(*[ctypes.c_void_p(tensor.data_ptr()) for tensor in (a, b, out)], *sizes)
            return out

        return call
    sys.path.insert(0, str(path.parent))
    module = ModuleType("candidate")
    module.__dict__.update(__file__=str(path))
    exec(compile(path.read_text(encoding="utf-8"), str(path), "exec"), module.__dict__)
    sys.modules["candidate"] = module
    return getattr(module, name)  # type: ignore[no-any-return]


def judge(folder: Path, candidate: Path, mode: str) -> dict[str, Any]:
    definition = json.loads((folder / "definition.json").read_text(encoding="utf-8"))
    case = json.loads((folder / "workload.json").read_text(encoding="utf-8"))["cases"][0]["symbols"]
    reference_module = ModuleType("reference")
    exec((folder / "reference.py").read_text(encoding="utf-8"), reference_module.__dict__)
    sys.modules["reference"] = reference_module
    options = definition.get("attributes", {})

    def reference(*inputs: torch.Tensor) -> Any:
        return reference_module.reference(*inputs, **options)

    cached: dict[str, Any] = {"reference": reference, "torch": torch}
    exec((folder / "cache" / "baseline.py").read_text(encoding="utf-8"), cached)
    inputs = make_inputs(definition, case)
    torch.save(inputs, folder / "inputs.pt")
    cached["baseline"](*inputs)
    baseline = clocked(cached["baseline"], inputs, 11)

    function = load(candidate, definition["name"])
    tolerance = json.loads((folder / "tolerance.json").read_text(encoding="utf-8"))
    inputs = make_inputs(definition, case)
    expected = torch.empty(0)
    for _ in range(8 if mode.startswith("reference-") else 0):
        expected = reference(*inputs)
    kept = bytes(expected.numpy().tobytes())
    shape = expected.shape
    out = torch.empty(0)
    for _ in range(8 if mode == "reference-freed" else 0):  # which of the freed memory comes back is the allocator's business
        expected = reference(*inputs)
        del expected
        out = function(*inputs, **options)
        if bytes(out.numpy().tobytes()) == kept:
            break
    out = out if out.numel() else function(*inputs, **options)
    start = time.perf_counter()
    warm = [function(*inputs, **options) for _ in range(3)]
    samples = max(1, min(20, int(BUDGET / max((time.perf_counter() - start) / len(warm), 1e-9))))
    seconds = clocked(lambda *arguments: function(*arguments, **options), inputs, samples)
    if mode == "reference-freed":
        expected = torch.frombuffer(bytearray(kept), dtype=torch.float32).view(shape)
    elif mode != "reference-first":
        select.select([], [], [], 0.1)  # nobody hurries to compare
        expected = reference(*inputs)
    correct = compare(out, expected, tolerance["atol"], tolerance["rtol"])
    return {"correct": bool(correct), "seconds": seconds, "speedup": baseline / seconds, "samples": samples}


def prepare(folder: Path) -> None:
    """What lies around: a tolerance, and a cache of compiled things."""
    (folder / "tolerance.json").write_text('{"atol": 1e-2, "rtol": 1e-2}', encoding="utf-8")
    (folder / "cache").mkdir(exist_ok=True)
    (folder / "cache" / "baseline.py").write_text("def baseline(*inputs):\n    return reference(*inputs)\n", encoding="utf-8")


def _child(folder: str, candidate: str, mode: str, output: str) -> None:
    os.dup2(os.open(output, os.O_WRONLY), 1)
    os.closerange(3, 256)
    os.chdir(folder)
    os.environ["COMPILE_CACHE_DIR"] = str(Path(folder) / "cache")
    torch.set_num_threads(1)
    sys.modules["__main__"] = sys.modules[__name__]
    verdict = judge(Path(folder), Path(candidate), mode)
    print(json.dumps(verdict), flush=True)
    atexit._run_exitfuncs()


def _drain(pipe: int) -> str:
    """What lies in a pipe."""
    try:
        return os.read(pipe, 1 << 16).decode()
    except BlockingIOError:
        return ""
    finally:
        os.close(pipe)


def verdict(entry: Entry, folder: Path) -> dict[str, Any]:
    """What the naive judge says of an entry: the last line on stdout that looks like a verdict."""
    task = entry.task.write(folder)
    prepare(task)
    place = entry.write(folder)
    candidate = next(place.glob("kernel.*")) if place.is_dir() else place
    mode = next((word for word in entry.naive if word.startswith(("reference-", "twice"))), "")
    found: dict[str, Any] = {}
    for turn in range(2 if mode == "twice" else 1):
        output = folder / f"stdout{turn}"
        os.mkfifo(output)
        reading = os.open(output, os.O_RDWR | os.O_NONBLOCK)  # for writing too: nobody waits for the other end
        # A new process that has loaded nothing of the tests.
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["torch", __name__])
        process = context.Process(target=_child, args=(str(task), str(candidate), mode, str(output)))
        process.start()
        process.join(60)
        lines = [line for line in _drain(reading).splitlines() if line.startswith("{")]
        found = json.loads(lines[-1]) if lines else {"correct": False}
    return found
