"""Random problems, and what is true of them by trying every assignment."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from hypothesis import strategies as st

from mosaic.layouts.constraints import Assignment, Problem

NANOSECOND: Final = 1e-9
Edges = Sequence[tuple[int, int]]


def looked_up(table: dict[tuple[int, ...], Any]) -> Callable[..., Any]:
    return lambda *values: table[values]


def one_of(table: frozenset[tuple[int, ...]]) -> Callable[..., bool]:
    return lambda *values: values in table


@st.composite
def problems(draw: st.DrawFn, *, costs: bool = True, least: float = 0.3) -> Problem:
    """Up to 6 variables of up to 4 values; constraints and costs over up to 3 of them; `least`: how tight constraints may be."""
    return random_problem(random.Random(draw(st.integers(0, 2**32))), costs=costs, least=least)


def random_problem(rng: random.Random, *, costs: bool = True, least: float = 0.3, variables: int = 6) -> Problem:
    problem = Problem()
    sizes = [rng.randint(1, 4) for _ in range(rng.randint(1, variables))]
    names = [problem.choose(f"x{number}", range(size)) for number, size in enumerate(sizes)]
    for number in range(rng.randint(0, 7)):
        scope = rng.sample(range(len(names)), min(len(names), rng.randint(1, 3)))
        places = list(itertools.product(*(range(sizes[v]) for v in scope)))
        share = rng.uniform(least, 1.0)
        allowed = frozenset(place for place in places if rng.random() < share)
        problem.require(f"r{number}", "agreement", [names[v] for v in scope], one_of(allowed), f"only {len(allowed)} are allowed")
    for number in range(rng.randint(0, 7) if costs else 0):
        scope = rng.sample(range(len(names)), min(len(names), rng.randint(0, 3)))
        places = list(itertools.product(*(range(sizes[v]) for v in scope)))
        table = {place: rng.randint(0, 9) * NANOSECOND for place in places}
        problem.minimise(f"c{number}", "conversion", [names[v] for v in scope], looked_up(table))
    return problem


def assignments(problem: Problem) -> Iterator[dict[str, Any]]:
    names = list(problem.variables)
    for values in itertools.product(*(variable.domain for variable in problem.variables.values())):
        yield dict(zip(names, values, strict=True))


def nanoseconds(problem: Problem, assignment: Assignment) -> int:
    """The cost, exactly: all costs of these problems are whole nanoseconds."""
    parts = [cost.seconds(*(assignment[name] for name in cost.scope)) / NANOSECOND for cost in problem.costs.values()]
    assert all(abs(part - round(part)) < 1e-6 for part in parts)
    return sum(round(part) for part in parts)


def brute_force(problem: Problem) -> int | None:
    """The least cost in nanoseconds, None if no assignment satisfies all constraints."""
    return min((nanoseconds(problem, a) for a in assignments(problem) if not problem.violated(a)), default=None)


# Larger ones, of which the shape is given


def chain(edges: int, rng: random.Random) -> tuple[int, Edges]:
    return edges + 1, [(number, number + 1) for number in range(edges)]


def tree(edges: int, rng: random.Random) -> tuple[int, Edges]:
    return edges + 1, [(rng.randrange(number + 1), number + 1) for number in range(edges)]


def series_parallel(edges: int, rng: random.Random) -> tuple[int, Edges]:
    found, nodes = [(0, 1)], 2
    while len(found) < edges:
        place = rng.randrange(len(found))
        first, second = found[place]
        if rng.random() < 0.5:
            found[place] = (first, nodes)
        else:
            found.append((first, nodes))
        found.append((nodes, second))
        nodes += 1
    return nodes, found[:edges]


def ladder(edges: int, rng: random.Random) -> tuple[int, Edges]:
    """A model of many layers: chains of five, with a residual around each, and every fourth node read by three."""
    found: list[tuple[int, int]] = []
    node = 0
    while len(found) < edges:
        found += [(node + step, node + step + 1) for step in range(5)]
        found += [(node, node + 5), (node + 1, node + 3), (node + 1, node + 4)]
        node += 5
    found = found[:edges]
    return max(map(max, found)) + 1, found


def sparse(edges: int, rng: random.Random) -> tuple[int, Edges]:
    """Pairs drawn at random, three at each node on average: far too wide to be eliminated."""
    nodes = edges * 2 // 3
    found: set[tuple[int, int]] = set()
    while len(found) < edges:
        first, second = sorted(rng.sample(range(nodes), 2))
        found.add((first, second))
    return nodes, sorted(found)


def on_edges(shape: Callable[[int, random.Random], tuple[int, Edges]], edges: int, values: int, seed: int) -> Problem:
    """A cost and a constraint of its own on each edge of a graph, whose nodes choose among `values`."""
    rng = random.Random(seed)
    nodes, pairs = shape(edges, rng)
    problem = Problem()
    for node in range(nodes):
        problem.choose(f"x{node}", range(values))
    for number, (first, second) in enumerate(pairs):
        places = list(itertools.product(range(values), repeat=2))
        table = {place: rng.randrange(1000) * NANOSECOND for place in places}
        # Value 0 is always allowed, as `split` is.
        allowed = frozenset(place for place in places if 0 in place or rng.random() < 0.8)
        scope = (f"x{first}", f"x{second}")
        problem.require(f"r{number}", "agreement", scope, one_of(allowed), "some pairs do not agree")
        problem.minimise(f"c{number}", "conversion", scope, looked_up(table))
    return problem
