"""Intents told from tiles, and real kernels lowered for each target that meet them or do not."""

from __future__ import annotations

import pytest

from mosaic.graph.graph import Graph
from mosaic.kernels import load
from mosaic.stitch.plan import plan
from mosaic.targets import tools
from mosaic.targets.intend import intend
from mosaic.targets.intent import Intent, compare
from mosaic.targets.lower import lower
from mosaic.targets.target import find
from mosaic.tiles.program import TileProgram

load()
NEEDS_TOOLS = pytest.mark.skipif(
    tools.find_cuda_tool("nvcc") is None or tools.find_cuda_tool("nvdisasm") is None, reason="needs nvcc and nvdisasm"
)


def product(dtype: str = "float16", n: int = 256, **tunables: int) -> TileProgram:
    """A product of 256 by n, read from its kernel."""
    from mosaic.cli.source import kernel_program, load_source

    settings = ",".join([f"M=256,N={n},K=128,dtype={dtype}", *(f"{name}={value}" for name, value in tunables.items())])
    return kernel_program(load_source("gemm", [settings], None))


def groups(intent: Intent) -> list[tuple[tuple[str, ...], int]]:
    return [(requirement.any, requirement.at_least) for requirement in intent.require]


@pytest.mark.parametrize(
    ("target", "dtype", "expected"),
    [
        ("sm_80", "float16", [(("mma",), 1), (("ldmatrix",), 1), (("cp.async",), 2)]),
        ("sm_80", "float32", [(("mma",), 1), (("cp.async",), 2)]),
        ("sm_90a", "bfloat16", [(("wgmma",), 1), (("tma",), 2)]),
        ("sm_90a", "float32", [(("wgmma", "mma"), 1), (("tma",), 2)]),
        ("sm_100a", "float16", [(("tcgen05",), 1), (("tma",), 2)]),
        ("gfx942", "float16", [(("mfma",), 1)]),
        ("cpu", "float16", []),
    ],
)
def test_what_a_product_should_use(target: str, dtype: str, expected: list[tuple[tuple[str, ...], int]]) -> None:
    assert groups(intend(product(dtype), find(target))) == expected


def test_small_tiles_are_for_warps() -> None:
    small = intend(product(block_M=32), find("sm_90a"))
    assert groups(small)[:2] == [(("mma",), 1), (("ldmatrix",), 1)]


def test_rows_that_bulk_copies_cannot_start_at() -> None:
    """500 elements of 2 bytes: not a multiple of 16 bytes, but of 4."""
    uneven = intend(product(n=500), find("sm_90a"))
    assert groups(uneven)[1:] == [(("tma",), 1), (("async-copy",), 2)]


def test_limits_are_the_targets() -> None:
    for name in ("sm_80", "sm_90a", "gfx942"):
        target = find(name)
        intent = intend(product(), target)
        assert intent.limits == {"registers": target.registers_per_thread, "spill_bytes": 0, "shared_bytes": target.shared_per_block}
        assert (intent.target, intent.forbid) == (name, ("local-memory",))


@NEEDS_TOOLS
@pytest.mark.parametrize("target", ["sm_80", "sm_90a"])
def test_kernels_that_ship_meet_their_intent(target: str) -> None:
    program = product()
    found = lower(program.func, target).emitted
    assert found is not None
    assert compare(intend(program, find(target)), found) == ()


@NEEDS_TOOLS
def test_a_stitched_pair_meets_its_intent() -> None:
    graph = Graph("pair")
    a, b = graph.input("a", (4096, 512), "float16"), graph.input("b", (512, 4096), "float16")
    graph.output(graph.call("gelu_tanh", graph.call("gemm", a, b, name="product"), name="act"))
    (launch,) = plan(graph, find("sm_90a")).launches
    intent = intend(launch.program, find("sm_90a"))
    assert (("wgmma",), 1) in groups(intent)
    found = lower(launch.program.func, "sm_90a").emitted
    assert found is not None
    assert compare(intent, found) == ()


@NEEDS_TOOLS
def test_what_the_compiler_misses_is_seen() -> None:
    """On Blackwell it multiplies into fragments with a warp's instructions; uneven rows go through registers."""
    blackwell, uneven = product(), product(n=500)
    for program, target, what in ((blackwell, "sm_100a", "tcgen05"), (uneven, "sm_90a", "async-copy")):
        found = lower(program.func, target).emitted
        assert found is not None
        (diagnosis,) = compare(intend(program, find(target)), found)
        assert diagnosis.what == what
        assert diagnosis.causes
