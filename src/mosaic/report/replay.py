"""What a replay says: each claim of a packet, and what became of it. What any machine can check of it is checked here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from mosaic.errors import InputError
from mosaic.evidence.packet import ErrorPacket, FailPacket, Packet, SkippedPacket
from mosaic.harness import environment
from mosaic.report.packet_sheets import checks_of, performance_of
from mosaic.report.quantities import digits
from mosaic.report.statistics import recomputed

Outcome = Literal["reproduced", "not reproduced", "not replayed"]

RERUN: Final = ("correctness", "failure", "kernels")
"""What claims begin with that took a run of the candidate."""


@dataclass(frozen=True)
class Part:
    """One claim of a packet, and what became of it."""

    claim: str
    outcome: Outcome
    detail: str


def claims(packet: Packet, what: str) -> None:
    """Raise InputError for a packet that claims nothing that could be run again."""
    if isinstance(packet, (ErrorPacket, SkippedPacket)):
        raise InputError(f"{what} has the status {packet.status}: nothing was run, so there is nothing to replay")


def is_reproduced(parts: Sequence[Part]) -> bool:
    """Whether nothing came out otherwise, and something was run again that did."""
    good = any(part.outcome == "reproduced" and part.claim.startswith(RERUN) for part in parts)
    return good and not any(part.outcome == "not reproduced" for part in parts)


def statistics_of(packet: Packet) -> tuple[Part, ...]:
    """The packet's statistics against its own samples; nothing if it has none."""
    performance = performance_of(packet)
    found = list(recomputed(performance)) if performance is not None else []
    if not found:
        return ()
    wrong = [claim for claim in found if not claim.same]
    detail = "; ".join(f"{claim.what} is {digits(claim.found)}, not {digits(claim.claimed)}" for claim in wrong)
    claim = f"statistics: {len(found)} figures from the samples"
    return (Part(claim, "not reproduced" if wrong else "reproduced", detail or "the same from its samples"),)


def same_device(packet: Packet, device: str) -> str:
    """Why times of this device say nothing of the packet's; empty if it is of the same kind."""
    there, here = packet.environment.device, environment.describe(device)
    if (there.kind, there.name) == (here.kind, here.name):
        return ""
    return f"the packet's times are of {there.name}, and this is {here.name}"


def compare_verdicts(packet: Packet, again: Packet) -> Part:
    """Correctness: the packet of a candidate that was judged, against that of its replay."""
    if isinstance(packet, FailPacket):
        claim = f"failure {packet.failure.kind}"
        if not isinstance(again, FailPacket):
            return Part(claim, "not reproduced", f"now: {again.status}")
        same = again.failure.kind == packet.failure.kind
        return Part(claim, "reproduced" if same else "not reproduced", f"now {again.failure.kind}: {again.failure.message}")
    was, now = (_outcome(each) for each in (packet, again))
    claim = f"correctness: {len(checks_of(packet))} checks, {was}"
    if isinstance(again, ErrorPacket):
        return Part(claim, "not replayed", f"the judge could not finish: {again.error.message}")
    failure = f", {again.failure.kind}: {again.failure.message}" if isinstance(again, FailPacket) else ""
    return Part(claim, "reproduced" if was == now else "not reproduced", f"now {len(checks_of(again))} checks, {now}{failure}")


def _outcome(packet: Packet) -> str:
    validation = getattr(packet, "validation", None)
    if isinstance(packet, FailPacket):
        return "fail"
    return str(validation.outcome) if validation is not None else packet.status


def compare_speeds(packet: Packet, again: Packet | None, why_not: str) -> tuple[Part, ...]:
    """Each speedup of a packet against that of its replay; `why_not` says why nothing was timed."""
    performance = performance_of(packet)
    mine = performance_of(again) if again is not None else None
    parts = []
    for baseline in (performance.baselines or ()) if performance is not None else ():
        for case, speedup in baseline.speedup.items():
            low, high = speedup.interval or (speedup.value, speedup.value)
            claim = f"speed: {digits(speedup.value)} times that of {baseline.reference.name} ({digits(low)} to {digits(high)}), {case}"
            found = (
                next(
                    (b.speedup[case] for b in (mine.baselines or ()) if b.reference.name == baseline.reference.name and case in b.speedup),
                    None,
                )
                if mine is not None
                else None
            )
            if found is None:
                parts.append(Part(claim, "not replayed", why_not or "it was not timed"))
            else:
                parts.append(compare_speed(claim, (low, high), found.value, found.interval or (found.value, found.value)))
    return tuple(parts)


def compare_speed(claim: str, claimed: tuple[float, float], value: float, interval: tuple[float, float]) -> Part:
    """A speedup's interval against that found now. It is the same if the two overlap, or both are on one side of 1."""

    def verdict(ends: tuple[float, float]) -> str:
        return "faster" if ends[0] > 1 else "slower" if ends[1] < 1 else "inconclusive"

    overlap = claimed[0] <= interval[1] and interval[0] <= claimed[1]
    same = overlap or verdict(claimed) == verdict(interval)
    detail = f"now {digits(value)} ({digits(interval[0])} to {digits(interval[1])}): {verdict(interval)}"
    return Part(claim, "reproduced" if same else "not reproduced", detail)
