"""The categories that say what was run, on what, whether it was right, and how fast; artifacts by their hash."""

from __future__ import annotations

import hashlib
from typing import Annotated, Final, Literal, Self

from pydantic import Field, JsonValue, model_validator

from mosaic.evidence.record import Count, Digest, Figure, Name, Record, Samples, Text, refusal

FAILURES: Final = {
    "compile_error": "the candidate does not compile",
    "import_error": "the candidate cannot be imported",
    "crash": "its process ended by a signal or an exception",
    "timeout": "it did not end in the time allowed",
    "out_of_memory": "it asked for more memory than allowed or there is",
    "resource_limit": "it exceeded a limit on processes, files or output",
    "missing_output": "an output was not returned or not written",
    "wrong_type": "an output is not a tensor",
    "wrong_shape": "an output has another shape",
    "wrong_dtype": "an output has another dtype",
    "nan": "NaN where the reference has none",
    "infinity": "an infinity where the reference has none",
    "mismatch": "a value further from the reference than the tolerance allows",
    "input_mutated": "an input was changed in place",
    "nondeterministic": "the same input gave different outputs, further apart than the tolerance allows",
    "launch_error": "the device refused to launch the kernel",
    "impossible_time": "a time below what the hardware can do",
    "degenerate_task": "the task itself tells nothing: its answer is constant, or does not vary with the input",
    "intent_missed": "the binary does not hold what the candidate says it holds",
}
"""Classes of failure, with what each means. A way to cheat is `cheat.` and its name; others write `owner.name`."""

FailureClass = Annotated[str, Field(pattern=rf"^({'|'.join(FAILURES)}|[a-z][a-z0-9_]*(\.[a-z0-9_]+)+)$")]


# Candidate


class SourceFile(Record):
    """One file of the candidate's source."""

    path: Name
    """Relative to the candidate's folder."""
    sha256: Digest


class Source(Record):
    """What the candidate is written in, and its files."""

    language: Name
    """tilelang, triton, cuda, hip, pytorch, c, ..."""
    entry: Name
    """The function or kernel that is called."""
    files: Annotated[tuple[SourceFile, ...], Field(min_length=1)]


class Compiler(Record):
    """What compiled the candidate, exactly."""

    name: Name
    version: Name
    invocation: Annotated[tuple[str, ...], Field(min_length=1)]
    """The command and its arguments, or the function called and its options."""


class Target(Record):
    """What it was compiled for."""

    kind: Literal["cpu", "cuda", "hip", "other"]
    architecture: Name
    """sm_90a, gfx942, x86-64-v4, ..."""


class TensorSpec(Record):
    """One tensor of a case."""

    name: Name
    dtype: Name
    shape: tuple[Count, ...]
    role: Literal["input", "output", "in-out"]


class Case(Record):
    """One shape of the suite that the candidate is judged on."""

    name: Name
    set: Literal["given", "odd", "hidden"]
    tensors: Annotated[tuple[TensorSpec, ...], Field(min_length=1)]
    attributes: dict[str, JsonValue] | None = None


class Parent(Record):
    """What the candidate was made from."""

    relation: Literal["fused-from", "derived-from", "tuned-from", "translated-from"]
    name: Name
    sha256: Digest
    """Of the parent's packet, or of its source."""


class Candidate(Record):
    """What was run."""

    name: Name
    task: Name
    """The problem that it claims to solve."""
    task_sha256: Digest | None = None
    """Of the task's definition, all of it."""
    source: Source
    compiler: Compiler | None = None
    target: Target
    dtypes: Annotated[tuple[Name, ...], Field(min_length=1)]
    """The dtypes it computes in, the accumulator's included."""
    cases: Annotated[tuple[Case, ...], Field(min_length=1)]
    parents: tuple[Parent, ...] | None = None


# Environment


class Conditions(Record):
    """The device's state at one moment; each entry is a figure: clocks in Hz, temperature in degC, power in W."""

    clocks: dict[Name, Figure] | None = None
    temperature: Figure | None = None
    power: Figure | None = None


class Device(Record):
    """The silicon."""

    kind: Literal["cpu", "cuda", "hip", "other"]
    name: Name
    """As the driver gives it: NVIDIA H200, AMD Instinct MI300X, the CPU's model name."""
    count: Annotated[int, Field(ge=1)]
    serial: Name | None = None
    """What tells this very device from others of its kind; may be a hash."""
    memory: Figure | None = None
    firmware: Name | None = None
    driver: Name | None = None
    ecc: bool | None = None


class Tolerance(Record):
    """How far an output may be from the reference."""

    method: Text
    """Where the thresholds come from."""
    thresholds: Annotated[dict[Name, Figure], Field(min_length=1)]
    """By output, or by rule (atol, rtol)."""


class Reference(Record):
    """A baseline, named by its content."""

    name: Name
    version: Name
    sha256: Digest | None = None
    """Of its source or binary."""


class Replay(Record):
    """How to run it again."""

    command: Annotated[tuple[str, ...], Field(min_length=1)]
    """The command and its arguments, run in the root of `repository` at `revision`."""
    repository: Name | None = None
    revision: Name | None = None
    variables: dict[str, str] | None = None
    """Environment variables that matter."""


class Seed(Record):
    """Commit and reveal: the hash was published before the candidate was seen, the seed afterwards."""

    commitment: Digest
    """SHA-256 of the revealed text's UTF-8 bytes."""
    revealed: Text

    @model_validator(mode="after")
    def _keeps_the_commitment(self) -> Self:
        if hashlib.sha256(self.revealed.encode()).hexdigest() != self.commitment:
            raise refusal("reveals a seed whose SHA-256 is not the commitment")
        return self


class Environment(Record):
    """What it ran on, and with which settings."""

    device: Device
    system: Name
    """Operating system, kernel and machine."""
    engine: dict[str, JsonValue] | None = None
    """Configuration of the engine or runtime."""
    libraries: dict[Name, Name]
    """Versions, by name."""
    before: Conditions | None = None
    after: Conditions | None = None
    tolerance: Tolerance | None = None
    baseline: Reference | None = None
    """What speed is compared with, frozen before any search."""
    seed: Seed | None = None
    replay: Replay


# Validation


class Check(Record):
    """One output of one run, compared."""

    case: Name
    output: Name
    distribution: Name
    """How the inputs were drawn."""
    trial: Count
    error: Figure | None = None
    """The largest |got - wanted| / allowed; unit 1."""
    low: Figure | None = None
    """The output's range."""
    high: Figure | None = None
    nans: Count | None = None
    infinities: Count | None = None
    variation: Figure | None = None
    """How much the output varies along its axes."""


class GoodCheck(Check):
    outcome: Literal["pass"]


class BadCheck(Check):
    outcome: Literal["fail"]
    failure: FailureClass
    message: Text
    """What is wrong, and at which index."""


class UnclearCheck(Check):
    outcome: Literal["inconclusive"]
    message: Text
    """Why nothing can be said, such as a bound too loose to show an error."""


AnyCheck = Annotated[GoodCheck | BadCheck | UnclearCheck, Field(discriminator="outcome")]


class _Validation(Record):
    method: Text
    """What the outputs are compared with, and how."""


class Passed(_Validation):
    outcome: Literal["pass"]
    checks: Annotated[tuple[GoodCheck, ...], Field(min_length=1)]


class Failed(_Validation):
    outcome: Literal["fail"]
    checks: Annotated[tuple[AnyCheck, ...], Field(min_length=1)]
    """One of them at least failed."""

    @model_validator(mode="after")
    def _something_failed(self) -> Self:
        if not any(isinstance(check, BadCheck) for check in self.checks):
            raise refusal("has the outcome fail, but no check that failed")
        return self


class Unclear(_Validation):
    outcome: Literal["inconclusive"]
    checks: Annotated[tuple[Annotated[GoodCheck | UnclearCheck, Field(discriminator="outcome")], ...], Field(min_length=1)]


# Performance


class Timing(Record):
    """Times of one case by one clock."""

    case: Name
    clock: Name
    """device-events, host, profiler, ..."""
    launch: Literal["plain", "graph-replay", "call"]
    """How it was started: kernel launches, a captured graph, or a function call."""
    samples: Samples
    median: Figure
    """Of the samples, with its confidence interval."""

    @model_validator(mode="after")
    def _median_is_of_the_samples(self) -> Self:
        self.samples.check_median(self.median)
        return self


class Baseline(Record):
    """What the candidate is compared with, timed in the same run."""

    reference: Reference
    timings: Annotated[tuple[Timing, ...], Field(min_length=1)]
    speedup: dict[Name, Figure]
    """By case: the baseline's time over the candidate's; unit 1."""


class Roof(Record):
    """The least time that the hardware allows."""

    case: Name
    time: Figure
    limit: Name
    """What limits it: memory, matrix, ..."""
    fraction: Figure
    """Roof's time over the candidate's; unit 1, at most 1 if both are right."""


class Method(Record):
    """How the samples were taken."""

    timer: Name
    warm_up: Count
    """Runs before the first sample."""
    cache: Literal["flushed", "warm", "persisting", "uncontrolled"]
    """State of the last-level cache before a sample."""
    synchronisation: Text
    """What was waited for, and when."""
    interleaved: bool
    """Whether candidate and baselines took turns."""
    verified: bool
    """Whether the outputs of the timed runs were compared too."""


class Performance(Record):
    """How fast; only where validation passed."""

    method: Method
    timings: Annotated[tuple[Timing, ...], Field(min_length=1)]
    noise: Figure | None = None
    """The A/A noise floor: how far two timings of the same program differ; unit 1."""
    baselines: tuple[Baseline, ...] | None = None
    roofs: tuple[Roof, ...] | None = None


# Artifacts


class Artifact(Record):
    """A file of the run, by its content."""

    name: Name
    kind: Literal[
        "source", "compile-log", "ptx", "sass", "amdgpu-isa", "binary", "counters", "trace", "error-text", "task", "report", "other"
    ]  # fmt: skip
    level: Literal["framework", "runtime", "emitted-code"] | None = None
    """For profiles: which of the three levels it belongs to."""
    sha256: Digest
    size: Count
    """Bytes."""
