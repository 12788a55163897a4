"""`mosaic smoke`: a matrix product through everything on this machine's processor, in seconds: does the installation work?"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
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
 "hidden": 1, "distributions": ["normal", "integers"], "trials": 1, "timing": {"cases": ["128"], "samples": 6, "warm_up": 1}}
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
    with phases.shown(), tempfile.TemporaryDirectory(prefix="mosaic-smoke-") as folder:
        run = _Smoke(Path(folder), phases)
        steps = list(run.steps())
    kept = keep(run.made, run.contents.values(), packet, ledger)
    bad = [step for step in steps if not step.good]
    if json:
        print_json({"works": not bad, "steps": [asdict(step) for step in steps], "packet": kept.to_dict()})
    else:
        _show(steps)
        kept.tell()
    if bad:
        raise VerificationError(f"{bad[0].name} did not go as it must: {bad[0].found}")


class _Smoke:
    """The steps in order, each of which says whether it went as it must, and what came out; then the packet of the right product."""

    def __init__(self, folder: Path, phases: Phases) -> None:
        self.folder, self.phases = folder, phases
        self.made: Packet
        self.contents: dict[str, bytes]
        files = {"task/definition.json": DEFINITION, "task/workload.json": WORKLOAD, "task/reference.py": REFERENCE}
        for name, text in {**files, "right.py": RIGHT, "wrong.py": WRONG}.items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text(text, encoding="utf-8")

    def steps(self) -> Iterator[Step]:
        """Run everything; what comes later works on what came before."""
        for name, work in (
            ("judging a right product", self.right),
            ("judging a wrong product", self.wrong),
            ("tampering with the packet", self.tampering),
            ("keeping the packet", self.keeping),
            ("reporting", self.reporting),
            ("replaying the packet", self.replaying),
        ):
            self.phases.say(name)
            start = time.perf_counter()
            good, found = work()
            yield Step(name, good, found, time.perf_counter() - start)

    def right(self) -> tuple[bool, str]:
        from mosaic.harness.judge import judge_with_artifacts
        from mosaic.report.packet_sheets import headline, verdict

        self.made, self.contents = judge_with_artifacts(self.folder / "task", self.folder / "right.py", device="cpu")
        shown = "; ".join(f"{name} {value}" for name, value, _ in headline(self.made))
        # On a busy machine the noise may be larger than the difference from the baseline: that is an honest answer too.
        good = self.made.status in ("pass", "inconclusive")
        return good, shown if self.made.status == "pass" else f"{shown}: {verdict(self.made)}"

    def wrong(self) -> tuple[bool, str]:
        from mosaic.evidence.packet import FailPacket
        from mosaic.harness.judge import judge_with_artifacts
        from mosaic.report.packet_sheets import verdict

        made, _ = judge_with_artifacts(self.folder / "task", self.folder / "wrong.py", device="cpu", timing=False)
        return isinstance(made, FailPacket) and made.failure.kind == "mismatch", verdict(made) or made.status

    def tampering(self) -> tuple[bool, str]:
        from mosaic.evidence.packet import seal, unseal

        sealed = bytearray(seal(self.made))
        sealed[len(sealed) // 2] ^= 1
        try:
            unseal(bytes(sealed))
        except InputError as error:
            return True, f"found: {error}"
        return False, "a flipped byte was not found"

    def keeping(self) -> tuple[bool, str]:
        from mosaic.evidence.archive import pack, unpack
        from mosaic.evidence.ledger import Ledger
        from mosaic.evidence.packet import packet_id

        made, contents = self.made, self.contents
        with Ledger(self.folder / "ledger.db") as store:
            store.append(made, contents.values(), partial=True)
            problems = store.verify()
            back = store.get(packet_id(made)) == made
        whole = unpack(pack(made, contents.values())) == (made, contents)
        return back and whole and not problems, "; ".join(problems) or f"packet {packet_id(made)[:12]}, {len(contents)} artifacts"

    def reporting(self) -> tuple[bool, str]:
        from mosaic.report.packet_page import packet_page

        page = packet_page(self.made)
        return self.made.candidate.name in page, f"{len(page):,} characters of HTML"

    def replaying(self) -> tuple[bool, str]:
        from mosaic.cli.judged import judge_again
        from mosaic.evidence.collection import Found

        again, parts = judge_again(Found("the packet", self.made, self.contents.get), self.phases, timing=False)
        return all(part.outcome != "not reproduced" for part in parts) and again is not None, parts[0].detail


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
