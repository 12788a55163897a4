"""`mosaic smoke`: a matrix product through everything on this machine's processor, in seconds: does the installation work?"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import typer

from mosaic.cli.keeping import LedgerFile, PacketFile, check_places, keep
from mosaic.cli.options import Json
from mosaic.cli.output import console, print_json
from mosaic.cli.phases import Phases
from mosaic.errors import InputError, VerificationError

if TYPE_CHECKING:
    from mosaic.evidence.packet import Packet

EXAMPLES = """\b
Examples:
# does everything work here?
mosaic smoke
# with the packet of the product
mosaic smoke --packet smoke.json --json

Exit codes: 0 all works, 6 something does not.
"""

DEFINITION: Final = """{"format": "mosaic-task", "version": 1, "name": "product", "description": "A matrix product.",
 "symbols": {"M": {"min": 1, "max": 192}, "N": {"min": 1, "max": 192}, "K": {"min": 1, "max": 192}},
 "inputs": {"a": {"shape": ["M", "K"], "dtype": "float32"}, "b": {"shape": ["K", "N"], "dtype": "float32"}},
 "outputs": {"c": {"shape": ["M", "N"], "dtype": "float32"}},
 "reference": {"file": "reference.py", "function": "reference"}}
"""
WORKLOAD: Final = """{"format": "mosaic-workload", "version": 1,
 "cases": [{"name": "128", "set": "given", "symbols": {"M": 128, "N": 128, "K": 128}},
           {"name": "odd", "set": "odd", "symbols": {"M": 37, "N": 61, "K": 93}}],
 "hidden": 1, "distributions": ["normal", "integers"], "trials": 1, "timing": {"cases": ["128"], "samples": 12}}
"""
REFERENCE: Final = """def reference(a, b):
    return a @ b
"""
RIGHT: Final = """import torch


def product(a, b):
    return torch.mm(b.t(), a.t()).t().contiguous()
"""
WRONG: Final = """import torch


def product(a, b):
    return torch.mm(a[:, :-1], b[:-1])
"""


@dataclass(frozen=True)
class Step:
    """One thing that was tried: whether it went as it must, what came out, and how long it took."""

    name: str
    good: bool
    found: str
    seconds: float


def add_to(app: typer.Typer) -> None:
    app.command(name="smoke", epilog=EXAMPLES)(smoke)


def smoke(packet: PacketFile = None, ledger: LedgerFile = None, json: Json = False) -> None:
    """Judge a right matrix product and a wrong one on the CPU, time it, keep its packet, tamper with it, replay it: all in seconds."""
    check_places(packet, ledger)
    phases = Phases()
    steps: list[Step] = []
    with phases.shown(), tempfile.TemporaryDirectory(prefix="mosaic-smoke-") as folder:
        made, contents = _steps(Path(folder), phases, steps)
    kept = keep(made, contents.values(), packet, ledger)
    bad = [step for step in steps if not step.good]
    if json:
        print_json({"works": not bad, "steps": [asdict(step) for step in steps], "packet": kept.to_dict()})
    else:
        _show(steps)
        kept.tell()
    if bad:
        raise VerificationError(f"{bad[0].name} did not go as it must: {bad[0].found}")


def _steps(folder: Path, phases: Phases, steps: list[Step]) -> tuple[Packet, dict[str, bytes]]:
    """Every step; the packet of the right product, with its artifacts."""
    from mosaic.evidence.archive import pack, unpack
    from mosaic.evidence.collection import Found
    from mosaic.evidence.ledger import Ledger
    from mosaic.evidence.packet import FailPacket, packet_id, seal, unseal
    from mosaic.harness.judge import judge_with_artifacts
    from mosaic.report.packet_page import packet_page
    from mosaic.report.packet_sheets import headline, verdict

    def step(name: str, work: Callable[[], tuple[bool, str]]) -> None:
        phases.say(name)
        start = time.perf_counter()
        good, found = work()
        steps.append(Step(name, good, found, time.perf_counter() - start))

    files = {"task/definition.json": DEFINITION, "task/workload.json": WORKLOAD, "task/reference.py": REFERENCE}
    for name, text in {**files, "right.py": RIGHT, "wrong.py": WRONG}.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    judged: list[tuple[Packet, dict[str, bytes]]] = []

    def right() -> tuple[bool, str]:
        judged.append(judge_with_artifacts(folder / "task", folder / "right.py", device="cpu"))
        made = judged[0][0]
        shown = "; ".join(f"{name} {value}" for name, value, _ in headline(made))
        # On a busy machine the noise may be larger than the difference from the baseline: that is an honest answer too.
        return made.status in ("pass", "inconclusive"), shown if made.status == "pass" else f"{shown}: {verdict(made)}"

    def wrong() -> tuple[bool, str]:
        made, _ = judge_with_artifacts(folder / "task", folder / "wrong.py", device="cpu", timing=False)
        return isinstance(made, FailPacket) and made.failure.kind == "mismatch", verdict(made) or made.status

    def tampering() -> tuple[bool, str]:
        sealed = bytearray(seal(made))
        sealed[len(sealed) // 2] ^= 1
        try:
            unseal(bytes(sealed))
        except InputError as error:
            return True, f"found: {error}"
        return False, "a flipped byte was not found"

    def keeping() -> tuple[bool, str]:
        with Ledger(folder / "ledger.db") as store:
            store.append(made, contents.values(), partial=True)
            problems = store.verify()
            back = store.get(packet_id(made)) == made
        whole = unpack(pack(made, contents.values())) == (made, contents)
        return back and whole and not problems, "; ".join(problems) or f"packet {packet_id(made)[:12]}, {len(contents)} artifacts"

    def reporting() -> tuple[bool, str]:
        page = packet_page(made)
        return made.candidate.name in page, f"{len(page):,} characters of HTML"

    def replaying() -> tuple[bool, str]:
        from mosaic.cli.judged import judge_again

        again, parts = judge_again(Found("the packet", made, contents.get), phases, timing=False)
        return all(part.outcome != "not reproduced" for part in parts) and again is not None, parts[0].detail

    step("judging a right product", right)
    made, contents = judged[0]
    step("judging a wrong product", wrong)
    step("tampering with the packet", tampering)
    step("keeping the packet", keeping)
    step("reporting", reporting)
    step("replaying the packet", replaying)
    return made, contents


def _show(steps: list[Step]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(title=f"{sum(step.seconds for step in steps):.1f} s", title_justify="left")
    for column in ("", "what", "what came out", "seconds"):
        table.add_column(column, overflow="fold")
    for step in steps:
        mark = Text("ok", style="green") if step.good else Text("BAD", style="bold red")
        table.add_row(mark, Text(step.name), Text(step.found), f"{step.seconds:.2f}")
    console().print(table)
