"""Hardware fragments: which element of an operand lies in which register of which thread, for each matrix instruction.

Registers are counted in elements of the operand's type. A is [m, k], B is [k, n], C (and D) is [m, n]; inputs are `register`, `lane`
and, where an instruction spans several warps, `warp`.

Sources: NVIDIA's PTX ISA, "Matrix Fragments for mma" (a 32-bit register holds p elements, so one formula does for all widths) and
"Register Fragments and Shared Memory Matrix Layouts" of wgmma; AMD's CDNA3 and CDNA4 ISA, "Matrix Arithmetic Instructions", of whose
4-blocked D layouts `mfma` is the general form. gfx950's 16x16x128 and 32x32x64 (f8f6f4) are not here.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, Literal

from mosaic.layouts.layout import Layout, Repeat
from mosaic.layouts.linear import LayoutError, LinearMap

Operand = Literal["a", "b", "c"]
_BITS: Final = {"float16": 16, "bfloat16": 16, "tfloat32": 32, "float32": 32, "float8": 8, "int8": 8}
_WGMMA_MOST_COLUMNS: Final = 256


@dataclass(frozen=True)
class Atom:
    """One matrix instruction: [m, k] times [k, n]. An operand is None where it can't be in registers (it lies in shared memory).

    dtype: of A and B, of the two kinds of float8 and of signed and unsigned int8 one name. lanes: threads of a warp. `swapped`: the
    instruction is issued with its operands exchanged.
    """

    name: str
    dtype: str
    lanes: int
    m: int
    n: int
    k: int
    a: Layout | None
    b: Layout | None
    c: Layout
    swapped: bool = False

    def operand(self, which: Operand) -> Layout:
        """The layout of one operand. Raises LayoutError if this instruction does not take it from registers."""
        found: Layout | None = getattr(self, which)
        if found is None:
            raise LayoutError(f"{self.name} takes its operand {which} from shared memory, not from registers")
        return found


def _bases(**dims: list[tuple[str, int]]) -> dict[str, list[dict[str, int]]]:
    return {name: [{target: value} for target, value in images] for name, images in dims.items()}


def _run(target: str, extent: int, step: int = 1) -> list[tuple[str, int]]:
    """Images of consecutive bits: `extent` (a power of two) values of `target`, `step` apart."""
    return [(target, step << bit) for bit in range(extent.bit_length() - 1)]


def _layout(rows: tuple[str, int], columns: tuple[str, int], **dims: list[tuple[str, int]]) -> Layout:
    return Layout.of(LinearMap.of(_bases(**dims), dict([rows, columns])))


def mma(dtype: str, k: int) -> Atom:
    """NVIDIA's mma.m16n8k of a warp: `k` is 4 or 8 registers' worth of 32 bits a row.

    With p elements in a register, g = lane // 4, t = lane % 4: A's row is g + 8·((r // p) % 2), its k is p·t + r % p + 4p·(r // 2p).
    Raises LayoutError for a k or dtype that no such instruction has.
    """
    p = 32 // _width(dtype)
    if k not in (4 * p, 8 * p) or (_width(dtype) == 32 and dtype != "tfloat32"):
        raise LayoutError(f"no mma.m16n8k{k} takes {dtype}")
    pack, high = _run("k", p), _run("k", k // (4 * p), 4 * p)
    lane = _run("k", 4, p)
    return Atom(
        f"mma.m16n8k{k}",
        dtype,
        32,
        16,
        8,
        k,
        a=_layout(("m", 16), ("k", k), register=[*pack, ("m", 8), *high], lane=[*lane, *_run("m", 8)]),
        b=_layout(("k", k), ("n", 8), register=[*pack, *high], lane=[*lane, *_run("n", 8)]),
        c=_accumulator(warps=1, n=8),
    )


def wgmma(dtype: str, n: int) -> Atom:
    """NVIDIA's wgmma.m64nNk of a warpgroup (4 warps); n is a multiple of 8 up to 256, not only a power of two.

    B has no register layout: it lies in shared memory. A may lie in registers, laid out as mma's, warp w at row 16w.
    """
    if n % 8 or not 8 <= n <= _WGMMA_MOST_COLUMNS or (_width(dtype) == 32 and dtype != "tfloat32"):
        raise LayoutError(f"no wgmma takes {dtype} with n = {n}: n is a multiple of 8 up to {_WGMMA_MOST_COLUMNS}")
    p = 32 // _width(dtype)
    k = 8 * p
    a = _layout(
        ("m", 64),
        ("k", k),
        register=[*_run("k", p), ("m", 8), ("k", 4 * p)],
        lane=[*_run("k", 4, p), *_run("m", 8)],
        warp=[("m", 16), ("m", 32)],
    )
    return Atom(f"wgmma.m64n{n}k{k}", dtype, 32, 64, n, k, a=a, b=None, c=_accumulator(warps=4, n=n))


def mfma(dtype: str, mn: int, k: int) -> Atom:
    """AMD's mfma of a wave of 64 lanes with a tile of 16x16 or 32x32: each lane holds k·mn/64 consecutive k of one row.

    A: i = lane % mn, k = E·(lane // mn) + e. D: column lane % mn; rows in blocks of four, one to each group of mn lanes in turn.
    gfx942 has 8 bytes a lane (float32: 4 bytes; xf32 as "tfloat32": 8), gfx950 also 16 bytes for 16 and 8 bits (int8 only).
    Raises LayoutError if there is no such instruction.
    """
    each = k * mn // 64
    width = each * _width(dtype) // 8
    allowed = {"float32": {4}, "tfloat32": {8}, "float8": {8}}.get(dtype, {8, 16})
    if mn not in (16, 32) or width not in allowed or each * 64 != k * mn:
        raise LayoutError(f"no mfma {mn}x{mn}x{k} takes {dtype}")
    register, lane = _run("k", each), _run("k", 64 // mn, each)
    rows = [*_run("m", 4), *_run("m", mn // (4 * (64 // mn)), 4 * (64 // mn))]
    return Atom(
        f"mfma.{mn}x{mn}x{k}",
        dtype,
        64,
        mn,
        mn,
        k,
        a=_layout(("m", mn), ("k", k), register=register, lane=[*_run("m", mn), *lane]),
        b=_layout(("k", k), ("n", mn), register=register, lane=[*_run("n", mn), *lane]),
        c=_layout(("m", mn), ("n", mn), register=rows, lane=[*_run("n", mn), *_run("m", 64 // mn, 4)]),
    )


def swap_operands(atom: Atom) -> Atom:
    """The same product issued as Dᵀ = Bᵀ·Aᵀ: the first operand of the instruction is our B. Costs nothing.

    The tile becomes [n, m] of the instruction: A takes the layout that B had with its column as m, and C is transposed. What could
    not lie in registers still can't, under its new name.
    """
    return replace(
        atom,
        m=atom.n,
        n=atom.m,
        a=None if atom.b is None else _relabel(atom.b, {"n": "m", "k": "k"}, ("m", "k")),
        b=None if atom.a is None else _relabel(atom.a, {"m": "n", "k": "k"}, ("k", "n")),
        c=_relabel(atom.c, {"m": "n", "n": "m"}, ("m", "n")),
        swapped=not atom.swapped,
    )


def relabel(layout: Layout, names: dict[str, str], order: tuple[str, str] | None = None) -> Layout:
    """The layout with its outputs under other names, and then in `order`: C's [m, n] read as the next product's [m, k], say."""
    return _relabel(layout, names, order or tuple(names.get(name, name) for name, _ in layout.outputs))


def _relabel(layout: Layout, names: dict[str, str], order: tuple[str, ...]) -> Layout:
    outputs = tuple((names.get(name, name), extent) for name, extent in layout.outputs)
    position = [[name for name, _ in outputs].index(name) for name in order]
    extents = tuple(outputs[index] for index in position)
    if layout.core is None:
        return Layout(layout.inputs, extents, table=layout.to_table()[..., position])
    core = layout.core.rename(names).order_outputs(*order)
    repeats = tuple(Repeat(repeat.name, repeat.extent, tuple(repeat.steps[index] for index in position)) for repeat in layout.repeats)
    return Layout(layout.inputs, extents, core, repeats, tuple(layout.origin[index] for index in position) if layout.origin else ())


def tile(layout: Layout, times: dict[str, int], order: tuple[str, ...] | None = None, *, over: str = "register") -> Layout:
    """A fragment beside copies of itself: `times` says how often along each output; the copies lie in more registers, or `over` warps.

    The first name of `order` (as given in `times` otherwise) changes fastest. So `tile(c, {"n": 4})` is four products side by side.
    """
    extents = dict(layout.outputs)
    repeats = [
        Repeat(over, times[name], tuple(extents[name] if out == name else 0 for out, _ in layout.outputs))
        for name in order or tuple(times)
        if times[name] > 1
    ]
    inputs = layout.inputs if over in dict(layout.inputs) else (*layout.inputs, (over, 1))
    factor = 1
    for repeat in repeats:
        factor *= repeat.extent
    if layout.core is None:
        raise LayoutError("only layouts with a linear core are tiled")
    core = layout.core if over in dict(layout.core.inputs) else layout.core.product(LinearMap(((over, 0),), (), ()))
    return Layout(
        tuple((name, extent * factor if name == over else extent) for name, extent in inputs),
        tuple((name, extent * times.get(name, 1)) for name, extent in layout.outputs),
        core,
        (*layout.repeats, *repeats),
        layout.origin,
    )


def _accumulator(warps: int, n: int) -> Layout:
    """C of mma (one warp) and wgmma (four): row g + 8·((r // 2) % 2), column 2t + r % 2, and every 8 columns again."""
    core = LinearMap.of(
        _bases(register=[("n", 1), ("m", 8)], lane=[*_run("n", 4, 2), *_run("m", 8)], warp=_run("m", warps, 16)), {"m": 16 * warps, "n": 8}
    )
    if warps == 1:
        core = core.restrict("register", "lane")
    return tile(Layout.of(core), {"n": n // 8})


def _width(dtype: str) -> int:
    if dtype not in _BITS:
        raise LayoutError(f"no matrix instruction known here takes {dtype}; they take {', '.join(_BITS)}")
    return _BITS[dtype]


# Every instruction of the kinds above, wgmma with one n for all.
ATOMS: Final = tuple(
    [mma(dtype, k * 32 // _BITS[dtype]) for dtype in ("float16", "bfloat16", "tfloat32", "float8", "int8") for k in (4, 8)]
    + [wgmma(dtype, 64) for dtype in ("float16", "bfloat16", "tfloat32", "float8", "int8")]
    + [mfma(dtype, 16, 16) for dtype in ("float16", "bfloat16")]
    + [mfma(dtype, 32, 8) for dtype in ("float16", "bfloat16")]
    + [mfma("float32", 16, 4), mfma("float32", 32, 2), mfma("tfloat32", 16, 8), mfma("tfloat32", 32, 4)]
    + [mfma(dtype, 16, 32) for dtype in ("float16", "bfloat16", "float8", "int8")]
    + [mfma(dtype, 32, 16) for dtype in ("float16", "bfloat16", "float8", "int8")]
    + [mfma("int8", 16, 64), mfma("int8", 32, 32)]
)
