"""Index expressions as integer-affine functions of block and loop variables.

`parse` turns a TIR expression into an `Affine`: a sum of integer multiples of atoms plus a
constant. An atom is a variable, or a floor division or remainder of an affine function by a
positive constant (grouped heads read `head // group`), so that equal expressions are equal
values and can be hashed. What does not fit (a loaded index, a product of variables) is `None`.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import tilelang  # noqa: F401  (puts its own tvm on the path)
from tvm import tirx


@dataclass(frozen=True)
class Var:
    """A block or loop variable, compared by the identity of its TIR variable."""

    key: int
    name: str

    def __repr__(self) -> str:
        return self.name


@dataclass(frozen=True)
class Div:
    """floor(value / by), by > 0."""

    value: Affine
    by: int

    def __repr__(self) -> str:
        return f"({self.value!r}) // {self.by}"


@dataclass(frozen=True)
class Mod:
    """value - by * floor(value / by), by > 0."""

    value: Affine
    by: int

    def __repr__(self) -> str:
        return f"({self.value!r}) % {self.by}"


Atom = Var | Div | Mod
MOST_VALUES: Final = 4096
"""Values of tied variables that an interval is computed over, one by one."""

Interval = tuple[int, int]
"""Smallest and largest value, both included."""


@dataclass(frozen=True)
class Affine:
    """sum(coefficient * atom) + constant; terms are sorted and have no zero coefficient."""

    terms: tuple[tuple[Atom, int], ...] = ()
    constant: int = 0

    @staticmethod
    def of(terms: Mapping[Atom, int], constant: int) -> Affine:
        kept = sorted(((a, c) for a, c in terms.items() if c), key=lambda term: _order(term[0]))
        return Affine(tuple(kept), constant)

    @property
    def is_constant(self) -> bool:
        return not self.terms

    def coefficient(self, atom: Atom) -> int:
        return dict(self.terms).get(atom, 0)

    def variables(self) -> Iterator[Var]:
        """Every variable, those inside divisions and remainders too."""
        for atom, _ in self.terms:
            if isinstance(atom, Var):
                yield atom
            else:
                yield from atom.value.variables()

    def plain_variables(self) -> Iterator[Var]:
        """The variables that stand outside divisions and remainders."""
        return (atom for atom, _ in self.terms if isinstance(atom, Var))

    def __add__(self, other: Affine | int) -> Affine:
        if isinstance(other, int):
            return Affine(self.terms, self.constant + other)
        terms = dict(self.terms)
        for atom, c in other.terms:
            terms[atom] = terms.get(atom, 0) + c
        return Affine.of(terms, self.constant + other.constant)

    def __mul__(self, factor: int) -> Affine:
        return Affine.of({a: c * factor for a, c in self.terms}, self.constant * factor)

    def __sub__(self, other: Affine | int) -> Affine:
        return self + (-other if isinstance(other, int) else other * -1)

    def __floordiv__(self, by: int) -> Affine:
        """Floor division by a positive constant; what divides exactly comes out of the atom."""
        exact = {a: c // by for a, c in self.terms if c % by == 0}
        rest = Affine.of({a: c for a, c in self.terms if c % by}, self.constant % by)
        quotient = Affine.of(exact, self.constant // by)
        if rest.is_constant:
            return quotient
        return quotient + Affine(((Div(rest, by), 1),))

    def __mod__(self, by: int) -> Affine:
        rest = Affine.of({a: c for a, c in self.terms if c % by}, self.constant % by)
        return rest if rest.is_constant else Affine(((Mod(rest, by), 1),))

    def substitute(self, values: Mapping[Var, Affine]) -> Affine:
        total = Affine((), self.constant)
        for atom, c in self.terms:
            match atom:
                case Var():
                    total = total + values.get(atom, Affine(((atom, 1),))) * c
                case Div(value, by):
                    total = total + (value.substitute(values) // by) * c
                case Mod(value, by):
                    total = total + (value.substitute(values) % by) * c
        return total

    def interval(self, ranges: Mapping[Var, Interval]) -> Interval | None:
        """Bounds of the value for variables within `ranges`; None if a variable has no range.

        Exact where a division shares its variables with other terms (8*b - 16*(b // 2) lies in 0 ... 8), unless
        those take too many values to go through.
        """
        tied = self._tied()
        if tied and all(v in ranges for v in tied) and math.prod(ranges[v][1] - ranges[v][0] + 1 for v in tied) <= MOST_VALUES:
            spans = [range(ranges[v][0], ranges[v][1] + 1) for v in tied]
            fixed = (dict(zip(tied, map(Affine.number, values), strict=True)) for values in itertools.product(*spans))
            found = [self.substitute(values)._loose_interval(ranges) for values in fixed]
            bounds = [each for each in found if each is not None]
            return (min(low for low, _ in bounds), max(high for _, high in bounds)) if len(bounds) == len(found) else None
        return self._loose_interval(ranges)

    def _tied(self) -> list[Var]:
        """Variables inside a division or remainder that stand in another term too."""
        inside = [set(atom.value.variables()) for atom, _ in self.terms if not isinstance(atom, Var)]
        if not inside:
            return []
        counts = Counter(v for atom, _ in self.terms for v in ({atom} if isinstance(atom, Var) else set(atom.value.variables())))
        return [v for v in dict.fromkeys(v for names in inside for v in names) if counts[v] > 1]

    def _loose_interval(self, ranges: Mapping[Var, Interval]) -> Interval | None:
        """Bounds that take terms to be independent, but follow what a division leaves of its own dividend."""
        low = high = self.constant
        for atom, c in self.terms:
            found = _atom_interval(atom, ranges)
            if found is None:
                return None
            ends = (c * found[0], c * found[1])
            low, high = low + min(ends), high + max(ends)
        for atom, c in self.terms:
            if not isinstance(atom, Div) or c % atom.by:
                continue
            # c (v // by) = c/by (v - v % by)
            rest = (self + Affine(((atom, -c),)) + atom.value * (c // atom.by)).interval(ranges)
            if rest is not None:
                least, most = _remainders(atom.value, atom.by)
                ends = (-c // atom.by * least, -c // atom.by * most)
                low, high = max(low, rest[0] + min(ends)), min(high, rest[1] + max(ends))
        return low, high

    @staticmethod
    def number(value: int) -> Affine:
        return Affine((), value)

    def __repr__(self) -> str:
        parts = [f"{a!r}" if c == 1 else f"{c}*{a!r}" if isinstance(a, Var) else f"{c}*({a!r})" for a, c in self.terms]
        if self.constant or not parts:
            parts.append(str(self.constant))
        return " + ".join(parts)


def _order(atom: Atom) -> tuple[object, ...]:
    """A key by which terms are sorted: by name, and by identity where names are alike."""
    if isinstance(atom, Var):
        return (0, atom.name, atom.key)
    return (1, type(atom).__name__, atom.by, tuple((_order(a), c) for a, c in atom.value.terms), atom.value.constant)


def _remainders(value: Affine, by: int) -> Interval:
    """Bounds of value % by that hold for any values of its variables: all are congruent modulo what divides every coefficient."""
    grain = math.gcd(by, *(c for _, c in value.terms))
    return value.constant % grain, by - grain + value.constant % grain


def _atom_interval(atom: Atom, ranges: Mapping[Var, Interval]) -> Interval | None:
    if isinstance(atom, Var):
        return ranges.get(atom)
    inner = atom.value.interval(ranges)
    if inner is None:
        return None
    if isinstance(atom, Div):
        return inner[0] // atom.by, inner[1] // atom.by
    if inner[0] // atom.by == inner[1] // atom.by:  # no wrap inside the range
        return inner[0] % atom.by, inner[1] % atom.by
    return _remainders(atom.value, atom.by)


def var(node: Any) -> Var:
    """The atom of a TIR variable."""
    return Var(hash(node), str(node.name))


def parse(expr: Any, bound: Mapping[Var, Affine | None] | None = None) -> Affine | None:
    """The affine form of a TIR integer expression, or None.

    `bound` gives the values of let-bound variables; a variable bound to None is not affine.
    """
    bound = bound or {}
    match type(expr).__name__:
        case "int":
            return Affine((), expr)
        case "IntImm":
            return Affine((), int(expr.value))
        case "Var" | "SizeVar":
            atom = var(expr)
            return bound[atom] if atom in bound else Affine(((atom, 1),))
        case "Cast":
            # to a narrower integer it would wrap
            return parse(expr.value, bound) if str(expr.dtype) in ("int32", "int64") else None
        case "Add" | "Sub" | "Mul" | "FloorDiv" | "FloorMod" | "Div" | "Mod" as kind:
            left, right = parse(expr.a, bound), parse(expr.b, bound)
            return None if left is None or right is None else _binary(kind, left, right)
    return None


def _binary(kind: str, left: Affine, right: Affine) -> Affine | None:
    if kind == "Add":
        return left + right
    if kind == "Sub":
        return left - right
    if kind == "Mul":
        if right.is_constant:
            return left * right.constant
        return right * left.constant if left.is_constant else None
    if not right.is_constant or right.constant <= 0 or kind in ("Div", "Mod"):
        return None
    return left // right.constant if kind == "FloorDiv" else left % right.constant


def to_expr(value: Affine, variable: Callable[[Var], Any]) -> Any:
    """The TIR expression of `value`; `variable` gives the TIR expression of each variable."""
    total: Any = None
    for atom, c in value.terms:
        match atom:
            case Var():
                term = variable(atom)
            case Div(inner, by):
                term = tirx.floordiv(to_expr(inner, variable), tirx.IntImm("int32", by))
            case Mod(inner, by):
                term = tirx.floormod(to_expr(inner, variable), tirx.IntImm("int32", by))
        term = term if c == 1 else term * tirx.IntImm("int32", c)
        total = term if total is None else total + term
    if total is None:
        return tirx.IntImm("int32", value.constant)
    return total + tirx.IntImm("int32", value.constant) if value.constant else total
