"""Layouts of any extents: a linear core for the powers of two, mixed-radix repeats around it, a table as the last resort.

An index of dim d is written in mixed radix: its lowest bits go through the linear core, each digit above them adds a fixed step to every
output. So a tile of 96 columns is a fragment of 8, twelve times, and rows padded to 72 elements are a digit with the step 72. What is
not of this form is kept as a table of its values; everything that can be asked of a layout can be asked of it as well.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

import torch

from mosaic.layouts.linear import LayoutError, LinearMap, bits_of, pack, unpack

Extents = tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Repeat:
    """A digit of input `name`, above those before it: `extent` values, each of which adds `steps` (one for each output)."""

    name: str
    extent: int
    steps: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Layout:
    """A map from indices of `inputs` to indices of `outputs`, both (name, extent) in order.

    With `core`: the value is origin + core(lowest bits) + the sum of digit · step over `repeats`, output by output. With `table` instead:
    int64 [*input extents, outputs]. Exactly one of the two is there. Equal are layouts that have the same dims and values.
    """

    inputs: Extents
    outputs: Extents
    core: LinearMap | None = None
    repeats: tuple[Repeat, ...] = ()
    origin: tuple[int, ...] = ()
    table: torch.Tensor | None = None

    def __post_init__(self) -> None:
        if (self.core is None) == (self.table is None):
            raise LayoutError("a layout has either a linear core or a table")
        if self.table is not None and tuple(self.table.shape) != (*(extent for _, extent in self.inputs), len(self.outputs)):
            raise LayoutError(
                f"a table of shape {tuple(self.table.shape)} does not fit the inputs {self.inputs} and outputs {self.outputs}"
            )
        if self.core is not None:
            for name, extent in self.inputs:
                covered = (1 << self.core.bits(name)) * math.prod(repeat.extent for repeat in self.repeats if repeat.name == name)
                if covered != extent:
                    raise LayoutError(f"core and repeats cover {covered} of the {extent} indices of {name}")
        for position, (name, extent) in enumerate(self.outputs):
            low, high = self._reach(position)
            if not 0 <= low <= high < extent:
                raise LayoutError(f"a layout leaves the extent {extent} of its output {name}")

    def _reach(self, position: int) -> tuple[int, int]:
        """The smallest and the largest value of an output."""
        if self.core is None:
            assert self.table is not None
            return int(self.table[..., position].min()), int(self.table[..., position].max())
        # Core and digits vary apart from each other; the largest number of a span has every leading bit that can be set.
        largest = 0
        for vector in reversed(self.core.project(self.outputs[position][0]).image()):
            largest = max(largest, largest ^ vector)
        start = self.origin[position] if self.origin else 0
        ends = [(repeat.extent - 1) * repeat.steps[position] for repeat in self.repeats]
        return start + sum(min(end, 0) for end in ends), start + largest + sum(max(end, 0) for end in ends)

    # Making one

    @staticmethod
    def of(core: LinearMap, *repeats: Repeat, outputs: Mapping[str, int] | None = None) -> Layout:
        """A linear core and digits above it. `outputs`: the extents; without them the core's, multiplied by what repeats reach."""
        names = [name for name, _ in core.outputs]
        inputs = tuple(
            (name, (1 << bits) * math.prod(repeat.extent for repeat in repeats if repeat.name == name)) for name, bits in core.inputs
        )
        if outputs is None:
            reach = [sum((repeat.extent - 1) * repeat.steps[position] for repeat in repeats) for position in range(len(names))]
            outputs = {name: (1 << bits) + more for (name, bits), more in zip(core.outputs, reach, strict=True)}
        return Layout(inputs, tuple((name, outputs[name]) for name in names), core, repeats)

    @staticmethod
    def from_function(inputs: Mapping[str, int], outputs: Mapping[str, int], function: Callable[..., tuple[int, ...]]) -> Layout:
        """From the values of a function of the indices, in the order of `inputs`; recognised as `from_table` does."""
        rows = [function(*place) for place in itertools.product(*(range(extent) for extent in inputs.values()))]
        table = torch.tensor(rows, dtype=torch.int64).reshape(*inputs.values(), len(outputs))
        return Layout.from_table(tuple(inputs.items()), tuple(outputs.items()), table)

    @staticmethod
    def from_table(inputs: Extents, outputs: Extents, table: torch.Tensor) -> Layout:
        """From its values, int64 [*input extents, outputs]: with the largest linear core that explains all of them, else the table."""
        if tuple(table.shape) != (*(extent for _, extent in inputs), len(outputs)) or 0 in table.shape:
            raise LayoutError(f"a table of shape {tuple(table.shape)} does not fit the inputs {inputs} and outputs {outputs}")
        return _recognise(inputs, outputs, table) or Layout(inputs, outputs, table=table.clone())

    # What it is

    @property
    def linear(self) -> LinearMap:
        """The layout as a linear map. Raises LayoutError if it has digits that are none of powers of two, or is a table."""
        if self.core is None or any(self.origin):
            raise LayoutError("this layout is not linear")
        whole = self.core
        extents = dict(self.outputs)
        for name, extent in self.outputs:
            bits_of(extent, name)
        outputs = tuple((name, bits_of(extents[name], name)) for name, _ in whole.outputs)
        columns: dict[str, list[int]] = {name: [_widen(column, whole, outputs) for column in whole.images(name)] for name, _ in self.inputs}
        for repeat in self.repeats:
            for bit in range(bits_of(repeat.extent, repeat.name)):
                columns[repeat.name].append(
                    pack({name: step << bit for (name, _), step in zip(outputs, repeat.steps, strict=True)}, outputs)
                )
        inputs = tuple((name, len(columns[name])) for name, _ in self.inputs)
        found = LinearMap(inputs, outputs, tuple(column for name, _ in inputs for column in columns[name]))
        # Parts that share no bit of any output add without a carry; else it is looked at.
        parts = [[_widen(column, whole, outputs) for column in whole.columns]]
        parts += [[column] for name, _ in self.inputs for column in columns[name][whole.bits(name) :]]
        if not _apart(parts) and not torch.equal(_linear_table(found), self.to_table()):
            raise LayoutError("this layout is not linear: its repeats carry")
        return found

    @property
    def is_linear(self) -> bool:
        try:
            return bool(self.linear)
        except LayoutError:
            return False

    def __call__(self, **indices: int) -> dict[str, int]:
        """The value at indices by name; those not named are 0. Raises LayoutError for an index outside of its dim."""
        place = []
        for name, extent in self.inputs:
            place.append(indices.pop(name, 0))
            if not 0 <= place[-1] < extent:
                raise LayoutError(f"index {place[-1]} of {name} lies outside of its extent {extent}")
        if indices:
            raise LayoutError(f"there is no dim {', '.join(indices)} among {', '.join(name for name, _ in self.inputs)}")
        return dict(zip((name for name, _ in self.outputs), map(int, self.to_table()[tuple(place)]), strict=True))

    def to_table(self) -> torch.Tensor:
        """Every value, int64 [*input extents, outputs]."""
        return self._values

    @cached_property
    def _values(self) -> torch.Tensor:
        if self.table is not None or self.core is None:
            assert self.table is not None
            return self.table
        # Core first: its dims are the lowest digits, then each repeat puts one more digit above those of its dim.
        parts = {name: torch.zeros(1, len(self.outputs), dtype=torch.int64) for name, _ in self.inputs}
        core = _linear_table(self.core.order_inputs(*(name for name, _ in self.inputs)))
        for repeat in self.repeats:
            step = torch.arange(repeat.extent).reshape(-1, 1, 1) * torch.tensor(repeat.steps)
            parts[repeat.name] = (step + parts[repeat.name]).reshape(-1, len(self.outputs))
        total = torch.tensor(self.origin or (0,) * len(self.outputs)).reshape([1] * len(self.inputs) + [-1])
        shape = [extent for _, extent in self.inputs]
        for axis, (name, extent) in enumerate(self.inputs):
            bits = self.core.bits(name)
            high = parts[name].repeat_interleave(1 << bits, dim=0)
            total = total + high.reshape([extent if other == axis else 1 for other in range(len(shape))] + [-1])
            core = core.repeat([extent >> bits if other == axis else 1 for other in range(len(shape))] + [1])
        return total + core

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Layout):
            return NotImplemented
        return self.inputs == other.inputs and self.outputs == other.outputs and torch.equal(self.to_table(), other.to_table())

    def __hash__(self) -> int:
        return hash((self.inputs, self.outputs))

    @property
    def is_injective(self) -> bool:
        values = self.to_table().reshape(-1, len(self.outputs))
        return len(torch.unique(values, dim=0)) == len(values)

    # Operations

    def then(self, after: Layout) -> Layout:
        """This layout first, then the other, whose inputs are this one's outputs in any order."""
        if dict(self.outputs) != dict(after.inputs):
            raise LayoutError(f"layouts with the outputs {self.outputs} and the inputs {after.inputs} do not compose")
        position = {name: index for index, (name, _) in enumerate(self.outputs)}
        values = self.to_table()
        picked = after.to_table()[tuple(values[..., position[name]] for name, _ in after.inputs)]
        return Layout.from_table(self.inputs, after.outputs, picked)

    def invert(self) -> Layout:
        """The inverse. Raises LayoutError if two places have one value, or a value has no place."""
        if math.prod(extent for _, extent in self.inputs) != math.prod(extent for _, extent in self.outputs) or not self.is_injective:
            raise LayoutError("this layout has no inverse: it is not one place for each value")
        values = self.to_table().reshape(-1, len(self.outputs))
        places = torch.cartesian_prod(*(torch.arange(extent) for _, extent in self.inputs)).reshape(-1, len(self.inputs))
        table = torch.empty([*(extent for _, extent in self.outputs), len(self.inputs)], dtype=torch.int64)
        table[tuple(values.unbind(1))] = places
        return Layout.from_table(self.outputs, self.inputs, table)


def _apart(parts: list[list[int]]) -> bool:
    """Whether no bit is set in two of the parts."""
    seen = 0
    for part in parts:
        own = 0
        for vector in part:
            own |= vector
        if own & seen:
            return False
        seen |= own
    return True


def _widen(column: int, core: LinearMap, outputs: Extents) -> int:
    return pack(unpack(column, core.outputs), outputs)


def _linear_table(found: LinearMap) -> torch.Tensor:
    """A linear map's values, int64 [*input extents, outputs]."""
    packed = torch.zeros([1] * len(found.inputs), dtype=torch.int64)
    for axis, (name, bits) in enumerate(found.inputs):
        index = torch.arange(1 << bits)
        total = torch.zeros_like(index)
        for bit, column in enumerate(found.images(name)):
            total ^= (index >> bit & 1) * column
        packed = packed ^ total.reshape([-1 if other == axis else 1 for other in range(len(found.inputs))])
    first, values = 0, []
    for _, bits in found.outputs:
        values.append(packed >> first & (1 << bits) - 1)
        first += bits
    return torch.stack(values, dim=-1)


def _recognise(inputs: Extents, outputs: Extents, table: torch.Tensor) -> Layout | None:
    origin = table[(0,) * len(inputs)]
    lines = []
    for axis in range(len(inputs)):
        lines.append(table[tuple(slice(None) if other == axis else 0 for other in range(len(inputs)))] - origin)
    # For each dim, how many of its low bits may be in the core, most first: only where the dim alone is explained.
    choices = [_core_sizes(line) for line in lines]
    for sizes in sorted(itertools.product(*choices), key=sum, reverse=True):
        found = _candidate(inputs, outputs, lines, sizes, origin)
        if found is not None and torch.equal(found.to_table(), table):
            return found
    return None


def _core_sizes(line: torch.Tensor) -> list[int]:
    most = (len(line) & -len(line)).bit_length() - 1
    return [size for size in range(most, -1, -1) if _explains(line, size)]


def _explains(line: torch.Tensor, size: int) -> bool:
    low = line[: 1 << size]
    index = torch.arange(1 << size).reshape(-1, 1)
    total = torch.zeros_like(low)
    for bit in range(size):
        total ^= (index >> bit & 1) * low[1 << bit]
    digits = _digits(line[:: 1 << size])
    if int(low.min()) < 0 or digits is None or not torch.equal(total, low):
        return False
    high = torch.zeros(1, line.shape[1], dtype=torch.int64)
    for extent, steps in digits:
        high = (torch.arange(extent).reshape(-1, 1, 1) * torch.tensor(steps) + high).reshape(-1, line.shape[1])
    return torch.equal((high.unsqueeze(1) + low).reshape(line.shape), line)


def _digits(line: torch.Tensor) -> list[tuple[int, tuple[int, ...]]] | None:
    """A line of values as mixed-radix digits with steps, lowest first."""
    found: list[tuple[int, tuple[int, ...]]] = []
    while len(line) > 1:
        step = line[1]
        follows = (line == torch.arange(len(line)).reshape(-1, 1) * step).all(dim=1).tolist()
        run = follows.index(False) if False in follows else len(line)
        extent = max(size for size in range(1, run + 1) if len(line) % size == 0)
        if extent == 1:
            return None
        found.append((extent, tuple(map(int, step))))
        line = line[::extent]
    return found


def _candidate(inputs: Extents, outputs: Extents, lines: list[torch.Tensor], sizes: tuple[int, ...], origin: torch.Tensor) -> Layout | None:
    images = {name: [line[1 << bit] for bit in range(size)] for (name, _), line, size in zip(inputs, lines, sizes, strict=True)}
    every = [image for found in images.values() for image in found]
    # As wide as what the core reaches: the exclusive or of numbers below 2**b is below 2**b.
    widths = [max((int(image[position]).bit_length() for image in every), default=0) for position in range(len(outputs))]
    names = [name for name, _ in outputs]
    bases = {
        name: [{out: int(value) for out, value in zip(names, image, strict=True)} for image in found] for name, found in images.items()
    }
    core = LinearMap.of(bases, {name: 1 << width for name, width in zip(names, widths, strict=True)})
    repeats = []
    for (name, _), line, size in zip(inputs, lines, sizes, strict=True):
        digits = _digits(line[:: 1 << size])
        assert digits is not None
        repeats += [Repeat(name, extent, steps) for extent, steps in digits]
    try:
        return Layout(inputs, outputs, core, tuple(repeats), tuple(map(int, origin)))
    except LayoutError:  # the parts may reach further together than the table does
        return None
