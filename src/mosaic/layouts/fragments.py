"""Fragments of a whole block: an instruction's fragment, as often as a warp's part of the tile needs it, over a grid of warps.

Which grid that is follows from the warp policy, the threads and the tile, as TileLang 0.1.15 chooses it: `FullRow` puts as many warps as
fit along the rows, `FullCol` along the columns, `Square` makes the warps' parts of the tile shaped most like the tile itself. wgmma's
warps come in groups of four, which lie along the rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Final, Literal

from mosaic.layouts.atoms import Atom, mfma, mma, swap_operands, wgmma
from mosaic.layouts.layout import Layout, Repeat
from mosaic.layouts.linear import LayoutError, LinearMap

Policy = Literal["FullRow", "FullCol", "Square"]
POLICIES: Final[tuple[Policy, ...]] = ("Square", "FullRow", "FullCol")
"""In the order in which TileLang numbers them."""

Family = Literal["mma", "wgmma", "mfma"]
_GROUP: Final = 4
_ROWS: Final = 16


@dataclass(frozen=True)
class WarpGrid:
    """Warps along the rows and along the columns of a product's tile."""

    rows: int
    columns: int

    def __str__(self) -> str:
        return f"{self.rows}x{self.columns} warps"


@cache
def warp_grid(family: Family, policy: Policy, m: int, n: int, warps: int) -> WarpGrid | None:
    """The grid that a policy gives for an m x n tile; None if the warps can't cover it evenly, which TileLang refuses."""
    least = {"mma": 8, "wgmma": 8, "mfma": 16}[family]
    group = _GROUP if family == "wgmma" else 1
    fitting = [
        WarpGrid(rows, warps // rows)
        for rows in range(group, warps + 1, group)
        if warps % rows == 0 and m % (rows * _ROWS) == 0 and n % (warps // rows * least) == 0
    ]
    if not fitting:
        return None
    if family == "mfma" and policy != "Square":
        # Here TileLang looks at one grid only: as many warps along the preferred side as its fragments allow.
        most = min(warps, m // _ROWS) if policy == "FullRow" else min(warps, n // least)
        whole = (m if policy == "FullRow" else n) % (warps * 16) == 0
        side = warps if whole else most
        wanted = WarpGrid(side, warps // side) if policy == "FullRow" else WarpGrid(warps // side, side)
        return wanted if wanted in fitting else None
    if policy == "FullRow":
        return max(fitting, key=lambda grid: grid.rows)
    if policy == "FullCol":
        return max(fitting, key=lambda grid: grid.columns)
    # The part's height to its width, in fragments, is compared with the tile's, in elements.
    return min(fitting, key=lambda grid: (abs(m / (grid.rows * _ROWS) / (n / (grid.columns * least)) - m / n), grid.rows))


@cache
def atom(family: Family, dtype: str, k: int, columns: int = 8) -> Atom:
    """The instruction of a family for operands of `dtype` with contraction k, as TileLang issues it (mfma with its operands swapped).

    columns: (wgmma) of one instruction. Raises LayoutError if there is none.
    """
    if family == "wgmma":
        return wgmma(dtype, columns)
    if family == "mfma":
        return swap_operands(mfma(dtype, 16, k))
    return mma(dtype, k)


@cache
def accumulator(family: Family, grid: WarpGrid, m: int, n: int) -> Layout:
    """Where C [m, n] of a product lies: (register, lane, warp) to m and n. Warps count along the rows first.

    Raises LayoutError if the grid does not cover the tile evenly.
    """
    rows, columns = m // grid.rows, n // grid.columns
    if family == "wgmma":
        # The four warps of a group lie 16 rows apart; a part of more rows is several instructions, 64 times the groups apart.
        one = atom(family, "float16", 16).c
        return _over(
            one, {"n": columns // 8, "m": m // (16 * grid.rows)}, [("m", grid.rows // _GROUP, 64), ("n", grid.columns, columns)], m, n
        )
    one = atom(family, "float16", 16).c
    extents = dict(one.outputs)
    repeats = {"n": columns // extents["n"], "m": rows // extents["m"]}
    return _over(one, repeats, [("m", grid.rows, rows), ("n", grid.columns, columns)], m, n)


@cache
def operand(family: Family, dtype: str, instruction_k: int, grid: WarpGrid, m: int, k: int) -> Layout:
    """Where A [m, k] lies if a product takes it from registers: each row of warps has its rows, and each of its warps a copy.

    Raises LayoutError if the grid does not cover the tile evenly.
    """
    one = atom(family, dtype, instruction_k).operand("a")
    depth = dict(one.outputs)["k"]
    rows = m // grid.rows
    if family == "wgmma":
        return _over(
            one, {"m": m // (16 * grid.rows), "k": k // depth}, [("m", grid.rows // _GROUP, 64), ("m", grid.columns, 0)], m, k, "k"
        )
    return _over(one, {"m": rows // dict(one.outputs)["m"], "k": k // depth}, [("m", grid.rows, rows), ("m", grid.columns, 0)], m, k, "k")


def _over(one: Layout, times: dict[str, int], warps: list[tuple[str, int, int]], m: int, n: int, second: str = "n") -> Layout:
    """A fragment repeated in registers and then over warps: (output, how many, how far apart); all of it must be m x n."""
    whole = {"m": m, second: n}
    names = [name for name, _ in one.outputs]
    if one.core is None or min(times.values()) < 1:
        raise LayoutError(f"a fragment of {dict(one.outputs)} does not fit a tile of {m} x {n}")
    stride = dict(one.outputs)
    # A group of wgmma covers 64 rows, so that its next instruction is beyond all the other groups' rows.
    if "warp" in dict(one.inputs):
        stride["m"] *= next((count for name, count, step in warps if name == "m" and step), 1)
    repeats = [
        Repeat("register", count, tuple(stride[out] if out == name else 0 for out in names)) for name, count in times.items() if count > 1
    ]
    core = one.core if "warp" in dict(one.core.inputs) else one.core.product(LinearMap((("warp", 0),), (), ()))
    repeats += [Repeat("warp", count, tuple(step if out == name else 0 for out in names)) for name, count, step in warps if count > 1]
    sizes = {name: 1 << core.bits(name) for name in ("register", "lane", "warp")}
    for repeat in (*one.repeats, *repeats):
        sizes[repeat.name] *= repeat.extent
    return Layout(
        tuple((name, sizes[name]) for name in ("register", "lane", "warp")),
        tuple((name, whole[name]) for name in names),
        core.order_inputs("register", "lane", "warp") if tuple(n for n, _ in core.inputs) != ("register", "lane", "warp") else core,
        (*one.repeats, *repeats),
    )
