"""`mosaic layouts`: how tiles lie where kernels meet, solved over the whole graph, and why not otherwise."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from mosaic.cli.options import Json, KernelFile, Settings, SourceName
from mosaic.cli.output import console, print_json, working
from mosaic.cli.source import load_source
from mosaic.errors import GraphError, InputError
from mosaic.files import check_writable, write_whole

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mosaic.graph.graph import Graph
    from mosaic.layouts.plan import Explanation, LayoutPlan
    from mosaic.layouts.solver import Alternative

EXAMPLES = """\b
Examples:
# every edge of a graph, for this machine
mosaic layouts model.py
# the model that ships, for two targets, with pictures
mosaic layouts minilm --target sm_90a --target gfx942 --report layouts.html
# why one edge is handed over as it is, and what else would cost
mosaic layouts model.py --target sm_90a --explain "product -> scale"
# ask for something, and see what it costs or contradicts
mosaic layouts model.py --target sm_80 --ask "policy[product]=FullRow"
# the problem itself, as it is solved
mosaic layouts model.py --target sm_90a --problem
"""


def add_to(app: typer.Typer) -> None:
    app.command(name="layouts", epilog=EXAMPLES)(layouts)


def layouts(
    source: SourceName,
    target: Annotated[
        list[str] | None,
        typer.Option(help="What to solve for: cpu, sm_80, sm_90a, ..., or auto (this machine). Can be given often.", show_default="auto"),
    ] = None,
    explain: Annotated[
        str | None,
        typer.Option(metavar="EDGE", help="Why this edge (`producer -> consumer`) is so, and what else costs.", show_default=False),
    ] = None,
    ask: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE", help="Ask for a value of one choice, as --problem names them. Can be given often.", show_default=False
        ),
    ] = None,
    problem: Annotated[bool, typer.Option("--problem", help="Print the variables, constraints and costs.")] = False,
    report: Annotated[Path | None, typer.Option(help="Write one HTML page with pictures of the layouts.", show_default=False)] = None,
    edges: Annotated[Literal["grouped", "all"], typer.Option(help="Edges that repeat layer by layer in one line, or each.")] = "grouped",
    settings: Settings = None,
    file: KernelFile = None,
    json: Json = False,
) -> None:
    """Solve how tiles lie in threads, registers and shared memory where kernels meet."""
    if report is not None:
        check_writable(report)
    asked = _asked(ask or [])
    loaded = load_source(source, settings, file)
    if loaded.is_kernel:
        raise InputError(f"{source} is one kernel, which hands nothing over; give a graph (see mosaic layouts --help)")
    plans = [_solve(loaded.graph, name, asked) for name in dict.fromkeys(target or ["auto"])]
    if explain is not None:
        _explain(plans, explain, json=json)
    elif problem:
        typer.echo("\n\n".join(str(plan.problem) for plan in plans))
    elif json:
        from mosaic.report.layouts import record

        print_json([record(plan) for plan in plans])
    else:
        for plan in plans:
            _show(plan, every_edge=edges == "all")
    if report is not None:
        from mosaic.report.layouts import page

        write_whole(report, page(plans))
        if not json:
            typer.echo(f"report: {report}")


def _asked(texts: Sequence[str]) -> dict[str, str]:
    """`["policy[a]=Square"]` as `{"policy[a]": "Square"}`. Raises InputError for what is none."""
    found: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.rpartition("=")
        if not equals or not name.strip() or not value.strip():
            raise InputError(f"--ask {text!r} makes no sense; write NAME=VALUE, as in --ask policy[product]=FullRow")
        if name.strip() in found:
            raise InputError(f"--ask gives {name.strip()} twice")
        found[name.strip()] = value.strip()
    return found


def _solve(graph: Graph, target: str, asked: dict[str, str]) -> LayoutPlan:
    from mosaic.stitch.decide import Decider
    from mosaic.stitch.plan import Planner
    from mosaic.targets.limits import limits_of
    from mosaic.targets.target import find

    device = find(target)
    graph.validate()
    with working(f"{graph.name} for {device.name}") as say:
        planner = Planner(graph, device, progress=say)
        plan = planner.plan()
        say("solving layouts")
        return Decider(planner, limits_of(device), asked).decide(plan)[1]


def _explain(plans: Sequence[LayoutPlan], name: str, *, json: bool) -> None:
    from mosaic.report.layouts import explained

    found = []
    for plan in plans:
        names = [choice.edge.name for choice in plan.choices]
        wanted = _edge(name, names)
        if wanted is None:
            some = ", ".join(repr(edge) for edge in names[:8])
            raise GraphError(
                f"graph {plan.facts.name!r} has no edge {name!r}; {f'it has {some}' if names else 'it has none'}"
                f"{f' and {len(names) - 8} more' if len(names) > 8 else ''}"
            )
        found.append((plan, plan.explain(wanted)))
    if json:
        print_json([{"target": plan.facts.limits.arch, **explained(explanation)} for plan, explanation in found])
        return
    for plan, explanation in found:
        _show_explanation(plan, explanation)


def _edge(name: str, names: Sequence[str]) -> str | None:
    """The edge of that name, however its arrow is spaced."""

    def plain(text: str) -> str:
        return "".join(text.replace("→", "->").split())

    return next((edge for edge in names if plain(edge) == plain(name)), None)


def _show(plan: LayoutPlan, *, every_edge: bool) -> None:
    from rich.table import Table
    from rich.text import Text

    from mosaic.layouts.plan import kinds
    from mosaic.report.layouts import edge_rows, product_rows

    out, limits, solution = console(), plan.facts.limits, plan.solution
    table = Table(title=f"edges of {plan.facts.name} for {limits.arch if limits.kind != 'cpu' else 'cpu'}", title_justify="left")
    for column in ("edge", "times", "tile", "handover", "memory", "made as", "used as", "µs", "why"):
        table.add_column(column, justify="right" if column in ("times", "µs") else "left", overflow="fold")
    for row in edge_rows(plan, collapse=not every_edge):
        cells = (
            row.edge,
            str(row.times),
            row.tile,
            row.handover,
            row.memory,
            row.source,
            row.target,
            f"{row.microseconds:.2f}",
            row.reason,
        )
        table.add_row(*(Text(cell) for cell in cells))
    out.print(table)
    if plan.facts.products and limits.kind != "cpu":
        products = Table(title="products", title_justify="left")
        for column in ("product", "times", "tile", "policy", "instruction"):
            products.add_column(column)
        for name, times, size, policy, instruction in product_rows(plan, collapse=not every_edge):
            products.add_row(*(Text(cell) for cell in (name, str(times), size, policy, instruction)))
        out.print(products)
    counts = ", ".join(f"{count} {kind}" for kind, count in kinds(plan.choices).items())
    proof = "the best there is" if solution.optimal else f"no more than {solution.seconds / max(solution.bound, 1e-30):.2f} times the best"
    out.print(Text(f"edges: {counts or 'none'} ({len(plan.choices)} in all)"))
    out.print(Text(f"solved in {plan.took * 1e3:.0f} ms ({len(plan.problem.variables)} choices): {solution.seconds * 1e6:.1f} µs, {proof}"))


def _show_explanation(plan: LayoutPlan, explanation: Explanation) -> None:
    from rich.table import Table
    from rich.text import Text

    out, choice = console(), explanation.choice
    out.print(Text(f"{choice.edge.name}: {choice.handover} in {choice.memory} memory", style="bold"))
    out.print(Text(f"made as {choice.source}, used as {choice.target}: {plan.reason(choice)}"))

    def options(title: str, found: Sequence[Alternative], chosen: Any) -> None:
        table = Table(title=title, title_justify="left")
        for column in ("choice", "whole plan", "more"):
            table.add_column(column, justify="left" if column == "choice" else "right")
        for option in found:
            more = (option.seconds - plan.solution.seconds) * 1e6
            costs = (f"{option.seconds * 1e6:.2f} µs", f"{more:+.2f} µs") if option.is_possible else ("not possible", "")
            mark = " (chosen)" if option.value == chosen else ""
            table.add_row(*(Text(cell) for cell in (f"{option.value}{mark}", *costs)))
        out.print(table)

    options("handover, with everything else chosen anew", explanation.handovers, choice.handover)
    options("memory, with everything else chosen anew", explanation.memories, choice.memory)
    if explanation.forced:
        out.print(Text("forced by"))
        for constraint in explanation.forced:
            out.print(Text(f"  {constraint.kind}, {constraint.name}: {constraint.sentence}"))
    elif explanation.cheaper is not None:
        constraint, saved = explanation.cheaper
        out.print(Text(f"on the chip it would cost {saved * 1e6:.2f} µs less without {constraint.name}: {constraint.sentence}"))
