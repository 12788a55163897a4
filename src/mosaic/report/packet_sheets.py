"""What a packet says, as titled tables of text: what its page, its Markdown and the command line show."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from mosaic.evidence.categories import AnyCheck, BadCheck, Conditions, Environment, Performance, Roof, Timing, UnclearCheck
from mosaic.evidence.packet import ErrorPacket, FailPacket, InconclusivePacket, Packet, PassPacket, SkippedPacket, packet_id
from mosaic.report.quantities import figure, quantity

LONGEST: Final = 160
"""Characters of a free-form value that are shown."""


@dataclass(frozen=True)
class Sheet:
    """A table. name: for links. text: what to know to read it. numeric: columns that are aligned to the right."""

    name: str
    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    text: str = ""
    numeric: tuple[int, ...] = ()


def checks_of(packet: Packet) -> tuple[AnyCheck, ...]:
    """The checks of its validation; none if it has none."""
    if isinstance(packet, (PassPacket, FailPacket, InconclusivePacket)) and packet.validation is not None:
        return tuple(packet.validation.checks)
    return ()


def performance_of(packet: Packet) -> Performance | None:
    return packet.performance if isinstance(packet, (PassPacket, InconclusivePacket)) else None


def verdict(packet: Packet) -> str:
    """Why the status is what it is, in a sentence; empty for a pass."""
    match packet:
        case FailPacket():
            return f"{packet.failure.kind}: {packet.failure.message}"
        case ErrorPacket():
            return f"in {packet.error.phase}: {packet.error.message}"
        case SkippedPacket() | InconclusivePacket():
            return packet.reason
        case _:
            return ""


def headline(packet: Packet) -> tuple[tuple[str, str, str], ...]:
    """The figures that matter: a name, a value and a remark each."""
    found: list[tuple[str, str, str]] = [
        ("status", packet.status, verdict(packet) or f"{packet.candidate.name} does what {packet.candidate.task} asks")
    ]
    checks = checks_of(packet)
    if checks:
        good = sum(check.outcome == "pass" for check in checks)
        errors = [check.error.value for check in checks if check.error is not None]
        remark = f"largest error {max(errors):.3g} of what is allowed" if errors else "without a figure of the error"
        found.append(("checks passed", f"{good} of {len(checks)}", remark))
    performance = performance_of(packet)
    if performance is not None:
        found.extend(_times(performance))
    return tuple(found)


def _times(performance: Performance) -> Iterator[tuple[str, str, str]]:
    for timing in performance.timings:
        remark = f"{timing.case}; {timing.clock}, {timing.launch}, median of {len(timing.samples.values)}"
        yield "time", quantity(timing.median.value, timing.median.unit), remark
    for baseline in performance.baselines or ():
        for case, speedup in baseline.speedup.items():
            yield f"speed against {baseline.reference.name}", f"{figure(speedup)} times", case
    if performance.noise is not None:
        yield "noise floor", f"{100 * performance.noise.value:.2g} %", performance.noise.how or "two timings of the same program"
    for roof in performance.roofs or ():
        yield "of the roof", f"{100 * roof.fraction.value:.3g} %", f"{roof.case}: at least {figure(roof.time)}, limited by {roof.limit}"


def sheets(packet: Packet) -> tuple[Sheet, ...]:
    """All of a packet; what it does not hold has no sheet."""
    made = [
        *_performance(packet),
        _checks(packet),
        _sheet("candidate", "What was run", ("", ""), _candidate(packet)),
        _sheet("cases", "Cases", ("case", "set", "tensors"), _cases(packet)),
        _sheet("environment", "What it ran on", ("", "", ""), environment_rows(packet.environment)),
        _tolerance(packet),
        _artifacts(packet),
        *_categories(packet),
        _sheet("replay", "Run it again", ("", ""), _replay(packet)),
    ]
    return tuple(sheet for sheet in made if sheet.rows)


def _sheet(name: str, title: str, head: tuple[str, ...], rows: Iterator[tuple[str, ...]], text: str = "") -> Sheet:
    return Sheet(name, title, head, tuple(rows), text)


def _candidate(packet: Packet) -> Iterator[tuple[str, ...]]:
    candidate = packet.candidate
    yield "packet", packet_id(packet)
    yield "made", packet.created
    yield "candidate", candidate.name
    yield "task", candidate.task + (f" (sha256 {candidate.task_sha256[:16]}…)" if candidate.task_sha256 else "")
    yield "target", f"{candidate.target.kind}, {candidate.target.architecture}"
    yield "computes in", ", ".join(candidate.dtypes)
    yield "source", f"{candidate.source.language}, entry {candidate.source.entry}"
    for file in candidate.source.files:
        yield "file", f"{file.path} (sha256 {file.sha256[:16]}…)"
    if candidate.compiler is not None:
        yield "compiled by", f"{candidate.compiler.name} {candidate.compiler.version}: {shlex.join(candidate.compiler.invocation)}"
    for parent in candidate.parents or ():
        yield parent.relation, f"{parent.name} (sha256 {parent.sha256[:16]}…)"
    if packet.tags:
        yield "tags", ", ".join(packet.tags)


def _cases(packet: Packet) -> Iterator[tuple[str, ...]]:
    for case in packet.candidate.cases:
        tensors = ", ".join(f"{tensor.name} {tensor.dtype}[{', '.join(map(str, tensor.shape))}]" for tensor in case.tensors)
        yield case.name, case.set, tensors


def _checks(packet: Packet) -> Sheet:
    rows = []
    for check in checks_of(packet):
        counts = ", ".join(f"{n:,} {what}" for n, what in ((check.nans, "NaN"), (check.infinities, "infinite")) if n)
        span = f"{figure(check.low)} to {figure(check.high)}" if check.low is not None and check.high is not None else ""
        said = check.message if isinstance(check, (BadCheck, UnclearCheck)) else ""
        kind = f"{check.failure}: " if isinstance(check, BadCheck) else ""
        error = f"{check.error.value:.3g}" if check.error is not None else ""
        rows.append((check.case, check.output, check.distribution, str(check.trial), check.outcome, error, span, counts, kind + said))
    head = ("case", "output", "inputs", "trial", "result", "error / allowed", "range", "not finite", "what is wrong")
    # Columns that are empty throughout only take room.
    keep = [i for i in range(len(head)) if i <= 4 or any(row[i] for row in rows)]
    validation = getattr(packet, "validation", None)
    return Sheet(
        "checks",
        "Is it right?",
        tuple(head[i] for i in keep),
        tuple(tuple(row[i] for i in keep) for row in rows),
        str(validation.method) if validation is not None else "",
        tuple(keep.index(i) for i in (3, 5) if i in keep),
    )


def _performance(packet: Packet) -> Iterator[Sheet]:
    performance = performance_of(packet)
    if performance is None:
        return
    named: list[tuple[str, Timing]] = [(packet.candidate.name, timing) for timing in performance.timings]
    for baseline in performance.baselines or ():
        named += [(f"{baseline.reference.name} {baseline.reference.version}", timing) for timing in baseline.timings]
    method = performance.method
    text = (
        f"Timer: {method.timer}. Warm-up: {method.warm_up} runs. Cache: {method.cache}. Waited for: {method.synchronisation}. "
        f"Candidate and baselines {'took turns' if method.interleaved else 'ran one after the other'}; outputs of the timed runs were "
        f"{'compared too' if method.verified else 'not compared'}."
    )
    yield Sheet(
        "times",
        "How fast?",
        ("program", "case", "clock", "launch", "samples", "median", "least", "most"),
        tuple(_timing(name, timing) for name, timing in named),
        text,
        (4, 5, 6, 7),
    )
    speedups = [
        (baseline.reference.name, case, f"{figure(speedup)}", speedup.how or "")
        for baseline in performance.baselines or ()
        for case, speedup in baseline.speedup.items()
    ]
    yield Sheet("speedups", "Against the baselines", ("baseline", "case", "times as fast", "how"), tuple(speedups), numeric=(2,))
    yield Sheet(
        "roofs",
        "Distance to the roof",
        ("case", "least time", "limited by", "share reached", "how"),
        tuple(_roof(roof) for roof in performance.roofs or ()),
        "The least time that the device allows for this work.",
        (1, 3),
    )


def _timing(name: str, timing: Timing) -> tuple[str, ...]:
    values, unit = timing.samples.values, timing.samples.unit
    ends = (quantity(min(values), unit), quantity(max(values), unit))
    return name, timing.case, timing.clock, timing.launch, str(len(values)), figure(timing.median), *ends


def _roof(roof: Roof) -> tuple[str, ...]:
    return roof.case, figure(roof.time), roof.limit, f"{100 * roof.fraction.value:.3g} %", roof.time.how or ""


def environment_rows(environment: Environment) -> Iterator[tuple[str, ...]]:
    """What it is, its value and a remark, row by row."""
    device = environment.device
    yield "device", f"{device.count} of {device.name}" if device.count > 1 else device.name, device.kind
    for name in ("driver", "firmware", "serial"):
        if getattr(device, name) is not None:
            yield name, getattr(device, name), ""
    if device.memory is not None:
        yield "memory", figure(device.memory), ""
    if device.ecc is not None:
        yield "ECC", "on" if device.ecc else "off", ""
    yield "system", environment.system, ""
    for when, state in (("before", environment.before), ("after", environment.after)):
        yield from (_state(when, state) if state is not None else ())
    for name, version in environment.libraries.items():
        yield "library", f"{name} {version}", ""
    for name, value in (environment.engine or {}).items():
        yield "setting", f"{name} = {_short(value)}", ""
    if environment.baseline is not None:
        yield "baseline", f"{environment.baseline.name} {environment.baseline.version}", "frozen before the run"
    if environment.replay.revision is not None:
        yield "revision", environment.replay.revision, "the commit of the source that ran"
    if environment.seed is not None:
        yield "seed", _short(environment.seed.revealed), f"its SHA-256 {environment.seed.commitment[:16]}… was committed to first"


def _state(when: str, state: Conditions) -> Iterator[tuple[str, ...]]:
    for name, clock in (state.clocks or {}).items():
        yield f"{name} clock {when}", figure(clock), clock.how or ""
    if state.temperature is not None:
        yield f"temperature {when}", figure(state.temperature), ""
    if state.power is not None:
        yield f"power {when}", figure(state.power), ""


def _tolerance(packet: Packet) -> Sheet:
    tolerance = packet.environment.tolerance
    rows = [(name, figure(found), found.how or "") for name, found in tolerance.thresholds.items()] if tolerance is not None else []
    return Sheet(
        "tolerance", "What is allowed", ("of", "threshold", "from"), tuple(rows), tolerance.method if tolerance is not None else "", (1,)
    )


def _artifacts(packet: Packet) -> Sheet:
    rows = tuple((each.name, each.kind, each.level or "", quantity(each.size, "B"), each.sha256) for each in packet.artifacts or ())
    return Sheet("artifacts", "Files of the run, by content", ("name", "kind", "level", "size", "sha256"), rows, numeric=(3,))


_KNOWN: Final = {
    "security": "What stood between the candidate and its judge",
    "quantisation": "Formats",
    "serving": "The engine",
    "capacity": "What the run used",
}


def _categories(packet: Packet) -> Iterator[Sheet]:
    """The optional categories, and those that this release does not know, place by place."""
    document = packet.document()
    for name in (*_KNOWN, *sorted(packet.__pydantic_extra__)):
        if name in document:
            title = _KNOWN.get(name, f"Also in the packet: {name}")
            yield Sheet(name, title, ("", "", ""), tuple(_places(document[name], "")))


def _places(value: Any, place: str) -> Iterator[tuple[str, ...]]:
    if isinstance(value, Mapping) and {"label", "value", "unit"} <= value.keys() and isinstance(value["value"], (int, float)):
        yield place, quantity(value["value"], str(value["unit"])), " ".join(filter(None, (str(value["label"]), str(value.get("how", "")))))
    elif isinstance(value, Mapping) and value:
        for key, item in value.items():
            yield from _places(item, f"{place}.{key}".removeprefix("."))
    elif isinstance(value, (list, tuple)) and any(isinstance(item, (Mapping, list, tuple)) for item in value):
        for index, item in enumerate(value):
            yield from _places(item, f"{place}[{index}]")
    else:
        yield place, _short(value), ""


def _short(value: Any) -> str:
    text = ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
    text = " ".join(text.split())
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}… ({len(text):,} characters)"


def _replay(packet: Packet) -> Iterator[tuple[str, ...]]:
    replay = packet.environment.replay
    yield "command", shlex.join(replay.command)
    if replay.repository is not None:
        yield "repository", replay.repository
    if replay.revision is not None:
        yield "revision", replay.revision
    for name, value in (replay.variables or {}).items():
        yield "variable", f"{name}={value}"


def series(packet: Packet) -> dict[tuple[str, str, str], list[tuple[str, Timing]]]:
    """All samples, by case, clock and unit: the candidate's, then each baseline's."""
    performance = performance_of(packet)
    found: dict[tuple[str, str, str], list[tuple[str, Timing]]] = {}
    if performance is None:
        return found
    named: Sequence[tuple[str, tuple[Timing, ...]]] = [
        (packet.candidate.name, performance.timings),
        *((baseline.reference.name, baseline.timings) for baseline in performance.baselines or ()),
    ]
    for name, timings in named:
        for timing in timings:
            found.setdefault((timing.case, timing.clock, timing.samples.unit), []).append((f"{name} ({timing.launch})", timing))
    return found
