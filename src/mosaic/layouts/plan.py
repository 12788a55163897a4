"""The layout plan of a graph: what was decided for each edge, group and product, and why not otherwise."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, cast

from mosaic.layouts.conflict import core, explain
from mosaic.layouts.constraints import Constraint, Problem
from mosaic.layouts.factors import Tables
from mosaic.layouts.facts import Edge, Facts, Group, Product
from mosaic.layouts.fragments import Policy
from mosaic.layouts.model import build
from mosaic.layouts.places import Handover, Memory, Place
from mosaic.layouts.solver import Alternative, ConflictError, Solution, alternatives, solve

ON_CHIP = "stays on the chip"


@dataclass(frozen=True)
class EdgeChoice:
    """What was decided for one edge. seconds: of its handover, over the whole launch, and of device memory for a split.

    swizzle: of its stage, in bytes, if it has one.
    """

    edge: Edge
    handover: Handover
    memory: Memory
    source: Place
    target: Place
    seconds: float
    swizzle: int = 0


@dataclass(frozen=True)
class Explanation:
    """Why an edge is handed over as it is.

    handovers, memories: each value there is, with what the whole plan would cost at best with it. forced: for a split, the constraints
    that together leave nothing else, any one of which, taken away, would allow a tile on the chip (one of them if there is only one).
    cheaper: where nothing forces the choice, the constraint that touches the edge whose absence would save most, and how many seconds.
    """

    choice: EdgeChoice
    handovers: tuple[Alternative, ...]
    memories: tuple[Alternative, ...]
    forced: tuple[Constraint, ...]
    cheaper: tuple[Constraint, float] | None


@dataclass(frozen=True)
class LayoutPlan:
    """A solved problem. `took`: the seconds that building and solving it needed."""

    facts: Facts
    problem: Problem
    solution: Solution
    took: float

    @cached_property
    def choices(self) -> tuple[EdgeChoice, ...]:
        """Each edge's, in the order of the facts."""
        return tuple(self._choice(edge) for edge in self.facts.edges)

    def choice(self, name: str) -> EdgeChoice:
        """An edge's. Raises KeyError if there is none of that name."""
        return next((found for found in self.choices if found.edge.name == name), None) or _missing(name)

    def _choice(self, edge: Edge) -> EdgeChoice:
        values = self.solution.values
        seconds = sum(
            cost.seconds(*(values[name] for name in cost.scope))
            for what in ("bytes", "convert", "width")
            if (cost := self.problem.costs.get(f"{what}[{edge.name}]")) is not None
        )
        found: dict[str, Any] = {what: values[f"{what}[{edge.name}]"] for what in ("handover", "memory", "source", "target", "swizzle")}
        return EdgeChoice(edge, seconds=seconds, **found)

    def threads(self, group: Group) -> int:
        return cast(int, self.solution[f"threads[{group.name}]"])

    def policy(self, product: Product) -> Policy:
        return cast(Policy, self.solution[f"policy[{product.name}]"])

    def instruction(self, product: Product) -> str:
        return str(self.solution[f"instruction[{product.name}]"])

    def reordered(self, product: Product) -> bool:
        """Whether the product runs over its contraction in another order, for which its B is laid out anew offline."""
        return self.solution[f"order[{product.name}]"] == "permuted"

    def explain(self, name: str) -> Explanation:
        """Why an edge is handed over as it is. Raises KeyError if there is none of that name."""
        choice = self.choice(name)
        tables = Tables()
        memory, handover = f"memory[{name}]", f"handover[{name}]"
        options = alternatives(self.problem, [memory, handover], tables=tables)
        forced: tuple[Constraint, ...] = ()
        cheaper = None
        if choice.memory == "device":
            barred = _on_chip(self.problem, memory)
            if not any(option.is_possible and option.value != "device" for option in options[memory]):
                forced = core(barred, given=[ON_CHIP], tables=tables)[0]
            else:
                cheaper = self._cheaper(barred, name, tables)
        return Explanation(choice, options[handover], options[memory], forced, cheaper)

    def _cheaper(self, problem: Problem, edge: str, tables: Tables) -> tuple[Constraint, float] | None:
        """Of the constraints that touch an edge, the one without which its best tile on the chip would cost least."""
        now = solve(problem, tables=tables).seconds
        near = {f"{what}[{edge}]" for what in ("memory", "source", "target", "swizzle")}
        near |= {name for c in problem.constraints.values() if near & set(c.scope) and c.name.startswith("sum[") for name in c.scope[:1]}
        found: tuple[Constraint, float] | None = None
        for constraint in problem.constraints.values():
            if not near & set(constraint.scope) or constraint.kind == "agreement":
                continue
            saved = now - solve(problem.without({constraint.name}), tables=tables).seconds
            if saved > 1e-12 and (found is None or saved > found[1]):
                found = constraint, saved
        return found

    def reason(self, choice: EdgeChoice) -> str:
        """In a few words, without solving anything again."""
        edge = choice.edge
        if edge.refusal is not None:
            return f"{edge.refusal[0]}: {edge.refusal[1]}"
        if choice.memory == "device":
            return "cost: what stays on the chip would cost more"
        if choice.memory == "shared":
            return f"staged: {edge.stage_bytes:,} bytes a block"
        words = {
            "identity": "both sides have it in the same registers",
            "permute": "the same threads have it in other registers",
            "shuffle": "lanes of a warp exchange it",
            "shared": "warps exchange it through shared memory",
        }
        return words.get(choice.handover, "")


def _missing(name: str) -> EdgeChoice:
    raise KeyError(name)


def _on_chip(problem: Problem, memory: str) -> Problem:
    """The problem with one edge kept from device memory."""
    barred = problem.without(())
    barred.require(ON_CHIP, "agreement", (memory,), lambda found: found != "device", "it stays on the chip")
    return barred


def plan_layouts(facts: Facts) -> LayoutPlan:
    """The best layouts. Raises ConflictError, with the smallest set of constraints in conflict in words, if nothing satisfies them all.

    That can only be for what the user asks (annotations, layouts) or what one kernel alone breaks: every edge between kernels may be split.
    """
    start = time.perf_counter()
    problem = build(facts)
    try:
        solution = solve(problem)
    except ConflictError as error:
        raise explain(problem) from error
    return LayoutPlan(facts, problem, solution, time.perf_counter() - start)


def without_annotations(facts: Facts) -> Facts:
    """The same graph, asked for nothing."""
    return replace(facts, annotations={}, layouts={})


def kinds(choices: Sequence[EdgeChoice]) -> dict[str, int]:
    """How many edges are handed over in each way."""
    found: dict[str, int] = {}
    for choice in choices:
        found[choice.handover] = found.get(choice.handover, 0) + 1
    return found
