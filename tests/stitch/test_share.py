"""Sharing of stages: only what never lives together, only what is alike, and the answer stays."""

from __future__ import annotations

from dataclasses import replace

import torch

from mosaic.graph.graph import Graph
from mosaic.stitch.group import Searcher
from mosaic.stitch.library import Library
from mosaic.stitch.plan import plan
from mosaic.stitch.share import share, shareable
from mosaic.targets.cpu import compile_cpu
from mosaic.targets.target import find
from mosaic.tiles.program import OnChip, TileProgram
from mosaic.tiles.read import read
from tests.stitch.graphs import constant, random_inputs


def program(*buffers: OnChip, live: dict[int, tuple[int, int]]) -> TileProgram:
    return TileProgram("p", None, (), (), (128, 1, 1), buffers, (), (), frozenset(), (), live)


def buffer(key: int, *, shape: tuple[int, ...] = (8, 8), scope: str = "shared.dyn", pipelined: bool = False) -> OnChip:
    return OnChip(f"b{key}", shape, "float16", scope, 1, pipelined, key)


def test_only_disjoint_lives_share() -> None:
    apart = program(buffer(1), buffer(2), buffer(3), live={1: (0, 2), 2: (2, 4), 3: (3, 6)})
    assert shareable(apart) == {3: 1}
    assert shareable(program(buffer(1), buffer(2), live={1: (0, 2), 2: (2, 4)})) == {}


def test_only_like_buffers_share() -> None:
    live = {1: (0, 1), 2: (2, 3)}
    assert shareable(program(buffer(1), buffer(2, shape=(8, 16)), live=live)) == {}
    assert shareable(program(buffer(1, scope="local.fragment"), buffer(2, scope="local.fragment"), live=live)) == {}
    assert shareable(program(buffer(1, pipelined=True), buffer(2), live=live)) == {}


def test_a_chain_needs_two_stages() -> None:
    g = Graph("chain")
    x = g.input("x", (40, 64), "float16")
    for number, name in enumerate(("relu", "silu", "tanh", "sigmoid")):
        x = g.call(name, x, name=f"n{number}")
    x = g.call("bias", x, constant(g, "b", 64), name="last")
    g.output(x)
    made = plan(g, replace(find("cpu"), launch_seconds=1.0))
    assert len(made.launches) == 1
    stages = [b for b in made.launches[0].program.buffers if b.scope.startswith("shared")]
    assert len(made.launches[0].groups[0].moves) == 4
    assert len(stages) < 4


def test_sharing_changes_no_result() -> None:
    g = Graph("pair")
    x = g.input("x", (40, 64), "float16")
    g.output(g.call("relu", g.call("tanh", g.call("silu", x, name="a"), name="b"), name="c"))
    searcher = Searcher(g, Library(g), find("cpu"))
    found = searcher.search([g.node(n) for n in "abc"])
    func = share(read(found.program.func))  # type: ignore[union-attr]
    inputs = random_inputs(g)
    results = []
    for each in (found.program.func, func):  # type: ignore[union-attr]
        out = torch.full((40, 64), torch.nan, dtype=torch.float16)
        compile_cpu(each, poison=True)(inputs["x"], out)
        results.append(out)
    assert torch.equal(*results)
    assert not results[0].isnan().any()
