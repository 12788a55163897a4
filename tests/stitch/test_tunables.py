"""Coordinate descent: what it holds, where it starts, what it finds."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from mosaic.graph.graph import Graph, Node
from mosaic.graph.kernel import Kernel, kernel
from mosaic.stitch.library import Tunables
from mosaic.stitch.tunables import ANY_THREADS, descend, is_too_fine


@pytest.fixture(scope="module")
def node() -> Node:
    @kernel(
        inputs={"x": "N : float32"},
        outputs={"y": "N : float32"},
        tunables={"rows": (16, 32, 64, 128), "columns": (16, 32, 64, 128), "threads": (64, 128, 256)},
        reference=torch.relu,
        valid=lambda rows, columns, threads: rows * columns <= 64 * threads,
    )
    def searched(N: int, rows: int = 16, columns: int = 16, threads: int = 128) -> None:
        raise AssertionError("is never built")

    assert isinstance(searched, Kernel)
    g = Graph("searched")
    g.output(g.call(searched, g.input("x", (8,), "float32"), name="node"))
    return g.node("node")


def distance(rows: int, columns: int) -> Callable[[Tunables], float]:
    return lambda t: abs(int(t["rows"]) - rows) + abs(int(t["columns"]) - columns)


def test_finds_the_best(node: Node) -> None:
    found = descend(node, 128, distance(64, 128), ())
    assert found is not None
    assert {k: found[k] for k in ("rows", "columns")} == {"rows": 64, "columns": 128}


@pytest.mark.parametrize("threads", [64, 128, 256])
def test_threads_are_held(node: Node, threads: int) -> None:
    seen: list[Tunables] = []

    def score(tunables: Tunables) -> float:
        seen.append(tunables)
        return float(int(tunables["rows"]) * int(tunables["columns"]))

    assert descend(node, threads, score, (32,)) is not None
    assert {t["threads"] for t in seen} == {threads}


def test_free_threads_move_with_tiles(node: Node) -> None:
    """128 x 128 needs 256 threads: neither change alone is both valid and better."""
    found = descend(node, ANY_THREADS, distance(128, 128), (128,))
    assert found == {"rows": 128, "columns": 128, "threads": 256}


def test_only_valid_tunables_are_scored(node: Node) -> None:
    def score(tunables: Tunables) -> float:
        assert int(tunables["rows"]) * int(tunables["columns"]) <= 64 * int(tunables["threads"])
        return -float(int(tunables["rows"]))

    assert descend(node, 64, score, (128, 64)) is not None


def test_nothing_legal_is_none(node: Node) -> None:
    assert descend(node, 128, lambda _: float("inf"), ()) is None


def test_too_fine_for_what_is_wanted(node: Node) -> None:
    assert is_too_fine(node, (32, 256))
    assert not is_too_fine(node, (32, 128))  # 256 is a number of threads, not of columns
