"""`mosaic bench`: is a candidate right, and how fast against a baseline? Both are timed in turn; every sample is kept."""

from __future__ import annotations

from typing import Annotated

import typer

from mosaic.cli.judged import CandidatePath, DeviceName, Seed, TaskPath, WorkloadPath, finish, judged
from mosaic.cli.keeping import LedgerFile, PacketFile, check_places
from mosaic.cli.options import Json
from mosaic.cli.phases import Phases

EXAMPLES = """\b
Examples:
# against the task's own reference in PyTorch
mosaic bench examples/tasks/attention examples/tasks/attention/candidates/blocks_of_keys.py
# against torch.compile of it
mosaic bench task mine.py --baseline compiled
# against another candidate, with the packet of the run
mosaic bench task mine.cu --baseline theirs.cu --packet mine.json

Exit codes: 0 right and timed, 6 wrong or cheating, 1 nothing can be said (as when the noise is larger than the difference), 2 bad input.
"""


def add_to(app: typer.Typer) -> None:
    app.command(name="bench", epilog=EXAMPLES)(bench)


def bench(
    task: TaskPath,
    candidate: CandidatePath,
    baseline: Annotated[
        str, typer.Option(help="reference: the task's own in PyTorch; compiled: that by torch.compile; none; or another candidate's path.")
    ] = "reference",
    workload: WorkloadPath = None,
    device: DeviceName = "auto",
    seed: Seed = None,
    packet: PacketFile = None,
    ledger: LedgerFile = None,
    json: Json = False,
) -> None:
    """Judge a candidate as `verify` does, then time it and a baseline in turn: intervals, noise floor, distance to the roof."""
    check_places(packet, ledger)
    phases = Phases()
    with phases.shown():
        made, contents = judged(task, candidate, phases, workload=workload, device=device, seed=seed, timing=True, baseline=baseline)
    finish(made, contents, phases, packet, ledger, json=json)
