"""MiniLM fused against unfused, on the CPU or on this machine's GPU: kernels, bytes, error, cosines, time.

    python benchmarks/minilm.py                          the real model on the default target
    python benchmarks/minilm.py --target cpu --batch 8 --sequence 128 --out evidence/cpu/minilm.json

Both programs are built from the same shipped kernels, each with the tunables that the plan's cost model likes best. They run in
turn, A B A B; the figure is the geometric mean of the ratios of neighbours. On a GPU a run is one replay of a CUDA graph, timed
with device events; so are the Hugging Face model's, eager and compiled by PyTorch.

Known limitations: one shape a run; the clocks are not fixed; the level-2 cache is warm in all of them, as it is between the
batches of a server; the compiled baseline is PyTorch's default mode inside a CUDA graph, not tuned to this model.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from mosaic.graph.graph import Graph
from mosaic.models.encode import encode
from mosaic.models.minilm import minilm
from mosaic.models.sentences import SENTENCES, nearest
from mosaic.pipeline import Fused, fuse

Run = Callable[[], Any]


def clock_cpu(run: Run) -> float:
    """Seconds of one run by the host's clock."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def as_cuda_graph(run: Run) -> Run:
    """A replay of everything that `run` queues."""
    stream: Any = torch.cuda.Stream()  # type: ignore[no-untyped-call]  # PyTorch's has no types
    with torch.cuda.stream(stream):
        for _ in range(3):
            run()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        run()
    return graph.replay


def clock_gpu(replay: Run, repeats: int = 20) -> float:
    """Seconds of one replay, by device events around `repeats` of them."""
    event: Any = torch.cuda.Event
    start, end = event(enable_timing=True), event(enable_timing=True)
    start.record()
    for _ in range(repeats):
        replay()
    end.record()
    end.synchronize()
    return float(start.elapsed_time(end)) / 1e3 / repeats


def paired(runs: dict[str, Run], clock: Callable[[Run], float], rounds: int) -> dict[str, list[float]]:
    """Every sample of each run, taken in turn."""
    samples: dict[str, list[float]] = {name: [] for name in runs}
    for run in runs.values():
        run()
    for _ in range(rounds):
        for name, run in runs.items():
            samples[name].append(clock(run))
    return samples


def hugging_face(package_dir: str | None, inputs: dict[str, torch.Tensor], device: str) -> Run | None:
    """The original model in half precision on the same batch; None where transformers is not installed."""
    try:
        from transformers import AutoConfig, AutoModel
    except ImportError:
        return None
    from safetensors.torch import load_file

    from mosaic.models.checkpoint import find_folder

    folder = find_folder(package_dir)
    config = AutoConfig.from_pretrained(str(folder), local_files_only=True)
    model = AutoModel.from_config(config)
    model.load_state_dict(load_file(str(folder / "model.safetensors")), strict=False)
    model = model.half().eval().to(device)
    ids, mask = inputs["input_ids"].long(), inputs["attention_mask"]

    def run() -> torch.Tensor:
        with torch.no_grad():
            hidden = model(input_ids=ids, attention_mask=mask).last_hidden_state
            weight = mask.unsqueeze(-1).to(hidden.dtype)
            return torch.nn.functional.normalize((hidden * weight).sum(1) / weight.sum(1), dim=-1)

    run.model = model  # type: ignore[attr-defined]
    return run


def truth(reference: str | None, package_dir: str | None) -> torch.Tensor:
    """The original model's embeddings in float64: from a file, or computed."""
    if reference is not None:
        stored: torch.Tensor = torch.load(reference)["embeddings"]
        return stored.double()
    from mosaic.models.reference import reference_embeddings

    return reference_embeddings(SENTENCES, package_dir=package_dir).double()


def quality(found: torch.Tensor, wanted: torch.Tensor) -> dict[str, Any]:
    found = found.double().cpu()
    cosines = torch.nn.functional.cosine_similarity(found, wanted, dim=-1)
    return {
        "sentences": len(wanted),
        "smallest_cosine": float(cosines.min()),
        "at_least_0.9999": int((cosines >= 0.9999).sum()),
        "largest_error": float((found - wanted).abs().max()),
        "nearest_unchanged": bool(torch.equal(nearest(found, 3), nearest(wanted, 3))),
    }


def launches(program: Fused, inputs: dict[str, torch.Tensor], *, on_gpu: bool) -> list[dict[str, Any]]:
    """Each distinct launch alone, with its model cost: what the plan believes against what is."""
    assert program.program is not None
    rows = []
    seen: set[int] = set()
    for step, launch in zip(program.program.steps(inputs), program.plan.launches, strict=True):
        if id(step.kernel) in seen:
            continue
        seen.add(id(step.kernel))
        run = step.run
        seconds = statistics.median(clock_gpu(as_cuda_graph(run)) if on_gpu else clock_cpu(run) for _ in range(3))
        cost = launch.cost
        rows.append(
            {
                "name": launch.name,
                "blocks": cost.blocks,
                "threads": launch.program.thread_count,
                "model_us": cost.seconds * 1e6,
                "us": seconds * 1e6,
            }
        )
    return rows


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    say = (lambda text: print(text, file=sys.stderr, flush=True)) if arguments.verbose else (lambda _: None)
    sentences = SENTENCES[: arguments.batch] if arguments.batch else SENTENCES
    encoded = encode(sentences, length=arguments.sequence, package_dir=arguments.package_dir)
    batch, sequence = encoded["input_ids"].shape
    graph: Graph = minilm(batch, sequence, package_dir=arguments.package_dir)
    ranges = {"input_ids": (0.0, 30521.0), "attention_mask": (0.0, 1.0)}
    start = time.perf_counter()
    fused = fuse(graph, arguments.target, check=not arguments.no_check, ranges=ranges, progress=say)
    planned = time.perf_counter() - start
    unfused = fuse(graph, arguments.target, fuse=False, check=False, progress=say)
    on_gpu = fused.target.kind != "cpu"
    device = "cuda" if on_gpu else "cpu"
    inputs = {name: tensor.to(device) for name, tensor in encoded.items()}
    wanted = truth(arguments.reference, arguments.package_dir)[:batch]
    output = graph.outputs[0]
    runs: dict[str, Run] = {"fused": lambda: fused.run(inputs), "unfused": lambda: unfused.run(inputs)}
    record: dict[str, Any] = {
        "shape": {"batch": batch, "sequence": sequence},
        "kernels": {"unfused": graph.kernel_count, "fused": fused.kernel_count},
        "bytes_between": {"unfused": graph.bytes_between(), "fused": fused.plan.bytes_between()},
        "seconds_to_fuse_and_check": planned,
        "refused": [[name, str(refusal)] for name, refusal in fused.refused],
        "checks": {name: report.status for name, report in fused.reports.items()},
        "quality": {name: quality(run()[output], wanted) for name, run in runs.items()},
        "launches": launches(fused, inputs, on_gpu=on_gpu) if arguments.launches else [],
    }
    if on_gpu and (original := hugging_face(arguments.package_dir, inputs, device)) is not None:
        record["quality"]["hugging_face_half"] = quality(original(), wanted)
        runs["hugging_face_eager"] = original
        compiled = torch.compile(original.model)  # type: ignore[attr-defined]
        original_model = original.model  # type: ignore[attr-defined]
        del original_model
        ids, mask = inputs["input_ids"].long(), inputs["attention_mask"]

        def run_compiled() -> torch.Tensor:
            with torch.no_grad():
                hidden = compiled(input_ids=ids, attention_mask=mask).last_hidden_state
                weight = mask.unsqueeze(-1).to(hidden.dtype)
                return torch.nn.functional.normalize((hidden * weight).sum(1) / weight.sum(1), dim=-1)

        runs["hugging_face_compiled"] = run_compiled
    if on_gpu:
        runs = {name: as_cuda_graph(run) for name, run in runs.items()}
    samples = paired(runs, clock_gpu if on_gpu else clock_cpu, arguments.rounds)
    record["samples_seconds"] = samples
    record["speedup_over"] = {
        name: math.exp(statistics.fmean(math.log(b / a) for a, b in zip(samples["fused"], mine, strict=True)))
        for name, mine in samples.items()
        if name != "fused"
    }
    record["environment"] = environment(on_gpu)
    return record


def environment(on_gpu: bool) -> dict[str, Any]:
    import tilelang

    found = {
        "torch": torch.__version__,
        "tilelang": tilelang.__version__,
        "python": platform.python_version(),
        "processor": platform.processor() or platform.machine(),
        "threads": torch.get_num_threads(),
    }
    if on_gpu:
        found["gpu"] = torch.cuda.get_device_name()
    return found


def show(record: dict[str, Any]) -> None:
    kernels, moved = record["kernels"], record["bytes_between"]
    print(f"shape                    batch {record['shape']['batch']}, {record['shape']['sequence']} tokens a sentence")
    print(f"kernels                  {kernels['unfused']} -> {kernels['fused']} ({kernels['fused'] / kernels['unfused']:.0%})")
    print(f"bytes between kernels    {moved['unfused']:,} -> {moved['fused']:,} ({moved['fused'] / moved['unfused']:.0%})")
    for name, found in record["quality"].items():
        print(
            f"{name:24} smallest cosine {found['smallest_cosine']:.6f}, {found['at_least_0.9999']} of {found['sentences']} >= 0.9999, "
            f"largest error {found['largest_error']:.2e}, nearest three {'unchanged' if found['nearest_unchanged'] else 'CHANGED'}"
        )
    for name, times in record["samples_seconds"].items():
        ratio = f", fused is {record['speedup_over'][name]:.2f}x" if name in record["speedup_over"] else ""
        print(f"{name:24} median {statistics.median(times) * 1e3:.3f} ms of {len(times)}{ratio}")
    for row in record["launches"]:
        print(f"  {row['us']:9.1f} us (model {row['model_us']:9.1f})  {row['blocks']:5} blocks of {row['threads']}  {row['name'][:90]}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--target", default="auto")
    parser.add_argument("--batch", type=int, default=0, help="how many of the sentences; all if 0")
    parser.add_argument("--sequence", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--launches", action="store_true", help="time each distinct launch alone too")
    parser.add_argument("--no-check", action="store_true", help="do not verify the stitched kernels")
    parser.add_argument("--package-dir", help="the model's files, if not the installed package's")
    parser.add_argument("--reference", help="a file with the original's embeddings, if it can't be run here")
    parser.add_argument("--out", type=Path, help="write all samples as JSON")
    parser.add_argument("--verbose", action="store_true")
    arguments = parser.parse_args()
    record = measure(arguments)
    show(record)
    if arguments.out:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
