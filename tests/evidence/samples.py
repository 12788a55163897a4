"""Packets of every status, as a judge would write them."""

from __future__ import annotations

import hashlib
import statistics
from typing import Any, Final

from hypothesis import strategies as st

from mosaic.evidence import packet as packets
from mosaic.evidence.canonical import digest
from mosaic.evidence.categories import (
    Artifact,
    BadCheck,
    Baseline,
    Candidate,
    Case,
    Compiler,
    Conditions,
    Device,
    Environment,
    Failed,
    GoodCheck,
    Method,
    Parent,
    Passed,
    Performance,
    Reference,
    Replay,
    Roof,
    Seed,
    Source,
    SourceFile,
    Target,
    TensorSpec,
    Timing,
    Tolerance,
    Unclear,
    UnclearCheck,
)
from mosaic.evidence.ledger import Ledger
from mosaic.evidence.optional import Capacity, Format, Latency, Quantisation, Security, Serving
from mosaic.evidence.packet import Packet
from mosaic.evidence.record import Samples, derived, measured

LOG: Final = b"ptxas info: 0 bytes spill stores\n"
SECRET: Final = "3f91-17"


def candidate(name: str = "rows_times_two") -> Candidate:
    return Candidate(
        name=name,
        task="scale rows",
        task_sha256=digest(b"task"),
        source=Source(language="tilelang", entry="scale", files=(SourceFile(path="scale.py", sha256=digest(b"source")),)),
        compiler=Compiler(name="nvcc", version="13.0.48", invocation=("nvcc", "-O3", "-arch=sm_90a", "scale.cu")),
        target=Target(kind="cuda", architecture="sm_90a"),
        dtypes=("float16", "float32"),
        cases=(
            Case(
                name="64 by 80",
                set="odd",
                tensors=(
                    TensorSpec(name="x", dtype="float16", shape=(64, 80), role="input"),
                    TensorSpec(name="y", dtype="float16", shape=(64, 80), role="output"),
                ),
                attributes={"factor": 2.0, "flags": [True, None]},
            ),
        ),
        parents=(Parent(relation="fused-from", name="scale", sha256=digest(b"parent")),),
    )


def environment(device: str = "NVIDIA H200") -> Environment:
    return Environment(
        device=Device(kind="cuda", name=device, count=1, memory=measured(150e9, "B"), driver="580.65", ecc=True),
        system="Linux 6.8 x86_64",
        engine={"capture": False},
        libraries={"torch": "2.13.0", "tilelang": "0.1.15"},
        before=Conditions(clocks={"sm": measured(1.98e9, "Hz")}, temperature=measured(41, "degC")),
        after=Conditions(temperature=measured(44.5, "degC")),
        tolerance=Tolerance(method="error bound", thresholds={"y": derived(4.9e-4, "1", "unit roundoff of float16")}),
        baseline=Reference(name="torch.mul", version="2.13.0"),
        seed=Seed(commitment=hashlib.sha256(SECRET.encode()).hexdigest(), revealed=SECRET),
        replay=Replay(command=("mosaic", "replay", "packet.json")),
    )


def good_check() -> GoodCheck:
    return GoodCheck(
        outcome="pass",
        case="64 by 80",
        output="y",
        distribution="normal",
        trial=0,
        error=measured(0.25, "1"),
        nans=0,
        low=measured(-3.5, "1"),
    )


def timing(*seconds: float) -> Timing:
    samples = Samples(label="measured", unit="s", values=seconds)
    median = derived(statistics.median(seconds), "s", "median of the samples", interval=(min(seconds), max(seconds)))
    return Timing(case="64 by 80", clock="device-events", launch="graph-replay", samples=samples, median=median)


def performance(*seconds: float) -> Performance:
    own = timing(*(seconds or (1.25e-5, 1.5e-5, 1.125e-5)))
    speedup = derived(2.0, "1", "ratio of medians")
    return Performance(
        method=Method(
            timer="cuda events", warm_up=10, cache="flushed", synchronisation="after each sample", interleaved=True, verified=True
        ),
        timings=(own,),
        noise=measured(0.01, "1"),
        baselines=(
            Baseline(reference=Reference(name="torch.mul", version="2.13.0"), timings=(timing(2.5e-5),), speedup={"64 by 80": speedup}),
        ),
        roofs=(Roof(case="64 by 80", time=derived(1e-6, "s", "bytes / rate"), limit="memory", fraction=derived(0.08, "1", "ratio")),),
    )


def common(name: str = "rows_times_two", device: str = "NVIDIA H200", minute: int = 0) -> dict[str, Any]:
    return {
        "format": "mosaic-packet",
        "version": 1,
        "created": f"2026-11-05T{minute // 60 % 24:02}:{minute % 60:02}:00.000000Z",
        "tags": ("nightly", f"minute-{minute}"),
        "candidate": candidate(name),
        "environment": environment(device),
    }


def passed(name: str = "rows_times_two", device: str = "NVIDIA H200", minute: int = 0, seconds: tuple[float, ...] = ()) -> Packet:
    validation = Passed(outcome="pass", method="float64 reference", checks=(good_check(),))
    return packets.PassPacket(**common(name, device, minute), status="pass", validation=validation, performance=performance(*seconds))


def failed(kind: str = "mismatch", minute: int = 1, artifact: bytes = LOG) -> Packet:
    bad = BadCheck(
        outcome="fail", case="64 by 80", output="y", distribution="zipf", trial=1, failure="mismatch", message="y[3, 5] is 7, not 8"
    )
    return packets.FailPacket(
        **common(minute=minute),
        status="fail",
        failure=packets.Failure(kind=kind, message="y[3, 5] is 7, not 8"),
        validation=Failed(outcome="fail", method="float64 reference", checks=(good_check(), bad)),
        artifacts=(Artifact(name="compile.log", kind="compile-log", level="emitted-code", sha256=digest(artifact), size=len(artifact)),),
    )


def errored() -> Packet:
    return packets.ErrorPacket(
        **common(minute=2), status="error", error=packets.Error(phase="compile", message="nvcc: no space left on device", exit_code=1)
    )


def skipped() -> Packet:
    return packets.SkippedPacket(**common(minute=3), status="skipped", reason="needs a GPU")


def unclear() -> Packet:
    check = UnclearCheck(
        outcome="inconclusive", case="64 by 80", output="y", distribution="large", trial=0, message="the bound is too loose"
    )
    validation = Unclear(outcome="inconclusive", method="float64 reference", checks=(check,))
    return packets.InconclusivePacket(**common(minute=4), status="inconclusive", reason="bounds too loose", validation=validation)


def noisy() -> Packet:
    """Inconclusive with times, and every optional category."""
    latency = Latency(p50=measured(0.1, "s"), p95=measured(0.2, "s"), p99=measured(0.5, "s"))
    return packets.InconclusivePacket(
        **common(minute=5),
        status="inconclusive",
        reason="the noise is larger than the effect",
        validation=Passed(outcome="pass", method="float64 reference", checks=(good_check(),)),
        performance=performance(),
        security=Security(
            threat_model="honest author",
            sandbox="own process",
            side_effects="none",
            isolation="judge apart",
            profiler_access=False,
            verdict="clean",
        ),
        quantisation=Quantisation(
            weights=Format(dtype="int4", block=(1, 128), scale="float16"),
            dequantised="in registers",
            fallbacks=(),
            intended_kernel_ran=True,
        ),
        serving=Serving(engine="vllm", version="0.11", backend="mosaic", batch={"requests": measured(8, "1")}, ttft=latency, tpot=latency),
        capacity=Capacity(gpu_time=derived(0.5, "s", "wall time on 1 GPU"), retries=0),
    )


def all_packets() -> dict[str, Packet]:
    return {
        "pass": passed(),
        "fail": failed(),
        "error": errored(),
        "skipped": skipped(),
        "unclear": unclear(),
        "noisy": noisy(),
    }


# JSON values that packets can hold.
numbers = st.integers(-(2**53) + 1, 2**53 - 1) | st.floats(allow_nan=False, allow_infinity=False)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
values = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)


def fill(ledger: Ledger) -> list[str]:
    """Add a packet of each kind; their ids."""
    return list(ledger.extend((packet, [LOG] if name == "fail" else []) for name, packet in all_packets().items()))
