"""A small language for what must hold and what costs time: variables with finite domains, hard constraints, soft costs.

A `Problem` is a list of them, and prints as one:

    choose   policy[scores] in {FullRow, Square}
    choose   memory[scores] in {register, shared, device}
    require  agreement: warps[scores](policy[scores], memory[scores]): all columns of a row lie in one warp
    minimise conversion: scores(policy[scores], memory[scores])

A solution takes one value of each domain so that every constraint holds and the sum of the costs, in seconds, is least. The meaning of
the variables and constraints that Mosaic makes of a graph is in docs/constraints.md; nothing here knows of them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from mosaic.layouts.linear import LayoutError

Value = Hashable
Assignment = Mapping[str, Value]

Hard = Literal["registers", "shared memory", "alignment", "coverage", "agreement", "instruction", "legality", "annotation"]
"""What a hard constraint is about. The first five are the device's and the tile's, `instruction` is what the target can issue, `legality`
what forbids stitching two kernels, `annotation` what the user has asked for."""

Soft = Literal["conversion", "occupancy", "vector width", "device memory", "launch", "compute"]
"""What a cost is about."""


@dataclass(frozen=True)
class Variable:
    """A choice: one value of a finite domain, whose order decides between solutions that cost the same (the first wins)."""

    name: str
    domain: tuple[Value, ...]
    about: str = ""

    def __str__(self) -> str:
        return f"choose   {self.name} in {{{', '.join(map(str, self.domain))}}}{f'  ({self.about})' if self.about else ''}"


@dataclass(frozen=True)
class Constraint:
    """What must hold of the variables in `scope`: `holds` takes their values in that order. `sentence` says it to people."""

    name: str
    kind: Hard
    scope: tuple[str, ...]
    holds: Callable[..., bool]
    sentence: str

    def __str__(self) -> str:
        return f"require  {self.kind}: {self.name}({', '.join(self.scope)}): {self.sentence}"


@dataclass(frozen=True)
class Cost:
    """Time that depends on the variables in `scope`: `seconds` takes their values in that order, and is finite and not negative."""

    name: str
    kind: Soft
    scope: tuple[str, ...]
    seconds: Callable[..., float]

    def __str__(self) -> str:
        return f"minimise {self.kind}: {self.name}({', '.join(self.scope)})"


@dataclass
class Problem:
    """Variables, constraints and costs, each with a name of its own.

    Functions are called once for each combination of the values in their scope, and those that are the same object over equal domains
    only once for all: edges that are alike should share theirs.
    """

    variables: dict[str, Variable] = field(default_factory=dict)
    constraints: dict[str, Constraint] = field(default_factory=dict)
    costs: dict[str, Cost] = field(default_factory=dict)

    def choose(self, name: str, domain: Iterable[Value], about: str = "") -> str:
        """Add a variable; its name. Raises LayoutError if there is one of that name, or the domain is empty or says a value twice."""
        values = tuple(domain)
        if name in self.variables:
            raise LayoutError(f"there are two variables called {name}")
        if not values or len(set(values)) < len(values):
            raise LayoutError(f"variable {name} needs a domain of different values, and at least one")
        self.variables[name] = Variable(name, values, about)
        return name

    def require(self, name: str, kind: Hard, scope: Iterable[str], holds: Callable[..., bool], sentence: str) -> None:
        """Add a hard constraint. Raises LayoutError for a name that is taken or a scope that names no variables."""
        names = tuple(scope)
        self._check_new(name, self.constraints, names)
        self.constraints[name] = Constraint(name, kind, names, holds, sentence)

    def minimise(self, name: str, kind: Soft, scope: Iterable[str], seconds: Callable[..., float]) -> None:
        """Add a cost. Raises LayoutError for a name that is taken or a scope that names no variables."""
        names = tuple(scope)
        self._check_new(name, self.costs, names)
        self.costs[name] = Cost(name, kind, names, seconds)

    def _check_new(self, name: str, taken: Mapping[str, object], scope: tuple[str, ...]) -> None:
        if name in taken:
            raise LayoutError(f"there are two called {name}")
        if unknown := [other for other in scope if other not in self.variables]:
            raise LayoutError(f"{name} is about {', '.join(unknown)}, which no variable is called")
        if len(set(scope)) < len(scope):
            raise LayoutError(f"{name} names a variable of its scope twice")

    def pin(self, name: str, value: Value, sentence: str, kind: Hard = "annotation") -> None:
        """Require one value of a variable, which need not be in its domain: then nothing can satisfy it."""
        self.require(f"{name}={value}", kind, (name,), lambda found: bool(found == value), sentence)

    def without(self, names: Collection[str]) -> Problem:
        """The same problem less some of its constraints."""
        return Problem(self.variables, {name: c for name, c in self.constraints.items() if name not in names}, self.costs)

    def only(self, names: Collection[str], *, costs: bool = False) -> Problem:
        """The same variables under these constraints alone, with or without the costs."""
        return Problem(self.variables, {name: self.constraints[name] for name in names}, self.costs if costs else {})

    def with_domains(self, domains: Mapping[str, tuple[Value, ...]]) -> Problem:
        """The same problem with other domains for some variables."""
        variables = {name: Variable(name, domains.get(name, old.domain), old.about) for name, old in self.variables.items()}
        return Problem(variables, self.constraints, self.costs)

    def violated(self, assignment: Assignment) -> list[Constraint]:
        """The constraints that an assignment of all variables breaks."""
        return [c for c in self.constraints.values() if not c.holds(*(assignment[name] for name in c.scope))]

    def seconds(self, assignment: Assignment) -> float:
        """The sum of the costs of an assignment of all variables."""
        return sum(cost.seconds(*(assignment[name] for name in cost.scope)) for cost in self.costs.values())

    def breakdown(self, assignment: Assignment) -> dict[Soft, float]:
        """The costs of an assignment in seconds, by what they are about."""
        found: dict[Soft, float] = {}
        for cost in self.costs.values():
            found[cost.kind] = found.get(cost.kind, 0.0) + cost.seconds(*(assignment[name] for name in cost.scope))
        return found

    def __str__(self) -> str:
        parts: list[Any] = [*self.variables.values(), *self.constraints.values(), *self.costs.values()]
        return "\n".join(map(str, parts))
