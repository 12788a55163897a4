"""A layout plan for people: its edges and products as rows, and as a page with pictures of how tiles lie."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import torch

from mosaic.layouts.places import Place
from mosaic.layouts.plan import EdgeChoice, Explanation, LayoutPlan, kinds
from mosaic.layouts.read import LayoutTable
from mosaic.layouts.swizzle import swizzled_column
from mosaic.report.markup import Markup, join, table, tag
from mosaic.report.repeats import merged, pattern
from mosaic.report.tiles import caption, legend, tile


@dataclass(frozen=True)
class EdgeRow:
    """One edge, or `times` that differ in the numbers of their names only. microseconds: of one, over its whole launch."""

    edge: str
    tile: str
    handover: str
    memory: str
    source: str
    target: str
    microseconds: float
    reason: str
    times: int


def edge_rows(plan: LayoutPlan, *, collapse: bool = True) -> list[EdgeRow]:
    """The edges in their order; with `collapse`, those of layers that repeat as one."""
    alike: dict[object, list[EdgeRow]] = {}
    for position, choice in enumerate(plan.choices):
        row = _row(plan, choice)
        cost = round(row.microseconds, 3)
        key = (pattern(row.edge), pattern(row.reason), row.tile, row.handover, row.memory, row.source, row.target, cost)
        alike.setdefault(key if collapse else position, []).append(row)
    found = []
    for rows in alike.values():
        first = rows[0]
        names = [row.edge for row in rows]
        found.append(
            EdgeRow(
                merged(names),
                first.tile,
                first.handover,
                first.memory,
                first.source,
                first.target,
                first.microseconds,
                merged([row.reason for row in rows]),
                len(rows),
            )
        )
    return found


def _row(plan: LayoutPlan, choice: EdgeChoice) -> EdgeRow:
    edge = choice.edge
    on_chip = edge.group is not None
    return EdgeRow(
        edge.name,
        f"{edge.rows}x{edge.columns}" if on_chip else "",
        choice.handover,
        choice.memory,
        str(choice.source) if on_chip else "",
        str(choice.target) if on_chip else "",
        choice.seconds * 1e6,
        plan.reason(choice),
        1,
    )


def record(plan: LayoutPlan) -> dict[str, Any]:
    """The plan as JSON holds it: every edge, product and group, in seconds and bytes."""
    solution = plan.solution
    return {
        "graph": plan.facts.name,
        "target": plan.facts.limits.arch if plan.facts.limits.kind != "cpu" else "cpu",
        "seconds": solution.seconds,
        "bound": solution.bound,
        "optimal": solution.optimal,
        "solved_in": plan.took,
        "variables": len(plan.problem.variables),
        "constraints": len(plan.problem.constraints),
        "costs": dict(plan.problem.breakdown(solution.values)),
        "handovers": kinds(plan.choices),
        "edges": [
            {
                "edge": choice.edge.name,
                "tensor": choice.edge.tensor,
                "tile": [choice.edge.rows, choice.edge.columns],
                "bytes": choice.edge.tensor_bytes,
                "handover": choice.handover,
                "memory": choice.memory,
                "source": str(choice.source),
                "target": str(choice.target),
                "seconds": choice.seconds,
                "reason": plan.reason(choice),
            }
            for choice in plan.choices
        ],
        "products": [
            {
                "product": product.name,
                "tile": [product.m, product.n, product.k],
                "dtype": product.dtype,
                "policy": plan.policy(product),
                "instruction": plan.instruction(product),
                "reordered": plan.reordered(product),
            }
            for product in plan.facts.products
        ],
        "groups": [
            {"group": group.name, "nodes": list(group.nodes), "threads": plan.threads(group), "tile": group.tile, "stages": group.stages}
            for group in plan.facts.groups
        ],
    }


def explained(explanation: Explanation) -> dict[str, Any]:
    """An explanation as JSON holds it; None for what is not possible."""
    choice = explanation.choice

    def options(found: Sequence[Any]) -> list[dict[str, Any]]:
        return [{"value": str(o.value), "seconds": o.seconds if o.is_possible else None, "exact": o.exact} for o in found]

    return {
        "edge": choice.edge.name,
        "handover": choice.handover,
        "memory": choice.memory,
        "handovers": options(explanation.handovers),
        "memories": options(explanation.memories),
        "forced_by": [{"name": c.name, "kind": c.kind, "sentence": c.sentence} for c in explanation.forced],
        "cheaper_without": None
        if explanation.cheaper is None
        else {"name": explanation.cheaper[0].name, "sentence": explanation.cheaper[0].sentence, "seconds": explanation.cheaper[1]},
    }


# Pictures


def fragment_table(place: Place, name: str) -> LayoutTable | None:
    """A place in registers as the pictures take it; None for rows, whose layout is not decided here."""
    if place.layout is None:
        return None
    names = [dim for dim, _ in place.layout.inputs]
    outputs = [dim for dim, _ in place.layout.outputs]
    values = place.layout.to_table().permute(*(names.index(dim) for dim in ("register", "lane", "warp")), -1)
    registers, lanes, warps = values.shape[:3]
    element = (values[..., outputs.index("m")] * place.columns + values[..., outputs.index("n")]).reshape(registers, -1)
    replicas = registers * lanes * warps // (place.rows * place.columns)
    by_element = torch.argsort(element.T.reshape(-1), stable=True).reshape(place.rows, place.columns, max(1, replicas))
    number = torch.arange(lanes * warps).reshape(lanes, warps)
    threads = (number % warps * lanes + number // warps).reshape(-1)
    return LayoutTable(
        name,
        "local.fragment",
        "float16",
        (place.rows, place.columns),
        registers,
        str(place),
        thread=threads[by_element // registers],
        register=by_element[..., 0] % registers,
    )


def stage_table(rows: int, columns: int, element_bytes: int, swizzle: int, name: str) -> LayoutTable:
    """A stage in shared memory, row by row, with a swizzle of so many bytes (0 for none)."""
    row, column = torch.arange(rows)[:, None], torch.arange(columns)[None, :]
    offset = row * columns + (swizzled_column(swizzle, element_bytes, row, column) if swizzle else column)
    dtype = {1: "int8", 2: "float16", 4: "float32"}.get(element_bytes, "float16")
    expression = f"row by row, swizzled by {swizzle} bytes" if swizzle else "row by row"
    return LayoutTable(name, "shared", dtype, (rows, columns), rows * columns, expression, offset=offset.reshape(rows, columns))


def pictures(plan: LayoutPlan) -> list[LayoutTable]:
    """Each layout that tiles are handed over in, once: fragments first, then stages."""
    places: dict[Place, str] = {}
    stages: dict[tuple[int, int, int, int], str] = {}
    for choice in plan.choices:
        if choice.memory == "register":
            places.setdefault(choice.source, choice.edge.tensor)
            places.setdefault(choice.target, choice.edge.tensor)
        elif choice.memory == "shared":
            swizzle = int(str(plan.solution[f"swizzle[{choice.edge.name}]"]))
            stages.setdefault((choice.edge.rows, choice.edge.columns, choice.edge.dtype_bytes, swizzle), choice.edge.tensor)
    drawn = [fragment_table(place, name) for place, name in places.items()]
    return [*(found for found in drawn if found is not None), *(stage_table(*key, name) for key, name in stages.items())]


# The page

_HEAD = ("edge", "times", "tile", "handover", "memory", "made as", "used as", "µs", "why")


def page(plans: Sequence[LayoutPlan]) -> str:
    """One self-contained HTML page: for each target the edges, the products, and pictures of the layouts."""
    title = f"Layouts of {plans[0].facts.name}"
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", title),
        tag("style", Markup(files("mosaic.report").joinpath("page.css").read_text(encoding="utf-8"))),
    )
    body = tag("body", tag("main", tag("header", tag("h1", title)), [_section(plan) for plan in plans]))
    return f"<!doctype html>\n{tag('html', head, body, lang='en')}\n"


def _section(plan: LayoutPlan) -> Markup:
    limits, solution = plan.facts.limits, plan.solution
    found = ", ".join(f"{count} {kind}" for kind, count in kinds(plan.choices).items())
    proof = "proven to be the best" if solution.optimal else f"at most {solution.seconds / max(solution.bound, 1e-30):.2f} times the best"
    text = f"Edges, {len(plan.choices)} in all: {found}. "
    text += f"Solved in {plan.took * 1e3:.0f} ms, {proof}: {solution.seconds * 1e6:.1f} µs by the model."
    edges = [
        (r.edge, r.times, r.tile, r.handover, r.memory, r.source, r.target, f"{r.microseconds:.2f}", r.reason) for r in edge_rows(plan)
    ]
    drawn = [_picture(found) for found in pictures(plan)]
    return tag(
        "section",
        tag("h2", tag("a", limits.arch if limits.kind != "cpu" else "cpu", href=f"#{limits.arch}")),
        tag("p", text),
        table(_HEAD, edges, numeric=(1, 7)),
        table(("product", "times", "tile", "policy", "instruction"), product_rows(plan), numeric=(1,)),
        drawn,
        id=limits.arch,
    )


def _picture(found: LayoutTable) -> Markup:
    return join(tag("h3", found.buffer), tag("p", caption(found)), tag("div", tile(found), class_="scroll"), legend(found))


def product_rows(plan: LayoutPlan, *, collapse: bool = True) -> list[tuple[str, int, str, str, str]]:
    """The products: name, how often, tile and dtype, policy, instruction."""
    alike: dict[object, list[str]] = {}
    for position, product in enumerate(plan.facts.products):
        order = ", k in another order" if plan.reordered(product) else ""
        tile_text = f"{product.m}x{product.n}x{product.k} {product.dtype}"
        row = (tile_text, str(plan.policy(product)), plan.instruction(product) + order)
        alike.setdefault((row, pattern(product.name) if collapse else position), []).append(product.name)
    return [(merged(names), len(names), *key[0]) for key, names in alike.items() if isinstance(key, tuple)]
