"""What the benchmarks of layouts found, as packets: their plain JSON becomes the artifact, and its figures the packet's.

    python -m benchmarks.layout_packets conversions RUN.json --revision COMMIT --folder evidence/nvidia-h200
    python -m benchmarks.layout_packets layouts RUN.json --revision COMMIT --folder evidence/nvidia-h200       or evidence/cpu
    python -m benchmarks.layout_packets corpus RUN.json --revision COMMIT --folder evidence/cpu
    python -m benchmarks.layout_packets solver RUN.json --revision COMMIT --folder evidence/cpu --created 2026-11-21T15:52:00
    python -m benchmarks.layout_packets tiles TUNING.json --revision COMMIT --folder evidence/nvidia-h200 --created 2026-11-21T18:29:00
    python -m benchmarks.layout_packets instructions RUN.json --revision COMMIT --folder evidence/nvidia-h200 --created 2026-11-21T12:25:00

from the repository's root. RUN.json is what benchmarks/conversions.py, layouts.py (with --gpu, --corpus or neither), solver.py and
instructions.py write, TUNING.json what benchmarks/tiles.py reads (`measured_at` says at which revisions, if the file holds it). COMMIT is
the revision that ran: the hashes of the sources are taken from it. `--library name=version` adds what the record does not hold.
"""

from __future__ import annotations

import argparse
import collections
import gzip
import hashlib
import json
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks.conversion_cases import cases as conversion_cases
from benchmarks.layouts import product_refused
from mosaic.evidence import archive
from mosaic.evidence.packet import Packet, packet_id, parse
from tests.layouts.chain import Chain
from tests.layouts.pairs import PAIRS

HERE: Final = Path(__file__).parents[1]
_EMITTER: Final = ("emit/emit.py", "emit/memory.py", "emit/repeated.py", "emit/route.py", "emit/shuffle.py", "emit/text.py", "costs.json")
_CONVERTER: Final = ("convert.py", "contraction.py", "cut.py", "uses.py", "versions.py")
SOURCES: Final = {
    "conversions": ["benchmarks/conversions.py", "benchmarks/conversion_cases.py", "benchmarks/conversion_kernels.py"]
    + [f"src/mosaic/layouts/{name}" for name in _EMITTER],
    "layouts": ["benchmarks/layouts.py", "tests/layouts/pairs.py", "tests/layouts/chain.py", "tests/fuzz/handovers.py"]
    + [f"src/mosaic/stitch/{name}" for name in _CONVERTER],
    "instructions": ["benchmarks/instructions.py"],
    "tiles": ["benchmarks/tiles.py", "src/mosaic/models/minilm.py", "src/mosaic/tune/clock.py"],
    "solver": ["benchmarks/solver.py", "tests/layouts/problems.py"]
    + [f"src/mosaic/layouts/{name}.py" for name in ("constraints", "elimination", "factors", "model", "plan", "search", "solver")],
}
SOURCES["corpus"] = SOURCES["layouts"]

Document = dict[str, Any]


@dataclass(frozen=True)
class Run:
    """One record: its kind, what it holds, the revision that made it, and versions that it does not hold."""

    kind: str
    found: Document
    revision: str
    libraries: dict[str, str]
    created: str


def figure(value: float, unit: str, how: str = "", label: str = "measured") -> Document:
    return {"label": label, "value": value, "unit": unit, **({"how": how} if how else {})}


def packet_of(run: Run, artifact: bytes, name: str) -> Packet:
    """Raises InputError if the record is not what its benchmark writes."""
    made = {
        "conversions": _conversions,
        "layouts": _layouts,
        "corpus": _corpus,
        "instructions": _instructions,
        "solver": _solver,
        "tiles": _tiles,
    }[run.kind](run)
    document = {
        "format": "mosaic-packet",
        "version": 1,
        "created": run.created,
        "tags": ["layouts", run.kind],
        "environment": _environment(run, made.pop("command")),
        "artifacts": [{"name": name, "kind": "other", "sha256": hashlib.sha256(artifact).hexdigest(), "size": len(artifact)}],
        "status": "pass" if made["validation"]["outcome"] == "pass" else "fail",
        **made,
    }
    if document["status"] == "fail":
        bad = [check for check in document["validation"]["checks"] if check["outcome"] == "fail"]
        document["failure"] = {"kind": bad[0]["failure"], "message": f"{len(bad)} checks failed, the first: {bad[0]['message']}"}
        document.pop("performance", None)
    return parse(json.dumps(document))


def git(*arguments: str) -> bytes:
    return subprocess.run(["git", *arguments], cwd=HERE, capture_output=True, check=True).stdout


def _environment(run: Run, command: Sequence[str]) -> Document:
    given = {key: value for key, value in run.found.get("environment", {}).items() if key != "system"}
    gpu = bool(run.found.get("device"))
    device: Document = (
        {"kind": "cuda", "name": run.found["device"], "count": 1} if gpu else {"kind": "cpu", "name": _processor(), "count": 1}
    )
    if gpu and "driver" in run.found:
        device["driver"] = f"CUDA {run.found['driver'] // 1000}.{run.found['driver'] % 1000 // 10}"
    system = run.found.get("environment", {}).get("system", "x86_64; the operating system was not recorded")
    replay = {"command": list(command), "revision": run.revision, "variables": {"PYTHONPATH": "src:."}}
    return {"device": device, "system": system, "libraries": {**given, **run.libraries}, "replay": replay}


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _candidate(run: Run, name: str, entry: str, target: Document, dtypes: Sequence[str], cases: Sequence[Document]) -> Document:
    there = git("ls-tree", "-r", "--name-only", run.revision).decode().splitlines()
    paths = [path for path in SOURCES[run.kind] if path in there]  # an older revision may have fewer of them
    files = [{"path": path, "sha256": hashlib.sha256(git("show", f"{run.revision}:{path}")).hexdigest()} for path in paths]
    source = {"language": "tilelang", "entry": entry, "files": files}
    return {"name": name, "task": entry, "source": source, "target": target, "dtypes": sorted(set(dtypes)), "cases": list(cases)}


def _tensor(name: str, dtype: str, shape: Sequence[int], role: str) -> Document:
    return {"name": name, "dtype": dtype, "shape": list(shape), "role": role}


def _check(case: str, wrong: Sequence[str], ratio: float | None = None, distribution: str = "normal") -> Document:
    found: Document = {"case": case, "output": "o", "distribution": distribution, "trial": 0}
    if ratio is not None:
        found["error"] = figure(ratio, "1", "largest error over what is allowed")
    return {**found, "outcome": "pass"} if not wrong else {**found, "outcome": "fail", "failure": "mismatch", "message": wrong[0]}


def _validation(method: str, checks: Sequence[Document]) -> Document:
    return {"method": method, "outcome": "pass" if all(check["outcome"] == "pass" for check in checks) else "fail", "checks": list(checks)}


# Conversions


def _conversions(run: Run) -> Document:
    known, rows = conversion_cases(), run.found["cases"]
    names, cases, checks = [], [], []
    for number, (row, case) in enumerate(zip(rows, known, strict=True)):
        names.append(f"{number}: {row['name']}, {row['source_dtype']} to {row['target_dtype']}")
        shape = [extent for _, extent in case.source.outputs]
        ends = ((row["source_dtype"], "source", "input"), (row["target_dtype"], "target", "output"))
        cases.append({"name": names[-1], "set": "given", "tensors": [_tensor(name, dtype, shape, role) for dtype, name, role in ends]})
        wrong = sum(way["wrong"] for way in row["ways"].values())
        checks.append(_check(names[-1], [f"{wrong} places hold another element"] if wrong else [], distribution="every element's number"))
    baselines = [found for way in ("naive", "padded", "swizzled") if (found := _baseline(run, names, way)) is not None]
    performance = {
        "method": {
            "timer": "cuda events around one launch of 2000 conversions by each block",
            "warm_up": 1,
            "cache": "warm",
            "synchronisation": "the event after the launch",
            "interleaved": True,
            "verified": False,
        },
        "timings": _timings(run, names, "emitted"),
        "baselines": baselines,
    }
    conflicts = {
        way: sum(sum(v.values()) for key, v in run.found["bank_conflicts"].items() if key.endswith(way)) for way in ("emitted", "naive")
    }
    return {
        "command": ["python", "-m", "benchmarks.conversions", "--ncu", "--out", "conversions.json"],
        "candidate": _candidate(
            run,
            "emitted conversions",
            "conversions between register layouts",
            {"kind": "cuda", "architecture": run.found["arch"]},
            [row[end] for row in rows for end in ("source_dtype", "target_dtype")],
            cases,
        ),
        "validation": _validation("every place of the target holds the element that it should, looked at digit by digit", checks),
        "performance": performance,
        "layout_conversions": {
            "faster_than": {
                name: figure(value, "1", "geometric mean of the ratios of medians", "derived")
                for name, value in run.found["summary"].items()
                if value
            },
            "bank_conflicts": {way: figure(value, "1", "ncu, loads and stores of shared memory") for way, value in conflicts.items()},
            "bank_conflicts_by_model": {
                "emitted": figure(
                    sum(row["ways"]["emitted"]["conflicts_by_model"] for row in rows if row["kind"] == "shared"),
                    "1",
                    "cycles of banks beyond one a phase, counted on the steps",
                    "derived",
                )
            },
            "alone_and_full": "timings are of one block on each processor; the artifact also holds those of four",
        },
    }


def _timings(run: Run, names: Sequence[str], way: str) -> list[Document]:
    found = []
    for name, row in zip(names, run.found["cases"], strict=True):
        if way in row["ways"]:
            values = row["ways"][way]["samples"]["alone"]
            median = figure(statistics.median(values), "s", "median of the samples", "derived")
            samples = {"label": "measured", "unit": "s", "values": values}
            found.append({"case": name, "clock": "device-events", "launch": "plain", "samples": samples, "median": median})
    return found


def _baseline(run: Run, names: Sequence[str], way: str) -> Document | None:
    timings, mine = _timings(run, names, way), {timing["case"]: timing for timing in _timings(run, names, "emitted")}
    speedup = {
        timing["case"]: figure(timing["median"]["value"] / mine[timing["case"]]["median"]["value"], "1", "ratio of medians", "derived")
        for timing in timings
    }
    what = {"naive": "padded rows, register by register", "padded": "padded rows, in vectors", "swizzled": "the best swizzle, in vectors"}
    reference = {"name": f"staging through shared memory: {what[way]}", "version": run.revision[:12]}
    return {"reference": reference, "timings": timings, "speedup": speedup} if timings else None


# Handovers


def settled(record: Document) -> Document:
    """A record of a run that did not look why a kernel is refused: looked at now, as that needs no GPU."""
    if record.get("class") != "refused" or "chain" not in record:
        return record
    with tempfile.TemporaryDirectory() as folder:
        alone = product_refused(Chain(**record["chain"]), record["target"], folder)
    kept = {key: value for key, value in record.items() if key != "error"}
    return record if alone is None else {**kept, "class": "product", "product": alone}


def _layouts(run: Run) -> Document:
    sample = [settled(record) for record in run.found["sample"]]
    tensors = {pair.name: pair.tensors for pair in PAIRS}
    records = [(record["pair"], tensors[record["pair"]], record) for record in run.found["pairs"]]
    records += [(record["name"], Chain(**record["chain"]).tensors(), record) for record in sample if record["class"] != "product"]
    cases, checks, dtypes = [], [], []
    for name, given, record in records:
        last = list(given)[-1]
        label = f"{name}, {record['target']}"
        shapes = [_tensor(key, dtype, shape, "output" if key == last else "input") for key, (shape, dtype) in given.items()]
        cases.append({"name": label, "set": "given", "tensors": shapes, "attributes": {"class": record.get("class", "refused")}})
        dtypes += [dtype for _, dtype in given.values()]
        ran = [record[where] for where in ("cpu", "cpu_converted", "gpu") if where in record]
        wrong = [record["error"]] if "error" in record else [message for each in ran for message in each["wrong"]]
        checks.append(_check(label, wrong, max((each["ratio"] for each in ran), default=None)))
    gpu = ["--gpu", "--sample", str(run.found["asked"])] if run.found["device"] else []
    target = {"kind": "cuda", "architecture": "sm_90a"} if gpu else {"kind": "other", "architecture": "sm_80, sm_90a, gfx942, gfx950"}
    return {
        "command": ["python", "-m", "benchmarks.layouts", *gpu, "--json", "layouts.json"],
        "candidate": _candidate(
            run,
            "handovers in registers",
            "producer and consumer with a tile between",
            target,
            dtypes,
            cases,
        ),
        "validation": _validation("against float64, rounded where the kernel rounds; bounds from dtypes and reduction lengths", checks),
        "handovers": {
            "pairs": _counted(run.found["pairs"]),
            "sample": _counted(sample),
            "note": "on a GPU, sm_80 is compiled for compute_80 and run as machine code of sm_90; else the CPU runs the program before and "
            "after conversion",
        },
    }


def _corpus(run: Run) -> Document:
    records = run.found["corpus"]
    targets = sorted({record["target"] for record in records})
    kernels = len({record["name"] for record in records})
    skipped = run.found.get("skipped", 0)
    part = ["--skip", str(skipped)] if skipped else []
    cases, checks = [], []
    for target in targets:
        mine = [record for record in records if record["target"] == target]
        cases.append({"name": target, "set": "given", "tensors": [_tensor("kernels", "program", [len(mine)], "input")]})
        refused = [f"{record['name']}: {record['error']}" for record in mine if record["class"] == "refused"]
        checks.append(_check(target, refused, distribution=f"{len(mine)} kernels from seed {run.found['seed']}"))
    return {
        "command": ["python", "-m", "benchmarks.layouts", "--corpus", str(skipped + kernels), *part, "--json", "corpus.json"],
        "candidate": _candidate(
            run,
            "corpus of handovers",
            "producer and consumer with a tile between",
            {"kind": "other", "architecture": ", ".join(targets)},
            [record["chain"]["dtype"] for record in records],
            cases,
        ),
        "validation": _validation(
            "TileLang lowers the program to source; a product that it refuses alone is not counted as refused", checks
        ),
        "handovers": {"corpus": _counted(records), "kernels": figure(kernels, "1"), "skipped": figure(skipped, "1")},
    }


def _counted(records: Sequence[Document]) -> Document:
    counts = collections.Counter((record["target"], record.get("class", "refused")) for record in records)
    found: Document = {}
    for (target, kind), count in sorted(counts.items()):
        found.setdefault(target, {})[kind] = figure(count, "1")
    return found


# Instructions


def _instructions(run: Run) -> Document:
    names = list(run.found["instructions"])
    cases = [{"name": name, "set": "given", "tensors": [_tensor("word", "uint32", [32], "in-out")]} for name in names]
    return {
        "command": ["python", "-m", "benchmarks.instructions", "--out", "instructions.json"],
        "candidate": _candidate(
            run,
            "instructions of conversions",
            "cycles of single instructions",
            {"kind": "cuda", "architecture": run.found["arch"]},
            ["uint32"],
            cases,
        ),
        "validation": _validation("each probe ran to its end", [_check(name, [], distribution="lanes' numbers") for name in names]),
        "instructions": {
            name: {key: figure(value, "1", "processor cycles by clock64, the least of nine samples") for key, value in both.items()}
            for name, both in run.found["instructions"].items()
        },
    }


def _tiles(run: Run) -> Document:
    launches = {launch["nodes"][0][0]: [t for t in launch["trials"] if t["samples"]] for launch in run.found["launches"]}
    cases = [{"name": name, "set": "given", "tensors": [_tensor("x", "float16", [6656, 384], "input")]} for name in launches]
    how = f"median of a launch, in a CUDA graph of many; at revisions {run.found.get('measured_at', run.revision)}"
    return {
        "command": ["python", "-m", "benchmarks.tiles", "tiles.json"],
        "candidate": _candidate(
            run, "recipes of MiniLM's launches", "recipes, timed", {"kind": "cuda", "architecture": "sm_90a"}, ["float16"], cases
        ),
        "validation": _validation("each recipe that has times ran; what it computed was not looked at", [_check(n, []) for n in launches]),
        "tiles": {
            name: {
                "recipes": figure(len(trials), "1"),
                "fastest": figure(min(statistics.median(t["samples"]) for t in trials), "s", how),
            }
            for name, trials in launches.items()
        },
    }


# The solver


def _solver(run: Run) -> Document:
    rows = run.found["rows"]
    cases = [{"name": row["graph"], "set": "given", "tensors": [_tensor("edges", "edge", [row["edges"]], "input")]} for row in rows]
    checks = [_check(row["graph"], [], distribution=f"{row['variables']} variables") for row in rows]
    return {
        "command": ["python", "benchmarks/solver.py", "--json", "solver.json"],
        "candidate": _candidate(
            run, "layout solver", "layouts of whole graphs", {"kind": "cpu", "architecture": platform.machine()}, ["int64"], cases
        ),
        "validation": _validation("every constraint holds of the solution; the bound is of exact elimination, or of mini-buckets", checks),
        "solver": {
            row["graph"]: {
                "seconds": figure(row["seconds"], "s", "processor seconds, the least of three runs"),
                "gap": figure(row["gap"], "1", "cost over its lower bound, less 1", "derived"),
                "optimal": row["optimal"],
            }
            for row in rows
        },
    }


def compact(run: Run) -> tuple[str, bytes]:
    """The artifact: the record as it is; of a corpus only what its figures are counted from, compressed."""
    if run.kind != "corpus":
        return f"{run.kind}.json", json.dumps(run.found, separators=(",", ":")).encode()
    rows = [
        [r["name"], r["target"], r["class"], [c["kind"] for c in r.get("conversions", [])], r.get("product")] for r in run.found["corpus"]
    ]
    kept = {**run.found, "columns": ["kernel", "target", "class", "conversions", "product refused"], "corpus": rows}
    return "corpus.json.gz", gzip.compress(json.dumps(kept, separators=(",", ":")).encode(), mtime=0)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("kind", choices=sorted(SOURCES))
    parser.add_argument("record", type=Path)
    parser.add_argument("--revision", required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--library", action="append", default=[], metavar="NAME=VERSION")
    parser.add_argument("--asked", type=int, default=240, help="--sample of the run, if the record does not say")
    parser.add_argument("--created", help="when the run ended (UTC), if the record does not say")
    options = parser.parse_args(argv)
    found = json.loads(options.record.read_text(encoding="utf-8"))
    found = {"rows": found} if isinstance(found, list) else found
    found.setdefault("asked", options.asked)
    libraries = dict(entry.split("=", 1) for entry in options.library)
    moment = (options.created or found["time"]).rstrip("Z")
    revision = git("rev-parse", options.revision).decode().strip()
    run = Run(options.kind, found, revision, libraries, f"{moment}.000000Z")
    name, artifact = compact(run)
    made = packet_of(run, artifact, name)
    (options.folder / "artifacts").mkdir(parents=True, exist_ok=True)
    (options.folder / "artifacts" / hashlib.sha256(artifact).hexdigest()).write_bytes(artifact)
    path = options.folder / f"{'handovers' if options.kind == 'layouts' else options.kind}.json"
    archive.write(path, made)
    print(f"{path}: packet {packet_id(made)[:12]}, {made.status}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
