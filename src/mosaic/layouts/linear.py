"""Linear maps over F2 between named dims: the power-of-two core of layouts.

A whole number below 2**n is a vector of n bits, and addition is exclusive or. A map is given by the images of the powers of two of each
input dim, so that a fragment's layout is a few small numbers: register 1 moves one column on, lane 4 one row down. The element at any
place is the exclusive or of the images of the bits that are set in the place's indices. Lin, Zhou et al., "Linear Layouts" (2025,
arXiv 2505.23819) show why tensor-core fragments and swizzles are all of this kind.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from mosaic.errors import MosaicError
from mosaic.layouts import vectors

Dims = tuple[tuple[str, int], ...]


class LayoutError(MosaicError):
    """A layout, or an operation on layouts, makes no sense: dims that don't meet, no inverse, an element that nobody holds."""


@dataclass(frozen=True)
class LinearMap:
    """An F2-linear map.

    `inputs` and `outputs` are (name, bits) in order; a dim of b bits has the extent 2**b. `columns` has one number for each input bit,
    all of the first dim's before the next one's, least significant first: the image of that bit, the first output in the lowest bits.
    """

    inputs: Dims
    outputs: Dims
    columns: tuple[int, ...]

    def __post_init__(self) -> None:
        for dims in (self.inputs, self.outputs):
            if len({name for name, _ in dims}) != len(dims) or any(bits < 0 for _, bits in dims):
                raise LayoutError(f"the dims {_text(dims)} of a linear map need different names and bits of at least 0")
        if len(self.columns) != self.input_bits:
            raise LayoutError(f"a linear map with the inputs {_text(self.inputs)} needs {self.input_bits} columns, not {len(self.columns)}")
        if any(not 0 <= column < 1 << self.output_bits for column in self.columns):
            raise LayoutError(f"a column of a linear map lies outside of its outputs {_text(self.outputs)}")

    # Making one

    @staticmethod
    def of(bases: Mapping[str, Sequence[Mapping[str, int]]], outputs: Mapping[str, int]) -> LinearMap:
        """From the images of each input dim's powers of two, and the outputs' extents: `of({"lane": [{"k": 2}, {"k": 4}]}, {"k": 8})`.

        Raises LayoutError if an extent is no power of two, or an image lies outside of the outputs.
        """
        dims = tuple((name, bits_of(extent, name)) for name, extent in outputs.items())
        inputs = tuple((name, len(images)) for name, images in bases.items())
        return LinearMap(inputs, dims, tuple(pack(image, dims) for images in bases.values() for image in images))

    @staticmethod
    def identity(dims: Dims) -> LinearMap:
        return LinearMap(dims, dims, tuple(1 << bit for bit in range(_total(dims))))

    @staticmethod
    def strided(source: str, target: str, extent: int, *, first: int = 0, target_bits: int | None = None) -> LinearMap:
        """`extent` indices of `source`, one after the other, to every 2**first-th of `target` (of 2**target_bits, or just enough)."""
        bits = bits_of(extent, source)
        return LinearMap(
            ((source, bits),),
            ((target, first + bits if target_bits is None else target_bits),),
            tuple(1 << first + bit for bit in range(bits)),
        )

    # What it is

    @property
    def input_bits(self) -> int:
        return _total(self.inputs)

    @property
    def output_bits(self) -> int:
        return _total(self.outputs)

    def column_range(self, name: str) -> range:
        """The positions of an input dim's bits in `columns`: none if it has no such dim."""
        return _range(self.inputs, name)

    def images(self, *names: str) -> tuple[int, ...]:
        """The columns of these input dims, packed; dims that it has not have none."""
        return tuple(self.columns[bit] for name in names for bit in self.column_range(name))

    def bits(self, name: str) -> int:
        """The bits of an input dim; 0 if it has no such dim."""
        return len(self.column_range(name))

    def apply(self, place: int) -> int:
        """The image of a packed input, packed."""
        return vectors.combine(self.columns, place)

    def __call__(self, **indices: int) -> dict[str, int]:
        """The image of indices by name; those not named are 0. Raises LayoutError for an index outside of its dim."""
        return unpack(self.apply(pack(indices, self.inputs)), self.outputs)

    @property
    def rank(self) -> int:
        return len(vectors.echelon(self.columns))

    @property
    def is_injective(self) -> bool:
        return self.rank == self.input_bits

    @property
    def is_surjective(self) -> bool:
        return self.rank == self.output_bits

    def kernel(self) -> tuple[int, ...]:
        """A basis (reduced, so the same for equal kernels) of the packed inputs whose image is 0."""
        return vectors.echelon(vectors.relations(self.columns))

    def image(self) -> tuple[int, ...]:
        """A basis (reduced, so the same for equal images) of the packed outputs that are reached."""
        return vectors.echelon(self.columns)

    def replication(self, *names: str) -> tuple[int, ...]:
        """A reduced basis of the packed indices of these input dims (lane and warp, say) that leave the image as it is."""
        return self.restrict(*names).kernel()

    # Operations

    def then(self, after: LinearMap) -> LinearMap:
        """This map first, then the other: `f.then(g)(x) == g(f(x))`. Its outputs are the other's inputs, in any order, else LayoutError."""
        if dict(self.outputs) != dict(after.inputs):
            raise LayoutError(f"maps with the outputs {_text(self.outputs)} and the inputs {_text(after.inputs)} do not compose")
        ordered = self.order_outputs(*(name for name, _ in after.inputs))
        return LinearMap(self.inputs, after.outputs, tuple(after.apply(column) for column in ordered.columns))

    def product(self, outer: LinearMap) -> LinearMap:
        """Side by side: dims of one name become one, this map's bits below the other's. So tiles repeat: `fragment.product(repeats)`."""
        inputs, outputs = _joined(self.inputs, outer.inputs), _joined(self.outputs, outer.outputs)
        columns: list[int] = []
        for name, _ in inputs:
            columns += [pack(unpack(column, self.outputs), outputs) for column in self.images(name)]
            for column in outer.images(name):
                parts = unpack(column, outer.outputs)
                columns.append(pack({out: value << _bits(self.outputs, out) for out, value in parts.items()}, outputs))
        return LinearMap(inputs, outputs, tuple(columns))

    def divide(self, inner: LinearMap) -> LinearMap | None:
        """The map q with `inner.product(q)` equal to this one, up to the order of dims; None if this one is no multiple of `inner`."""
        inputs = tuple((name, bits - inner.bits(name)) for name, bits in self.inputs)
        outputs = tuple((name, bits - _bits(inner.outputs, name)) for name, bits in self.outputs)
        if any(bits < 0 for _, bits in inputs + outputs):
            return None
        columns = []
        for name, _ in inputs:
            for column in self.images(name)[inner.bits(name) :]:
                parts = unpack(column, self.outputs)
                columns.append(pack({out: value >> _bits(inner.outputs, out) for out, value in parts.items()}, outputs))
        quotient = LinearMap(inputs, outputs, tuple(columns))
        again = inner.product(quotient)
        if dict(again.inputs) != dict(self.inputs) or dict(again.outputs) != dict(self.outputs):
            return None
        return quotient if again.order_like(self) == self else None

    def stack(self, other: LinearMap) -> LinearMap:
        """Both on the same input: x to (f(x), g(x)). Raises LayoutError if the inputs differ or the outputs share a name."""
        if self.inputs != other.inputs:
            raise LayoutError(f"maps with the inputs {_text(self.inputs)} and {_text(other.inputs)} do not stack")
        columns = tuple(low | high << self.output_bits for low, high in zip(self.columns, other.columns, strict=True))
        return LinearMap(self.inputs, self.outputs + other.outputs, columns)

    def invert(self) -> LinearMap:
        """The inverse. Raises LayoutError if there is none."""
        if not (self.is_injective and self.is_surjective):
            raise LayoutError(f"a map of rank {self.rank} from {self.input_bits} to {self.output_bits} bits has no inverse")
        return self.pseudo_invert()

    def pseudo_invert(self) -> LinearMap:
        """A map p with f∘p∘f = f and p∘f∘p = p: on the image it finds one place of each element (a right inverse, where f reaches all)."""
        solved = vectors.Solver(self.columns)
        # What is not reached is completed by unit vectors, and those go to 0.
        reached = list(self.image())
        rest = vectors.complement(reached, self.output_bits)
        basis = vectors.Solver([*reached, *rest])
        places = [solved.solve(vector) for vector in reached]
        columns = []
        for bit in range(self.output_bits):
            parts = basis.solve(1 << bit)
            assert parts is not None
            columns.append(vectors.combine([place or 0 for place in places], parts & (1 << len(reached)) - 1))
        return LinearMap(self.outputs, self.inputs, tuple(columns))

    def restrict(self, *names: str) -> LinearMap:
        """The map on some input dims, the others 0."""
        return LinearMap(tuple((name, self.bits(name)) for name in names), self.outputs, self.images(*names))

    def project(self, *names: str) -> LinearMap:
        """Only some of the output dims, in this order. Raises LayoutError for one that is not there."""
        outputs = tuple((name, _require(self.outputs, name)) for name in names)
        pick = [unpack(column, self.outputs) for column in self.columns]
        return LinearMap(self.inputs, outputs, tuple(pack({name: parts[name] for name in names}, outputs) for parts in pick))

    def order_outputs(self, *names: str) -> LinearMap:
        """The same map with its output dims in this order."""
        if {name for name, _ in self.outputs} != set(names):
            raise LayoutError(f"{', '.join(names)} are not the outputs {_text(self.outputs)}")
        return self.project(*names)

    def order_inputs(self, *names: str) -> LinearMap:
        """The same map with its input dims in this order."""
        if {name for name, _ in self.inputs} != set(names):
            raise LayoutError(f"{', '.join(names)} are not the inputs {_text(self.inputs)}")
        return self.restrict(*names)

    def order_like(self, other: LinearMap) -> LinearMap:
        """The same map with the dims in the order of another one that has the same names."""
        ordered = self.order_inputs(*(name for name, _ in other.inputs))
        return ordered.order_outputs(*(name for name, _ in other.outputs))

    def rename(self, names: Mapping[str, str]) -> LinearMap:
        """Inputs and outputs by other names; those that are not in `names` keep theirs."""
        inputs = tuple((names.get(name, name), bits) for name, bits in self.inputs)
        return LinearMap(inputs, tuple((names.get(name, name), bits) for name, bits in self.outputs), self.columns)

    def reshape(self, inputs: Dims | None = None, outputs: Dims | None = None) -> LinearMap:
        """The same packed map seen through other dims of as many bits, such as one `thread` for `lane` and `warp`."""
        return LinearMap(inputs if inputs is not None else self.inputs, outputs if outputs is not None else self.outputs, self.columns)

    def permute_input(self, name: str, order: Sequence[int]) -> LinearMap:
        """Bit i of input `name` is what bit order[i] was. Raises LayoutError if `order` is no permutation of its bits."""
        positions = self.column_range(name)
        if sorted(order) != list(range(len(positions))):
            raise LayoutError(f"{list(order)} is no order of the {len(positions)} bits of {name}")
        columns = list(self.columns)
        for position, source in zip(positions, order, strict=True):
            columns[position] = self.columns[positions[source]]
        return LinearMap(self.inputs, self.outputs, tuple(columns))

    def equal_up_to(self, other: LinearMap, register: str = "register") -> bool:
        """Whether one permutation of `register`, the same in all threads, makes these maps equal.

        At register 0 both must put every thread at the same element; what registers add must then be the same set of elements.
        """
        if dict(self.inputs) != dict(other.inputs) or dict(self.outputs) != dict(other.outputs):
            return False
        mine = self.order_like(other)
        if vectors.echelon(mine.images(register)) != vectors.echelon(other.images(register)):
            return False
        return all(mine.images(name) == other.images(name) for name, _ in other.inputs if name != register)


def bits_of(extent: int, what: str) -> int:
    """log2 of a power of two. Raises LayoutError if it is none."""
    if extent < 1 or extent & extent - 1:
        raise LayoutError(f"the extent {extent} of {what} is no power of two")
    return extent.bit_length() - 1


def pack(indices: Mapping[str, int], dims: Dims) -> int:
    """Indices by name as one number, the first dim in the lowest bits; those not named are 0. Raises LayoutError if one is outside."""
    if unknown := set(indices) - {name for name, _ in dims}:
        raise LayoutError(f"there is no dim {', '.join(sorted(unknown))} among {_text(dims)}")
    packed = first = 0
    for name, bits in dims:
        index = indices.get(name, 0)
        if not 0 <= index < 1 << bits:
            raise LayoutError(f"index {index} of {name} lies outside of its extent {1 << bits}")
        packed |= index << first
        first += bits
    return packed


def unpack(packed: int, dims: Dims) -> dict[str, int]:
    """The indices that `pack` made into one number."""
    indices = {}
    for name, bits in dims:
        indices[name] = packed & (1 << bits) - 1
        packed >>= bits
    return indices


def _text(dims: Dims) -> str:
    return ", ".join(f"{name}[{1 << bits if bits >= 0 else bits}]" for name, bits in dims) or "none"


def _total(dims: Iterable[tuple[str, int]]) -> int:
    return sum(bits for _, bits in dims)


def _bits(dims: Dims, name: str) -> int:
    return dict(dims).get(name, 0)


def _require(dims: Dims, name: str) -> int:
    if name not in dict(dims):
        raise LayoutError(f"there is no dim {name} among {_text(dims)}")
    return dict(dims)[name]


def _range(dims: Dims, name: str) -> range:
    first = 0
    for other, bits in dims:
        if other == name:
            return range(first, first + bits)
        first += bits
    return range(0)


def _joined(inner: Dims, outer: Dims) -> Dims:
    names = [name for name, _ in inner] + [name for name, _ in outer if name not in dict(inner)]
    return tuple((name, _bits(inner, name) + _bits(outer, name)) for name in names)
