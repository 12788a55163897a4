"""The packet of a fusion: what was fused into what, whether every kernel is right, and how fast it is against the unfused graph."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, Literal

from mosaic.errors import MosaicError, TargetError, ToolMissingError, VerificationError
from mosaic.evidence import packet as packets
from mosaic.evidence.canonical import digest
from mosaic.evidence.categories import (
    Baseline,
    Candidate,
    Case,
    Compiler,
    Conditions,
    Environment,
    GoodCheck,
    Method,
    Parent,
    Passed,
    Performance,
    Reference,
    Source,
    SourceFile,
    Target,
    TensorSpec,
    Timing,
    Tolerance,
    Unclear,
    UnclearCheck,
)
from mosaic.evidence.packet import Packet
from mosaic.evidence.record import Measured, Samples, Stated, derived, measured
from mosaic.graph.graph import Graph
from mosaic.graph.kernel import Value
from mosaic.harness import environment
from mosaic.harness.intervals import median_interval
from mosaic.harness.report import Finding, Report
from mosaic.harness.timing import Paired
from mosaic.pipeline import DISTRIBUTIONS, SAMPLES, runs_here
from mosaic.report.facts import Facts, KernelFact
from mosaic.report.fusion_files import GRAPH, SUFFIXES, Files, launch_file
from mosaic.targets.target import Target as Device
from mosaic.version import __version__

FUSION: Final = "fusion"
"""The category that only packets of fusions have."""

_FROM: Final = "of the graph and of the plan: what one kernel writes and another reads, in one run"


@dataclass(frozen=True)
class Recipe:
    """How a fusion was asked for. source: a file's or a model's name; settings: the model's. prefer: memory for what is handed over."""

    source: str
    prefer: Literal["shared", "register"]
    replay: tuple[str, ...]
    settings: Mapping[str, Value] = field(default_factory=dict)


@dataclass(frozen=True)
class Run:
    """What was seen beside the fusion itself.

    before, after: the device's state. noise: the fused program against itself. seconds: of each phase. figures: more of them.
    wrong: what is wrong with the whole, though every kernel is right. baselines: others than the unfused graph, timed in the same run.
    """

    before: Conditions | None = None
    after: Conditions | None = None
    noise: Paired | None = None
    seconds: Mapping[str, float] = field(default_factory=dict)
    figures: Mapping[str, Any] = field(default_factory=dict)
    wrong: str = ""
    baselines: tuple[Baseline, ...] = ()


def fusion_packet(facts: Facts, recipe: Recipe, files: Files, run: Run) -> Packet:
    """The packet of a fusion that was made.

    `pass` if every kernel was verified where it is to run; `inconclusive` if it was verified elsewhere, not at all, with bounds too loose,
    or if the timing does not tell which of the two is faster.
    """
    fused = facts.fused
    common: dict[str, Any] = {
        **_head(),
        "candidate": _candidate(facts, recipe, files),
        "environment": _environment(str(fused.program.device) if fused.program is not None else "cpu", fused.target, recipe, run, facts),
        "artifacts": files.artifacts,
        FUSION: _fusion(facts, recipe, run),
        **({"bundle": files.bundle} if files.bundle is not None else {}),
    }
    timed = _performance(facts, facts.times, run) if facts.times is not None else None
    if facts.status == "unchecked":
        return packets.InconclusivePacket(**common, status="inconclusive", reason="it was not verified, so its times do not count")
    validation = _validation(facts)
    if isinstance(validation, Unclear):
        reason = "the bounds of some outputs are too loose to tell; verify smaller parts"
        return packets.InconclusivePacket(**common, status="inconclusive", reason=reason, validation=validation)
    if run.wrong:
        return packets.FailPacket(
            **common, status="fail", failure=packets.Failure(kind="mismatch", message=run.wrong), validation=validation
        )
    reason = ""
    if not runs_here(fused.target):
        reason = f"it was verified on {facts.checked_on}"
    elif facts.times is not None and _is_noise(facts.times, run.noise):
        reason = "it is right, but the noise is larger than the difference from the unfused graph's time"
    if reason:
        return packets.InconclusivePacket(**common, status="inconclusive", reason=reason, validation=validation, performance=timed)
    return packets.PassPacket(**common, status="pass", validation=validation, performance=timed)


def _is_noise(times: Paired, noise: Paired | None) -> bool:
    """Whether the difference is not certain, or no larger than that of the fused program from itself may be."""
    return times.verdict == "inconclusive" or (noise is not None and abs(times.ratio - 1) <= _floor(noise))


def _floor(noise: Paired) -> float:
    low, high = noise.interval
    return max(1 - low, high - 1, 0.0)


def failed_fusion(graph: Graph, target: Device, recipe: Recipe, files: Files, error: MosaicError) -> Packet:
    """The packet of a fusion that was refused: that a kernel is wrong or is not compiled is its failure; that a tool is missing is not."""
    common: dict[str, Any] = {
        **_head(),
        "candidate": _described(graph, target, recipe, files, sorted({tensor.dtype for tensor in graph.tensors.values()}), (), ()),
        "environment": _environment("cpu", target, recipe, Run(), None),
        "artifacts": files.artifacts,
        FUSION: {"source": recipe.source, "settings": dict(recipe.settings), "prefer": recipe.prefer},
        **({"bundle": files.bundle} if files.bundle is not None else {}),
    }
    message = " ".join(str(error).split())
    if isinstance(error, ToolMissingError) or not isinstance(error, (TargetError, VerificationError)):
        return packets.ErrorPacket(**common, status="error", error=packets.Error(phase="fuse", message=message, exit_code=error.exit_code))
    kind = "mismatch" if isinstance(error, VerificationError) else "compile_error"
    return packets.FailPacket(**common, status="fail", failure=packets.Failure(kind=kind, message=message))


def _head() -> dict[str, Any]:
    created = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return {"format": packets.FORMAT, "version": packets.VERSION, "created": created, "tags": ("mosaic fuse",)}


def name_of(text: str) -> str:
    """A name as packets take it: at most 200 characters, what is cut off told apart by its hash."""
    return text if len(text) <= 200 else f"{text[:180]}… {digest(text.encode())[:12]}"


# Candidate


def _candidate(facts: Facts, recipe: Recipe, files: Files) -> Candidate:
    fused, graph = facts.fused, facts.fused.graph
    buffers = {buffer.dtype for kernel in facts.kernels for buffer in kernel.launch.program.buffers}
    dtypes = sorted({tensor.dtype for tensor in graph.tensors.values()} | buffers)
    cases = tuple(_case(kernel.launch.name, graph.subgraph(kernel.launch.nodes)) for kernel in facts.kernels if len(facts.kernels) > 1)
    return _described(graph, fused.target, recipe, files, dtypes, cases, tuple(_parents(graph)))


def _described(
    graph: Graph,
    target: Device,
    recipe: Recipe,
    files: Files,
    dtypes: Sequence[str],
    cases: tuple[Case, ...],
    parents: tuple[Parent, ...],
) -> Candidate:
    kind: Any = target.kind
    whole = _case(graph.name, graph)
    names = tuple(SourceFile(path=artifact.name, sha256=artifact.sha256) for artifact in files.artifacts if artifact.kind != "report")
    return Candidate(
        name=name_of(f"{graph.name}, fused"),
        task=name_of(f"graph {graph.name}"),
        task_sha256=digest(files.contents[GRAPH]),
        source=Source(language="tilelang", entry=name_of(graph.name), files=names),
        compiler=Compiler(
            name="mosaic",
            version=__version__,
            invocation=("mosaic", "fuse", GRAPH, "--target", target.name, "--prefer", recipe.prefer),
        ),
        target=Target(kind=kind, architecture=target.arch),
        dtypes=tuple(dtypes),
        cases=(whole, *(case for case in cases if case.name != whole.name)),
        parents=parents or None,
    )


def _case(name: str, graph: Graph) -> Case:
    tensors = [(each, "input") for each in graph.inputs] + [(each, "output") for each in graph.outputs]
    specs = [
        TensorSpec.model_validate(
            {"name": name_of(each), "dtype": graph.tensors[each].dtype, "shape": graph.tensors[each].shape, "role": role}
        )
        for each, role in tensors
    ]
    return Case(name=name_of(name), set="given", tensors=tuple(specs))


def _parents(graph: Graph) -> Iterator[Parent]:
    kernels = {node.kernel.name: node.kernel for node in graph.nodes if node.kernel is not None}
    for name, kernel in sorted(kernels.items()):
        yield Parent(relation="fused-from", name=name_of(f"kernel {name}"), sha256=kernel.digest())


# Environment


def _environment(device: str, target: Device, recipe: Recipe, run: Run, facts: Facts | None) -> Environment:
    engine = {
        "target": target.name,
        "processors": target.processors,
        "bandwidth": target.bandwidth,
        "seed": "0",
        "distributions": list(DISTRIBUTIONS),
        "sampled_error_analyses": SAMPLES,
    }
    thresholds: dict[str, Measured | Stated] = dict(_thresholds(facts)) if facts is not None else {}
    method = "a running error analysis of each kernel's reference, element by element"
    return environment.read(
        device,
        replay=recipe.replay,
        before=run.before,
        after=run.after,
        engine=engine,
        tolerance=Tolerance(method=method, thresholds=thresholds) if thresholds else None,
        baseline=Reference(name="the same graph unfused", version=__version__) if facts is not None and facts.times is not None else None,
    )


def _thresholds(facts: Facts) -> Iterator[tuple[str, Stated]]:
    for kernel in facts.kernels:
        for output in dict.fromkeys(finding.output for finding in (kernel.report.findings if kernel.report is not None else ())):
            assert kernel.report is not None
            loosest = [f.looseness for f in kernel.report.findings if f.output == output and 0 < f.looseness < math.inf]
            if loosest:
                how = kernel.report.explanations.get(output) or "the bound's median over the values' root mean square"
                yield name_of(output), derived(min(loosest), "1", f"bound / root mean square, where it is tightest: {how}")


# Validation


def _validation(facts: Facts) -> Passed | Unclear:
    reports = [(kernel, kernel.report) for kernel in facts.kernels if kernel.report is not None]
    method = (
        f"each kernel alone, on {facts.checked_on}, against its nodes' PyTorch references in float64, within bounds from error analysis"
    )
    good = [check for kernel, report in reports for check in _checks(facts, kernel, report)]
    if facts.status == "pass":
        return Passed(outcome="pass", method=method, checks=tuple(check for check in good if isinstance(check, GoodCheck)))
    return Unclear(outcome="inconclusive", method=method, checks=tuple(good))


def _checks(facts: Facts, kernel: KernelFact, report: Report) -> Iterator[GoodCheck | UnclearCheck]:
    """Only of what did not fail: a kernel that fails is planned otherwise, or there is no fusion."""
    case = name_of(kernel.launch.name if len(facts.kernels) > 1 else facts.fused.graph.name)
    told = {finding.output for finding in report.findings if finding.is_conclusive}
    for finding in report.findings:
        common: dict[str, Any] = {
            "case": case,
            "output": name_of(finding.output),
            "distribution": finding.distribution,
            "trial": finding.trial,
            "error": measured(finding.ratio, "1") if math.isfinite(finding.ratio) else None,
        }
        if finding.output in told:
            yield GoodCheck(**common, outcome="pass")
        else:
            yield UnclearCheck(**common, outcome="inconclusive", message=_why(finding))


def _why(finding: Finding) -> str:
    if not math.isfinite(finding.looseness):
        return "the bound says nothing of these values"
    return f"the bound's median is {finding.looseness:.2g} of the values' root mean square: an error of that size would pass"


# Performance


def _performance(facts: Facts, times: Paired, run: Run) -> Performance:
    on_gpu = facts.fused.target.kind != "cpu"
    case = name_of(facts.fused.graph.name)
    speedup = derived(
        times.ratio,
        "1",
        "geometric mean of the ratios of neighbours, unfused over fused; interval: percentile bootstrap over the pairs, 95 %",
        interval=times.interval,
    )
    noise = None
    if run.noise is not None:
        noise = measured(_floor(run.noise), "1", how="how far the ratio of the fused program to itself may be from 1, with 95 %")
    return Performance(
        method=Method(
            timer=name_of(times.clock),
            # pipeline's `paired`: a run of each, then one to choose the number of calls, or three while the CUDA graph is captured.
            warm_up=4 if on_gpu else 2,
            cache="uncontrolled",
            synchronisation="the event after the last replay" if on_gpu else "the call returns when it is done",
            interleaved=True,
            verified=False,
        ),
        timings=(timing_of(case, times.first, on_gpu=on_gpu),),
        noise=noise,
        baselines=(
            Baseline(
                reference=Reference(name="the same graph unfused", version=__version__),
                timings=(timing_of(case, times.second, on_gpu=on_gpu),),
                speedup={case: speedup},
            ),
            *run.baselines,
        ),
    )


def timing_of(case: str, seconds: Sequence[float], *, on_gpu: bool) -> Timing:
    """Seconds of a program as a packet has them: device events around replays of a CUDA graph, or calls by the host's clock."""
    median = derived(statistics.median(seconds), "s", "median of the samples; interval: bootstrap, 95 %", interval=median_interval(seconds))
    return Timing(
        case=case,
        clock="device-events" if on_gpu else "host",
        launch="graph-replay" if on_gpu else "call",
        samples=Samples(label="measured", unit="s", values=tuple(seconds)),
        median=median,
    )


# The category of its own


def _fusion(facts: Facts, recipe: Recipe, run: Run) -> dict[str, Any]:
    fused = facts.fused
    made: dict[str, Any] = {
        "source": recipe.source,
        "settings": dict(recipe.settings),
        "prefer": recipe.prefer,
        "kernels": {
            "before": derived(facts.kernels_before, "1", "nodes of the graph that are kernels").document(),
            "after": derived(facts.kernels_after, "1", "launches of the plan").document(),
        },
        "bytes_between": {
            "before": derived(facts.bytes_before, "B", _FROM).document(),
            "after": derived(facts.bytes_after, "B", _FROM).document(),
        },
        "launches": [_launch(number, kernel, SUFFIXES[fused.target.kind]) for number, kernel in enumerate(facts.kernels)],
        "refused": [{"launch": name, "check": refusal.check, "reason": refusal.reason} for name, refusal in fused.refused],
    }
    if run.seconds:
        made["seconds"] = {phase: measured(seconds, "s").document() for phase, seconds in run.seconds.items()}
    return {**made, **run.figures}


def _launch(number: int, kernel: KernelFact, suffix: str) -> dict[str, Any]:
    made: dict[str, Any] = {
        "name": kernel.name,
        "source": launch_file(number, suffix),
        "times": len(kernel.launches),
        "nodes": list(kernel.launch.nodes),
        "blocks": kernel.launch.program.blocks,
        "tunables": {node: dict(chosen) for node, chosen in kernel.tunables.items()},
        "stitched": [move.producer for move in kernel.moves],
    }
    emitted = kernel.lowered.emitted
    if emitted is not None:
        made["emitted"] = {key: value for key, value in emitted.to_dict().items() if value is not None}
    if kernel.threads is not None:
        made["threads"] = kernel.threads
    return made
