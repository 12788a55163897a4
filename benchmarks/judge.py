"""The judge on itself: what it costs, how little it can tell apart on this machine, how its clocks agree, how large its ledger may grow.

    python benchmarks/judge.py                      overhead, A/A noise, roofs; on a GPU plain and graph launches, flushed and warm, too
    python benchmarks/judge.py --device cpu --ledger-packets 100000 --appends 10000
    python benchmarks/judge.py --out evidence/nvidia-h200/judge.json --ledger evidence/nvidia-h200/judge.ledger

Every judgement's packet goes into the ledger, with a profile for each level that can be had. Programs are PyTorch's own: what is measured
here is the judge.

Known limitations: the noise is that of this run, beside whatever else the machine does; the ledger's figures are of this disk; the
counters need the right to read them, and the profile says so where that is missing.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import torch

from mosaic.evidence import Ledger, Packet, PassPacket, parse, seal
from mosaic.harness.counters import counters
from mosaic.harness.environment import conditions, describe, versions
from mosaic.harness.judge import judge_with_artifacts
from mosaic.harness.measure import Measured, measure
from mosaic.harness.profile import Profile, framework
from mosaic.harness.rates import rates
from mosaic.harness.roofline import floor, sol_score
from mosaic.harness.timed_sample import Cache, Launch
from mosaic.harness.trusted_run import Rounds, TrustedRun
from mosaic.harness.work import work_of

REFERENCE: Final = "def reference(a, b):\n    return a @ b\n"
CANDIDATES: Final = {
    "same": "import torch\n\n\ndef product(a, b):\n    return torch.matmul(a, b)\n",
    "in halves": "import torch\n\n\ndef product(a, b):\n    half = a.shape[0] // 2\n    return torch.cat((a[:half] @ b, a[half:] @ b))\n",
}
PARTS: Final = ("packet", "roofs", "judgements", "clocks", "profiles")
Program = tuple[Callable[..., object], Callable[[torch.Generator], tuple[torch.Tensor, ...]]]


def programs(device: str) -> dict[str, Program]:
    """Programs of a library, each with what draws its inputs: one limited by memory, one by products, one by its launch."""
    large, dtype = (1 << 24, torch.float16) if device == "cuda" else (1 << 20, torch.float32)
    size = 4096 if device == "cuda" else 256

    def pair(generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        where = generator.device
        a, b = (torch.randn(size, size, generator=generator, device=where).to(dtype) for _ in range(2))
        return a, b

    def vector(count: int) -> Callable[[torch.Generator], tuple[torch.Tensor]]:
        return lambda generator: (torch.randn(count, generator=generator, device=generator.device).to(dtype),)

    return {
        f"product {size}": (lambda a, b: a @ b, pair),
        f"sum with itself {large}": (lambda x: x + x, vector(large)),
        "sum with itself 4096": (lambda x: x + x, vector(4096)),
    }


def timed(name: str, program: Program, device: str, cache: Cache, launch: Launch, rounds: int) -> Measured:
    """A program beside itself, thrice: candidate, baseline and noise are the same."""
    run, draw = program
    own = TrustedRun(name, run, draw, device=device, cache=cache, launch=launch)
    work = work_of(run, draw(torch.Generator().manual_seed(0)))
    roof = floor(work, rates(device, tuple(work.products)), cache=cache)
    return measure(own, own.again(), own.again(), name, Rounds(rounds, 3, cache), roof, device=device, probe=False)


def clocks(device: str, rounds: int) -> list[dict[str, Any]]:
    """Each program in each way to start it and each state of the cache: medians by every clock, noise, roof."""
    launches: tuple[Launch, ...] = ("plain", "graph-replay") if device == "cuda" else ("call",)
    states: tuple[Cache, ...] = ("flushed", "warm", "persisting") if device == "cuda" else ("uncontrolled", "warm")
    rows = []
    for name, program in programs(device).items():
        for launch in launches:
            for cache in states:
                found = timed(name, program, device, cache, launch, rounds)
                assert found.noise is not None
                row = {
                    "program": name,
                    "launch": launch,
                    "cache": cache,
                    "us": {timing.clock: timing.median.value * 1e6 for timing in found.timings},
                    "interval_us": [end * 1e6 for end in found.timings[0].median.interval or ()],
                    "a_a_ratio": found.noise.value,
                    "a_a_floor": found.noise.farthest - 1,
                    "verdict": found.verdict,
                    "invalid": [one.message for one in found.invalid],
                    "roof_us": found.roof.time.value * 1e6 if found.roof else None,
                    "roof_limit": found.roof.limit if found.roof else None,
                    "roof_fraction": found.roof.fraction.value if found.roof else None,
                }
                rows.append(row)
                print("  " + "; ".join(f"{key} {_short(value)}" for key, value in row.items() if value not in (None, [])), flush=True)
    return rows


def _short(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {number:.4g}" for key, number in value.items())
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def write_task(folder: Path, size: int, dtype: str, timing: dict[str, Any]) -> dict[str, Path]:
    """A product as a task, a workload and candidates, in files."""
    task = folder / "task"
    task.mkdir(parents=True)
    symbols = {name: {"min": 16, "max": size, "multiple": 2 if name == "M" else 1} for name in "MNK"}
    roles = {"a": {"shape": ["M", "K"], "dtype": dtype}, "b": {"shape": ["K", "N"], "dtype": dtype}}
    definition = {"format": "mosaic-task", "version": 1, "name": "product", "symbols": symbols, "inputs": roles,
                  "outputs": {"c": {"shape": ["M", "N"], "dtype": dtype}},
                  "reference": {"file": "reference.py", "function": "reference"}}  # fmt: skip
    (task / "definition.json").write_text(json.dumps(definition))
    (task / "reference.py").write_text(REFERENCE)
    cases = [{"name": "given", "set": "given", "symbols": dict.fromkeys("MNK", size)},
             {"name": "odd", "set": "odd", "symbols": {"M": 62, "N": 37, "K": 93}}]  # fmt: skip
    suite = {"hidden": 1, "distributions": ["normal", "integers"], "trials": 1, "initialisations": 1}
    workload = {"format": "mosaic-workload", "version": 1, "cases": cases, **suite, "timing": {"cases": ["given"], **timing}}
    (folder / "workload.json").write_text(json.dumps(workload))
    paths = {"task": task, "workload": folder / "workload.json"}
    for name, text in CANDIDATES.items():
        paths[name] = folder / f"{name.replace(' ', '_')}.py"
        paths[name].write_text(text)
    return paths


def judgements(device: str, ledger: Ledger, folder: Path) -> list[dict[str, Any]]:
    """Judge each candidate in each way of timing: seconds of the whole, the candidate's share, and what it found."""
    size, dtype = (2048, "float16") if device == "cuda" else (192, "float32")
    ways = [("flushed", "plain"), ("warm", "plain"), ("flushed", "graph-replay")] if device == "cuda" else [("warm", "plain")]
    rows = []
    for cache, launch in ways:
        paths = write_task(folder / f"{cache}-{launch}", size, dtype, {"samples": 12, "warm_up": 2, "cache": cache, "launch": launch})
        for name in CANDIDATES if (cache, launch) == ways[0] else ["same"]:
            start = time.perf_counter()
            packet, contents = judge_with_artifacts(paths["task"], paths[name], paths["workload"], device=device)
            seconds = time.perf_counter() - start
            ledger.append(packet, contents.values())
            row = {"candidate": name, "cache": cache, "launch": launch, "seconds": seconds, "status": packet.status, **_told(packet)}
            rows.append(row)
            print("  " + "; ".join(f"{key} {_short(value)}" for key, value in row.items()), flush=True)
    return rows


def _told(packet: Packet) -> dict[str, Any]:
    """The judge's own figures of a packet, and its speedup or why it has none."""
    document = packet.document()
    judged: dict[str, Any] = document.get("judge", {}).get("overhead", document.get("judge", {}))
    told: dict[str, Any] = {key: judged[key]["value"] for key in ("total", "candidate", "overhead") if isinstance(judged.get(key), dict)}
    if isinstance(packet, PassPacket) and packet.performance is not None and packet.performance.baselines:
        told["speedup"] = next(iter(packet.performance.baselines[0].speedup.values())).value
    return told | {key: str(document[key])[:300] for key in ("failure", "error", "reason") if key in document}


PACKET: Final = """
import json, sys, tempfile, time
from pathlib import Path
from mosaic.cli import smoke
from mosaic.harness.judge import judge
folder = Path(tempfile.mkdtemp())
files = {"task/definition.json": smoke.DEFINITION, "task/workload.json": smoke.WORKLOAD, "task/reference.py": smoke.REFERENCE}
for name, text in {**files, "right.py": smoke.RIGHT}.items():
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text(text)
seconds = []
for _ in range(6):
    start = time.perf_counter()
    packet = judge(folder / "task", folder / "right.py", device="cpu")
    seconds.append(time.perf_counter() - start)
told = packet.document()["judge"]
waited = {key: told[key]["value"] for key in ("total", "candidate", "overhead")}
print(json.dumps({"first": seconds[0], "after": seconds[1:], "checks": len(packet.validation.checks), "last": waited}))
"""


def packet_seconds() -> dict[str, Any]:
    """Seconds of a timed packet on the CPU (`mosaic smoke`'s product): the first of a process, with what it starts, and the next five."""
    done = subprocess.run([sys.executable, "-c", PACKET], check=True, capture_output=True, text=True)
    told: dict[str, Any] = json.loads(done.stdout)
    print(f"  first {told['first']:.2f} s, then {', '.join(f'{one:.2f}' for one in told['after'])} s; {told['checks']} checks")
    return told


def profiles(device: str, ledger: Ledger) -> list[dict[str, Any]]:
    """A profile for each level that this room can take, kept with a packet of the ledger."""
    run, draw = next(iter(programs(device).values()))
    inputs = [tensor.to(device) for tensor in draw(torch.Generator().manual_seed(0))]
    taken: list[Profile] = [framework(lambda: run(*inputs), device=device)]
    if device == "cuda":
        program = "import torch; a = torch.ones(4096, 4096, device='cuda').half(); (a @ a, torch.cuda.synchronize())"
        taken.append(counters([sys.executable, "-c", program], kernel="gemm|nvjet|cutlass", launches=1))
    pairs = [pair for profile in taken if (pair := profile.artifact("product")) is not None]
    judged = ledger.find(limit=1)
    if judged and pairs:
        packet = ledger.get(judged[0].id)
        more = (*(packet.artifacts or ()), *(artifact for artifact, _ in pairs))
        extended = packet.model_copy(update={"artifacts": more, "tags": ("profiled",)})
        ledger.append(extended, [content for _, content in pairs], partial=True)
    return [{"level": p.level, "missing": p.missing, "rows": [dict(row) for row in p.rows[:3]]} for p in taken]


def roofs(device: str) -> dict[str, Any]:
    """Rates of this device and how long they took to measure, and the score of one program against another twice as slow."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        found = rates(device, cache=Path(folder))
        seconds = time.perf_counter() - start
    name, (run, draw) = next(iter(programs(device).items()))
    work = work_of(run, draw(torch.Generator().manual_seed(0)))
    roof = floor(work, rates(device), cache="uncontrolled")
    assert roof is not None
    return {
        "seconds": seconds,
        "copies": {size: rate.best for size, rate in found.copies.items()},
        "products": {dtype: rate.best for dtype, rate in found.products.items()},
        "program": name,
        "roof_us": roof.seconds * 1e6,
        "impossible_below_us": roof.least * 1e6,
        "score_halfway": sol_score(1.5 * roof.seconds, 2 * roof.seconds, roof),
    }


def lean(packet: Packet) -> Packet:
    """A packet of a few kilobytes: without the files of its run, and with its first checks only."""
    document = {key: value for key, value in packet.document().items() if key not in ("bundle", "judge", "artifacts", "security")}
    document["validation"]["checks"] = document["validation"]["checks"][:2]
    return parse(json.dumps(document).encode())


def listing(packet: Packet, folder: Path, count: int) -> dict[str, Any]:
    """Seconds of queries on so many packets."""
    with Ledger(folder / "many.ledger") as ledger:
        moments = (f"2026-{1 + i % 12:02}-{1 + i // 12 % 28:02}T00:00:00.{i % 10**6:06}Z" for i in range(count))
        copies = (packet.model_copy(update={"created": m, "tags": (f"night-{i % 1000}",)}) for i, m in enumerate(moments))
        start = time.perf_counter()
        ledger.extend(((copy, ()) for copy in copies), partial=True)
        filled = time.perf_counter() - start
        queries: list[dict[str, Any]] = [{}, {"status": packet.status}, {"tags": ["night-7"]}, {"since": "2026-06", "until": "2026-07"},
                                         {"device": packet.environment.device.name, "limit": 100}]  # fmt: skip
        seconds = {}
        for query in queries:
            start = time.perf_counter()
            ledger.find(**query)
            seconds[json.dumps(query)] = time.perf_counter() - start
        return {
            "packets": len(ledger),
            "bytes_each": len(seal(packet)),
            "filled_in": filled,
            "slowest_query": max(seconds.values()),
            "queries": seconds,
        }


WRITER: Final = """
import sys
from mosaic.evidence import Ledger, parse
path, template, writer, count, done = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), sys.argv[5]
packet = parse(open(template, "rb").read())
written = sum(1 for _ in open(done)) if __import__("os").path.exists(done) else 0
with Ledger(path) as ledger, open(done, "a") as log:
    for i in range(written, count):
        name = ledger.append(packet.model_copy(update={"tags": (f"writer-{writer}", f"{writer}:{i}")}), partial=True)
        log.write(f"{name}\\n")
        log.flush()
"""


def writers(packet: Packet, folder: Path, appends: int, number: int = 4) -> dict[str, Any]:
    """Several processes append at once and are killed at random moments: whether all that returned is there, and nothing torn."""
    (folder / "template.json").write_bytes(seal(packet))
    draw, kills, start = random.Random(0), 0, time.perf_counter()
    each, logs = appends // number, [folder / f"done-{i}" for i in range(number)]

    def begin(i: int) -> subprocess.Popen[bytes]:
        arguments = [str(folder / "shared.ledger"), str(folder / "template.json"), str(i), str(each), str(logs[i])]
        return subprocess.Popen([sys.executable, "-c", WRITER, *arguments])

    running = {i: begin(i) for i in range(number)}
    while running:
        time.sleep(draw.uniform(0.5, 2.0))
        for i, process in list(running.items()):
            if process.poll() == 0:
                del running[i]
            elif process.poll() is not None:
                running[i] = begin(i)
        if running and draw.random() < 0.7:
            victim = draw.choice(sorted(running))
            os.kill(running[victim].pid, signal.SIGKILL)
            running[victim].wait()
            kills += 1
            running[victim] = begin(victim)
    seconds = time.perf_counter() - start
    acknowledged = {line for log in logs for line in log.read_text().split()}
    with Ledger(folder / "shared.ledger") as ledger:
        present = {row.id for row in ledger.find()}
        return {
            "appends": len(present),
            "kills": kills,
            "seconds": seconds,
            "lost": len(acknowledged - present),
            "problems": ledger.verify(),
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument(
        "--ledger-packets", type=int, default=0, help="packets of a ledger that is listed and filtered; 100000 take a minute"
    )
    parser.add_argument("--appends", type=int, default=0, help="appends by four writers that are killed; 10000 take minutes")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, help="some parts of it")
    parser.add_argument("--out", type=Path, help="write the figures here, as JSON")
    parser.add_argument("--ledger", type=Path, help="keep the packets here")
    arguments = parser.parse_args()
    device: str = arguments.device
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        with Ledger(arguments.ledger or folder / "judge.ledger") as ledger:
            found = {"device": describe(device).document(), "libraries": versions(), "before": _document(conditions(device))}
            parts: dict[str, Callable[[], Any]] = {
                "packet": packet_seconds,
                "roofs": lambda: roofs(device),
                "judgements": lambda: judgements(device, ledger, folder),
                "clocks": lambda: clocks(device, arguments.rounds),
                "profiles": lambda: profiles(device, ledger),
            }
            for name in PARTS:
                if name in arguments.only:
                    print(name, flush=True)
                    found[name] = parts[name]()
                    _write(arguments.out, found)
            print(f"rates: {json.dumps(found.get('roofs'))}")
            print(f"profiles: {[(one['level'], one['missing']) for one in found.get('profiles', ())]}")
            if arguments.ledger_packets or arguments.appends:
                packet = lean(ledger.get(ledger.find(limit=1)[0].id))
            if arguments.ledger_packets:
                found["listing"] = listing(packet, folder, arguments.ledger_packets)
                print(f"listing: {found['listing']}")
            if arguments.appends:
                found["writers"] = writers(packet, folder, arguments.appends)
                print(f"writers: {found['writers']}")
            found["after"] = _document(conditions(device))
    if noise := [row["a_a_floor"] for row in found.get("clocks", ())]:
        print(f"A/A floor: median {statistics.median(noise):.2%}, worst {max(noise):.2%}")
    _write(arguments.out, found)


def _write(path: Path | None, found: dict[str, Any]) -> None:
    if path is not None:
        path.write_text(json.dumps(found, indent=1) + "\n")


def _document(record: Any) -> Any:
    return None if record is None else record.document()


if __name__ == "__main__":
    main()
