"""What is known of the indices at the place being emitted: their ranges, and conditions that hold or fail.

Ranges come from TVM's arithmetic analyzer. Conditions are known where a guard or a split loop has
settled them; they are recognised by their structure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import tilelang  # noqa: F401  (puts TileLang's own tvm on the path)
from tvm import arith, ir, tirx

from mosaic.targets.cpu.nodes import Node, constant, dtype_of, kind, reads_memory

_OPPOSITE: Final[dict[str, Any]] = {"LT": tirx.GE, "GE": tirx.LT, "GT": tirx.LE, "LE": tirx.GT, "EQ": tirx.NE, "NE": tirx.EQ}


class Bounds:
    """What is known of the variables at the place being emitted."""

    def __init__(self) -> None:
        self._analyzer: Any = arith.Analyzer()
        self._known: list[Node] = []
        self._related = 0
        self._values: dict[Node, Node] = {}
        self._unstable: set[Node] = set()
        self.asked: list[Node] | None = None
        """While a list: collects the conditions that could not be decided."""

    def loop(self, variable: Node, minimum: Node, extent: Node) -> None:
        """From here on, `minimum <= variable < minimum + extent`."""
        # A stitched program may run one body twice with the same variable, over another range.
        self._analyzer.bind(variable, ir.Range.from_min_extent(minimum, extent), True)

    def size(self, variable: Node) -> None:
        """`variable` is the size of a tensor: at least 1."""
        self._related += 1
        self._analyzer.bind(variable, ir.Range.from_min_extent(1, 2**31 - 2), True)

    def equal(self, variable: Node, value: Node) -> None:
        """From here on, `variable == value`; used only where the value cannot change."""
        if reads_memory(value):
            return
        self._analyzer.bind(variable, value, True)
        before = self._values.setdefault(variable, value)
        if before is not value and not ir.structural_equal(before, value):
            self._unstable.add(variable)

    @contextmanager
    def given(self, condition: Node) -> Iterator[None]:
        """Within, `condition` holds. A condition that reads memory says nothing, since memory changes."""
        if not _is_stable(condition):
            yield
            return
        self._related += 1
        with self.settled(_conjuncts(condition)), self._analyzer.constraint_scope(condition):
            yield
        self._related -= 1

    @contextmanager
    def settled(self, true: Sequence[Node], false: Sequence[Node] = ()) -> Iterator[None]:
        """Within, the conditions `true` hold and `false` don't; nothing else is concluded from them."""
        before = len(self._known)
        self._known += [condition for condition in true if _is_stable(condition)]
        self._known += [_opposite(condition) for condition in false if _is_stable(condition) and kind(condition) in _OPPOSITE]
        yield
        del self._known[before:]

    def decide(self, condition: Node) -> bool | None:
        """Whether `condition` holds here, or None if that depends; then it counts as asked."""
        name = kind(condition)
        if name == "IntImm":
            return bool(int(condition.value))
        if name in ("And", "Or"):
            sides = (self.decide(condition.a), self.decide(condition.b))
            settles = name == "Or"
            return settles if settles in sides else None if None in sides else not settles
        if name == "Not":
            inner = self.decide(condition.a)
            return None if inner is None else not inner
        if name not in _OPPOSITE or not _is_stable(condition):
            return None
        if self._is_known(condition):
            return True
        if self._is_known(_opposite(condition)):
            return False
        if self.asked is not None:
            self.asked.append(condition)
        return None

    def below(self, index: Node, extent: Node) -> bool:
        """Whether `index < extent` always."""
        known = constant(extent)
        if known is not None and int(self._analyzer.const_int_bound(index).max_value) < known:
            return True
        return self._proves(index < extent, lambda: known is not None and self._range(index)[1] < known)

    def not_negative(self, index: Node) -> bool:
        """Whether `index >= 0` always."""
        if int(self._analyzer.const_int_bound(index).min_value) >= 0:
            return True
        return self._proves(index >= 0, lambda: self._range(index)[0] >= 0)

    def negative(self, index: Node) -> bool:
        """Whether `index < 0` always: an index that counts from the end, as in Python."""
        return int(self._analyzer.const_int_bound(index).max_value) < 0

    def expanded(self, expression: Node) -> Node | None:
        """`expression` with the variables bound to values replaced by these; None if one has had two values."""
        for _ in range(len(self._values) + 1):
            used = [variable for variable in self._values if _occurs(variable, expression)]
            if any(variable in self._unstable for variable in used):
                return None
            if not used:
                break
            expression = tirx.stmt_functor.substitute(expression, {variable: self._values[variable] for variable in used})
        return expression

    def simplified(self, expression: Node) -> Node:
        return self._analyzer.simplify(expression)

    def _range(self, index: Node) -> tuple[int, int]:
        bound = self._analyzer.const_int_bound(self._analyzer.simplify(index))
        return int(bound.min_value), int(bound.max_value)

    def _is_known(self, condition: Node) -> bool:
        return any(ir.structural_equal(condition, known) for known in self._known)

    def _proves(self, condition: Node, by_range: Callable[[], bool]) -> bool:
        if self._is_known(condition):
            return True
        # Ranges alone decide, unless something relates the variables to each other: then the analyzer's
        # prover may know more. It takes milliseconds, so it is not asked for nothing. (Its "symbolic bound"
        # mode computes in the width of the variables: near 2^31 it wraps, and proves what does not hold.)
        return bool(self._analyzer.can_prove(condition)) if self._related else by_range()


def _occurs(variable: Node, expression: Node) -> bool:
    found = False

    def visit(node: Node) -> None:
        nonlocal found
        found = found or node.same_as(variable)

    tirx.stmt_functor.post_order_visit(expression, visit)
    return found


def _opposite(condition: Node) -> Node:
    return _OPPOSITE[kind(condition)](condition.a, condition.b)


def _conjuncts(condition: Node) -> list[Node]:
    """The parts that all hold where `condition` does."""
    return [*_conjuncts(condition.a), *_conjuncts(condition.b)] if kind(condition) == "And" else [condition]


def _is_stable(condition: Node) -> bool:
    """Whether a condition is one of indices alone, so that it stays as it is while memory changes."""
    sides = (condition.a, condition.b) if kind(condition) in _OPPOSITE else ()
    return not reads_memory(condition) and all("int" in dtype_of(side) for side in sides)
