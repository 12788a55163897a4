"""Which index can leave its buffer: a thin use of TVM's arithmetic analyzer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from tvm import arith, ir

from mosaic.targets.cpu.nodes import Node, constant, reads_memory

_SYMBOLIC: Final = arith.ProofStrength.SYMBOLIC_BOUND


class Bounds:
    """What is known of the variables at the place being emitted."""

    def __init__(self) -> None:
        self._analyzer: Any = arith.Analyzer()

    def loop(self, variable: Node, minimum: Node, extent: Node) -> None:
        """From here on, `minimum <= variable < minimum + extent`."""
        # A stitched program may run one body twice with the same variable, over another range.
        self._analyzer.bind(variable, ir.Range.from_min_extent(minimum, extent), True)

    def size(self, variable: Node) -> None:
        """`variable` is the size of a tensor: at least 1."""
        self._analyzer.bind(variable, ir.Range.from_min_extent(1, 2**31 - 2), True)

    def equal(self, variable: Node, value: Node) -> None:
        """From here on, `variable == value`; used only where the value cannot change."""
        if not reads_memory(value):
            self._analyzer.bind(variable, value, True)

    @contextmanager
    def given(self, condition: Node) -> Iterator[None]:
        """Within, `condition` holds. A condition that reads memory says nothing, since memory changes."""
        if reads_memory(condition):
            yield
        else:
            with self._analyzer.constraint_scope(condition):
                yield

    def proves(self, condition: Node) -> bool:
        """Whether `condition` holds for all values the variables can have."""
        return bool(self._analyzer.can_prove(condition, _SYMBOLIC))

    def below(self, index: Node, extent: Node) -> bool:
        """Whether `index < extent` always."""
        known = constant(extent)
        if known is not None and int(self._analyzer.const_int_bound(index).max_value) < known:
            return True
        return self.proves(index < extent)

    def not_negative(self, index: Node) -> bool:
        """Whether `index >= 0` always."""
        return int(self._analyzer.const_int_bound(index).min_value) >= 0 or self.proves(index >= 0)

    def negative(self, index: Node) -> bool:
        """Whether `index < 0` always: an index that counts from the end, as in Python."""
        return int(self._analyzer.const_int_bound(index).max_value) < 0

    def simplified(self, expression: Node) -> Node:
        """The same value, written more simply."""
        return self._analyzer.simplify(expression)
