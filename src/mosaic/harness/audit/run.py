"""The audit: every entry of the corpus through the judge, and whether it said what it must.

    report = audit(device="auto")
    print(report.markdown())
    report.raise_if_wrong()

A cheat must be refused, and by its own name (one of the entry's `kinds`); a control must pass; a mistake must fail with a class
that does not call it a cheat. What needs a device that is not there is listed as skipped, and counted nowhere.
"""

from __future__ import annotations

import importlib.util
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import torch

from mosaic.errors import InputError, MosaicError, VerificationError
from mosaic.evidence import Ledger, Packet
from mosaic.evidence.packet import FailPacket, InconclusivePacket, PassPacket, packet_id
from mosaic.harness.audit import corpus
from mosaic.harness.audit.corpus import Entry, Group
from mosaic.harness.judge import judge_with_artifacts
from mosaic.harness.sandbox import Limits
from mosaic.version import __version__

Verdict = Literal["right", "missed", "misnamed", "false alarm", "error", "skipped"]

LIMITS: Final = Limits(seconds=20.0, start_seconds=60.0)


@dataclass(frozen=True)
class Result:
    """What the judge said of one entry. verdict: `right`; missed (a cheat or mistake that passed), misnamed (refused by another name),
    false alarm (a control that was refused), error (the judge could not finish), skipped (needs what is not here)."""

    entry: Entry
    verdict: Verdict
    status: str = ""
    kind: str = ""
    message: str = ""
    speedup: float | None = None
    seconds: float = 0.0
    packet: str = ""

    def document(self) -> dict[str, Any]:
        """As JSON has it."""
        entry = self.entry
        return {
            "group": entry.group, "number": entry.number, "name": entry.name, "path": entry.path, "needs": entry.needs,
            "task": entry.task.name, "sha256": entry.sha256, "faster": entry.faster,
            "verdict": self.verdict, "status": self.status, "kind": self.kind, "message": self.message, "speedup": self.speedup,
            "seconds": round(self.seconds, 3), "packet": self.packet,
        }  # fmt: skip


@dataclass(frozen=True)
class Report:
    """All results."""

    results: tuple[Result, ...]
    device: str

    def of(self, group: Group) -> tuple[Result, ...]:
        """The results of a group that were not skipped."""
        return tuple(result for result in self.results if result.entry.group == group and result.verdict != "skipped")

    @property
    def ways(self) -> tuple[int, int]:
        """Ways to cheat of which every entry was caught and named, and those that were tried."""
        tried = {result.entry.number for result in self.of("cheats")}
        wrong = {result.entry.number for result in self.of("cheats") if result.verdict != "right"}
        return len(tried - wrong), len(tried)

    @property
    def caught(self) -> tuple[int, int]:
        """Ways to cheat of which every entry was refused, by whatever name."""
        tried = {result.entry.number for result in self.of("cheats")}
        passed = {result.entry.number for result in self.of("cheats") if result.verdict in ("missed", "error")}
        return len(tried - passed), len(tried)

    @property
    def false_alarms(self) -> tuple[int, int]:
        """Controls that were refused, and all that were tried."""
        controls = self.of("controls")
        return sum(result.verdict != "right" for result in controls), len(controls)

    @property
    def wrong(self) -> tuple[Result, ...]:
        """Everything that the judge did not say right."""
        return tuple(result for result in self.results if result.verdict not in ("right", "skipped"))

    def raise_if_wrong(self) -> None:
        """Raises VerificationError with the first that is wrong."""
        for result in self.wrong:
            what = f"{result.entry.path}: {result.verdict} ({result.status} {result.kind}): {result.message}"
            raise VerificationError(f"the judge is wrong about {len(self.wrong)} of {len(self.results)} entries; {what}")

    def document(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "format": "mosaic-audit", "version": corpus.VERSION, "mosaic": __version__, "corpus": corpus.digest(), "device": self.device,
            "ways": list(self.ways), "caught": list(self.caught), "false_alarms": list(self.false_alarms),
            "seconds": round(sum(result.seconds for result in self.results), 1), "results": [result.document() for result in self.results],
        }  # fmt: skip


def audit(
    device: str = "auto",
    *,
    groups: Sequence[Group] = corpus.GROUPS,
    only: Iterable[str] = (),
    ledger: Ledger | None = None,
    timing: bool = False,
    progress: Callable[[Result], None] | None = None,
) -> Report:
    """Run the corpus, or those entries of it whose path, number or name is in `only`.

    device: cpu (all entries that need none), cuda (only those that need one), auto (whatever is there). timing: time all of
    them; otherwise those that only timed runs can tell, and all that runs on a GPU. ledger: gets the packets. progress: called with
    each result. Raises InputError for a device or an entry that is not there.
    """
    if device not in ("auto", "cpu", "cuda"):
        raise InputError(f"an audit runs on auto, cpu or cuda, not {device!r}")
    if device == "cuda" and not torch.cuda.is_available():
        raise InputError("there is no CUDA device to audit on; leave --device out for what runs without")
    wanted = set(only)
    chosen = [entry for entry in corpus.entries(*groups) if not wanted or wanted & {entry.path, entry.name, str(entry.number)}]
    if not chosen:
        raise InputError(f"the corpus has no entry {', '.join(sorted(wanted))}; `mosaic audit --list` shows them")
    if device == "cuda":
        chosen = [entry for entry in chosen if entry.needs != "cpu"]
    results = []
    for entry in chosen:
        result = examine(entry, ledger=ledger, timing=timing, device=device)
        results.append(result)
        if progress is not None:
            progress(result)
    return Report(tuple(results), torch.cuda.get_device_name() if device != "cpu" and torch.cuda.is_available() else "cpu")


def missing(entry: Entry, device: str = "auto") -> str | None:
    """What an entry needs that is not here, or None."""
    if entry.needs != "cpu" and (device == "cpu" or not torch.cuda.is_available()):
        return "a CUDA device"
    if entry.needs in ("triton", "tilelang") and importlib.util.find_spec(entry.needs) is None:
        return entry.needs
    compilers = {".c": "gcc", ".cu": "nvcc"}
    for name in entry.files:
        compiler = compilers.get(Path(name).suffix)
        if compiler is not None and shutil.which(compiler) is None:
            return compiler
    return None


def examine(entry: Entry, *, ledger: Ledger | None = None, timing: bool = False, device: str = "auto") -> Result:
    """One entry through the judge."""
    lacking = missing(entry, device)
    if lacking is not None:
        return Result(entry, "skipped", message=f"needs {lacking}")
    start = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="mosaic-audit-") as folder:
        task, candidate = entry.task.write(Path(folder)), entry.write(Path(folder))
        where = "cpu" if entry.needs == "cpu" else "cuda"
        try:
            timing = timing or entry.timed or where != "cpu"
            packet, artifacts = judge_with_artifacts(task, candidate, device=where, limits=LIMITS, timing=timing)
        except MosaicError as error:
            return Result(entry, "error", message=str(error), seconds=time.perf_counter() - start)
    if ledger is not None:
        ledger.append(packet, artifacts.values())
    return _result(entry, packet, time.perf_counter() - start, timed=timing)


def _result(entry: Entry, packet: Packet, seconds: float, *, timed: bool) -> Result:
    kind = packet.failure.kind if isinstance(packet, FailPacket) else ""
    message = (
        packet.failure.message if isinstance(packet, FailPacket) else str(getattr(packet, "reason", "") or getattr(packet, "error", ""))
    )
    speedup = _speedup(packet)
    verdict: Verdict
    if packet.status in ("error", "skipped"):
        verdict = "error"
    elif entry.group == "controls":
        slow = timed and entry.faster is not None and (speedup is None or speedup < entry.faster)
        verdict = "false alarm" if kind or slow else "right"
        message = f"{speedup} times as fast, not {entry.faster}" if slow and not kind else message
    elif not kind:
        verdict = "missed"
    else:
        verdict = "right" if kind in entry.kinds else "misnamed"
    return Result(entry, verdict, packet.status, kind, message[:500], speedup, seconds, packet_id(packet))


def _speedup(packet: Packet) -> float | None:
    """The least speedup over any baseline and case."""
    if not isinstance(packet, PassPacket | InconclusivePacket) or packet.performance is None:
        return None
    found = [figure.value for baseline in packet.performance.baselines or () for figure in baseline.speedup.values()]
    return min(found, default=None)
