"""What `mosaic fuse` prints: tables of figures, kernels, edges, refusals and the verification."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from mosaic.report.facts import Facts, KernelFact

STYLES = {
    "pass": "green", "inconclusive": "yellow", "fail": "bold red", "unchecked": "dim",
    "shared": "green", "register": "cyan", "split": "yellow", "view": "dim",
}  # fmt: skip


def show(out: Any, facts: Facts, figures: Sequence[tuple[str, str, str]], *, every_edge: bool) -> None:
    """Print everything on a Rich console; `figures` are more of them: a name, a value and a remark each."""
    out.print(_kernels(facts))
    out.print(_edges(facts, every_edge=every_edge))
    if facts.fused.refused:
        out.print(_refused(facts))
    if facts.status != "unchecked":
        out.print(_checks(facts))
    out.print(_figures(facts, figures))


def _table(title: str, *columns: str, right: Sequence[str] = ()) -> Table:
    table = Table(title=title, title_justify="left", caption_justify="left")
    for column in columns:
        table.add_column(column, justify="right" if column in right else "left", overflow="fold")
    return table


def _styled(word: str) -> Text:
    return Text(word, style=STYLES.get(word, ""))


def _figures(facts: Facts, more: Sequence[tuple[str, str, str]]) -> Table:
    table = Table(title=f"{facts.fused.graph.name} for {facts.fused.target.name}", title_justify="left", show_header=False)
    for name, value, remark in (*facts.figures(), *more):
        table.add_row(Text(name), Text(value, style="bold"), Text(remark))
    return table


def _kernels(facts: Facts) -> Table:
    right = ("launches", "nodes", "blocks", "threads", "on chip", "registers", "spilled")
    table = _table("kernels, in the order of their first launch", "kernel", *right, "check", right=right)
    for kernel in facts.kernels:
        table.add_row(*_row(kernel))
    return table


def _row(kernel: KernelFact) -> list[Text]:
    emitted = kernel.lowered.emitted
    known = (emitted.registers, emitted.spill_bytes) if emitted is not None else (None, None)
    numbers = (len(kernel.launches), len(kernel.launch.nodes), kernel.launch.program.blocks, kernel.threads, kernel.on_chip_bytes, *known)
    shown = [Text("" if number is None else f"{number:,}") for number in numbers]
    return [Text(kernel.label), *shown, _styled(kernel.report.status if kernel.report is not None else "unchecked")]


def _edges(facts: Facts, *, every_edge: bool) -> Table:
    from mosaic.report.facts import edges_of

    edges = edges_of(facts.fused.plan.edges, collapse=False) if every_edge else facts.edges
    table = _table("edges", "times", "from", "to", "how", "bytes", "why", right=("times", "bytes"))
    for edge in edges:
        producer = edge.producer if edge.tensor == edge.producer else edge.tensor
        table.add_row(str(edge.times), Text(producer), Text(edge.consumer), _styled(edge.how), f"{edge.bytes:,}", Text(edge.reason))
    return table


def _refused(facts: Facts) -> Table:
    table = _table("refused on the way, and planned otherwise", "launch", "by", "why")
    for name, refusal in facts.fused.refused:
        table.add_row(Text(name), Text(refusal.check), Text(refusal.reason))
    return table


def _checks(facts: Facts) -> Table:
    right = ("error / bound", "bound / values")
    table = _table("verification against float64", "output", "inputs", *right, "result", right=right)
    table.caption = f"on {facts.checked_on}"
    for check in facts.checks():
        table.add_row(
            Text(check.output), Text(check.distributions), f"{check.ratio:.3f}", f"{100 * check.looseness:.2g} %", _styled(check.status)
        )
    return table
