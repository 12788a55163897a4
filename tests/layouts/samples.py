"""Small graphs as a layout plan takes them: attention's two products, and a product with element-wise kernels behind it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from mosaic.layouts.facts import Edge, Facts, Group, Limits, Product

HOPPER = Limits("sm_90a", "cuda", 32, 132, 232_448, 255, 65_536, 3.35e12, 1e-6)
AMPERE = Limits("sm_80", "cuda", 32, 108, 166_912, 255, 65_536, 2.04e12, 1e-6)
MI300X = Limits("gfx942", "hip", 64, 304, 65_536, 512, 131_072, 5.3e12, 1e-6)
CPU = Limits("native", "cpu", 1, 2, 1 << 20, 1 << 20, 1 << 20, 5e10, 2e-5)
GPUS = (AMPERE, HOPPER, MI300X)


def attention(limits: Limits, m: int = 128, dtype: str = "float16", *, reorders: bool = False, **more: Any) -> Facts:
    """Scores [m, 64] in registers are A of the second product, in one kernel."""
    size = {"float8": 1, "int8": 1, "tfloat32": 4}.get(dtype, 2)
    group = Group("attention", ("attention",), ((128, 20e-6),), f"{m}x64", 1, 96, 40_000, 40_000)
    first = Product("scores", "attention", m, 64, 64, dtype)
    second = Product("out", "attention", m, 64, 64, dtype, a_in_registers=True, reorders=reorders, takes_wgmma=limits is not HOPPER)
    edge = Edge(
        "scores -> out", "w", "scores", "out", 0, "attention", m, 64, size, 8, ("register",), source="scores", target="out", inner=True
    )
    return Facts("attention", limits, (group,), (replace(first, takes_wgmma=second.takes_wgmma), second), (edge,), **more)


def feed_forward(limits: Limits, **more: Any) -> Facts:
    """A product, its bias and its activation in one launch; the next product in another."""
    group = Group("gelu", ("up", "bias", "gelu"), ((128, 20e-6), (256, 19e-6)), "128x128x32", 3, 96, 50_000, 65_536)
    product = Product("up", "gelu", 128, 128, 32, "float16")
    size = 128 * 128 * 96 * 2
    edges = (
        Edge("up -> bias", "y", "up", "bias", size, "gelu", 128, 128, 2, 1, source="up"),
        Edge("bias -> gelu", "z", "bias", "gelu", size, "gelu", 128, 128, 2, 1, follows="up -> bias", stored=True),
        Edge("gelu -> down", "h", "gelu", "down", size, refusal=("recompute", "it would be computed 32 times")),
    )
    return Facts("feed_forward", limits, (group,), (product,), edges, **more)


def layers(limits: Limits, count: int) -> Facts:
    """The same feed-forward part and attention, `count` times, with names of their own."""
    groups: list[Group] = []
    products: list[Product] = []
    edges: list[Edge] = []
    for number in range(count):
        for part in (feed_forward(limits), attention(limits)):

            def named(name: str | None, number: int = number) -> str | None:
                return None if name is None else f"layer{number}.{name}"

            groups += [replace(g, name=f"layer{number}.{g.name}") for g in part.groups]
            products += [replace(p, name=f"layer{number}.{p.name}", group=f"layer{number}.{p.group}") for p in part.products]
            edges += [
                replace(
                    e,
                    name=f"layer{number}.{e.name}",
                    group=named(e.group),
                    source=named(e.source),
                    target=named(e.target),
                    follows=named(e.follows),
                )
                for e in part.edges
            ]
    return Facts("layers", limits, tuple(groups), tuple(products), tuple(edges))
