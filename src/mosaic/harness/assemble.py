"""Packets of what the judge found: the records of the candidate, its surroundings, the checks, the times, and what stood around it."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import torch

from mosaic.evidence import categories
from mosaic.evidence.canonical import digest
from mosaic.evidence.optional import Security
from mosaic.evidence.packet import FORMAT, VERSION, Packet, from_document
from mosaic.evidence.record import Measured, Stated, derived, measured
from mosaic.harness import environment
from mosaic.harness.candidate import Candidate
from mosaic.harness.comparing import Finding
from mosaic.harness.correctness import Suite
from mosaic.harness.definition import Definition
from mosaic.harness.player import Built
from mosaic.harness.seeds import Commitment
from mosaic.harness.workload import Case

METHOD: Final = (
    "each element against the task's reference in float64, within a bound from error analysis of the reference on the inputs at hand; "
    "bytes compared in the judge's process; outputs poisoned beforehand, inputs compared afterwards, runs repeated"
)
THREAT_MODEL: Final = (
    "the candidate's code may do anything that a process without privileges can: it is run for its outputs' bytes alone; "
    "what it says of itself, times included, is held against the judge's own clock"
)
ISOLATION: Final = (
    "three kinds of processes: the judge holds the seed, bounds and verdict; the oracle runs the task's reference; the candidate's process "
    "gets inputs one request at a time, and never reference outputs, bounds, or the seed"
)


@dataclass
class Record:
    """What is known of a run, filled in as it goes."""

    definition: Definition
    candidate: Candidate
    device: str
    seed: Commitment
    replay: tuple[str, ...]
    cases: list[tuple[Case, list[tuple[str, str, tuple[int, ...]]], list[tuple[str, str, tuple[int, ...]]]]] = field(default_factory=list)
    suite: Suite | None = None
    built: Built | None = None
    performance: categories.Performance | None = None
    baseline: categories.Reference | None = None
    boundaries: tuple[str, ...] = ()
    printed: int = 0
    suspicions: list[tuple[str, str]] = field(default_factory=list)
    failure: tuple[str, str] | None = None
    reason: str | None = None
    error: tuple[str, str] | None = None
    bundle: Mapping[str, Any] | None = None
    capacity: Mapping[str, Any] | None = None
    before: categories.Conditions | None = None
    after: categories.Conditions | None = None
    artifacts: dict[str, tuple[str, str, bytes]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def packet(record: Record) -> Packet:
    """The packet of a finished run."""
    document: dict[str, Any] = {
        "format": FORMAT, "version": VERSION, "created": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "candidate": _candidate(record).document(), "environment": _environment(record).document(),
        "security": _security(record).document(),
    }  # fmt: skip
    if record.artifacts:
        document["artifacts"] = [
            {"name": name, "kind": kind, "sha256": sha256, "size": len(data)} for sha256, (name, kind, data) in record.artifacts.items()
        ]
    if record.bundle is not None:
        document["bundle"] = dict(record.bundle)
    if record.capacity is not None:
        document["judge"] = dict(record.capacity)
    document |= _outcome(record)
    return from_document(_listed(document))


def _listed(value: Any) -> Any:
    """Tuples as lists: JSON has but one kind."""
    if isinstance(value, dict):
        return {key: _listed(item) for key, item in value.items()}
    return [_listed(item) for item in value] if isinstance(value, list | tuple) else value


def _outcome(record: Record) -> dict[str, Any]:
    """Status, and what belongs to it."""
    if record.error is not None:
        return {"status": "error", "error": {"phase": record.error[0], "message": record.error[1]}}
    if record.failure is not None:
        made: dict[str, Any] = {"status": "fail", "failure": {"kind": record.failure[0], "message": _text(record.failure[1])}}
        validation = _validation(record, failed=True)
        return made if validation is None else {**made, "validation": validation}
    suite = record.suite
    if suite is None or not suite.conclusive:
        made = {"status": "inconclusive", "reason": "the bounds of some outputs are too loose to show an error"}
        validation = _validation(record, failed=False)
        return made if validation is None else {**made, "validation": validation}
    made = {"status": "pass", "validation": _validation(record, failed=False)}
    if record.performance is not None:
        made["performance"] = record.performance.document()
    if record.reason is not None:
        return {**made, "status": "inconclusive", "reason": record.reason}
    return made


def _validation(record: Record, *, failed: bool) -> dict[str, Any] | None:
    suite = record.suite
    if suite is None or not suite.findings:
        return None
    checks = [_check(finding, conclusive=suite.conclusive) for finding in suite.findings]
    bad = any(check["outcome"] == "fail" for check in checks)
    if failed and not bad and not suite.conclusive:
        return None
    outcome = "fail" if bad else "pass" if suite.conclusive else "inconclusive"
    method = METHOD + "".join(f"; {text}" for text in (*suite.skipped[:20], *record.notes[:20]))
    return {"method": method[:8000], "outcome": outcome, "checks": checks}


def _check(finding: Finding, *, conclusive: bool) -> dict[str, Any]:
    made: dict[str, Any] = {
        "case": finding.case, "output": finding.output, "distribution": finding.distribution, "trial": finding.trial,
        "nans": finding.nans, "infinities": finding.infinities,
    }  # fmt: skip
    if finding.ratio is not None:
        made["error"] = derived(finding.ratio, "1", "the largest |got - wanted| / allowed").document()
    if finding.low is not None and finding.high is not None:
        made["low"], made["high"] = measured(finding.low, "1").document(), measured(finding.high, "1").document()
    if finding.kind is not None:
        return {**made, "outcome": "fail", "failure": finding.kind, "message": _text(finding.message)}
    if not finding.conclusive and not conclusive:
        return {**made, "outcome": "inconclusive", "message": _text(finding.message)}
    return {**made, "outcome": "pass"}


def _text(message: str) -> str:
    return message.strip()[:4000] or "no message"


def _candidate(record: Record) -> categories.Candidate:
    candidate, definition = record.candidate, record.definition
    entries = candidate.entries(definition.name)
    files = tuple(categories.SourceFile(path=path, sha256=digest(data)) for path, data in candidate.files.items())
    dtypes = candidate.dtypes or tuple(dict.fromkeys(dtype for _, *sides in record.cases for side in sides for _, dtype, _ in side))
    return categories.Candidate(
        name=candidate.name.strip() or "candidate",
        task=definition.name,
        task_sha256=definition.sha256,
        source=categories.Source(language=candidate.language, entry=entries[0], files=files),
        compiler=_compiler(record.built),
        target=_target(record.device),
        dtypes=dtypes or ("float32",),
        cases=tuple(_case(*one) for one in record.cases) or (_unknown_case(definition),),
        parents=tuple(categories.Parent(**parent) for parent in candidate.parents) or None,
    )


def _case(
    case: Case, inputs: Sequence[tuple[str, str, tuple[int, ...]]], outputs: Sequence[tuple[str, str, tuple[int, ...]]]
) -> categories.Case:
    tensors = [categories.TensorSpec(name=name, dtype=dtype, shape=shape, role="input") for name, dtype, shape in inputs]
    tensors += [categories.TensorSpec(name=name, dtype=dtype, shape=shape, role="output") for name, dtype, shape in outputs]
    return categories.Case(name=case.name, set=case.set, tensors=tuple(tensors), attributes=dict(case.symbols) or None)


def _unknown_case(definition: Definition) -> categories.Case:
    """For a run that ended before shapes were known."""
    role = (*definition.outputs, None)[0]
    tensor = categories.TensorSpec(
        name=role.name if role else "output", dtype=role.dtype if role else "unknown", shape=(), role="output"
    )  # fmt: skip
    return categories.Case(name="none", set="given", tensors=(tensor,))


def _compiler(built: Built | None) -> categories.Compiler | None:
    if built is None or not built.compiler:
        return None
    about = built.compiler
    return categories.Compiler(name=str(about["name"]), version=str(about["version"]), invocation=tuple(map(str, about["invocation"])))


def _target(device: str) -> categories.Target:
    if device.startswith("cuda"):
        major, minor = torch.cuda.get_device_capability(device)
        return categories.Target(kind="cuda", architecture=f"sm_{major}{minor}")

    return categories.Target(kind="cpu", architecture=platform.machine() or "unknown")


def _environment(record: Record) -> categories.Environment:
    method = "error analysis: float64 reference, bound from dtypes, reduction lengths and the inputs at hand; |got - wanted| <= bound"
    suite = record.suite
    thresholds: dict[str, Measured | Stated] = {}
    for name, text in (suite.explanations if suite is not None else {}).items():
        thresholds[name] = derived(1.0, "1", f"times the bound of each element; on the last inputs that bound was {text}"[:4000])
    tolerance = categories.Tolerance(method=method, thresholds=thresholds) if thresholds else None
    return environment.read(
        record.device, replay=list(record.replay), before=record.before, after=record.after, seed=record.seed.reveal(), tolerance=tolerance,
        baseline=record.baseline,
    )  # fmt: skip


def _security(record: Record) -> Security:
    kind = record.failure[0] if record.failure is not None else ""
    cheat = kind.removeprefix("cheat.") if kind.startswith("cheat.") else None
    said = "; ".join(f"{name}: {text}" for name, text in record.suspicions)
    effects = f"none is allowed but in the scratch folder, which is gone; {record.printed} bytes were printed, and kept from any result"
    return Security(
        threat_model=THREAT_MODEL,
        sandbox="; ".join(record.boundaries) or "it was not run",
        side_effects=f"{effects}; hints in the source: {said}"[:4000] if said else effects,
        isolation=ISOLATION,
        profiler_access=False,
        cheat=cheat,
        verdict="cheat" if cheat else "suspect" if record.suspicions else "clean" if record.boundaries else "unaudited",
    )
