"""What verbs that judge a candidate share: the run with its progress, the tables, the packet, the exit code, the replay."""

from __future__ import annotations

import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from mosaic.cli.keeping import Kept, keep
from mosaic.cli.output import console, print_json
from mosaic.cli.phases import Phases
from mosaic.errors import InputError, VerificationError

if TYPE_CHECKING:
    from mosaic.evidence.collection import Found
    from mosaic.evidence.packet import Packet
    from mosaic.report.replay import Part

INCONCLUSIVE: Final = 1
"""Exit code where nothing can be said, or the judge could not finish."""

TaskPath = Annotated[
    Path, typer.Argument(metavar="TASK", help="A task: a folder with definition.json, or a Python file in the usual form.")
]
CandidatePath = Annotated[Path, typer.Argument(metavar="CANDIDATE", help="A candidate: a folder with candidate.json, or one file.")]
WorkloadPath = Annotated[
    Path | None, typer.Option("--workload", help="Shapes, inputs and timing, if not the task's own.", show_default=False)
]
DeviceName = Annotated[str, typer.Option("--device", help="cpu, cuda, or auto: this machine's GPU, or the CPU if it has none.")]
Seed = Annotated[
    str | None, typer.Option("--seed", help="The secret seed, as a packet reveals it; drawn afresh if not given.", show_default=False)
]


def judged(
    task: Path,
    candidate: Path,
    phases: Phases,
    *,
    workload: Path | None,
    device: str,
    seed: str | None,
    timing: bool,
    baseline: str | None = None,
) -> tuple[Packet, dict[str, bytes]]:
    """The packet of a candidate, and the contents of its artifacts. Raises InputError for a task or a workload that makes no sense."""
    from mosaic.harness import early

    phases.say(f"judging {candidate.name}")
    early.start(task, candidate, device=device, timing=timing)
    from mosaic.harness.judge import judge_with_artifacts

    against = Path(baseline) if baseline not in (None, "compiled", "none", "reference") else baseline
    against = None if against == "reference" else against
    return judge_with_artifacts(task, candidate, workload, baseline=against, device=device, seed=seed, timing=timing)


def finish(made: Packet, contents: dict[str, bytes], phases: Phases, packet: Path | None, ledger: Path | None, *, json: bool) -> None:
    """Keep the packet, show it, and end with an error if the candidate is not right."""
    kept = keep(made, contents.values(), packet, ledger)
    if json:
        print_json({**summary_of(made), "packet": kept.to_dict(), "seconds": phases.seconds})
    else:
        show(made)
        kept.tell()
        typer.echo(f"took: {phases.summary()}")
    raise_for(made)


def raise_for(made: Packet) -> None:
    """Nothing for a candidate that passed; VerificationError for one that failed, exit code 1 where nothing can be said."""
    from mosaic.report.packet_sheets import verdict

    if made.status == "fail":
        raise VerificationError(f"{made.candidate.name} fails {made.candidate.task}: {verdict(made)}")
    if made.status != "pass":
        typer.echo(f"mosaic: {made.candidate.name}: {made.status}: {verdict(made)}", err=True)
        raise typer.Exit(INCONCLUSIVE)


def show(made: Packet) -> None:
    """The tables of a judged candidate that matter on a terminal."""
    from mosaic.cli.packet_tables import sheet_table
    from mosaic.report.packet_sheets import Sheet, headline, sheets

    out = console()
    for sheet in sheets(made):
        if sheet.name in ("checks", "times", "speedups", "roofs", "security"):
            out.print(sheet_table(sheet))
    out.print(sheet_table(Sheet("figures", f"{made.candidate.name}, judged on {made.candidate.task}", ("", "", ""), headline(made))))


def summary_of(made: Packet) -> dict[str, Any]:
    """What programs are told: status, failure, figures."""
    from mosaic.evidence.packet import FailPacket
    from mosaic.report.packet_sheets import checks_of, performance_of, verdict

    performance = performance_of(made)
    return {
        "candidate": made.candidate.name,
        "task": made.candidate.task,
        "device": made.environment.device.name,
        "status": made.status,
        "failure": made.failure.kind if isinstance(made, FailPacket) else None,
        "why": verdict(made) or None,
        "checks": len(checks_of(made)),
        "performance": performance.document() if performance is not None else None,
    }


def replay_judged(
    found: Found, phases: Phases, packet: Path | None, ledger: Path | None, *, timing: bool
) -> tuple[tuple[Part, ...], Kept | None]:
    """A judged candidate's packet: judged again, and the packet of that kept."""
    from mosaic.evidence.packet import packet_id

    again, parts = judge_again(found, phases, timing=timing)
    if again is None:
        return parts, None
    made, contents = again
    category = {"replay": {"of": packet_id(found.packet), "parts": [asdict(part) for part in parts]}}
    made = type(made).model_validate({**made.document(), **category})
    return parts, keep(made, contents.values(), packet, ledger)


def judge_again(found: Found, phases: Phases, *, timing: bool) -> tuple[tuple[Packet, dict[str, bytes]] | None, tuple[Part, ...]]:
    """A packet's candidate, judged on the same inputs from the seed that it reveals: the new packet, and what became of each claim.

    There is no new packet if the candidate cannot run here.
    """
    import torch

    from mosaic.harness.bundle import unpack
    from mosaic.harness.judge import judge_with_artifacts
    from mosaic.report.replay import Part, compare_speeds, compare_verdicts, same_device, statistics_of

    packet, source = found.packet, found.packet.candidate.source
    with tempfile.TemporaryDirectory(prefix="mosaic-replay-") as folder:
        phases.say("loading the packet")
        _check_bundle(found)
        unpacked = unpack(packet, Path(folder))
        here = unpacked.device if not unpacked.device.startswith("cuda") or torch.cuda.is_available() else "cpu"
        needs_gpu = source.language in ("cuda", "triton") or (packet.candidate.target.kind != "cpu" and source.language == "extension")
        if here == "cpu" and needs_gpu:
            why = f"a candidate in {source.language} needs a GPU, and there is none here"
            return None, (Part("correctness", "not replayed", why), *statistics_of(packet), *compare_speeds(packet, None, why))
        why = same_device(packet, here) if timing else "timing was left out"
        phases.say(f"judging {packet.candidate.name}")
        made, contents = judge_with_artifacts(
            unpacked.definition,
            unpacked.candidate,
            unpacked.workload,
            baseline=unpacked.baseline,
            device=here,
            seed=unpacked.seed,
            timing=not why,
        )
    speeds = compare_speeds(packet, None if why else made, why)
    return (made, contents), (compare_verdicts(packet, made), *statistics_of(packet), *speeds)


def _check_bundle(found: Found) -> None:
    """Raise InputError for a bundle that is malformed, or names files anywhere but below its own parts."""
    bundle: Any = found.packet.__pydantic_extra__.get("bundle")
    parts = ("definition", "candidate", "baseline")
    try:
        names = [(part, path) for part, files in bundle["files"].items() for path in files]
        entries = bundle["entries"].items()
        needed = all(isinstance(bundle[key], kind) for key, kind in (("workload", dict), ("baseline", str), ("device", str)))
    except (AttributeError, KeyError, TypeError):
        raise InputError(
            f"{found.place} has a bundle that cannot be read: it holds files, entries, workload, baseline and device"
        ) from None
    inside = all(part in parts and not path.startswith("/") and ".." not in path.split("/") for part, path in names)
    if not needed or not inside or not all(entry in names for entry in entries):
        raise InputError(f"{found.place} has a bundle with files or entries that lead elsewhere")
