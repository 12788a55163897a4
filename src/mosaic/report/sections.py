"""The page's parts but for its pictures: figures, bytes, edges, verification, refusals, and all about each kernel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from mosaic.layouts.read import LayoutTable
from mosaic.report import tiles
from mosaic.report.facts import EdgeFact, Facts, KernelFact
from mosaic.report.inferred import Inferred
from mosaic.report.markup import Markup, join, row_of, size, table, tag
from mosaic.report.picture import hue
from mosaic.stitch.plan import How

HOW: Final[dict[How, str]] = {
    "shared": "handed over in shared memory of one kernel",
    "register": "handed over in registers of one kernel",
    "split": "written to and read from device memory, between two kernels",
    "view": "the same bytes under another shape; nothing moves",
}


def figures(found: Sequence[tuple[str, str, str]]) -> Markup:
    """The figures that matter, each with its remark."""
    return tag(
        "div",
        [tag("div", tag("b", value), tag("span", name), tag("small", remark), class_="figure") for name, value, remark in found],
        class_="figures",
    )


def moved(facts: Facts) -> Markup:
    """Bytes between kernels before and after, as bars, in all and by kernel."""
    most = max(facts.bytes_before, facts.bytes_after, 1)
    rows = [
        tag("tr", tag("th", "all kernels"), tag("td", _bars(facts.bytes_before, facts.bytes_after, most)), class_="total"),
        *(
            tag(
                "tr",
                tag("th", f"{part.label}{f', {part.times} launches' if part.times > 1 else ''}"),
                tag("td", _bars(part.before, part.after, most)),
            )
            for part in facts.moved
            if part.before or part.after
        ),
    ]
    text = (
        "What one kernel writes and another reads, in one run: each tensor counts once when it is written and once for each kernel that "
        "reads it. By kernel: what its launches write and read, as the kernels they are made of would, and as they do."
    )
    return join(tag("p", text), tag("table", tag("tbody", rows), class_="bars"))


def _bars(before: int, after: int, most: int) -> list[Markup]:
    return [
        tag("div", tag("i", style=f"width:{100 * count / most:.2f}%"), tag("span", f"{name} {size(count)}"), class_=f"bar {name}")
        for name, count in (("before", before), ("after", after))
    ]


def edges(facts: Facts) -> Markup:
    """What happened on each edge and why, with a filter."""
    counts = {how: sum(edge.times for edge in facts.edges if edge.how == how) for how in HOW}
    buttons = [
        tag("label", tag("input", type="checkbox", checked=True, value=how), tag("b", how, class_=how), f" {count}, {HOW[how]}")
        for how, count in counts.items()
        if count
    ]
    search = tag("input", type="search", placeholder="only with this text", aria_label="only edges with this text")
    rows = [
        row_of(
            (edge.times, _made(edge), edge.consumer, tag("b", edge.how, class_=edge.how), size(edge.bytes), edge.reason),
            numeric=(0, 4),
            data_how=edge.how,
        )
        for edge in facts.edges
    ]
    head = ("times", "tensor", "to", "how", "bytes each", "why")
    return join(tag("div", buttons, search, class_="filter"), table(head, rows, class_="edges", numeric=(0, 4)))


def _made(edge: EdgeFact) -> str:
    """An edge's tensor, and what makes it if that is not named alike."""
    return edge.tensor if edge.tensor == edge.producer else f"{edge.tensor} of {edge.producer}"


def refused(facts: Facts) -> Markup:
    """What the target or the verification refused."""
    if not facts.fused.refused:
        return tag("p", "Nothing that was planned was refused by the target or by the verification.")
    rows = [(name, refusal.check, refusal.reason) for name, refusal in facts.fused.refused]
    return join(tag("p", "These launches were planned, refused, and planned otherwise."), table(("launch", "by", "why"), rows))


def verification(facts: Facts) -> Markup:
    """The verification of each kernel's outputs, with where the bounds come from."""
    if facts.status == "unchecked":
        return tag("p", "It was not verified.")
    rows = [
        (
            check.output,
            check.kernel,
            tag("b", check.status, class_=check.status),
            meter(check.ratio),
            percent(check.looseness),
            check.distributions,
            check.explanation,
        )
        for check in facts.checks()
    ]
    head = ("output", "of", "result", "largest error / bound", "bound / values", "inputs", "where the bound comes from")
    text = (
        f"Each kernel alone, on {facts.checked_on}, against its nodes' PyTorch references in float64. The bound is not chosen: it is how "
        "far an honest kernel may be off, element by element, from the roundoffs of the dtypes that it must store and the lengths of the "
        "sums that it must add up. An error of 1 uses up the whole bound. Bound / values is the bound's median over the root mean square "
        "of the values, on those inputs where it is tightest: how small a share of a typical value would have been noticed as an error. "
        "Launches that differ in the names of their tensors only are one kernel, and are verified once."
    )
    return join(tag("p", text), table(head, rows, class_="checks", numeric=(4,)))


def meter(ratio: float) -> Markup:
    """An error as a bar that the bound limits."""
    width = min(100.0, 100 * ratio)
    return tag("div", tag("i", style=f"width:{width:.1f}%"), tag("span", f"{ratio:.3f}"), class_="meter" if ratio <= 1 else "meter over")


def percent(share: float) -> str:
    """`0.061 %`: two digits that count."""
    return f"{100 * share:.2g} %" if share < float("inf") else "unbounded"


def kernel(number: int, fact: KernelFact, layouts: Inferred) -> Markup:
    """All about one kernel."""
    program, lowered = fact.launch.program, fact.lowered
    times = f"{len(fact.launches)} launches" if len(fact.launches) > 1 else "1 launch"
    nodes = f"{len(fact.launch.nodes)} kernels in one" if len(fact.launch.nodes) > 1 else "1 kernel, alone"
    summary = tag("summary", tag("i", class_="swatch"), tag("b", fact.label), tag("span", f" {times}; {nodes}"))
    grid = " by ".join(str(axis.extent) for axis in program.grid)
    facts = [
        ("program", fact.name),
        ("grid", f"{program.blocks:,} blocks ({grid})"),
        ("threads a block", f"{fact.threads}" if fact.threads is not None else "none: a block is an iteration of a parallel loop"),
        ("on chip a block", f"{size(program.shared_bytes)} shared, {size(program.fragment_bytes)} in fragments at most at once"),
        *_emitted(fact),
        *(("note", note) for note in lowered.notes),
    ]
    facts_table = tag("table", tag("tbody", [tag("tr", tag("th", name), tag("td", value)) for name, value in facts]), class_="facts")
    return tag(
        "details",
        summary,
        tag("div", facts_table, _nodes(fact), _moves(fact), _buffers(fact), _layouts(layouts), class_="inside"),
        id=f"kernel-{number}",
        class_="kernel",
        style=f"--h:{hue(number)}",
    )


def _emitted(fact: KernelFact) -> list[tuple[str, str]]:
    emitted = fact.lowered.emitted
    if emitted is None:
        return []
    found = []
    if emitted.registers is not None:
        spilled = f", {emitted.spill_bytes} bytes spilled" if emitted.spill_bytes is not None else ""
        found.append(("registers a thread", f"{emitted.registers}{spilled}"))
    if emitted.shared_bytes is not None:
        found.append(("shared memory as compiled", size(emitted.shared_bytes)))
    families = ", ".join(f"{name} {count}" for name, count in sorted(emitted.families.items(), key=lambda item: -item[1]))
    special = ["; warp-specialized"] if fact.lowered.warp_specialized else []
    return [*found, (f"instructions ({emitted.origin})", f"{families or 'none of those that are counted'}{''.join(special)}")]


def _nodes(fact: KernelFact) -> Markup:
    rows = [(node, ", ".join(f"{name} {value}" for name, value in chosen.items()) or "none") for node, chosen in fact.tunables.items()]
    return join(tag("h4", "Nodes, and the tunables chosen"), table(("node", "tunables"), rows))


def _moves(fact: KernelFact) -> Markup | None:
    if not fact.moves:
        return None
    rows = [
        (
            move.producer,
            ", ".join(move.tensors),
            tag("b", move.scope, class_=move.scope),
            move.depth,
            "once" if move.recompute == 1 else f"{float(move.recompute):.4g} times",
            size(move.stage_bytes),
            ", ".join(move.kept) or "no",
        )
        for move in reversed(fact.moves)
    ]
    head = ("producer", "hands over", "in", "inside loops", "computed", "a block", "also written to memory")
    return join(tag("h4", "What was stitched in"), table(head, rows, numeric=(3, 5)))


def _buffers(fact: KernelFact) -> Markup | None:
    buffers = fact.launch.program.buffers
    if not buffers:
        return None
    rows = [(b.name, f"{b.dtype}[{', '.join(map(str, b.shape))}]", b.scope, b.versions, size(b.bytes)) for b in buffers]
    head = ("buffer", "elements", "where", "versions", "bytes")
    return tag("details", tag("summary", f"{len(rows)} on-chip buffers"), table(head, rows, numeric=(3, 4)))


def _layouts(found: Inferred) -> Markup:
    alike: dict[tuple[str, str, object], list[LayoutTable]] = {}
    for layout in found.layouts.values():
        alike.setdefault((layout.name, layout.expression, layout.shape), []).append(layout)
    pictures = [_figure(layouts[0], len(layouts)) for layouts in alike.values()]
    nothing = "" if found.layouts else f"There is no layout to show for {found.target.name}: the kernel keeps no tile on the chip. "
    note = found.note if found.layouts or found.note else nothing
    return join(tag("h4", f"Layouts on {found.target.name}"), tag("p", note) if note else None, pictures)


def _figure(layout: LayoutTable, count: int) -> Markup:
    several = f" ({count} buffers of this name)" if count > 1 else ""
    text = tag("figcaption", tag("b", layout.name), several, " ", tiles.caption(layout))
    # TileLang's names for the indices of an element, without their underscores.
    expression = tag("code", layout.expression.replace("_", ""))
    return tag("figure", text, tag("div", tiles.tile(layout), class_="scroll"), tiles.legend(layout), expression)
