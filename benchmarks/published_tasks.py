"""Every task in examples/tasks, in the form in which tasks are usually published, judged unchanged with each of its candidates.

    python benchmarks/published_tasks.py                           right, wrong or cheating? on the CPU or this machine's GPU
    python benchmarks/published_tasks.py --timing --ledger l.db    and how fast against the task's own model in PyTorch; packets kept
    python benchmarks/published_tasks.py row_softmax attention     some of them

It exits with 1 if a candidate there, all of which are honest, is not told to be right.

Known limitations: the shapes are small, so that a processor judges them in seconds: times say little of large ones.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import torch

from mosaic.evidence.ledger import Ledger
from mosaic.evidence.packet import Packet
from mosaic.harness.judge import judge_with_artifacts
from mosaic.report.packet_sheets import checks_of, performance_of, verdict
from mosaic.report.quantities import figure

TASKS = Path(__file__).parents[1] / "examples" / "tasks"


def candidates(names: list[str]) -> list[tuple[Path, Path]]:
    """Tasks with their candidates, those of these names; all of none."""
    folders = [folder for folder in sorted(TASKS.iterdir()) if folder.is_dir() and (not names or folder.name in names)]
    return [(folder, candidate) for folder in folders for candidate in sorted((folder / "candidates").iterdir()) if candidate.suffix]


def line(task: Path, candidate: Path, packet: Packet, seconds: float) -> str:
    performance = performance_of(packet)
    speed = ""
    for baseline in (performance.baselines or ()) if performance is not None else ():
        speed = ", ".join(f"{figure(found)} times as fast as {baseline.reference.name}" for found in baseline.speedup.values())
    why = f": {verdict(packet)}" if verdict(packet) else ""
    return f"{task.name:16} {candidate.name:20} {packet.status:12} {len(checks_of(packet)):3} checks {seconds:6.1f} s  {speed}{why}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tasks", nargs="*", help="names of tasks; all if none")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--timing", action="store_true")
    parser.add_argument("--ledger", type=Path, help="append the packets to this ledger")
    arguments = parser.parse_args()
    chosen = candidates(arguments.tasks)
    if not chosen:
        parser.error(f"no task is called {', '.join(arguments.tasks)}")
    ledger = Ledger(arguments.ledger) if arguments.ledger else None
    wrong = 0
    for task, candidate in chosen:
        start = time.perf_counter()
        packet, contents = judge_with_artifacts(task, candidate, device=arguments.device, timing=arguments.timing)
        print(line(task, candidate, packet, time.perf_counter() - start), flush=True)
        # Whether a candidate is faster may be within the noise; whether it is right may not.
        wrong += getattr(getattr(packet, "validation", None), "outcome", "") != "pass" or packet.status == "fail"
        if ledger is not None:
            ledger.append(packet, contents.values(), partial=True)
    where = torch.cuda.get_device_name() if arguments.device != "cpu" and torch.cuda.is_available() else "the CPU"
    print(f"{len(chosen) - wrong} of {len(chosen)} honest candidates of {len({task for task, _ in chosen})} tasks are right on {where}")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
