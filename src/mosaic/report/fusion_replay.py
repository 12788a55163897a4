"""A fusion run again from its packet: planned, compiled and verified anew, and timed where the device is of the same kind.

again = replay(found, graph, timing=True)
again.parts        what was claimed, what was found now, and whether that is the same
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, Literal

from mosaic.errors import InputError, MosaicError, ToolMissingError
from mosaic.evidence.categories import Passed, Unclear
from mosaic.evidence.collection import Found
from mosaic.evidence.packet import FailPacket, Packet
from mosaic.graph.graph import Graph
from mosaic.graph.serialize import load
from mosaic.report.facts import Facts
from mosaic.report.fusion_files import GRAPH, KERNELS, TUNING, WEIGHTS, Files, inline
from mosaic.report.fusion_packet import FUSION
from mosaic.report.packet_sheets import checks_of, performance_of
from mosaic.report.quantities import digits
from mosaic.report.replay import Part, compare_speed, same_device, statistics_of
from mosaic.targets.target import Target, find
from mosaic.tune.tuning import Tuning, from_json


def is_fusion(packet: Packet) -> bool:
    """Whether a packet is of a fusion, as `mosaic fuse` writes them."""
    return FUSION in packet.__pydantic_extra__


def recipe_of(packet: Packet, what: str) -> tuple[str, dict[str, Any], Literal["shared", "register"]]:
    """The source's name, the model's settings, and the memory preferred. Raises InputError if the packet does not say it as it should."""
    fusion = packet.__pydantic_extra__[FUSION]
    source, settings, prefer = (fusion.get(key) for key in ("source", "settings", "prefer"))
    if not isinstance(source, str) or not isinstance(settings, dict) or prefer not in ("shared", "register"):
        raise InputError(f"{what} does not say how it was fused; its category {FUSION} needs source, settings and prefer")
    return source, dict(settings), "shared" if prefer == "shared" else "register"


def files_of(found: Found) -> dict[str, bytes]:
    """The contents of the packet's artifacts by name: beside it, or in its category `bundle`; what is nowhere is left out."""
    bundle = found.packet.__pydantic_extra__.get("bundle")
    inside = inline(bundle, found.place) if bundle is not None else {}
    held = {**inside, **found.contents()}
    return {artifact.name: held[artifact.sha256] for artifact in found.packet.artifacts or () if artifact.sha256 in held}


def graph_of(found: Found, files: Mapping[str, bytes], *, weights: bool = True) -> Graph:
    """The graph of a packet's files; kernels that it brings must be registered already.

    Raises InputError if they are not there, and what `mosaic.graph.serialize.load` raises.
    """
    listed = {artifact.name for artifact in found.packet.artifacts or ()}
    for name in (GRAPH, *((WEIGHTS,) if weights and WEIGHTS in listed else ())):
        if name not in files:
            raise InputError(f"{found.place} names {name} but its content is not there; give the .zip, the ledger, or the packet's folder")
    with tempfile.TemporaryDirectory(prefix="mosaic-replay-") as folder:
        path = Path(folder) / GRAPH
        path.write_bytes(files[GRAPH])
        if weights and WEIGHTS in files:
            (Path(folder) / WEIGHTS).write_bytes(files[WEIGHTS])
        return load(path, weights=weights and WEIGHTS in files)


def tuning_of(found: Found, files: Mapping[str, bytes]) -> Tuning | None:
    """The tuning that a packet names; None if it names none. Raises InputError if it is not there, or damaged."""
    if TUNING not in {artifact.name for artifact in found.packet.artifacts or ()}:
        return None
    if TUNING not in files:
        raise InputError(f"{found.place} names {TUNING} but its content is not there; give the .zip, the ledger, or the packet's folder")
    return from_json(files[TUNING].decode(errors="replace"), f"{TUNING} of {found.place}")


def code_of(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """The kernels that a packet brings, by their files' names: Python, which runs when it is loaded."""
    return {name.removeprefix(KERNELS): content for name, content in files.items() if name.startswith(KERNELS)}


def target_of(packet: Packet, what: str) -> Target:
    """The target it was fused for, with as many cores or processors, and as fast a memory, as there were: the plan depends on them.

    Raises InputError if the packet does not name it.
    """
    engine = packet.environment.engine or {}
    name, cores = engine.get("target"), engine.get("processors")
    if not isinstance(name, str) or not isinstance(cores, int) or isinstance(cores, bool) or not 1 <= cores <= 1 << 20:
        raise InputError(f"{what} does not say for which target it was fused; environment.engine needs target and processors")
    target = find(name)
    # Packets of before 2026-11-21 do not say the bandwidth.
    told = engine.get("bandwidth", target.bandwidth)
    if isinstance(told, bool) or not isinstance(told, int | float) or not 0 < told < float("inf"):
        raise InputError(f"{what} says a bandwidth that is none; environment.engine needs it in bytes a second")
    if target.kind != "cpu":
        return replace(target, processors=cores, bandwidth=float(told))
    return replace(target, processors=cores, bandwidth=float(told), vector_rate=target.vector_rate / target.processors * cores)


def compare_failure(packet: Packet, error: MosaicError | None) -> tuple[Part, ...]:
    """A failed packet against what fusing gave now: an error, or None."""
    assert isinstance(packet, FailPacket)
    said = " ".join(str(error).split()) if error is not None else "it was fused and verified without an error"
    same = error is not None and not isinstance(error, ToolMissingError)
    claim = f"failure {packet.failure.kind}"
    return (Part(claim, "reproduced" if same else "not reproduced", said),)


def untuned(error: InputError) -> Part:
    """That a packet's tuning is of another plan than is made here now, so that the fusion was made again without it."""
    return Part("tuning", "not reproduced", str(error))


def compare(found: Found, facts: Facts, files: Files) -> tuple[Part, ...]:
    """What a packet claims against the facts of a fusion made anew; `files` are those of the new one."""
    packet = found.packet
    return (*_plan(packet, facts), _sources(packet, files), _correctness(packet, facts), *statistics_of(packet), _speed(packet, facts))


def _plan(packet: Packet, facts: Facts) -> tuple[Part, ...]:
    fusion: Any = packet.__pydantic_extra__[FUSION]
    mine = (
        ("kernels", facts.kernels_before, facts.kernels_after, "kernels"),
        ("bytes_between", facts.bytes_before, facts.bytes_after, "bytes between kernels"),
    )
    parts = []
    for key, before, after, name in mine:
        try:
            claimed = fusion[key]["before"]["value"], fusion[key]["after"]["value"]
        except (KeyError, TypeError):
            continue  # not claimed
        same = claimed == (before, after)
        now = "the same now" if same else f"now {before:,} -> {after:,}"
        parts.append(Part(f"{name}: {digits(claimed[0])} -> {digits(claimed[1])}", "reproduced" if same else "not reproduced", now))
    return tuple(parts)


def _sources(packet: Packet, files: Files) -> Part:
    """Compiled sources may differ between versions of TileLang, and nothing is claimed of them: what is told is whether they do."""
    kinds: Final = ("launches/",)
    claimed = {a.name: a.sha256 for a in packet.artifacts or () if a.name.startswith(kinds)}
    mine = {a.name: a.sha256 for a in files.artifacts if a.name.startswith(kinds)}
    same = sum(claimed.get(name) == sha256 for name, sha256 in mine.items())
    detail = f"{same} of {len(claimed)} are the same, byte for byte"
    return Part(f"sources: {len(claimed)} that were compiled", "reproduced" if claimed == mine else "not replayed", detail)


def _correctness(packet: Packet, facts: Facts) -> Part:
    validation = getattr(packet, "validation", None)
    checks = checks_of(packet)
    if not isinstance(validation, (Passed, Unclear)):
        return Part("correctness: not claimed", "not replayed", f"now: {facts.status}, on {facts.checked_on}")
    wanted = "pass" if isinstance(validation, Passed) else "inconclusive"
    now = [finding for kernel in facts.kernels if kernel.report is not None for finding in kernel.report.findings]
    worst = max((finding.ratio for finding in now), default=0.0)
    claimed = max((check.error.value for check in checks if check.error is not None), default=0.0)
    detail = f"now {len(now)} checks on {facts.checked_on}: {facts.status}, largest error {worst:.3g} of its bound"
    same = facts.status == wanted or (wanted == "inconclusive" and facts.status == "pass")
    claim = f"correctness: {len(checks)} checks {wanted}, largest error {claimed:.3g} of its bound"
    return Part(claim, "reproduced" if same else "not reproduced", detail)


def _speed(packet: Packet, facts: Facts) -> Part:
    performance = performance_of(packet)
    if performance is None or not performance.baselines:
        return Part("speed: none claimed", "not replayed", "the packet has no times")
    (speedup,) = performance.baselines[0].speedup.values()
    low, high = speedup.interval or (speedup.value, speedup.value)
    claim = f"speed: {digits(speedup.value)} times that of {performance.baselines[0].reference.name} ({digits(low)} to {digits(high)})"
    if facts.times is None:
        device = str(facts.fused.program.device) if facts.fused.program is not None else "cpu"
        return Part(claim, "not replayed", same_device(packet, device) or "timing was left out")
    return compare_speed(claim, (low, high), facts.times.ratio, facts.times.interval)
