"""Why nothing satisfies a problem: the smallest set of constraints that contradict each other, in words.

A minimal core is found by leaving constraints out, half of the rest at a time (Junker, QuickXplain, 2004). The smallest one is then
found by duality: each set that can be satisfied tells constraints of which every core must hold one, so that a smallest set that meets
all of these, if nothing satisfies it, is a smallest core (Ignatiev, Previti, Liffiton and Marques-Silva, 2015).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

from mosaic.layouts.constraints import Constraint, Problem
from mosaic.layouts.factors import Tables
from mosaic.layouts.solver import ConflictError, satisfiable

ROUNDS: Final = 200
"""Sets that the search for the smallest core tries before the minimal core at hand is taken."""

MOST: Final = 60
"""Constraints among which the smallest core is searched."""


def explain(problem: Problem, *, given: Collection[str] = (), tables: Tables | None = None) -> ConflictError:
    """The error that says which constraints of an unsatisfiable problem contradict each other.

    given: constraints that are not to blame, and do not count. Raises ValueError if the problem can be satisfied.
    """
    found, smallest = core(problem, given=given, tables=tables)
    return ConflictError(in_words(problem, found), found, smallest=smallest)


def in_words(problem: Problem, constraints: Sequence[Constraint]) -> str:
    """One sentence: what is asked for, and of which choices."""
    asked = "; ".join(f"{c.sentence} ({c.kind}, {c.name})" for c in constraints)
    names = dict.fromkeys(name for c in constraints for name in c.scope)
    choices = ", ".join(f"{name} from {', '.join(map(str, problem.variables[name].domain[:6]))}" for name in list(names)[:6])
    if len(constraints) == 1:
        return f"no choice satisfies this requirement: {asked}; the choices are {choices}"
    return f"these {len(constraints)} requirements contradict each other, and without any one of them the rest could be met: {asked}; " + (
        f"the choices are {choices}"
    )


def core(problem: Problem, *, given: Collection[str] = (), tables: Tables | None = None) -> tuple[tuple[Constraint, ...], bool]:
    """A set of constraints that nothing satisfies (with those `given`), and of which none can be left out; and whether it is a smallest.

    In the order of the problem; the same at every run. Raises ValueError if the problem can be satisfied.
    """
    tables = tables or Tables()
    asked = _Asker(problem, frozenset(given), tables)
    if asked.satisfiable(problem.constraints):
        raise ValueError("the problem can be satisfied")
    names = [name for name in problem.constraints if name not in asked.given]
    for part in _parts(problem, names, asked.given):
        if not asked.satisfiable(part):
            found = _quick(asked, [], part, check=False)
            smaller, smallest = _smallest(asked, part, found)
            chosen = set(smaller)
            return tuple(c for name, c in problem.constraints.items() if name in chosen), smallest
    return (), True  # those given contradict each other


class _Asker:
    """Remembers which sets of constraints can be satisfied."""

    def __init__(self, problem: Problem, given: frozenset[str], tables: Tables) -> None:
        self.problem, self.given, self.tables = problem, given, tables
        self._known: dict[frozenset[str], bool] = {}

    def satisfiable(self, names: Collection[str]) -> bool:
        key = frozenset(names) | self.given
        if key not in self._known:
            ordered = [name for name in self.problem.constraints if name in key]
            scope = {variable for name in ordered for variable in self.problem.constraints[name].scope}
            part = self.problem.only(ordered)
            part.variables = {name: variable for name, variable in part.variables.items() if name in scope}
            self._known[key] = satisfiable(part, tables=self.tables)
        return self._known[key]


def _parts(problem: Problem, names: Sequence[str], given: frozenset[str]) -> list[list[str]]:
    """The constraints in groups that share no variable, also not by way of those given."""
    leader: dict[str, str] = {}

    def find(variable: str) -> str:
        while leader.setdefault(variable, variable) != variable:
            leader[variable] = leader[leader[variable]]
            variable = leader[variable]
        return variable

    for name in [*names, *given]:
        scope = problem.constraints[name].scope
        for variable in scope[1:]:
            leader[find(variable)] = find(scope[0])
    groups: dict[str, list[str]] = {}
    alone = []
    for name in names:
        scope = problem.constraints[name].scope
        if scope:
            groups.setdefault(find(scope[0]), []).append(name)
        else:
            alone.append([name])
    return [*alone, *groups.values()]


def _quick(asked: _Asker, background: list[str], names: list[str], *, check: bool) -> list[str]:
    """A minimal part of `names` that contradicts the background; `check`: the background has grown since it was last asked about."""
    if check and not asked.satisfiable(background):
        return []
    if len(names) == 1:
        return names
    half = len(names) // 2
    first, second = names[:half], names[half:]
    right = _quick(asked, [*background, *first], second, check=bool(first))
    left = _quick(asked, [*background, *right], first, check=bool(right))
    return [*left, *right]


def _smallest(asked: _Asker, names: Sequence[str], known: list[str]) -> tuple[list[str], bool]:
    """A smallest core among `names`, and whether it is proven; `known` is a minimal one."""
    if len(known) <= 1:
        return known, True
    if len(names) > MOST:
        return known, False
    corrections: list[frozenset[str]] = []
    for _ in range(ROUNDS):
        hit = _hitting(corrections, names, len(known))
        if hit is None:  # nothing smaller than what is known meets them all
            return known, True
        if not asked.satisfiable(hit):
            return [name for name in names if name in hit], True
        grown = set(hit)
        for name in names:
            if name not in grown and asked.satisfiable({*grown, name}):
                grown.add(name)
        corrections.append(frozenset(names) - grown)
    return known, False


def _hitting(sets: Sequence[frozenset[str]], names: Sequence[str], below: int) -> set[str] | None:
    """The smallest set with a member in each of `sets`, the first by `names`, if it has fewer than `below` members."""
    best: set[str] | None = None
    rank = {name: position for position, name in enumerate(names)}

    def visit(chosen: set[str], allowed: int) -> None:
        nonlocal best
        missed = [s for s in sets if not s & chosen]
        if not missed:
            if best is None or len(chosen) < len(best):
                best = set(chosen)
            return
        if len(chosen) + 1 > (allowed if best is None else len(best) - 1):
            return
        for name in sorted(_shortest(missed), key=rank.__getitem__):
            visit({*chosen, name}, allowed)

    visit(set(), below - 1)
    return best


def _shortest(sets: Sequence[frozenset[str]]) -> frozenset[str]:
    return min(sets, key=len)
