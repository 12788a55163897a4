"""`mosaic verify`: does a candidate compute what a task asks? In a sandbox, on hidden shapes and inputs, without timing it."""

from __future__ import annotations

import typer

from mosaic.cli.judged import CandidatePath, DeviceName, Seed, TaskPath, WorkloadPath, finish, judged
from mosaic.cli.keeping import LedgerFile, PacketFile, check_places
from mosaic.cli.options import Json
from mosaic.cli.phases import Phases

EXAMPLES = """\b
Examples:
# a task as they are usually published: one file with Model, get_inputs and get_init_inputs
mosaic verify examples/tasks/row_softmax examples/tasks/row_softmax/candidates/online.py
# with its packet, which anyone can replay
mosaic verify task mine.c --packet mine.json
# on the processor, although there is a GPU
mosaic verify task mine.py --device cpu --json

Exit codes: 0 right, 6 wrong or cheating, 1 nothing can be said, 2 a task or a workload that makes no sense.
"""


def add_to(app: typer.Typer) -> None:
    app.command(name="verify", epilog=EXAMPLES)(verify)


def verify(
    task: TaskPath,
    candidate: CandidatePath,
    workload: WorkloadPath = None,
    device: DeviceName = "auto",
    seed: Seed = None,
    packet: PacketFile = None,
    ledger: LedgerFile = None,
    json: Json = False,
) -> None:
    """Judge whether a candidate is right, in a sandbox, against a float64 reference; its packet says what was tried and what came out."""
    check_places(packet, ledger)
    phases = Phases()
    with phases.shown():
        made, contents = judged(task, candidate, phases, workload=workload, device=device, seed=seed, timing=False)
    finish(made, contents, phases, packet, ledger, json=json)
