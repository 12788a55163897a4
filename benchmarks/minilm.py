"""MiniLM fused against unfused, on the CPU or on this machine's GPU: kernels, bytes, error, cosines, time; as a packet.

    python benchmarks/minilm.py                          the real model on the default target
    python benchmarks/minilm.py --target cpu --batch 8 --sequence 128 --out evidence/cpu/minilm_8x128.json
    python benchmarks/minilm.py --tune                   both programs with the tunables that are fastest here, which takes minutes

Both programs are built from the same shipped kernels, each with the tunables that the plan's cost model likes best, or tuned. They run in
turn, A B A B, and the fused one twice in each round: how far these two differ is the noise floor. The figure is the geometric mean of
the ratios of neighbours. On a GPU a run is one replay of a CUDA graph, timed with device events; so are the Hugging Face model's, eager
and compiled by PyTorch. The packet (`--out`, .json or .zip) holds every sample; `mosaic replay` runs it again.

Known limitations: one shape a run; the clocks are not fixed; the level-2 cache is warm in all of them, as it is between the
batches of a server; the compiled baseline is PyTorch's default mode inside a CUDA graph, not tuned to this model.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from mosaic.evidence import archive
from mosaic.evidence.categories import Baseline, Reference
from mosaic.evidence.packet import Packet, packet_id
from mosaic.evidence.record import derived, measured
from mosaic.graph.graph import Graph
from mosaic.harness import environment
from mosaic.harness.timing import Paired
from mosaic.models.encode import encode
from mosaic.models.minilm import minilm
from mosaic.models.sentences import SENTENCES, nearest
from mosaic.pipeline import Fused, fuse
from mosaic.report.facts import collect
from mosaic.report.fusion_files import collect_files
from mosaic.report.fusion_packet import Recipe, Run, fusion_packet, timing_of

Program = Callable[[], Any]
AGAIN = "fused_again"
NAMES = {"hugging_face_eager": "Hugging Face, eager, float16", "hugging_face_compiled": "Hugging Face, torch.compile, float16"}


def clock_cpu(run: Program) -> float:
    """Seconds of one run by the host's clock."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def as_cuda_graph(run: Program) -> Program:
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


def clock_gpu(replay: Program, repeats: int = 20) -> float:
    """Seconds of one replay, by device events around `repeats` of them."""
    event: Any = torch.cuda.Event
    start, end = event(enable_timing=True), event(enable_timing=True)
    start.record()
    for _ in range(repeats):
        replay()
    end.record()
    end.synchronize()
    return float(start.elapsed_time(end)) / 1e3 / repeats


def paired(runs: dict[str, Program], clock: Callable[[Program], float], rounds: int) -> dict[str, list[float]]:
    """Every sample of each run, taken in turn."""
    samples: dict[str, list[float]] = {name: [] for name in runs}
    for run in runs.values():
        run()
    for _ in range(rounds):
        for name, run in runs.items():
            samples[name].append(clock(run))
    return samples


def hugging_face(package_dir: str | None, inputs: dict[str, torch.Tensor], device: str) -> Program | None:
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
        "smallest_cosine": measured(float(cosines.min()), "1").document(),
        "at_least_0.9999": int((cosines >= 0.9999).sum()),
        "largest_error": measured(float((found - wanted).abs().max()), "1").document(),
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
                "model": derived(cost.seconds, "s", "the plan's cost model; for comparing plans").document(),
                "time": measured(seconds, "s", how="median of 3 samples of this launch alone").document(),
            }
        )
    return rows


@dataclass(frozen=True)
class Measured:
    """Everything seen of one shape: the fused and the unfused program, seconds of every run by name, figures for the packet."""

    fused: Fused
    samples: dict[str, list[float]]
    figures: dict[str, Any]
    before: Any
    seconds: dict[str, float]
    device: str

    def against(self, name: str) -> Paired:
        """The fused program and another, in turn."""
        clock = "device events around 20 replays of a CUDA graph" if self.device == "cuda" else "host clock, a call a sample"
        return Paired(tuple(self.samples["fused"]), tuple(self.samples[name]), clock)


def measure(arguments: argparse.Namespace) -> Measured:
    say = (lambda text: print(text, file=sys.stderr, flush=True)) if arguments.verbose else (lambda _: None)
    sentences = SENTENCES[: arguments.batch] if arguments.batch else SENTENCES
    encoded = encode(sentences, length=arguments.sequence, package_dir=arguments.package_dir)
    batch, sequence = encoded["input_ids"].shape
    graph: Graph = minilm(batch, sequence, package_dir=arguments.package_dir)
    start = time.perf_counter()
    fused = fuse(graph, arguments.target, check=not arguments.no_check, tune=arguments.tune, progress=say)
    seconds = {"fusing": time.perf_counter() - start}
    # What is compared is fusing, so both are tuned or neither.
    unfused = fuse(graph, arguments.target, fuse=False, check=False, tune=arguments.tune, progress=say)
    on_gpu = fused.target.kind != "cpu"
    device = "cuda" if on_gpu else "cpu"
    before = environment.conditions(device)
    inputs = {name: tensor.to(device) for name, tensor in encoded.items()}
    wanted = truth(arguments.reference, arguments.package_dir)[:batch]
    output = graph.outputs[0]
    runs: dict[str, Program] = {"fused": lambda: fused.run(inputs), "unfused": lambda: unfused.run(inputs)}
    figures: dict[str, Any] = {
        "embeddings": {name: quality(run()[output], wanted) for name, run in runs.items()},
        "launch_times": launches(fused, inputs, on_gpu=on_gpu) if arguments.launches else [],
    }
    runs[AGAIN] = runs["fused"]
    if on_gpu and (original := hugging_face(arguments.package_dir, inputs, device)) is not None:
        figures["embeddings"]["hugging_face_half"] = quality(original(), wanted)
        runs["hugging_face_eager"] = original
        runs["hugging_face_compiled"] = compiled(original, inputs)
    if on_gpu:
        runs = {name: as_cuda_graph(run) for name, run in runs.items()}
    samples = paired(runs, clock_gpu if on_gpu else clock_cpu, arguments.rounds)
    # Also where the kernels are not verified one by one, so that the packet counts no times.
    figures["samples"] = {name: {"label": "measured", "unit": "s", "values": times} for name, times in samples.items()}
    return Measured(fused, samples, figures, before, seconds, device)


def compiled(original: Any, inputs: dict[str, torch.Tensor]) -> Program:
    """The Hugging Face model compiled by PyTorch, with the same pooling."""
    model: Any = torch.compile(original.model)
    ids, mask = inputs["input_ids"].long(), inputs["attention_mask"]

    def run() -> torch.Tensor:
        with torch.no_grad():
            hidden = model(input_ids=ids, attention_mask=mask).last_hidden_state
            weight = mask.unsqueeze(-1).to(hidden.dtype)
            return torch.nn.functional.normalize((hidden * weight).sum(1) / weight.sum(1), dim=-1)

    return run


def packet_of(found: Measured, out: Path) -> tuple[Packet, tuple[bytes, ...]]:
    """The packet, and the contents of its artifacts; the model's weights are named by their digests, as it ships them."""
    graph = found.fused.graph
    facts = collect(found.fused, found.against("unfused"))
    files = collect_files(facts, weights=False)
    baselines = tuple(baseline(found, name) for name in NAMES if name in found.samples)
    batch, sequence = graph.tensors["input_ids"].shape
    recipe = Recipe("minilm", "shared", ("mosaic", "replay", out.name), {"batch": batch, "sequence": sequence, "dtype": "float16"})
    run = Run(
        found.before,
        environment.conditions(found.device),
        found.against(AGAIN),
        found.seconds,
        found.figures,
        wrong=wrong(found),
        baselines=baselines,
    )
    return fusion_packet(facts, recipe, files, run), tuple(files.contents.values())


def baseline(found: Measured, name: str) -> Baseline:
    import transformers

    times, case = found.against(name), found.fused.graph.name
    how = "geometric mean of the ratios of neighbours, this one over fused; interval: percentile bootstrap over the pairs, 95 %"
    return Baseline(
        reference=Reference(name=NAMES[name], version=f"transformers {transformers.__version__}, torch {torch.__version__}"),
        timings=(timing_of(case, times.second, on_gpu=found.device == "cuda"),),
        speedup={case: derived(times.ratio, "1", how, interval=times.interval)},
    )


def wrong(found: Measured) -> str:
    """What is wrong with the fused program's embeddings; nothing if each is as near the original's as it must be."""
    mine = found.figures["embeddings"]["fused"]
    if mine["at_least_0.9999"] < mine["sentences"]:
        return f"an embedding's cosine with the original model's is {mine['smallest_cosine']['value']:.6f}, but must be at least 0.9999"
    return "" if mine["nearest_unchanged"] else "the nearest three sentences of some sentence are not those of the original model"


def show(found: Measured) -> None:
    graph, plan = found.fused.graph, found.fused.plan
    batch, sequence = graph.tensors["input_ids"].shape
    kernels, moved = (graph.kernel_count, found.fused.kernel_count), (graph.bytes_between(), plan.bytes_between())
    print(f"shape                    batch {batch}, {sequence} tokens a sentence")
    print(f"kernels                  {kernels[0]} -> {kernels[1]} ({kernels[1] / kernels[0]:.0%})")
    print(f"bytes between kernels    {moved[0]:,} -> {moved[1]:,} ({moved[1] / moved[0]:.0%})")
    for name, each in found.figures["embeddings"].items():
        cosine, error = each["smallest_cosine"]["value"], each["largest_error"]["value"]
        print(
            f"{name:24} smallest cosine {cosine:.6f}, {each['at_least_0.9999']} of {each['sentences']} >= 0.9999, "
            f"largest error {error:.2e}, nearest three {'unchanged' if each['nearest_unchanged'] else 'CHANGED'}"
        )
    for name, times in found.samples.items():
        text = "" if name == "fused" else f", fused is {found.against(name).ratio:.3f}x ({found.against(name).verdict})"
        print(f"{name:24} median {statistics.median(times) * 1e3:.3f} ms of {len(times)}{text}")
    for row in found.figures["launch_times"]:
        us, model = row["time"]["value"] * 1e6, row["model"]["value"] * 1e6
        print(f"  {us:9.1f} us (model {model:9.1f})  {row['blocks']:5} blocks of {row['threads']}  {row['name'][:90]}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--target", default="auto")
    parser.add_argument("--batch", type=int, default=0, help="how many of the sentences; all if 0")
    parser.add_argument("--sequence", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--launches", action="store_true", help="time each distinct launch alone too")
    parser.add_argument("--tune", action="store_true", help="take the fastest tunables of those that are timed, of both programs")
    parser.add_argument("--no-check", action="store_true", help="do not verify the stitched kernels")
    parser.add_argument("--package-dir", help="the model's files, if not the installed package's")
    parser.add_argument("--reference", help="a file with the original's embeddings, if it can't be run here")
    parser.add_argument("--out", type=Path, help="write the packet: .json, or .zip with the compiled sources")
    parser.add_argument("--verbose", action="store_true")
    arguments = parser.parse_args()
    found = measure(arguments)
    show(found)
    packet, contents = packet_of(found, arguments.out or Path("packet.json"))
    print(f"packet                   {packet_id(packet)[:12]}, {packet.status}")
    if arguments.out:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        archive.write(arguments.out, packet, contents)


if __name__ == "__main__":
    main()
